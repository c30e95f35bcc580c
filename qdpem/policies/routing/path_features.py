"""The expected delay of every path and plan between two nodes, from the map and the backlog of its nodes.

Both sources feed a link e = (u, v), at r_u = g_u eta_e and r_v = g_v eta_e pairs/s. With work ahead that
occupies u until T_u and v until T_v, the n-th pair of the link is expected at the time t at which

    r_u max(t - T_u, 0) + r_v max(t - T_v, 0) = n,

that is the minimum of T_u + n/r_u, T_v + n/r_v and (n + r_u T_u + r_v T_v) / (r_u + r_v). A link that
attempts by itself, at rate r, first works off the pairs ahead on it, which are at most those ahead at either
end: min(T_u, T_v) + n/r. A swap waits until its repeater has refilled a token for it and for the swaps ahead.

A delivery needs all links and all tokens. The root of the summed squares approximates the expected maximum of
independent exponential times, within 10 % for up to 8 of equal mean (harmonic number against square root).
Three message trips over the path are added: reservation, grant, correction. A hop that a stocked pair
replaces is ready at once.

Work: O(K x plans x hops) array elements for each request, about 0.1 ms. Features are computed once for each
pair of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats
from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policies.routing.backlog import Backlog
from qdpem.policy.interface import Context

_MESSAGE_TRIPS = 3.0
_PLANS = MAX_ROUNDS + 1
_CACHED_DETOURS = 1024
_CACHED_PAIRS = 8


class _SourceTimes(NamedTuple):
    """What `pairs` pairs take from idle sources; of the hops that are not fed, the wait in any backlog.

    `fresh_pairs`, `first_s`, `second_s` [3, K, H]: fresh pairs, and seconds in which one end makes them.
    `both_hz` [K, H]: rates of both ends, 1 where they are 0. `is_fed` [K, H]: links with a rate. `unfed_s`
    [K, H]: a link without a rate never delivers, a stocked pair or padding takes no time.
    """

    fresh_pairs: Floats
    both_hz: Floats
    first_s: Floats
    second_s: Floats
    is_fed: Flags
    unfed_s: Floats


class Waits(NamedTuple):
    """Expected waits: `link_s` [3, K, H] of links; `squared_token_s2` [K], squares summed over repeaters."""

    link_s: Floats
    squared_token_s2: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class PathFeatures:
    """The constant features of K paths x 3 plans between two nodes; H is the largest number of hops, padded.

    The plans have 0, 1 and 2 rounds of distillation on every link. `fresh_pairs` [3, K, H]: fresh pairs
    expected on each link for one pair delivered, 0 for a hop over a stocked pair. `first`, `second` [K, H]:
    ends of each hop. `rate_first_hz`, `rate_second_hz` [K, H]: rates of their sources for the link, both the
    link's own rate where it `is_attempting`. `inner` [K, H]: nodes that swap. `fixed_delay_s` [3, K]:
    messages, swaps and distillation. `work_s` [3, K]: time of sources and repeaters that one pair occupies;
    `link_work_s` [K, H]: the sources' part of it for each link without distillation.
    """

    paths: tuple[Path, ...]
    fresh_pairs: Floats
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    is_link: Flags
    is_attempting: Flags
    rate_first_hz: Floats
    rate_second_hz: Floats
    inner: NDArray[np.int64]
    is_inner: Flags
    fixed_delay_s: Floats
    work_s: Floats
    link_work_s: Floats

    @cached_property
    def link_rate_hz(self) -> Floats:
        """Pairs/s that each link makes when both its ends work for it, [K, H]."""
        both_hz = self.rate_first_hz + self.rate_second_hz
        return np.where(self.is_attempting, self.rate_first_hz, both_hz)

    def expected_delay_s(self, backlog: Backlog, *, pairs: int = 1, stocked: Flags | None = None) -> Floats:
        """Expected seconds from now until `pairs` pairs are delivered, [3, K]; inf over a link without a
        rate.

        `stocked` [K, H]: links with a pair in stock. Only plans without distillation can use it.
        """
        return self.delay_with_waits_s(self.waits(backlog, pairs=pairs), stocked)

    def delay_with_waits_s(self, waits: Waits, stocked: Flags | None = None) -> Floats:
        """`expected_delay_s` from waits that are already known, [3, K]."""
        link_s = waits.link_s
        if stocked is not None:
            # `waits` may come from a cache and must not change.
            link_s = link_s.copy()
            link_s[0][stocked] = 0.0
        return np.asarray(self.fixed_delay_s + np.sqrt((link_s**2).sum(axis=-1) + waits.squared_token_s2))

    def work_with_stock_s(self, stocked: Flags) -> Floats:
        """`work_s` where plans without distillation use the pairs in stock, [3, K]."""
        work_s = self.work_s.copy()
        work_s[0] -= np.where(stocked, self.link_work_s, 0.0).sum(axis=1)
        return work_s

    def repeaters_idle(self, backlog: Backlog) -> Flags:
        """Paths whose repeaters all have a token and no swap ahead, [K]."""
        return np.asarray((backlog.repeaters_idle[self.inner] | ~self.is_inner).all(axis=1))

    def sources_idle(self, backlog: Backlog, *, pairs: float) -> Flags:
        """Paths whose sources all have at most `pairs` pairs ahead, [K]."""
        idle = backlog.sources_idle(pairs=pairs)
        return np.asarray(((idle[self.first] & idle[self.second]) | ~self.is_link).all(axis=1))

    def waits(self, backlog: Backlog, *, pairs: int = 1) -> Waits:
        """Expected waits for `pairs` pairs behind a backlog."""
        wait_s, sources = backlog.source_wait_s, self._source_times(pairs)
        first_s, second_s = wait_s[self.first], wait_s[self.second]
        with np.errstate(invalid="ignore"):
            one_source_s = np.minimum(first_s + sources.first_s, second_s + sources.second_s)
            work = sources.fresh_pairs + self.rate_first_hz * first_s + self.rate_second_hz * second_s
            together_s = np.minimum(one_source_s, work / sources.both_hz)
        link_s = np.where(self.is_attempting, one_source_s, together_s)
        link_s = np.where(sources.is_fed, link_s, sources.unfed_s)
        token_s = np.where(self.is_inner, backlog.token_wait_s(pairs)[self.inner], 0.0)
        return Waits(link_s, (token_s**2).sum(axis=-1))

    @cached_property
    def _source_times(self) -> Callable[[int], _SourceTimes]:
        # Requests ask for few different numbers of pairs, but for the waits at every epoch.
        return lru_cache(_CACHED_PAIRS)(self._compute_source_times)

    def _compute_source_times(self, pairs: int) -> _SourceTimes:
        fresh_pairs, both_hz = pairs * self.fresh_pairs, self.rate_first_hz + self.rate_second_hz
        with np.errstate(divide="ignore", invalid="ignore"):
            first_s, second_s = fresh_pairs / self.rate_first_hz, fresh_pairs / self.rate_second_hz
        return _SourceTimes(
            fresh_pairs=fresh_pairs,
            both_hz=np.where(both_hz > 0.0, both_hz, 1.0),
            first_s=first_s,
            second_s=second_s,
            is_fed=self.is_link & (both_hz > 0.0),
            unfed_s=np.where(self.is_link, np.inf, 0.0),
        )


class PathFeatureCache:
    """Path features by pair of nodes; around unavailable parts only those used most recently are kept."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._features: dict[tuple[int, int], PathFeatures | None] = {}
        # Sets of unavailable parts keep changing, so this cache must be bounded.
        self._around = lru_cache(_CACHED_DETOURS)(self._compute_around)

    def between(self, source: int, destination: int, unavailable: Unavailable) -> PathFeatures | None:
        """Features of the K paths that avoid what is `unavailable`; None without a path."""
        if unavailable:
            return self._around(source, destination, unavailable)
        key = (source, destination)
        if key not in self._features:
            self._features[key] = self._compute(self._context.routes.paths(source, destination))
        return self._features[key]

    def _compute_around(self, source: int, destination: int, unavailable: Unavailable) -> PathFeatures | None:
        routes = self._context.routes
        paths = routes.paths(source, destination, unavailable)
        # The same tuple, when no path is affected: use the entry of the whole network.
        if paths is routes.paths(source, destination):
            return self.between(source, destination, ALL_AVAILABLE)
        return self._compute(paths)

    def _compute(self, paths: tuple[Path, ...]) -> PathFeatures | None:
        return path_features(paths, self._context) if paths else None


