"""A study small enough to run in a test: five nodes in a row, seconds long, two arms, three seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm, Scenario
from qdpem.study.results import Outcome, StudyResult
from qdpem.study.run import study

SMALL_STUDY = """
name = "row"
description = "Does a row of five nodes deliver?"

[topology]
kind = "line"
parameters = { nodes = 5, hop_km = 5.0 }

[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 6.0
hardware = { memory = { kind = "depolarising", depolarising_s = 10.0 } }

[demand]
rate_hz = 6.0

[[demand.classes]]
application = "teleportation"
share = 1.0
target_fidelity = 0.7
patience_s = 0.5

[forecasting]
history_s = 10.0

[window]
warm_up_s = 1.0
measured_s = 4.0

[study]
arms = [{ name = "central-fcfs" }, { name = "near", policy = "local-minhop" }]
seeds = [1000, 1001, 1002]
reference = "central-fcfs"
engine = "serial"
"""


@pytest.fixture
def small_scenario() -> Scenario:
    return parse_scenario(SMALL_STUDY)


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """The small study, run once for all tests of a module that only look at it."""
    return study(
        parse_scenario(SMALL_STUDY),
        directory=tmp_path_factory.mktemp("finished"),
        command="qdpem study row.toml",
    )


@pytest.fixture
def made_result(small_scenario: Scenario):
    """A function: a StudyResult from arm -> metric -> values, one value per seed, `arms` or plain ones."""

    def make(
        scores: dict[str, dict[str, list[float]]],
        *,
        policy: str = "local-minhop",
        arms: Sequence[Arm] | None = None,
        reference: str | None = None,
    ) -> StudyResult:
        names = list(scores)
        count = len(next(iter(scores[names[0]].values())))
        seeds = tuple(range(1000, 1000 + count))
        arms = tuple(arms or ()) or tuple(
            Arm(
                name=name,
                policy="central-fcfs" if name == names[0] else policy,
                control="central" if name == names[0] else "local",
                rights="serve",
                knowledge="none",
            )
            for name in names
        )
        outcomes = tuple(
            Outcome(
                arm=name,
                seed=seed,
                path=Path(f"{name}/{seed}.h5"),
                metrics={metric: values[place] for metric, values in scores[name].items()},
            )
            for name in names
            for place, seed in enumerate(seeds)
        )
        return StudyResult(
            scenario=small_scenario,
            directory=Path("nowhere"),
            arms=arms,
            seeds=seeds,
            reference=reference or names[0],
            outcomes=outcomes,
        )

    return make
