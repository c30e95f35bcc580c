"""Where and when demand spikes: the regions of a network and the bursts of each.

Keys of the random streams: `demand/regions` (topology seed), `demand/phase/R`, `demand/bursts/R/after`
and `demand/bursts/R/before` for region R (traffic seed); `switching` has those of bursts without a calendar.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.switching import on_spans
from qdpem.errors import Fault, ScenarioError
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import Bursts

_LLOYD_STEPS = 100
_FAR = 8.0
"""A normal draw is beyond this many standard deviations with probability 1.3e-15."""
_GRID = 1 << 14


def regions(network: Network, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """The region of every node, int64 [N] in 0..count-1, each region with at least one node.

    k-means on positions (Lloyd 1982) from a k-means++ start (Arthur and Vassilvitskii 2007) drawn from
    `generator`; regions are numbered by their least node. Raises ScenarioError when there are more
    regions than nodes.
    """
    if count > network.node_count:
        message = f"{count} regions cannot be made of {network.node_count} nodes; give at most that many"
        raise ScenarioError([Fault("demand.bursts.regions", message)])
    points = np.column_stack([network.graph.x_km, network.graph.y_km])
    label = _nearest(points, _spread(points, count, generator))
    for _ in range(_LLOYD_STEPS):
        centres = np.array([points[label == region].mean(axis=0) for region in range(count)])
        moved = _nearest(points, centres)
        if np.array_equal(moved, label):
            break
        label = moved
    _, minimum, renamed = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(minimum))[renamed], dtype=np.int64)


def covered_fraction(bursts: Bursts) -> float:
    """Long-run share of time inside a region's bursts, those that overlap counting once.

    duration_s / period_s without a calendar, and with one as long as jitter cannot make neighbours overlap;
    else 1 - mean over t of prod_k (1 - Phi((t - kP)/s) + Phi((t - kP - D)/s)).

    >>> covered_fraction(Bursts(period_s=32.0, duration_s=8.0, jitter_s=1.0))
    0.25
    """
    period_s, duration_s, jitter_s = bursts.period_s, bursts.duration_s, bursts.jitter_s
    if bursts.timing != "calendar" or duration_s + 1.5 * _FAR * jitter_s <= period_s:
        return duration_s / period_s
    from scipy.special import ndtr

    time_s = (np.arange(_GRID) + 0.5) * (period_s / _GRID)
    reach = math.ceil((duration_s + _FAR * jitter_s) / period_s) + 1
    outside = np.ones(_GRID)
    for k in range(-reach, reach + 1):
        since_s = time_s - k * period_s
        outside *= 1.0 - (ndtr(since_s / jitter_s) - ndtr((since_s - duration_s) / jitter_s))
    return float(1.0 - outside.mean())


def draw_phases(bursts: Bursts, *, seed: int) -> NDArray[np.float64]:
    """Nominal start of each region's burst 0, uniform on [0, period_s), float64 [regions]; none without a
    calendar."""
    if bursts.timing != "calendar":
        return np.zeros(0)
    draws = [stream(seed, f"demand/phase/{region}").random() for region in range(bursts.regions)]
    return bursts.period_s * np.array(draws)


def draw_bursts(
    bursts: Bursts, phase_s: NDArray[np.float64], *, start_s: float, end_s: float, seed: int
) -> NDArray[np.float64]:
    """All bursts that touch [start_s, end_s), float64 [B, 3]: region, start, end; sorted by region and start.

    With a calendar burst k of a region starts at phase + k period + jitter x z_k; z_k depends on seed, region
    and k alone. Bursts of one region that overlap are joined into one. Memoryless: each region switches on
    and off by itself (`switching`). Cascading: region 0 does, and each other bursts `lag_s` after the one
    before. A longer span adds bursts and moves none.
    """
    if bursts.timing == "calendar":
        spans_s = [
            _by_calendar(bursts, first_s, region, start_s=start_s, end_s=end_s, seed=seed)
            for region, first_s in enumerate(phase_s)
        ]
    elif bursts.timing == "memoryless":
        spans_s = [
            on_spans(bursts, name=str(region), start_s=start_s, end_s=end_s, seed=seed)
            for region in range(bursts.regions)
        ]
    else:
        spans_s = _cascade(bursts, start_s=start_s, end_s=end_s, seed=seed)
    rows = [np.column_stack([np.full(len(own), region), own]) for region, own in enumerate(spans_s)]
    return np.concatenate(rows) if rows else np.zeros((0, 3))


def _by_calendar(
    bursts: Bursts, first_s: float, region: int, *, start_s: float, end_s: float, seed: int
) -> NDArray[np.float64]:
    """Bursts of one region by its calendar, float64 [B, 2]."""
    begin_s = _starts(bursts, first_s, region, start_s=start_s, end_s=end_s, seed=seed)
    joined: list[list[float]] = []
    for begin in np.sort(begin_s).tolist():
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = begin + bursts.duration_s
        else:
            joined.append([begin, begin + bursts.duration_s])
    found = np.array(joined, dtype=np.float64).reshape(-1, 2)
    return np.asarray(found[(found[:, 0] < end_s) & (found[:, 1] > start_s)])


def _cascade(bursts: Bursts, *, start_s: float, end_s: float, seed: int) -> list[NDArray[np.float64]]:
    """Bursts of every region, float64 [B, 2] each: those of region 0, later from region to region."""
    lags_s = (bursts.lag_s or 0.0) * np.arange(bursts.regions)
    lead_s = on_spans(bursts, name="0", start_s=start_s - float(lags_s[-1]), end_s=end_s, seed=seed)
    shifted = [lead_s + lag_s for lag_s in lags_s]
    return [own[(own[:, 0] < end_s) & (own[:, 1] > start_s)] for own in shifted]


def inside(bursts_s: NDArray[np.float64], region: int, time_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the times fall inside a burst (start included, end not) of `region`, bool like `time_s`."""
    own = bursts_s[bursts_s[:, 0] == region]
    begun = np.searchsorted(own[:, 1], time_s, side="right")
    ended = np.searchsorted(own[:, 2], time_s, side="right")
    return np.asarray(begun > ended)


