"""When would a path deliver? The expected finish of every path and plan, from the map and aged reports.

A link e = (u, v) is fed by both sources, at r_u = g_u eta_e and r_v = g_v eta_e pairs/s. With work ahead
that holds u until T_u and v until T_v, its n-th pair is expected at the t at which
r_u max(t - T_u, 0) + r_v max(t - T_v, 0) = n, the least of T_u + n/r_u, T_v + n/r_v and
(n + r_u T_u + r_v T_v) / (r_u + r_v). A link that attempts by itself, at rate r, takes n/r after whatever
is ahead of it, which is no more than what is ahead at either end: min(T_u, T_v) + n/r. A swap waits until
its repeater has refilled a token for it and for the swaps ahead. All must have happened: the expected
maximum of independent exponential times is, within 10 % for up to 8 of equal mean (harmonic number against
square root), the root of their summed squares. Light travels the path three times: reservation, grant,
correction. A hop that a stocked pair stands in for is ready at once.
Work: O(K x plans x hops) array elements a request, about 0.1 ms; features of a pair's paths are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policy.interface import (
    EMISSION_BACKLOG,
    ORDERED_PAIRS,
    ORDERED_SWAPS,
    TOKEN_BACKLOG,
    TOKENS,
    Context,
    Observation,
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Waits: TypeAlias = tuple[Floats, Floats]
_TRIPS = 3.0
_PLANS = MAX_ROUNDS + 1
_KEPT_DETOURS = 1024


@dataclass(frozen=True, eq=False, kw_only=True)
class PathFeatures:
    """What does not change of K paths x 3 plans between two nodes; H the most hops, padded.

    `need` [3, K, H]: fresh pairs expected on each link for one pair delivered, 0 for a step that is no link;
    `first`, `second` [K, H] ends; `rate_first_hz`, `rate_second_hz` of their sources for the link, or the
    link's own, at both, where it `is_attempting`; `inner` [K, H] nodes that swap; `delay_s` [3, K]; `work_s`
    [3, K]: time of sources and repeaters that one pair takes from others, `made_s` [K, H] that of the
    sources for each link without distillation.
    """

    paths: tuple[Path, ...]
    need: Floats
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    is_link: Flags
    is_attempting: Flags
    rate_first_hz: Floats
    rate_second_hz: Floats
    inner: NDArray[np.int64]
    is_inner: Flags
    delay_s: Floats
    work_s: Floats
    made_s: Floats

    def finish_s(self, load: Backlog, *, pairs: int = 1, stocked: Flags | None = None) -> Floats:
        """Expected seconds from now until `pairs` pairs are delivered, [3, K]; inf over a dead link.

        `stocked` [K, H]: links with a pair in stock, which only plans without distillation can use.
        """
        return self.finish_after_s(self.waits(load, pairs=pairs), stocked)

    def finish_after_s(self, waits: Waits, stocked: Flags | None = None) -> Floats:
        """`finish_s` with these waits for links and repeaters."""
        made_s, swapped_s2 = waits
        if stocked is not None:
            made_s = made_s.copy()
            made_s[0][stocked] = 0.0
        return np.asarray(self.delay_s + np.sqrt((made_s**2).sum(axis=-1) + swapped_s2))

    def work_without_s(self, stocked: Flags) -> Floats:
        """The work that is left, [3, K], where plans without distillation take what is `stocked`."""
        work_s = self.work_s.copy()
        work_s[0] -= np.where(stocked, self.made_s, 0.0).sum(axis=1)
        return work_s

    def quiet(self, load: Backlog) -> Flags:
        """Paths whose repeaters all have a token and nothing ahead, [K]."""
        return np.asarray((load.repeaters_idle[self.inner] | ~self.is_inner).all(axis=1))

    def waits(self, load: Backlog, *, pairs: int = 1) -> Waits:
        """Expected seconds until each link is made [3, K, H], and the square of those for tokens [K]."""
        need, ready_s = pairs * self.need, load.ready_s
        ready_first, ready_second = ready_s[self.first], ready_s[self.second]
        both_hz = self.rate_first_hz + self.rate_second_hz
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = np.minimum(
                ready_first + need / self.rate_first_hz, ready_second + need / self.rate_second_hz
            )
            work = need + self.rate_first_hz * ready_first + self.rate_second_hz * ready_second
            made_s = np.where(self.is_attempting, alone, np.minimum(alone, work / both_hz))
        made_s = np.where(self.is_link, np.where(both_hz > 0.0, made_s, np.inf), 0.0)
        swapped_s = np.where(self.is_inner, load.token_wait_s(pairs)[self.inner], 0.0)
        return made_s, (swapped_s**2).sum(axis=-1)


class PathFeatureCache:
    """PathFeatures between nodes, kept once found; of those round what is away the ones asked for last."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: dict[tuple[int, int], PathFeatures | None] = {}
        # What is away changes without end.
        self._around = lru_cache(_KEPT_DETOURS)(self._find_around)

    def between(self, source: int, destination: int, unavailable: Unavailable) -> PathFeatures | None:
        """PathFeatures of all K paths and 3 plans; None without a path."""
        if unavailable:
            return self._around(source, destination, unavailable)
        key = (source, destination)
        if key not in self._found:
            self._found[key] = self._over(self._context.routes.paths(source, destination))
        return self._found[key]

    def _find_around(self, source: int, destination: int, unavailable: Unavailable) -> PathFeatures | None:
        routes = self._context.routes
        paths = routes.paths(source, destination, unavailable)
        if paths is routes.paths(source, destination):
            return self.between(source, destination, ALL_AVAILABLE)
        return self._over(paths)

    def _over(self, paths: tuple[Path, ...]) -> PathFeatures | None:
        return path_features(paths, self._context) if paths else None