def path_features(paths: tuple[Path, ...], context: Context) -> PathFeatures:
    """The features of these paths, all between the same two nodes.

    A link of -1 is a hop over a stocked pair, which adds nothing but its message delay.
    """
    network, max_hops = context.network, max(path.hops for path in paths)
    shape = (len(paths), max_hops)
    first, second, inner = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    is_link, is_inner, is_attempting = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    own_hz = np.ones(shape)
    probability, fresh_pairs = np.ones(shape), _fresh_pairs(paths, max_hops, context)
    for row, path in enumerate(paths):
        hops = path.hops
        first[row, :hops], second[row, :hops] = path.nodes[:-1], path.nodes[1:]
        inner[row, : hops - 1] = path.nodes[1:-1]
        links = list(path.links)
        is_link[row, :hops], is_inner[row, : hops - 1] = np.array(links) >= 0, True
        is_attempting[row, :hops], own_hz[row, :hops] = (
            ~network.source_limited[links],
            network.link_rate_hz[links],
        )
        probability[row, :hops] = network.success_probability[links]
    rate_first_hz = np.where(is_attempting, own_hz, network.source_rate_hz[first] * probability)
    rate_second_hz = np.where(is_attempting, own_hz, network.source_rate_hz[second] * probability)
    link_hz = np.where(is_attempting, own_hz, rate_first_hz + rate_second_hz)
    with np.errstate(divide="ignore"):
        link_work_s = np.where(is_link, fresh_pairs / link_hz, 0.0)
        swap_work_s = np.where(is_inner, 1.0 / network.repeater_rate_hz[inner], 0.0).sum(axis=-1)
    return PathFeatures(
        paths=paths,
        fresh_pairs=fresh_pairs,
        first=first,
        second=second,
        is_link=is_link,
        is_attempting=is_attempting,
        rate_first_hz=rate_first_hz,
        rate_second_hz=rate_second_hz,
        inner=inner,
        is_inner=is_inner,
        fixed_delay_s=_fixed_delay_s(paths, network),
        # The delay over a link without a rate is infinite already; infinite work would make differences NaN.
        work_s=np.nan_to_num(link_work_s.sum(axis=-1) + swap_work_s, posinf=0.0),
        link_work_s=np.nan_to_num(link_work_s[0], posinf=0.0),
    )


