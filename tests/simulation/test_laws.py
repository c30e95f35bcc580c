"""What must hold in every run: conservation, determinism, common random numbers, no gridlock."""

from __future__ import annotations

import numpy as np
import pytest

from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import kept_at
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate
from qdpem.simulation.simulation import Simulation
from tests.helpers.arms import ARMS, in_every_arm


@pytest.mark.mostly_slow
@in_every_arm
def test_same_seed_same_bytes(line, arm):
    scenario = line(nodes=5, measured_s=8.0)
    first, second = (simulate(scenario, arm, seed=11).tables for _ in range(2))
    for table in kept_at("events"):
        for column in table.names:
            assert first[table.name][column].tobytes() == second[table.name][column].tobytes()


@pytest.mark.mostly_slow(6)
@in_every_arm
@pytest.mark.parametrize(
    "changes",
    [
        {"memories": 3, "rate_hz": 25.0},
        {"swap_success_probability": 0.6, "rate_hz": 15.0, "pairs": 2, "memories": 8},
        {"target_fidelity": 0.93, "rate_hz": 15.0},
        {"depolarising_s": 0.2, "rate_hz": 10.0},
    ],
    ids=["memory short", "swaps fail", "distilled", "short-lived"],
)
def test_nothing_leaks_at_any_decision(line, arm, changes):
    """Conservation of pairs and qubits, asserted between all events at which a site is asked."""
    simulation = Simulation(line(nodes=5, measured_s=6.0, **changes), arm, seed=12, recorder=MemoryRecorder())
    steps = 0
    while (observations := simulation.advance()) is not None:
        simulation.check()
        simulation.apply(simulation.policy.act(observations))
        steps += 1
    assert steps > 20


@pytest.mark.mostly_repeated(3)
@pytest.mark.mostly_slow
@in_every_arm
def test_every_pair_and_request_is_written_once_and_times_run_forward(line, arm):
    tables = simulate(line(nodes=5, rate_hz=20.0, memories=6), arm, seed=13).tables
    pairs, requests, claims = tables["pairs"], tables["requests"], tables["claims"]
    assert np.array_equal(np.sort(pairs["pair"]), np.arange(len(pairs["pair"])))
    assert np.array_equal(np.sort(requests["request"]), np.arange(len(requests["request"])))
    assert np.array_equal(np.sort(claims["claim"]), np.arange(len(claims["claim"])))
    assert (pairs["end_s"] >= pairs["born_s"]).all()
    assert (claims["end_s"] >= claims["time_s"]).all()
    # An end is within its deadline but for the rounding of one clock step.
    delivered = requests["outcome"] == RequestOutcome.DELIVERED.code
    assert (requests["end_s"] <= requests["deadline_s"] + 1e-9)[delivered].all()
    # Every parent ended in the operation that made its child, at that moment.
    ended_s = dict(zip(pairs["pair"].tolist(), pairs["end_s"].tolist(), strict=True))
    for parent, born_s in zip(pairs["first_parent"].tolist(), pairs["born_s"].tolist(), strict=True):
        assert parent < 0 or ended_s[parent] == born_s


def test_arms_see_the_same_arrivals_and_emissions(line):
    """One seed: requests are the same in all arms, and an undisturbed first claim gets the same emission."""
    runs = {arm.name: simulate(line(nodes=5, measured_s=10.0), arm, seed=14) for arm in ARMS}
    first = runs["local-minhop"].tables["requests"]
    order = np.argsort(first["request"])
    for run in runs.values():
        other = run.tables["requests"]
        mine = np.argsort(other["request"])
        for column in ("time_s", "source", "destination", "target_fidelity", "deadline_s"):
            assert np.array_equal(first[column][order], other[column][mine])
    granted = {}
    for arm in ("local-minhop", "central-fcfs"):
        claims = runs[arm].tables["claims"]
        emission = (claims["kind"] == 0) & (claims["outcome"] == 1)
        granted[arm] = set(np.round(claims["end_s"][emission], 9).tolist())
    shared = len(granted["local-minhop"] & granted["central-fcfs"])
    # Two independent streams would share no emission time at all.
    assert shared > 0.5 * len(granted["local-minhop"])


@pytest.mark.slow
def test_saturation_never_locks(line):
    """17 nodes, four qubits each, far too many requests: deliveries go on in every fifth of the run."""
    run = simulate(
        line(nodes=17, memories=4, rate_hz=60.0, measured_s=30.0, repeater_rate_hz=60.0),
        Arm(name="local-minhop"),
        seed=15,
    )
    requests = run.tables["requests"]
    delivered_s = requests["end_s"][requests["outcome"] == RequestOutcome.DELIVERED.code]
    assert (np.histogram(delivered_s, bins=5, range=(0.0, 31.0))[0] > 0).all()


def test_advance_and_apply_alternate(line):
    simulation = Simulation(line(measured_s=2.0), Arm(name="local-minhop"), seed=1, recorder=MemoryRecorder())
    with pytest.raises(RuntimeError, match="advance"):
        simulation.apply(None)
    assert simulation.advance() is not None
    with pytest.raises(RuntimeError, match="apply"):
        simulation.advance()


def test_stock_serves_expires_and_yields(line):
    """Constant stock on a quiet line: some requests are served without any emission of their own."""
    tables = simulate(line(nodes=5, rate_hz=2.0, measured_s=60.0), Arm(name="local-stock"), seed=16).tables
    requests, pairs = tables["requests"], tables["pairs"]
    assert (requests["hops"] == 0).sum() > 0
    stocked = pairs["owner"] >= 0
    ends = {PairOutcome.from_code(code) for code in pairs["outcome"][stocked].tolist()}
    assert {"delivered", "expired"} <= ends
    served = tables["allocations"]
    assert (served["purpose"] == 1).sum() > 0
