"""What one expects of bursts who knows their law, and those that have started."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from qdpem.arrays import Floats
from qdpem.demand.switching import expected_on_s
from qdpem.scenario.schema import Bursts

_MAX_DEVIATIONS = 8.0
_MIN_JITTER_S = 1e-9


def expected_burst_fraction(
    bursts: Bursts, bursts_s: Floats, phase_s: Floats, *, now_s: float, edges_s: Floats
) -> Floats:
    """Expected fraction of each step that the bursts of each region cover, float64 [regions, H].

    With a calendar, a burst that has started by t lasts to its known end. A burst k that has not started,
    nominally at g = phase + k period, starts at g + jitter Z, where Z is standard normal given that the start
    is after t. The length of [a, b) that it covers has the expectation, with F the distribution function of
    its start and I an integral of F,

        integral from a to b of F(x) - F(x - duration) dx = I(b) - I(a) - I(b - duration) + I(a - duration),
        I(x) = [j (y Phi(y) + phi(y)) - j (y_t Phi(y_t) + phi(y_t)) - (x - t) Phi(y_t)] / (1 - Phi(y_t))

    for x > t and 0 before, with j = jitter, y = (x - g)/j and y_t = (t - g)/j. This is exact while
    neighbouring bursts of a region cannot overlap (period well above duration + 6 jitter). Otherwise the
    covered fractions are added, and their sum may exceed 1.

    A region that switches on and off without memory follows `switching.expected_on_s`. In a cascade a region
    repeats region 0 with a delay of `lag_s` for each region between them.

    Args:
        bursts: the law.
        bursts_s: float64 [B, 3], region, start and end of all bursts.
        phase_s: float64 [regions], nominal starts with a calendar.
        now_s: present time t.
        edges_s: float64 [H + 1], of the steps.
    """
    if bursts.timing == "calendar":
        rows = [
            _calendar_fraction(bursts, _of_region(bursts_s, region), float(phase_s[region]), now_s, edges_s)
            for region in range(bursts.regions)
        ]
    else:
        rows = [
            _switching_fraction(bursts, bursts_s, region, now_s, edges_s) for region in range(bursts.regions)
        ]
    return np.array(rows)


def _of_region(bursts_s: Floats, region: int) -> Floats:
    """Start and end of the bursts of one region, float64 [B, 2]."""
    return np.asarray(bursts_s[bursts_s[:, 0] == region][:, 1:])


def _calendar_fraction(
    bursts: Bursts, own_s: Floats, phase_s: float, now_s: float, edges_s: Floats
) -> Floats:
    """Expected fraction of each step that bursts of one region with a calendar cover, float64 [H]."""
    begin_s, end_s = own_s.T
    begun = begin_s <= now_s
    # Overlapping bursts are joined in the truth. Until the next one starts, a burst is known to end after
    # its own duration only.
    end_s = np.where(end_s - bursts.duration_s <= now_s, end_s, begin_s + bursts.duration_s)
    started = np.clip(edges_s[:, None] - begin_s[begun], 0.0, (end_s - begin_s)[begun]).sum(axis=1)
    nominal_s = _unstarted(
        bursts, phase_s, now_s=now_s, until_s=float(edges_s[-1]), begin_s=begin_s[begun], end_s=end_s[begun]
    )
    by_start = _start_integral(edges_s[:, None], nominal_s, now_s, bursts.jitter_s)
    by_end = _start_integral(edges_s[:, None] - bursts.duration_s, nominal_s, now_s, bursts.jitter_s)
    covered = started + (by_start - by_end).sum(axis=1)
    return np.asarray(np.diff(covered) / np.diff(edges_s))


def _switching_fraction(
    bursts: Bursts, bursts_s: Floats, region: int, now_s: float, edges_s: Floats
) -> Floats:
    """Expected fraction of each step in which a region without a calendar is on, float64 [H]."""
    leader = 0 if bursts.timing == "cascading" else region
    # A delayed region sees region 0 as it was `lag_s` ago: part of its future is already known.
    edges_s = edges_s - (region - leader) * (bursts.lag_s or 0.0)
    on_s = expected_on_s(
        _of_region(bursts_s, leader),
        now_s,
        edges_s,
        on_s=bursts.duration_s,
        off_s=bursts.period_s - bursts.duration_s,
    )
    return np.asarray(on_s / np.diff(edges_s))


def _unstarted(
    bursts: Bursts, phase_s: float, *, now_s: float, until_s: float, begin_s: Floats, end_s: Floats
) -> Floats:
    """Nominal starts of the bursts of a region that may still start before `until_s`, float64 [K].

    Args:
        bursts: the law.
        phase_s: nominal start of burst 0.
        now_s: present time.
        until_s: end of the horizon.
        begin_s: starts of the bursts that have started, float64 [B].
        end_s: their ends, float64 [B]; joined bursts stand for several nominal starts.
    """
    period_s, reach_s = bursts.period_s, _MAX_DEVIATIONS * bursts.jitter_s
    k = np.arange(
        np.floor((now_s - reach_s - phase_s) / period_s),
        np.ceil((until_s + reach_s - phase_s) / period_s) + 1.0,
    )
    # A joined burst stands for all nominal starts from its first to its last.
    first = np.round((begin_s - phase_s) / period_s)
    last = np.round((end_s - bursts.duration_s - phase_s) / period_s)
    started = ((k[:, None] >= first) & (k[:, None] <= last)).any(axis=1)
    return np.asarray(phase_s + period_s * k[~started])


def _start_integral(x_s: Floats, nominal_s: Floats, now_s: float, jitter_s: float) -> Floats:
    """Integral up to `x_s` of the distribution function of a start that is after `now_s`, in seconds.

    Shapes broadcast. The integral is 0 for a start that is overdue with a probability below 1e-12: the
    generator drew no such burst.
    """
    # Without jitter the distribution is a step; a nanosecond keeps the formula finite.
    j = max(jitter_s, _MIN_JITTER_S)

    def integral(y: Floats) -> Floats:
        return np.asarray(y * ndtr(y) + np.exp(-0.5 * y * y) / np.sqrt(2.0 * np.pi))

    since_s = np.maximum(x_s - now_s, 0.0)
    begun = (now_s - nominal_s) / j
    left = ndtr(-begun)
    area = j * (integral((now_s + since_s - nominal_s) / j) - integral(begun)) - since_s * ndtr(begun)
    return np.asarray(np.where(left > 1e-12, area / np.maximum(left, 1e-12), 0.0))
