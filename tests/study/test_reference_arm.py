"""The reference is found on the tuning seeds among the arms that foresee nothing, with its margin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qdpem.errors import StudyError
from qdpem.scenario.schema import Arm
from qdpem.study.analysis.metric_formats import DELIVERY
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.analysis.reference_arm import contenders, find_reference_arm, reference_sentences
from qdpem.study.plan import plan_study
from qdpem.study.report.findings import findings
from qdpem.study.run import run_study

ARMS = (
    Arm(name="central-fcfs"),
    Arm(name="near", policy="local-minhop"),
    Arm(name="stocked", policy="central-expected-delay", pregeneration="end-to-end", forecaster="constant"),
    Arm(
        name="foreseeing",
        policy="central-expected-delay",
        pregeneration="end-to-end",
        forecaster="bayes-filter",
    ),
)


@pytest.fixture
def open_study(small_scenario):
    """The small study with four arms, no reference, and three tuning seeds."""
    table = replace(small_scenario.study, arms=ARMS, reference="strongest", tuning_seeds=(3, 4, 5))
    return replace(small_scenario, study=table)


def outcomes(scores: dict[str, list[float | None]]) -> list[Outcome]:
    return [
        Outcome(
            arm=arm,
            seed=seed,
            path=Path(f"{arm}/{seed}.h5"),
            metrics=None if value is None else {DELIVERY.name: value},
            fault="" if value is not None else "broken",
        )
        for arm, values in scores.items()
        for seed, value in enumerate(values)
    ]


def find(scores: dict[str, list[float | None]]):
    return find_reference_arm(list(scores), outcomes(scores), seeds=(0, 1, 2), metric_format=DELIVERY)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_study_finds_its_reference_on_the_tuning_seeds(open_study, tmp_path) -> None:
    result = run_study(open_study, directory=tmp_path)
    assert result.reference_arm is not None
    assert set(result.reference_arm.means) == {"central-fcfs", "near", "stocked"}
    assert result.reference == result.reference_arm.name == next(iter(result.reference_arm.means))
    measured = {
        arm: sum(one.metrics["delivery_ratio"] for one in result.tuning if one.arm == arm) / 3
        for arm in result.reference_arm.means
    }
    assert result.reference_arm.means == pytest.approx(measured)
    assert max(measured, key=measured.get) == result.reference
    assert {one.seed for one in result.tuning} == {3, 4, 5}
    assert {one.seed for one in result.outcomes} == {1000, 1001, 1002}
    assert set(result.differences("delivery_ratio")) == {arm.name for arm in ARMS} - {result.reference}
    [said] = [each for each in findings(result) if each.startswith("The reference is ")]
    assert said.startswith(f"The reference is {result.reference}, the strongest of 3 arms without a forecast")
    assert "tuning seeds 3, 4, 5" in said
    assert said.replace("'", "&#39;") in result.report.read_text(encoding="utf-8")
    assert sorted(path.stem for path in tmp_path.glob("near/*.h5")) == ["1000", "1001", "1002", "3", "4", "5"]
    assert sorted(path.stem for path in tmp_path.glob("foreseeing/*.h5")) == ["1000", "1001", "1002"]
    again = run_study(open_study, directory=tmp_path)
    assert all(one.reused for one in again.runs)
    assert len(again.runs) == 3 * 3 + 4 * 3
    assert again.reference == result.reference


def test_the_runs_that_find_it_come_first_and_none_is_made_twice(open_study, tmp_path) -> None:
    plan = plan_study(open_study, directory=tmp_path)
    assert [one.task.seed for one in plan.planned[:9]] == [3, 3, 3, 4, 4, 4, 5, 5, 5]
    own = replace(open_study, study=replace(open_study.study, seeds=(4, 5, 6)))
    paths = [one.task.path for one in plan_study(own, directory=tmp_path).planned]
    assert len(paths) == len(set(paths)) == 3 * 3 + 4 * 3 - 2 * 3


def test_a_named_reference_runs_nothing_on_tuning_seeds(open_study, tmp_path) -> None:
    named = replace(open_study, study=replace(open_study.study, reference="foreseeing"))
    plan = plan_study(named, directory=tmp_path)
    assert (plan.reference, plan.contenders) == ("foreseeing", ())
    assert {one.task.seed for one in plan.planned} == {1000, 1001, 1002}


def test_one_contender_is_it_without_runs_and_none_is_a_sentence(open_study, tmp_path) -> None:
    alone = replace(open_study, study=replace(open_study.study, arms=ARMS[2:]))
    plan = plan_study(alone, directory=tmp_path)
    assert (plan.reference, len(plan.planned)) == ("stocked", 6)
    nobody = replace(open_study, study=replace(open_study.study, arms=ARMS[3:]))
    with pytest.raises(StudyError, match="no arm of the study has the forecaster 'none' or 'constant'"):
        plan_study(nobody, directory=tmp_path)


def test_contenders_are_the_arms_without_a_forecast_under_any_control_and_pregeneration() -> None:
    from qdpem.simulation.arms import resolve_arm

    arms = [resolve_arm(arm).arm for arm in (*ARMS, Arm(name="local-stock"), Arm(name="dpem"))]
    assert [arm.name for arm in contenders(arms)] == ["central-fcfs", "near", "stocked", "local-stock"]


def test_the_margin_over_the_next_is_said_with_its_interval() -> None:
    found = find({"weak": [0.5, 0.6, 0.55], "best": [0.8, 0.9, 0.86], "next": [0.7, 0.81, 0.75]})
    assert list(found.means) == ["best", "next", "weak"]
    [said] = reference_sentences(found, compared_on=(1000, 1001))
    assert said.startswith("The reference is best, the strongest of 3 arms without a forecast.")
    assert "On the tuning seeds 0, 1, 2 its mean of 'delivered' is 0.853;" in said
    assert "the next, next, has 0.753 (+0.100, 95 % interval +0." in said
    assert "too little" not in said
    close = find({"best": [0.8, 0.9, 0.86], "next": [0.9, 0.79, 0.85]})
    assert "too little to distinguish the two" in reference_sentences(close, compared_on=(1000,))[0]


def test_an_arm_that_failed_there_is_not_it_and_said() -> None:
    found = find({"broken": [0.9, None, 0.95], "whole": [0.5, 0.5, 0.5]})
    assert found.name == "whole"
    assert reference_sentences(found, compared_on=())[1].startswith("broken failed on a tuning seed")
    lost = find({"one": [None, 0.1, 0.1], "two": [0.2, None, 0.2]})
    assert lost.name == "one"
    [said] = reference_sentences(lost, compared_on=())
    assert "the strongest is unknown. one, the first of them, is the reference instead" in said


def test_choosing_and_comparing_on_the_same_seeds_is_admitted() -> None:
    found = find({"best": [0.8, 0.9, 0.86], "next": [0.7, 0.81, 0.75]})
    assert "is optimistic" in reference_sentences(found, compared_on=(2, 3))[-1]
