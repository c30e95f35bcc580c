"""The chain on qdpem: `scenarios/chain.toml` with requests, ledger and record at work."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from case import Case, asked_case, tell

from qdpem import load_scenario
from qdpem.events.words import PairOutcome
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Scenario
from qdpem.simulation.arms import find_arm
from qdpem.simulation.frozen_gc import frozen_gc
from qdpem.simulation.simulation import Simulation

_SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "chain.toml"
_ARM = "local-minhop"


def description(case: Case) -> list[str]:
    """The case as changes to the scenario file: the only place that sets them for qdpem."""
    changes = {
        "topology.parameters.nodes": case.nodes,
        "nodes.memories": 2 * case.memories,
        "links.hardware.modes": case.memories,
        "demand.classes.0.pairs": case.memories,
        "window.warm_up_s": case.warm_up_s,
        "window.measured_s": case.simulated_s,
    }
    return [f"{key}={value}" for key, value in changes.items()]


def measure(case: Case, scenario: Scenario, path: Path) -> tuple[float, int]:
    """Wall seconds and events of the measured time; the record goes to `path`."""
    arm = find_arm(scenario, _ARM).arm
    mark: dict[str, float] = {}

    def progress(time_s: float) -> None:
        if round(time_s) == round(case.warm_up_s):
            # Rows of the warm-up are written now, so that the measured time writes only its own.
            recorder.flush()
            mark.update(events=simulation.events, wall_s=time.perf_counter())

    with RecordWriter(path, scenario=scenario, arm=arm, seed=case.seed) as recorder:
        simulation = Simulation(scenario, arm, seed=case.seed, recorder=recorder, on_progress=progress)
        # As `simulate` does it, and with it `qdpem run`.
        with frozen_gc():
            while (observations := simulation.advance()) is not None:
                simulation.apply(simulation.policy.act(observations))
        recorder.close_complete({}, {})
    return time.perf_counter() - mark["wall_s"], simulation.events - int(mark["events"])


def delivered(path: Path, *, from_s: float) -> list[float]:
    """True fidelities of the pairs delivered from then on, from the record."""
    pairs = open_record(path).tables["pairs"]
    wanted = (pairs["outcome"] == PairOutcome.DELIVERED.code) & (pairs["end_s"] >= from_s)
    fidelities: list[float] = pairs["fidelity"][wanted].tolist()
    return fidelities


def main() -> None:
    """Run the asked case."""
    # A run reports its progress at whole seconds, so the warm-up ends at one.
    case = asked_case(__doc__, warm_up_s=1.0)
    if case.warm_up_s < 1.0 or case.warm_up_s % 1.0:
        raise SystemExit(f"--warm-up-s {case.warm_up_s:g}: must be whole seconds, at least 1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.h5"
        wall_s, events = measure(case, load_scenario(_SCENARIO, description(case)), path)
        fidelities = delivered(path, from_s=case.warm_up_s)
    tell("qdpem", case, wall_s=wall_s, fidelities=fidelities, events=events)


if __name__ == "__main__":
    main()