def path_features(paths: tuple[Path, ...], context: Context) -> PathFeatures:
    """The features of these paths, all between the same two nodes.

    A link of -1 is a step over a stocked pair: it needs nothing but its delay.
    """
    network, maximum = context.network, max(path.hops for path in paths)
    shape = (len(paths), maximum)
    first, second, inner = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    is_link, is_inner, is_attempting = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    own_hz = np.ones(shape)
    probability, need = np.ones(shape), np.ones((_PLANS, *shape))
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
        for rounds in range(_PLANS):
            need[rounds, row, :hops] = [
                context.estimates.pairs_per_link(link, rounds=rounds) if link >= 0 else 0.0
                for link in path.links
            ]
    rate_first_hz = np.where(is_attempting, own_hz, network.source_rate_hz[first] * probability)
    rate_second_hz = np.where(is_attempting, own_hz, network.source_rate_hz[second] * probability)
    link_hz = np.where(is_attempting, own_hz, rate_first_hz + rate_second_hz)
    with np.errstate(divide="ignore"):
        made_s = np.where(is_link, need / link_hz, 0.0)
        swaps_s = np.where(is_inner, 1.0 / network.repeater_rate_hz[inner], 0.0).sum(axis=-1)
    return PathFeatures(
        paths=paths,
        need=need,
        first=first,
        second=second,
        is_link=is_link,
        is_attempting=is_attempting,
        rate_first_hz=rate_first_hz,
        rate_second_hz=rate_second_hz,
        inner=inner,
        is_inner=is_inner,
        delay_s=_delays(paths, network),
        work_s=np.nan_to_num(made_s.sum(axis=-1) + swaps_s, posinf=0.0),
        made_s=np.nan_to_num(made_s[0], posinf=0.0),
    )


def _delays(paths: tuple[Path, ...], network: Network) -> Floats:
    """Messages, swaps and distillations with nothing to wait for, [3, K]."""
    travel = _TRIPS * np.array([path.delay_s for path in paths])
    swaps = np.array([_swaps_s(path, network) for path in paths])
    slowest = np.array(
        [network.delay_s[[link for link in path.links if link >= 0]].max(initial=0.0) for path in paths]
    )
    rounds = np.arange(_PLANS)[:, None] * (network.distillation_time_s + slowest)
    return np.asarray(travel + swaps + rounds)


def _swaps_s(path: Path, network: Network) -> float:
    """Seconds the swaps of a path take when none has to wait, its links being there.

    Servers work side by side, each as long as it takes for one: the slowest counts. The short swaps of token
    buckets count once for each level of a balanced tree.
    """
    if network.repeater_kind == "server":
        return float((1.0 / network.repeater_rate_hz[list(path.nodes[1:-1])]).max(initial=0.0))
    return network.swap_time_s * math.ceil(math.log2(path.hops))


