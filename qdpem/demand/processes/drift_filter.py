"""What one expects of starts whose jitter accumulates, who knows their law and the last one that came."""

from __future__ import annotations

import math

import numpy as np

from qdpem.arrays import Floats

_MIN_JITTER_S = 1e-9


def expected_drifting_starts(
    since_s: Floats, ahead_s: Floats, *, period_s: Floats, jitter_s: float, skipped_fraction: float
) -> Floats:
    """Expected starts of each pair of nodes in each step, float64 [E, H].

    Start j after the last one seen is a sum of j gaps, each normal of mean T and deviation J. Nobody knows
    how many starts m were skipped since: with a silence of s and the fraction skipped q,

        P(m) ~ q^m P(S_m <= s) P(S_m + gap > s | S_m <= s).

    The next start is then normal given that it comes after now, and those that follow add one gap each. Sums
    of a gap and a truncated normal are taken as normal with their mean and variance. Gaps count as positive.

    Args:
        since_s: float64 [E], seconds since the last start seen.
        ahead_s: float64 [H + 1], edges of the steps in seconds from now, none below 0.
        period_s: float64 [E], the mean gap T.
        jitter_s: its deviation J.
        skipped_fraction: fraction of starts that do not come.
    """
    from scipy.special import log_ndtr, ndtr

    jitter_s = max(jitter_s, _MIN_JITTER_S)
    now_s, gap_s = since_s[:, None], period_s[:, None]
    # The k-th start can be skipped only before now; without skipping there is no doubt about m.
    most = math.ceil(float((since_s / period_s).max(initial=0.0))) + 1 if skipped_fraction > 0.0 else 0
    m = np.arange(most + 1)
    # [E, M]: the last start that was skipped, if any, came before now.
    log_came, last_s, last_variance = _below(m * gap_s, jitter_s * np.sqrt(np.maximum(m, 1e-18)), now_s)
    next_s, next_deviation_s = last_s + gap_s, np.sqrt(last_variance + jitter_s**2)
    log_left = log_ndtr((next_s - now_s) / next_deviation_s)
    log_weight = m * math.log(max(skipped_fraction, 1e-300)) + log_came + log_left
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)

    edges_s = now_s[..., None] + ahead_s
    standard = (edges_s - next_s[..., None]) / next_deviation_s[..., None]
    # 1 - P(after x) / P(after now), in logarithms, so that an overdue start is imminent and not impossible.
    total = -np.expm1(log_ndtr(-standard) - log_left[..., None])
    after_s, after_variance = _mean_above(next_s, next_deviation_s, now_s)
    horizon_s = float(ahead_s[-1])
    periods = horizon_s / float(period_s.min(initial=math.inf))
    spread = 4.0 * jitter_s / float(period_s.min(initial=math.inf))
    for later in range(1, 2 + math.ceil(periods + spread * math.sqrt(periods + 1.0))):
        mean_s = after_s + later * gap_s
        deviation_s = np.sqrt(after_variance + later * jitter_s**2)
        total += ndtr((edges_s - mean_s[..., None]) / deviation_s[..., None])
    count = (weight[..., None] * np.diff(total, axis=-1)).sum(axis=1)
    return np.asarray((1.0 - skipped_fraction) * count)


def _below(mean: Floats, deviation: Floats, limit: Floats) -> tuple[Floats, Floats, Floats]:
    """Logarithm of the probability that a normal is at most `limit`; its mean and variance if it is."""
    from scipy.special import log_ndtr

    standard = (limit - mean) / deviation
    log_probability = log_ndtr(standard)
    ratio = np.exp(-0.5 * standard**2 - log_probability) / math.sqrt(2.0 * math.pi)
    variance = deviation**2 * np.maximum(1.0 - ratio * (standard + ratio), 0.0)
    return log_probability, mean - deviation * ratio, variance


def _mean_above(mean: Floats, deviation: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of a normal that is above `limit`."""
    _, below, variance = _below(-mean, deviation, -limit)
    return -below, variance
