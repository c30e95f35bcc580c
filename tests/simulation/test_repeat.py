"""Same scenario, arm and seed: the same bytes in every data set, in any process, whatever ran before."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from qdpem.events.tables import kept_at
from qdpem.events.words import PairOutcome
from qdpem.records.compare import differing_data_sets
from qdpem.records.reader import open_record
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate

SCENARIO = """
name = "repeat"
[topology]
kind = "{topology}"
parameters = {parameters}
[nodes]
source_rate_hz = {{ low = 40.0, high = 80.0 }}
repeater_rate_hz = {{ low = 10.0, high = 30.0 }}
memories = 8
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 30.0 }}
swap_success_probability = 0.7
gate_fidelity = 0.998
[links]
{hardware}
[demand]
rate_hz = 15.0
bursts = {{ regions = 2, period_s = 4.0, duration_s = 1.0, jitter_s = 0.2, peak = 3.0 }}
[[demand.classes]]
application = "teleportation"
fraction = 0.5
target_fidelity = 0.6
patience_s = 1.0
pairs = 2
[[demand.classes]]
application = "computing"
fraction = 0.3
target_fidelity = 0.94
patience_s = 1.0
[[demand.classes]]
application = "qkd"
fraction = 0.2
target_fidelity = 0.86
patience_s = 1.0
[forecasting]
history_s = 20
[window]
warm_up_s = 1
measured_s = 1.5
[record]
level = "full"
"""
DISTILLED = """hardware = { fresh_fidelity = 0.97 }"""
ATTEMPTED = """hardware = { kind = "direct", success_probability = 0.1, attempt_period_s = 4e-3,
  fresh_weights = [0.97, 0.01, 0.01, 0.01], modes = 2 }""".replace("\n ", "")
SCENARIOS = {
    "attempts": SCENARIO.format(
        topology="line", parameters="{ nodes = 5, hop_km = 20.0 }", hardware=ATTEMPTED
    ),
    "sources": SCENARIO.format(
        topology="geometric",
        parameters="{ nodes = 10, side_km = 60.0, mean_degree = 4.0 }",
        hardware=DISTILLED,
    ),
}
ARMS = {
    "local-minhop": Arm(name="local-minhop"),
    "local-stock": Arm(name="local-stock"),
    "virtual-stock": Arm(
        name="virtual-stock", policy="local-stock", pregeneration="virtual-link", forecaster="ewma"
    ),
    "central-fcfs": Arm(name="central-fcfs"),
    "central-expected-delay": Arm(name="central-expected-delay"),
    "central-stock": Arm(
        name="central-stock",
        policy="central-expected-delay",
        pregeneration="end-to-end",
        forecaster="clairvoyant",
    ),
    "dpem": Arm(name="dpem"),
    "dpem-filter": Arm(name="dpem-filter", policy="dpem", forecaster="bayes-filter"),
}
SCRIPT = """
import sys
from pathlib import Path
from qdpem.records.writer import RecordWriter
from qdpem.scenario.load import parse_scenario
from qdpem.simulation.run import simulate
sys.path.insert(0, sys.argv[2])
from test_repeat import ARMS, SCENARIOS
folder, order = Path(sys.argv[1]), list(ARMS.values())
for arm in order[:: int(sys.argv[3])]:
    for name, text in SCENARIOS.items():
        scenario = parse_scenario(text)
        with RecordWriter(folder / f"{arm.name}-{name}.h5", scenario=scenario, arm=arm, seed=31) as writer:
            simulate(scenario, arm, seed=31, recorder=writer)
            writer.close_complete({}, {})
"""


@pytest.fixture
def folders(tmp_path_factory):
    """All arms on all scenarios, recorded by two processes that hash and order things differently."""
    made, working = [], []
    for hash_seed, step in (("1", "1"), ("4242", "-1")):
        folder = tmp_path_factory.mktemp(f"hash-{hash_seed}")
        here = os.path.dirname(__file__)
        path = os.pathsep.join([entry for entry in sys.path if entry])
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        command = [sys.executable, "-c", SCRIPT, str(folder), here, step]
        working.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        made.append(folder)
    for process in working:
        _, faults = process.communicate()
        assert process.returncode == 0, faults
    return made


@pytest.mark.slow
def test_two_processes_record_the_same_bytes(folders):
    """Hash seeds 1 and 4242, arms in opposite order: not one bit of one data set differs.

    One test for all arms, because tests of a module are shared out among processes, and each would record.
    """
    for arm, scenario in product(ARMS, SCENARIOS):
        first, second = (folder / f"{arm}-{scenario}.h5" for folder in folders)
        assert differing_data_sets(first, second) == [], (arm, scenario)
        assert_shows_much(first, stocks=arm not in ("local-minhop", "central-fcfs", "central-expected-delay"))
    assert_another_arm_differs(folders)


def assert_shows_much(path, *, stocks):
    """Or nothing was compared: pairs end in every way, and are stocked where the arm stocks."""
    tables = open_record(path).tables
    pairs, allocations = tables["pairs"], tables["allocations"]
    ends = {PairOutcome.from_code(code) for code in np.unique(pairs["outcome"]).tolist()}
    assert ends >= {"delivered", "swapped", "distilled"}, path.name
    # Some swaps failed: their pairs are nobody's parents.
    parents = np.concatenate([pairs["first_parent"], pairs["second_parent"]])
    swapped = pairs["outcome"] == PairOutcome.SWAPPED.code
    assert not np.isin(pairs["pair"][swapped], parents).all(), path.name
    assert ((allocations["purpose"] == 1).any(), (pairs["owner"] >= 0).any()) == (stocks, stocks), path.name


def assert_another_arm_differs(folders):
    """Another arm on the same scenario and seed shares the map and the forecast's absence, not the events."""
    differing = differing_data_sets(
        folders[0] / "local-minhop-sources.h5", folders[1] / "central-fcfs-sources.h5"
    )
    assert {"pairs/born_s", "claims/end_s", "requests/outcome"} <= set(differing)
    assert not {"nodes/source_rate_hz", "links/length_km", "nodes/name"} & set(differing)


@pytest.mark.parametrize("arm", ["local-minhop", "dpem"])
def test_another_arm_run_before_changes_nothing(arm, line):
    """Two simulations in one process never touch: adding an arm to a study leaves the others as they were."""
    scenario = line(nodes=4, rate_hz=10.0, swap_success_probability=0.7, measured_s=4.0)
    alone = simulate(scenario, Arm(name=arm), seed=32).tables
    simulate(scenario, Arm(name="central-expected-delay"), seed=32)
    after = simulate(scenario, Arm(name=arm), seed=32).tables
    for table in kept_at("events"):
        for column in table.names:
            assert alone[table.name][column].tobytes() == after[table.name][column].tobytes()