class Work(Protocol):
    """What is to be made along a path: nodes, and fresh pairs for each hop."""

    @property
    def path(self) -> Path:
        """Over which nodes."""

    @property
    def need(self) -> Floats:
        """Fresh pairs that each hop makes for one pair delivered, [hops]."""

    @property
    def lanes(self) -> int:
        """How many pairs are made end to end for one that is delivered."""


class Backlog:
    """Work believed to be ahead at every node, from one site's view; what is decided now is added.

    Reported backlogs and the site's own book of orders count the same work twice, so the larger of the
    two is believed. A token bucket refills, and a server gets on, while its report ages.
    `pairs`, `swaps`, `tokens`: float64 [N].
    """

    def __init__(
        self,
        network: Network,
        *,
        pairs: Floats,
        swaps: Floats,
        tokens: Floats,
        unseen: Flags | None = None,
    ) -> None:
        self._network = network
        self._unseen = np.zeros(network.node_count, dtype=np.bool_) if unseen is None else unseen
        self._pairs, self._swaps, self._tokens = pairs, swaps, tokens

    @classmethod
    def idle(cls, network: Network) -> Backlog:
        """An empty network with full token buckets."""
        nothing = np.zeros(network.node_count)
        return cls(network, pairs=nothing, swaps=nothing, tokens=nothing + network.repeater_burst)

    @classmethod
    def of_observation(
        cls,
        observation: Observation,
        network: Network,
        *,
        unobserved_backlog: float = 0.0,
        unobserved_tokens: float = 1.0,
    ) -> Backlog:
        """What the one site of `observation` believes; `unseen` is believed of nodes it has no news of."""
        known = observation.observed_node[0]
        nodes = known[known >= 0]
        status = observation.status[0, known >= 0]
        age_s = observation.status_age_s[0, known >= 0]
        pairs, swaps = np.full(network.node_count, unobserved_backlog), np.zeros(network.node_count)
        pairs[nodes] = np.fmax(np.fmax(status[:, EMISSION_BACKLOG], status[:, ORDERED_PAIRS]), 0.0)
        swaps[nodes] = np.fmax(np.fmax(status[:, TOKEN_BACKLOG], status[:, ORDERED_SWAPS]), 0.0)
        tokens = np.full(network.node_count, min(unobserved_tokens, network.repeater_burst))
        refilled = status[:, TOKENS] + network.repeater_rate_hz[nodes] * age_s
        tokens[nodes] = np.fmin(refilled, network.repeater_burst)
        unseen = np.ones(network.node_count, dtype=np.bool_)
        unseen[nodes] = False
        return cls(network, pairs=pairs, swaps=swaps, tokens=tokens, unseen=unseen)

    @property
    def ready_s(self) -> Floats:
        """Seconds until each source has worked off what is ahead, [N]."""
        return self._pairs * self._network.pair_time_s

    def token_wait_s(self, pairs: int = 1) -> Floats:
        """Seconds until each repeater has tokens for `pairs` more swaps, [N]; inf where it never swaps."""
        missing = np.maximum(self._swaps + pairs - self._tokens, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(missing > 0.0, missing / self._network.repeater_rate_hz, 0.0)

    @property
    def repeaters_idle(self) -> Flags:
        """Where a token lies ready and nothing waits for it, or nothing is known, [N]."""
        return ((self._tokens >= 1.0) & (self._swaps <= 0.0)) | self._unseen

    def sources_idle(self, *, pairs: float) -> Flags:
        """Where at most `pairs` pairs are ahead, or nothing is known, [N]."""
        return (self._pairs <= pairs) | self._unseen

    def add(self, chosen: Work, *, pairs: int = 1) -> None:
        """Count the work of a path just chosen."""
        np.add.at(self._pairs, list(chosen.path.nodes[:-1]), pairs * chosen.need)
        np.add.at(self._pairs, list(chosen.path.nodes[1:]), pairs * chosen.need)
        np.add.at(self._swaps, list(chosen.path.nodes[1:-1]), pairs * chosen.lanes)
