"""A study small enough to run in a test: five nodes in a row, seconds long, two arms, three seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm, Scenario
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.html import Appendix
from qdpem.study.run import run_study
from tests.helpers.row import row_text

SMALL_STUDY = row_text(
    description="Does a row of five nodes deliver?", measured_s=4.0, seeds=(1000, 1001, 1002)
)


@pytest.fixture
def small_scenario() -> Scenario:
    return parse_scenario(SMALL_STUDY)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """The small study, run once for all tests that only look at it."""
    return run_study(
        parse_scenario(SMALL_STUDY),
        directory=tmp_path_factory.mktemp("finished"),
        command="qdpem study row.toml",
    )


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, for tests that only look at what was run: drawing takes as long as running."""
    monkeypatch.setattr(
        "qdpem.study.run.build_appendix", lambda result, *, command: Appendix(command=command)
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
                pregeneration="none",
                forecaster="none",
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
