"""Statistics against scipy, statsmodels and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from qdpem.errors import StudyError
from qdpem.study.analysis import statistics


def ratio_of_means(samples):
    return samples[..., 0].mean(axis=-1) / samples[..., 1].mean(axis=-1)


def test_bca_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=30)
    ours = statistics.bootstrap_interval(
        values[:, None], statistic=statistics.mean_of, key="x", resamples=40_000
    )
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=40_000, rng=np.random.default_rng(2)
    ).confidence_interval
    # Two Monte-Carlo answers of 40,000 resamples: each bound has a standard error of about 1 % of the width.
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_bca_ratio_of_means_agrees_with_scipy_paired() -> None:
    source = np.random.default_rng(3)
    both = source.gamma(4.0, size=(25, 1)) + source.gamma(2.0, size=(25, 2))
    ours = statistics.paired_difference(both[:, 0], reference=both[:, 1], key="x").ratio

    def ratio(first, second, axis=-1):
        return first.mean(axis=axis) / second.mean(axis=axis)

    theirs = stats.bootstrap(
        (both[:, 0], both[:, 1]), ratio, paired=True, method="BCa", rng=np.random.default_rng(4)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.estimate == pytest.approx(ratio_of_means(both))
    assert ours.low == pytest.approx(theirs.low, abs=0.08 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.08 * width)


def test_bca_covers_the_mean_of_normal_data() -> None:
    # 400 trials of a nominal 95 % interval with n = 30: true coverage is about 0.935, the band below is
    # +-4 standard errors wide, so a right implementation fails less than once in ten thousand.
    source = np.random.default_rng(5)
    hits = 0
    for trial in range(400):
        sample = source.normal(size=(30, 1))
        found = statistics.bootstrap_interval(
            sample, statistic=statistics.mean_of, key=str(trial), resamples=999
        )
        hits += found.low <= 0.0 <= found.high
    assert 0.885 <= hits / 400 <= 0.985


def test_student_interval_and_p_value_agree_with_scipy() -> None:
    source = np.random.default_rng(6)
    values, reference = source.normal(1.0, 1.0, 8), source.normal(0.5, 1.0, 8)
    ours = statistics.paired_difference(values, reference=reference, key="x")
    theirs = stats.ttest_rel(values, reference)
    bounds = theirs.confidence_interval(0.95)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.student_low, ours.student_high) == pytest.approx((bounds.low, bounds.high), rel=1e-9)


def test_equivalence_agrees_with_statsmodels() -> None:
    from statsmodels.stats.weightstats import ttost_paired

    source = np.random.default_rng(7)
    reference = source.normal(1.0, 0.1, 10)
    values = reference + source.normal(0.005, 0.01, 10)
    margin = 0.03 * reference.mean()
    theirs, _, _ = ttost_paired(values, reference, -margin, margin)
    ours = statistics.paired_difference(values, reference=reference, key="x")
    assert ours.equivalence_p == pytest.approx(theirs, rel=1e-9)
    assert ours.equal == (theirs < 0.05)


def test_holm_agrees_with_statsmodels() -> None:
    p_values = {"a": 0.012, "b": 0.2, "c": 0.03, "d": 0.0004}
    expected = multipletests(list(p_values.values()), method="holm")[1]
    assert list(statistics.holm(p_values).values()) == pytest.approx(list(expected))


def test_two_way_anova_equals_the_closed_form_of_a_balanced_table() -> None:
    # Randomised blocks, 3 treatments x 4 blocks: SS from row and column means.
    table = np.array([[9.0, 12.0, 10.0, 14.0], [8.0, 11.0, 11.0, 12.0], [4.0, 7.0, 6.0, 10.0]])
    grand = table.mean()
    arm_squares = 4 * np.sum((table.mean(axis=1) - grand) ** 2)
    seed_squares = 3 * np.sum((table.mean(axis=0) - grand) ** 2)
    residual = np.sum((table - grand) ** 2) - arm_squares - seed_squares
    f_value = (arm_squares / 2) / (residual / 6)
    arm, seed = statistics.two_way_anova(dict(zip("abc", table, strict=True)))
    assert (arm.factor, arm.degrees, seed.factor, seed.degrees) == ("arm", 2, "seed", 3)
    assert arm.sum_squares == pytest.approx(arm_squares)
    assert seed.sum_squares == pytest.approx(seed_squares)
    assert arm.f_value == pytest.approx(f_value)
    assert arm.p_value == pytest.approx(stats.f.sf(f_value, 2, 6))
    assert arm.partial_eta_squared == pytest.approx(arm_squares / (arm_squares + residual))


def test_pairing_removes_what_seeds_share() -> None:
    shared = np.array([0.1, 0.5, 0.9, 0.3, 0.7])
    found = statistics.paired_difference(
        shared + np.array([0.01, 0.02, 0.01, 0.02, 0.01]), reference=shared, key="x"
    )
    assert found.paired_spread < 0.02 * found.unpaired_spread
    assert found.clear


def test_bootstrap_alone_is_not_enough_for_a_clear_difference() -> None:
    # t(4) interval of these gaps reaches below zero while every bootstrap mean is above it.
    gaps = np.array([0.001, 0.002, 0.001, 0.03, 0.001])
    found = statistics.paired_difference(1.0 + gaps, reference=np.ones(5), key="x")
    assert found.difference.low > 0.0 > found.student_low
    assert not found.clear


def test_seeds_without_a_value_are_left_out() -> None:
    values = np.array([1.0, 2.0, math.nan, 4.0])
    found = statistics.paired_difference(values, reference=np.array([0.0, 1.0, 2.0, math.nan]), key="x")
    assert found.difference.seeds == 2
    assert found.difference.estimate == pytest.approx(1.0)
    assert statistics.mean_interval(values, key="x").seeds == 3


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5, 0.5]])
def test_degenerate_samples_give_no_false_width(values: list[float]) -> None:
    found = statistics.mean_interval(np.array(values), key="x")
    assert found.seeds == len(values)
    assert not found.low < found.high


def test_a_reference_that_may_be_zero_gives_a_ratio_without_bounds() -> None:
    found = statistics.paired_difference(
        np.array([1.0, 2.0, 3.0]), reference=np.array([0.0, 0.0, 2.0]), key="x"
    )
    assert found.ratio.estimate == pytest.approx(3.0)
    assert math.isnan(found.ratio.low)
    assert found.difference.low > 0.0


def test_anova_of_too_little_is_empty() -> None:
    assert statistics.two_way_anova({}) == ()
    assert statistics.two_way_anova({"a": np.array([1.0, 2.0])}) == ()
    assert statistics.two_way_anova({"a": np.ones(3), "b": np.ones(3)}) == ()


def test_unequal_seeds_cannot_be_paired() -> None:
    with pytest.raises(StudyError, match="3 seeds cannot be paired with 2"):
        statistics.paired_difference(np.ones(3), reference=np.ones(2), key="x")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=3, max_size=12), st.floats(-5, 5))
def test_shifting_an_arm_shifts_its_difference(values: list[float], shift: float) -> None:
    sample = np.array(values)
    found = statistics.paired_difference(sample + shift, reference=sample, key="x").difference
    assert found.estimate == pytest.approx(shift, abs=1e-9)
    assert found.low == pytest.approx(shift, abs=1e-9)
    again = statistics.paired_difference(sample + shift, reference=sample, key="x").difference
    assert again == found