def _fresh_pairs(paths: tuple[Path, ...], max_hops: int, context: Context) -> Floats:
    """Fresh pairs of each hop for one pair, [3, K, H]; 0 for a hop over a stocked pair, 1 as padding."""
    fresh_pairs = np.ones((_PLANS, len(paths), max_hops))
    for row, path in enumerate(paths):
        for rounds in range(_PLANS):
            fresh_pairs[rounds, row, : path.hops] = [
                context.estimates.pairs_per_link(link, rounds=rounds) if link >= 0 else 0.0
                for link in path.links
            ]
    return fresh_pairs


def _fixed_delay_s(paths: tuple[Path, ...], network: Network) -> Floats:
    """Seconds of messages, swaps and distillation without any wait, [3, K]."""
    messages_s = _MESSAGE_TRIPS * np.array([path.delay_s for path in paths])
    swaps_s = np.array([_swaps_s(path, network) for path in paths])
    slowest_link_s = np.array(
        [network.delay_s[[link for link in path.links if link >= 0]].max(initial=0.0) for path in paths]
    )
    rounds_s = np.arange(_PLANS)[:, None] * (network.distillation_time_s + slowest_link_s)
    return np.asarray(messages_s + swaps_s + rounds_s)


def _swaps_s(path: Path, network: Network) -> float:
    """Seconds of a path's swaps once its links are ready and no swap waits.

    Servers work in parallel and each takes the time of one swap: the slowest counts. The short swaps of token
    buckets count once for each level of a balanced tree.
    """
    if network.repeater_kind == "server":
        return float((1.0 / network.repeater_rate_hz[list(path.nodes[1:-1])]).max(initial=0.0))
    return network.swap_time_s * math.ceil(math.log2(path.hops))
