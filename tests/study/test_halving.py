"""How a budget is spent, and where candidates come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdpem.errors import StudyError
from qdpem.policy.tuning import Choices, Range
from qdpem.study.tuning.halving import Rung, draw_candidates, plan_halving

SPACE = {
    "max_unloaded_delay": Range(0.2, 1.2),
    "step_s": Range(1e-3, 1.0, True),
    "base": Range(0, 4),
    "rule": Choices("ab"),
}
DEFAULTS = {"max_unloaded_delay": 0.8, "step_s": 0.1, "base": 1, "rule": "a"}


def test_the_plan_of_the_default_budget() -> None:
    """Worked out by hand: 12 x 2 + 6 x 2 + 3 x 4 = 48, and 2 x 8 held out."""
    plan = plan_halving(64, seeds=100)
    assert plan.rungs == (Rung(12, 2), Rung(6, 4), Rung(3, 8))
    assert (plan.held_out, plan.search_runs, plan.runs) == (8, 48, 64)


@given(budget=st.integers(8, 3000), seeds=st.integers(4, 100), maximum=st.none() | st.integers(2, 200))
def test_every_plan_keeps_to_its_budget_and_seeds(budget: int, seeds: int, maximum: int | None) -> None:
    plan = plan_halving(budget, seeds=seeds, maximum=maximum)
    assert plan.runs <= budget
    assert plan.held_out >= 2
    assert plan.rungs[-1].seeds + plan.held_out <= seeds
    counts = [rung.candidates for rung in plan.rungs]
    assert counts == sorted(counts, reverse=True)
    assert 2 <= counts[-1] <= counts[0] <= (maximum or budget)
    sizes = [rung.seeds for rung in plan.rungs]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 2
    # What is left would not give the last rung one more seed, unless seeds are used up.
    left = budget - plan.runs
    assert left < counts[-1] or sizes[-1] + plan.held_out == seeds


@pytest.mark.parametrize(
    ("budget", "seeds", "maximum", "words"),
    [
        (7, 100, None, "a budget of 7 runs is too small; it must be 8 or more"),
        (64, 3, None, "3 seeds are too few to tune on; give 4 or more"),
        (64, 100, 1, "1 candidates are too few to choose from; tuning needs two or more"),
    ],
)
def test_too_little_is_a_sentence(budget: int, seeds: int, maximum: int | None, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        plan_halving(budget, seeds=seeds, maximum=maximum)


def test_candidates_lie_in_the_space_the_defaults_first_and_more_are_the_same_and_some() -> None:
    few = draw_candidates(SPACE, known=[DEFAULTS], count=20, key="here")
    many = draw_candidates(SPACE, known=[DEFAULTS], count=100, key="here")
    assert few[0] == DEFAULTS
    assert many[:20] == few
    assert draw_candidates(SPACE, known=[DEFAULTS], count=20, key="there")[1:] != few[1:]
    for values in many:
        assert 0.2 <= values["max_unloaded_delay"] <= 1.2
        assert 1e-3 <= values["step_s"] <= 1.0
        assert values["base"] in range(5)
        assert values["rule"] in "ab"
    assert all(values not in many[:place] for place, values in enumerate(many))


def test_candidates_fill_the_space_evenly() -> None:
    """A Sobol sequence puts the same number of its first 2^k points into every dyadic part, to within the
    one point that the defaults displace."""
    drawn = draw_candidates(SPACE, known=[DEFAULTS], count=129, key="here")[1:]
    for quarter in range(4):
        low, high = 0.2 + 0.25 * quarter, 0.2 + 0.25 * (quarter + 1)
        assert abs(sum(low <= one["max_unloaded_delay"] < high for one in drawn) - 32) <= 1
        log_low, log_high = 10 ** (-3 + 0.75 * quarter), 10 ** (-3 + 0.75 * (quarter + 1))
        assert abs(sum(log_low <= one["step_s"] < log_high for one in drawn) - 32) <= 1
    for base in range(5):
        assert abs(sum(one["base"] == base for one in drawn) - 128 / 5) <= 2


def test_a_small_space_gives_all_of_itself_and_no_point_that_is_refused() -> None:
    found = draw_candidates({"base": Range(0, 4)}, known=[{"base": 1}], count=50, key="here")
    assert sorted(values["base"] for values in found) == [0, 1, 2, 3, 4]
    some = draw_candidates(
        {"base": Range(0, 4)}, known=[{"base": 1}, {"base": 3}, {"base": 1}], count=3, key="here"
    )
    assert [values["base"] for values in some[:2]] == [1, 3]
    assert len(some) == 3
    odd = draw_candidates(
        {"base": Range(0, 4)},
        known=[{"base": 1}],
        count=50,
        key="here",
        allowed=lambda values: values["base"] % 2 == 1,
    )
    assert sorted(values["base"] for values in odd) == [1, 3]
