"""Bursts of demand: the regions of a network and the times at which demand peaks in each.

Keys of the random streams: `demand/regions` (topology seed), `demand/phase/R`, `demand/bursts/R/after`
and `demand/bursts/R/before` for region R (traffic seed). Those of bursts without a calendar are in
`switching`.
"""

from __future__ import annotations

import math

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.switching import on_spans
from qdpem.errors import Fault, ScenarioError
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import Bursts

_LLOYD_STEPS = 100
_MAX_DEVIATIONS = 8.0
"""A normal draw exceeds this many standard deviations with probability 1.3e-15."""
_GRID = 1 << 14


def assign_regions(network: Network, count: int, generator: np.random.Generator) -> Ints:
    """The region of every node, int64 [N] in 0..count-1, each region with at least one node.

    k-means on positions (Lloyd 1982), with a k-means++ start (Arthur and Vassilvitskii 2007) drawn from
    `generator`; regions are numbered by their first node. Raises ScenarioError when there are more regions
    than nodes.
    """
    if count > network.node_count:
        message = f"{count} regions cannot be made of {network.node_count} nodes; give at most that many"
        raise ScenarioError([Fault("demand.bursts.regions", message)])
    # SciPy's kmeans2 draws its start differently and can leave a region empty: its regions would differ.
    points = np.column_stack([network.graph.x_km, network.graph.y_km])
    label = _assign(points, _initial_centres(points, count, generator))
    for _ in range(_LLOYD_STEPS):
        # `_assign` leaves no region without points, so no mean is over an empty set.
        centres = np.array([points[label == region].mean(axis=0) for region in range(count)])
        new_label = _assign(points, centres)
        if np.array_equal(new_label, label):
            break
        label = new_label
    # Labels follow the random order of the centres; numbering by first node makes them independent of it.
    _, first_node, region = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first_node))[region], dtype=np.int64)


def burst_time_fraction(bursts: Bursts) -> float:
    """Long-run fraction of time inside a region's bursts; bursts that overlap count once.

    duration_s / period_s without a calendar, and with one if jitter cannot make neighbours overlap; else
    1 - mean over t of prod_k (1 - Phi((t - kP)/s) + Phi((t - kP - D)/s)).

    >>> burst_time_fraction(Bursts(period_s=32.0, duration_s=8.0, jitter_s=1.0))
    0.25
    """
    period_s, duration_s, jitter_s = bursts.period_s, bursts.duration_s, bursts.jitter_s
    if bursts.timing != "calendar" or duration_s + 1.5 * _MAX_DEVIATIONS * jitter_s <= period_s:
        return duration_s / period_s
    # Neighbouring bursts can overlap: integrate numerically over one period with the midpoint rule.
    from scipy.special import ndtr

    time_s = (np.arange(_GRID) + 0.5) * (period_s / _GRID)
    periods = math.ceil((duration_s + _MAX_DEVIATIONS * jitter_s) / period_s) + 1
    outside = np.ones(_GRID)
    for k in range(-periods, periods + 1):
        since_start_s = time_s - k * period_s
        outside *= 1.0 - (ndtr(since_start_s / jitter_s) - ndtr((since_start_s - duration_s) / jitter_s))
    return float(1.0 - outside.mean())


def draw_phases(bursts: Bursts, *, seed: int) -> Floats:
    """Nominal start of each region's burst 0, uniform on [0, period_s), float64 [regions].

    Empty without a calendar.
    """
    if bursts.timing != "calendar":
        return np.zeros(0)
    draws = [stream(seed, f"demand/phase/{region}").random() for region in range(bursts.regions)]
    return bursts.period_s * np.array(draws)


def draw_bursts(bursts: Bursts, phase_s: Floats, *, start_s: float, end_s: float, seed: int) -> Floats:
    """All bursts that touch [start_s, end_s), float64 [B, 3]: region, start, end; sorted by region and start.

    With a calendar, burst k of a region starts at phase + k period + jitter x z_k, where z_k depends only on
    seed, region and k. Bursts of one region that overlap are merged. Memoryless: each region switches on and
    off by itself (`switching`). Cascading: region 0 does, and each other region bursts `lag_s` after the one
    before. A longer span adds bursts and moves none.

    Args:
        bursts: the settings.
        phase_s: float64 [regions] of `draw_phases`.
        start_s: start of the span.
        end_s: end of the span.
        seed: the traffic seed.
    """
    if bursts.timing == "calendar":
        spans_s = [
            _calendar_bursts(bursts, first_s, region, start_s=start_s, end_s=end_s, seed=seed)
            for region, first_s in enumerate(phase_s)
        ]
    elif bursts.timing == "memoryless":
        spans_s = [
            _memoryless_bursts(bursts, region, start_s=start_s, end_s=end_s, seed=seed)
            for region in range(bursts.regions)
        ]
    else:
        spans_s = _cascading_bursts(bursts, start_s=start_s, end_s=end_s, seed=seed)
    rows = [np.column_stack([np.full(len(own), region), own]) for region, own in enumerate(spans_s)]
    return np.concatenate(rows) if rows else np.zeros((0, 3))


