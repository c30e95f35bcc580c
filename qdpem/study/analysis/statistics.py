"""Statistics of paired seeds: intervals, paired differences, equivalence, analysis of variance.

The unit is a seed. On a seed every arm runs on the same network with the same requests, so arms are compared
seed by seed. With few seeds every interval here is rough, and reports state so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import StudyError
from qdpem.rng import stream

Statistic = Callable[[Floats], Floats]

CONFIDENCE = 0.95
RESAMPLES = 9999
EQUIVALENCE_MARGIN = 0.03
"""Arms count as equal if they differ by less than this fraction of the reference (two one-sided tests)."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, its two-sided bounds (NaN where the data give none) and the number of seeds."""

    estimate: float
    low: float
    high: float
    seeds: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the bounds; False without bounds."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Arm minus reference of one metric, seed by seed.

    `difference` is the mean with its BCa interval. `student_low` and `student_high` bound the paired t
    interval, which is wider and safer with few seeds. `ratio` is the ratio of the means. `p_value` is that of
    the two-sided paired t test. `paired_spread` and `unpaired_spread` are the standard errors of the
    difference with and without the pairing. `equivalence_p` is the larger p of two one-sided tests at +-3 %
    of the reference's mean.
    """

    difference: Interval
    student_low: float
    student_high: float
    ratio: Interval
    p_value: float
    paired_spread: float
    unpaired_spread: float
    equivalence_p: float

    @property
    def clear(self) -> bool:
        """Whether both intervals exclude zero; the bootstrap interval is too narrow with few seeds."""
        return self.difference.excludes_zero and (self.student_low > 0.0 or self.student_high < 0.0)

    @property
    def equal(self) -> bool:
        """Whether arm and reference are equal to within +-3 % of the reference, at the 5 % level."""
        return self.equivalence_p < 1.0 - CONFIDENCE


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One factor of an analysis of variance; `partial_eta_squared` = SS / (SS + SS of the residual)."""

    factor: str
    sum_squares: float
    degrees: int
    f_value: float
    p_value: float
    partial_eta_squared: float


