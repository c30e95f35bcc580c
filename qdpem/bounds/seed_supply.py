"""What one seed gives: emissions, successful attempts, swap tokens and coins, in any window of time.

All are upper limits of what any policy can get out of the window, known before it acts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDING = 1e-9
_OF_A_PERIOD = 1e-5


@dataclass(frozen=True, eq=False, kw_only=True)
class Tiers:
    """Emissions that a link can use: those with u below its success probability, at either of its ends.

    At one node these sets are nested, one tier per probability. `node`, `probability` [T], sorted by both;
    `of` int64 [L, 2]: the tier of a link at its two ends, -1 where it attempts by itself.
    """

    node: Ints
    probability: Floats
    of: Ints

    @classmethod
    def build(cls, network: Network) -> Tiers:
        """The tiers of a network."""
        sides = [
            (end, float(network.success_probability[link]))
            for link, ends in enumerate(network.graph.link_ends.tolist())
            for end in ends
            if network.source_limited[link]
        ]
        place = {side: tier for tier, side in enumerate(sorted(set(sides)))}
        of = np.full((network.link_count, 2), -1, dtype=np.int64)
        for link, ends in enumerate(network.graph.link_ends.tolist()):
            if network.source_limited[link]:
                of[link] = [place[end, float(network.success_probability[link])] for end in ends]
        node, probability = np.array(list(place), dtype=np.float64).reshape(-1, 2).T
        return cls(node=node.astype(np.int64), probability=probability, of=of)


@dataclass(frozen=True, eq=False, kw_only=True)
class Supply:
    """The most that a window holds. `emissions` [T]: per tier; `attempts` [L]: pairs of links that attempt by
    themselves; `swaps` [N]: successful swaps."""

    emissions: Floats
    attempts: Floats
    swaps: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class SeedSample:
    """One seed's chances over [0, end_s].

    `emission_s`: times of each tier's emissions, ascending. `successes`: per link that attempts by itself and
    per mode, the numbers (from 1) of the attempts that succeed. `draws`: per node, whether its k-th swap can
    succeed. `token_rate_hz` [N], `token_burst`, `swap_time_s` [N]: tokens of its repeaters.
    """

    end_s: float
    tiers: Tiers
    emission_s: Sequence[Floats]
    successes: Sequence[Sequence[Ints]]
    period_s: Floats
    birth_s: Floats
    draws: Sequence[NDArray[np.bool_]]
    token_rate_hz: Floats
    token_burst: float
    swap_time_s: Floats

    def supply(self, from_s: float, until_s: float) -> Supply:
        """What the window [from_s, until_s] holds, cut to the run; ends count as inside."""
        start, stop = max(from_s, 0.0), min(until_s, self.end_s)
        emissions = [
            np.searchsorted(times, stop + _ROUNDING, side="right") - np.searchsorted(times, start - _ROUNDING)
            for times in self.emission_s
        ]
        return Supply(
            emissions=np.array(emissions, dtype=np.float64),
            attempts=np.array([self.attempts(link, start, stop) for link in range(len(self.successes))]),
            swaps=np.array([self.swaps(node, start, stop) for node in range(len(self.draws))]),
        )

    def swaps(self, node: int, from_s: float, until_s: float) -> float:
        """Most successful swaps at a node whose tokens are granted and results there in the window.

        In a window of length W the bucket gives burst + rate W tokens at most, and as many since t = 0. The
        k-th swap has the k-th coin; which one the window begins with is the policy's.
        """
        rate_hz, used_s = float(self.token_rate_hz[node]), float(self.swap_time_s[node])
        if not rate_hz > 0.0:
            return 0.0
        draws = self._summed[node]
        before = min(whole(self.token_burst + rate_hz * from_s), len(draws) - 1)
        inside = whole(self.token_burst + rate_hz * max(until_s - used_s - from_s, 0.0))
        if until_s < used_s:
            return 0.0
        if from_s <= 0.0:
            return float(draws[min(inside, len(draws) - 1)])
        return _maximum(draws, first=before, length=inside)

    def pairs(self, link: int, from_s: float, until_s: float) -> float:
        """Most pairs that a link can make in the window, had it both its sources for itself."""
        if self.tiers.of[link, 0] < 0:
            return self.attempts(link, from_s, until_s)
        before, until = self.emitted(link, np.array([from_s, until_s]))
        return float(until[1] - before[0])

    def emitted(self, link: int, edges_s: Floats) -> tuple[Floats, Floats]:
        """Emissions of both ends that a link can use: those before each of `edges_s`, and those up to it."""
        times = [self.emission_s[tier] for tier in self.tiers.of[link].tolist()]
        before = [np.searchsorted(one, edges_s - _ROUNDING) for one in times]
        until = [np.searchsorted(one, edges_s + _ROUNDING, side="right") for one in times]
        return np.sum(before, axis=0, dtype=np.float64), np.sum(until, axis=0, dtype=np.float64)

    def attempts(self, link: int, from_s: float, until_s: float) -> float:
        """Most successes of a link: modes rest as they like, but make an attempt a period at most."""
        if not len(self.successes[link]):
            return 0.0
        period_s, last_s = float(self.period_s[link]), until_s - float(self.birth_s[link])
        if last_s < from_s:
            return 0.0
        inside = math.floor((last_s - from_s) / period_s + _OF_A_PERIOD) + 1
        before = math.floor(from_s / period_s + _OF_A_PERIOD) + 1 if from_s > 0.0 else 0
        return float(sum(_max_of(numbers, before, inside) for numbers in self.successes[link]))

    @cached_property
    def _summed(self) -> list[Floats]:
        """Successes among the first k coins of each node, k from 0."""
        return [np.concatenate([[0.0], np.cumsum(draws)]) for draws in self.draws]


def whole(tokens: float) -> int:
    """Whole tokens in this many, but for the rounding that a repeater allows each."""
    return math.floor(tokens * (1.0 + 2.0 * _ROUNDING) + _ROUNDING)


def _maximum(summed: Floats, *, first: int, length: int) -> float:
    """Most successes among `length` coins in a row of which the first is one of `first` + 1."""
    starts = np.arange(first + 1)
    ends = np.minimum(starts + length, len(summed) - 1)
    return float((summed[ends] - summed[starts]).max())


def _max_of(numbers: Ints, before: int, inside: int) -> int:
    """Most successes among `inside` attempts in a row, of which at most `before` came earlier."""
    if not before:
        return int(np.searchsorted(numbers, inside, side="right"))
    # The best stretch begins with a success, or as late as it can.
    starts = np.append(numbers[numbers <= before + 1] - 1, before)
    ends = np.searchsorted(numbers, starts + inside, side="right")
    return int((ends - np.searchsorted(numbers, starts, side="right")).max())