def _calendar_bursts(
    bursts: Bursts, first_s: float, region: int, *, start_s: float, end_s: float, seed: int
) -> Floats:
    """Merged bursts of one region with a calendar, float64 [B, 2]."""
    starts_s = _burst_starts(bursts, first_s, region, start_s=start_s, end_s=end_s, seed=seed)
    merged: list[list[float]] = []
    # Jitter can change the order of bursts, so they are sorted before overlapping ones are merged.
    for begin_s in np.sort(starts_s).tolist():
        if merged and begin_s <= merged[-1][1]:
            merged[-1][1] = begin_s + bursts.duration_s
        else:
            merged.append([begin_s, begin_s + bursts.duration_s])
    spans_s = np.array(merged, dtype=np.float64).reshape(-1, 2)
    return np.asarray(spans_s[(spans_s[:, 0] < end_s) & (spans_s[:, 1] > start_s)])


def _cascading_bursts(bursts: Bursts, *, start_s: float, end_s: float, seed: int) -> list[Floats]:
    """Bursts of every region, float64 [B, 2] each: those of region 0, delayed more from region to region."""
    lags_s = (bursts.lag_s or 0.0) * np.arange(bursts.regions)
    # The last region repeats region 0 with the largest lag, so region 0 is drawn from that much earlier.
    first_s = _memoryless_bursts(bursts, 0, start_s=start_s - float(lags_s[-1]), end_s=end_s, seed=seed)
    delayed = [first_s + lag_s for lag_s in lags_s]
    return [spans_s[(spans_s[:, 0] < end_s) & (spans_s[:, 1] > start_s)] for spans_s in delayed]


def _memoryless_bursts(bursts: Bursts, region: int, *, start_s: float, end_s: float, seed: int) -> Floats:
    """Bursts of a region that switches on and off by itself, float64 [B, 2]."""
    return on_spans(
        on_s=bursts.duration_s,
        off_s=bursts.period_s - bursts.duration_s,
        name=str(region),
        start_s=start_s,
        end_s=end_s,
        seed=seed,
    )


def in_burst(bursts_s: Floats, region: int, time_s: Floats) -> Flags:
    """Whether each time falls in a burst of `region` (start included, end not), bool like `time_s`."""
    own = bursts_s[bursts_s[:, 0] == region]
    started = np.searchsorted(own[:, 1], time_s, side="right")
    ended = np.searchsorted(own[:, 2], time_s, side="right")
    return np.asarray(started > ended)


def _burst_starts(
    bursts: Bursts, first_s: float, region: int, *, start_s: float, end_s: float, seed: int
) -> Floats:
    """Starts of the bursts k that a draw within `_MAX_DEVIATIONS` could move into the span."""
    margin_s = bursts.duration_s + _MAX_DEVIATIONS * bursts.jitter_s
    after = max(0, math.ceil((end_s + margin_s - first_s) / bursts.period_s) + 1)
    before = max(0, math.ceil((first_s - start_s + margin_s) / bursts.period_s) + 1)
    # One stream per direction: a longer span appends draws to each and shifts none.
    k = np.concatenate([np.arange(after), -1 - np.arange(before)])
    later = stream(seed, f"demand/bursts/{region}/after").standard_normal(after)
    earlier = stream(seed, f"demand/bursts/{region}/before").standard_normal(before)
    return first_s + k * bursts.period_s + bursts.jitter_s * np.concatenate([later, earlier])


def _initial_centres(points: Floats, count: int, generator: np.random.Generator) -> Floats:
    """k-means++ centres: each is drawn in proportion to its squared distance to the nearest earlier one."""
    chosen = [int(generator.integers(len(points)))]
    while len(chosen) < count:
        squared = _squared_distance(points, points[chosen]).min(axis=1)
        total = squared.sum()
        # All points may coincide with chosen centres; every point is then equally likely.
        probability = squared / total if total > 0.0 else np.full(len(points), 1.0 / len(points))
        chosen.append(int(generator.choice(len(points), p=probability)))
    return points[chosen]


def _assign(points: Floats, centres: Floats) -> Ints:
    """The nearest centre of each point; a centre without points takes the point farthest from its own."""
    squared = _squared_distance(points, centres)
    label = squared.argmin(axis=1)
    for region in range(len(centres)):
        if not (label == region).any():
            # Only a region of two or more points may lose one, or the repair would empty it.
            not_alone = np.bincount(label, minlength=len(centres))[label] > 1
            label[int(np.where(not_alone, squared[np.arange(len(points)), label], -1.0).argmax())] = region
    return np.asarray(label, dtype=np.int64)


def _squared_distance(points: Floats, centres: Floats) -> Floats:
    return np.asarray(((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2))