def bootstrap_interval(
    samples: Floats,
    *,
    statistic: Statistic,
    key: str,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """BCa bootstrap interval of `statistic` over seeds (Efron 1987; Efron and Tibshirani 1993, section 14.3).

    Bounds are NaN with fewer than two rows and where a resample has no finite statistic. They equal the
    estimate where resamples do not vary.

    Args:
        samples: float64 [n, c], one row per seed; rows are resampled whole, so columns stay paired.
        statistic: maps [..., n, c] to [...].
        key: names the random stream, so that the same data give the same interval.
        confidence: two-sided.
        resamples: number of bootstrap resamples.

    >>> interval = bootstrap_interval(np.arange(20.0)[:, None], statistic=mean_of, key="example")
    >>> interval.low < interval.estimate == 9.5 < interval.high
    True
    """
    count = len(samples)
    estimate = float(statistic(samples)) if count else math.nan
    if count < 2 or not math.isfinite(estimate):
        return Interval(estimate=estimate, low=math.nan, high=math.nan, seeds=count)
    picks = stream(0, f"bootstrap/{key}").integers(0, count, size=(resamples, count))
    replicates = np.sort(statistic(samples[picks]))
    if not np.isfinite(replicates).all():
        return Interval(estimate=estimate, low=math.nan, high=math.nan, seeds=count)
    left_out = np.array([statistic(np.delete(samples, row, axis=0)) for row in range(count)])
    quantiles = _bca_quantiles(estimate, replicates, left_out, confidence)
    if quantiles is None:
        return Interval(estimate=estimate, low=estimate, high=estimate, seeds=count)
    low, high = np.quantile(replicates, quantiles)
    return Interval(estimate=estimate, low=float(low), high=float(high), seeds=count)


def _bca_quantiles(
    estimate: float, replicates: Floats, left_out: Floats, confidence: float
) -> tuple[float, float] | None:
    """The two quantile levels, corrected for bias and acceleration; None when replicates do not vary."""
    from scipy.special import ndtr, ndtri

    if replicates[0] == replicates[-1]:
        return None
    # Replicates equal to the estimate count half: means of few seeds have many ties.
    ties = 0.5 * (np.mean(replicates < estimate) + np.mean(replicates <= estimate))
    # The normal quantile is infinite at 0 and 1.
    smallest = 0.5 / len(replicates)
    bias = ndtri(np.clip(ties, smallest, 1.0 - smallest))
    acceleration = _acceleration(left_out)
    tail = 0.5 * (1.0 - confidence)

    def level(normal: float) -> float:
        shifted = bias + normal
        return float(ndtr(bias + shifted / (1.0 - acceleration * shifted)))

    return level(ndtri(tail)), level(ndtri(1.0 - tail))


def _acceleration(left_out: Floats) -> float:
    """From the jackknife: sum d^3 / (6 (sum d^2)^1.5), d in units of its largest; 0 when all d are 0."""
    deviation = left_out.mean() - left_out
    largest = float(np.abs(deviation).max())
    # Negated, so that NaN gives 0 too.
    if not (0.0 < largest < math.inf):
        return 0.0
    # Scaled, so that cubes neither overflow nor underflow.
    deviation = deviation / largest
    return float(np.sum(deviation**3) / (6.0 * np.sum(deviation**2) ** 1.5))


def mean_of(samples: Floats) -> Floats:
    """Mean over rows of the only column: [..., n, 1] -> [...]."""
    return np.asarray(samples[..., 0].mean(axis=-1))


def mean_interval(values: Floats, *, key: str) -> Interval:
    """Mean over seeds with its 95 % BCa interval; seeds whose value is NaN are left out."""
    finite = values[np.isfinite(values)]
    return bootstrap_interval(finite[:, None], statistic=mean_of, key=key)


def paired_difference(values: Floats, *, reference: Floats, key: str) -> PairedDifference:
    """Compare an arm with the reference: float64 [n] each, in the same order of seeds.

    Seeds at which either is NaN are left out. `key` names the random stream. Raises StudyError when the
    lengths differ.
    """
    if len(values) != len(reference):
        raise StudyError(f"{len(values)} seeds cannot be paired with {len(reference)}; they must be the same")
    finite = np.isfinite(values) & np.isfinite(reference)
    both = np.stack([values[finite], reference[finite]], axis=1)
    gaps = both[:, 0] - both[:, 1]
    low, high, p_value = _student(gaps)
    scale = float(both[:, 1].mean()) if len(both) else math.nan
    return PairedDifference(
        difference=bootstrap_interval(gaps[:, None], statistic=mean_of, key=key),
        student_low=low,
        student_high=high,
        ratio=bootstrap_interval(both, statistic=_ratio_of_means, key=key),
        p_value=p_value,
        paired_spread=_standard_error(gaps),
        unpaired_spread=math.hypot(_standard_error(both[:, 0]), _standard_error(both[:, 1])),
        equivalence_p=_equivalence(gaps, margin=EQUIVALENCE_MARGIN * abs(scale)),
    )


def _ratio_of_means(samples: Floats) -> Floats:
    means = samples.mean(axis=-2)
    safe = np.where(means[..., 1] == 0.0, np.nan, means[..., 1])
    # A ratio that overflows is infinite, and the interval is then NaN.
    with np.errstate(over="ignore"):
        return np.asarray(means[..., 0] / safe)


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _student(gaps: Floats) -> tuple[float, float, float]:
    """The two-sided 95 % t interval of the mean, and the p-value of mean = 0."""
    from scipy.special import stdtr, stdtrit

    if len(gaps) < 2:
        return math.nan, math.nan, math.nan
    mean, error, freedom = float(gaps.mean()), _standard_error(gaps), len(gaps) - 1
    # Without spread the t statistic is infinite or 0/0, so the mean decides.
    if error == 0.0:
        return mean, mean, 1.0 if mean == 0.0 else 0.0
    reach = float(stdtrit(freedom, 0.5 * (1.0 + CONFIDENCE))) * error
    return mean - reach, mean + reach, 2.0 * float(stdtr(freedom, -abs(mean) / error))


def _equivalence(gaps: Floats, *, margin: float) -> float:
    """Two one-sided tests (Schuirmann 1987): the larger p of mean > -margin and mean < margin."""
    from scipy.special import stdtr

    if len(gaps) < 2 or not math.isfinite(margin):
        return math.nan
    mean, error = float(gaps.mean()), _standard_error(gaps)
    if error == 0.0:
        return 0.0 if abs(mean) < margin or mean == 0.0 else 1.0
    return float(stdtr(len(gaps) - 1, -(margin - abs(mean)) / error))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (Holm 1979); NaN stays NaN.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    known = sorted((name for name in p_values if math.isfinite(p_values[name])), key=lambda n: p_values[n])
    adjusted = dict.fromkeys(p_values, math.nan)
    # Step-down: along the order an adjusted p-value is no smaller than the one before.
    running_max = 0.0
    for rank, name in enumerate(known):
        running_max = max(running_max, min(1.0, (len(known) - rank) * p_values[name]))
        adjusted[name] = running_max
    return adjusted


def two_way_anova(scores: Mapping[str, Floats]) -> tuple[Effect, ...]:
    """Analysis of variance of one metric by arm and seed (as block), without interaction.

    `scores`: arm -> float64 [n], in the same order of seeds. Seeds with a NaN anywhere are left out. Empty
    with fewer than two arms or seeds, and when nothing varies.
    """
    if not scores:
        return ()
    table = np.stack([np.asarray(values, dtype=np.float64) for values in scores.values()])
    table = table[:, np.isfinite(table).all(axis=0)]
    if min(table.shape) < 2 or np.ptp(table) == 0.0:
        return ()
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    arms, seeds = np.indices(table.shape)
    frame = pd.DataFrame({"value": table.ravel(), "arm": arms.ravel(), "seed": seeds.ravel()})
    analysis = anova_lm(ols("value ~ C(arm) + C(seed)", data=frame).fit(), typ=2)
    residual = float(analysis.loc["Residual", "sum_sq"])
    return tuple(
        _effect(name, analysis.loc[f"C({name})"].to_dict(), residual=residual) for name in ("arm", "seed")
    )


def _effect(name: str, row: Mapping[str, float], *, residual: float) -> Effect:
    explained = float(row["sum_sq"])
    total = explained + residual
    return Effect(
        factor=name,
        sum_squares=explained,
        degrees=int(row["df"]),
        f_value=float(row["F"]),
        p_value=float(row["PR(>F)"]),
        partial_eta_squared=explained / total if total > 0.0 else math.nan,
    )