def _starts(
    bursts: Bursts, first_s: float, region: int, *, start_s: float, end_s: float, seed: int
) -> NDArray[np.float64]:
    """Starts of a region's bursts, for every k that a draw within `_FAR` could bring into the span."""
    margin_s = bursts.duration_s + _FAR * bursts.jitter_s
    after = max(0, math.ceil((end_s + margin_s - first_s) / bursts.period_s) + 1)
    before = max(0, math.ceil((first_s - start_s + margin_s) / bursts.period_s) + 1)
    k = np.concatenate([np.arange(after), -1 - np.arange(before)])
    later = stream(seed, f"demand/bursts/{region}/after").standard_normal(after)
    earlier = stream(seed, f"demand/bursts/{region}/before").standard_normal(before)
    return first_s + k * bursts.period_s + bursts.jitter_s * np.concatenate([later, earlier])


def _spread(points: NDArray[np.float64], count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """k-means++ centres: each next one drawn with probability in proportion to its squared distance."""
    chosen = [int(generator.integers(len(points)))]
    while len(chosen) < count:
        squared = _squared(points, points[chosen]).min(axis=1)
        total = squared.sum()
        fraction = squared / total if total > 0.0 else np.full(len(points), 1.0 / len(points))
        chosen.append(int(generator.choice(len(points), p=fraction)))
    return points[chosen]


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """The nearest centre of each point; a centre that would get none takes the worst placed point."""
    squared = _squared(points, centres)
    label = squared.argmin(axis=1)
    for region in range(len(centres)):
        if not (label == region).any():
            spare = np.bincount(label, minlength=len(centres))[label] > 1
            label[int(np.where(spare, squared[np.arange(len(points)), label], -1.0).argmax())] = region
    return np.asarray(label, dtype=np.int64)


def _squared(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2))
