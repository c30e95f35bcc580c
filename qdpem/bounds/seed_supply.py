"""The supply of one seed in any window of time: emissions, successful attempts, swap tokens and outcomes.

All are upper limits on what any policy can get out of the window, known before it acts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.network.graph import Network

_ROUNDING = 1e-9
_OF_A_PERIOD = 1e-5


@dataclass(frozen=True, eq=False, kw_only=True)
class EmissionLevels:
    """Emissions that a link can use: those whose uniform draw is below its success probability.

    At one node these sets are nested, one level per probability. `node`, `probability` [T], sorted by both;
    `of_link` int64 [L, 2]: the level of a link at its two ends, -1 where it attempts by itself.
    """

    node: Ints
    probability: Floats
    of_link: Ints

    @classmethod
    def of(cls, network: Network) -> EmissionLevels:
        """The levels of a network."""
        sides = [
            (end, float(network.success_probability[link]))
            for link, ends in enumerate(network.graph.link_ends.tolist())
            for end in ends
            if network.source_limited[link]
        ]
        # Sorted by node, then probability: the levels of a node are consecutive and ascending.
        level = {side: number for number, side in enumerate(sorted(set(sides)))}
        of_link = np.full((network.link_count, 2), -1, dtype=np.int64)
        for link, ends in enumerate(network.graph.link_ends.tolist()):
            if network.source_limited[link]:
                of_link[link] = [level[end, float(network.success_probability[link])] for end in ends]
        node, probability = np.array(list(level), dtype=np.float64).reshape(-1, 2).T
        return cls(node=node.astype(np.int64), probability=probability, of_link=of_link)


@dataclass(frozen=True, eq=False, kw_only=True)
class Supply:
    """The largest numbers that a window can hold.

    `emissions` [T]: per level; `attempts` [L]: successful attempts of links that attempt by themselves;
    `swaps` [N]: successful swaps.
    """

    emissions: Floats
    attempts: Floats
    swaps: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class SeedSample:
    """All random outcomes of one seed over [0, end_s] that supply depends on.

    `emission_s`: ascending times of each level's emissions. `successes`: per link that attempts by itself and
    per mode, the numbers (from 1) of the attempts that succeed. `birth_s` [L]: from an emission or the start
    of an attempt to the birth of its pair. `draws`: per node, whether its k-th swap can succeed.
    `token_rate_hz` [N], `token_burst`, `swap_time_s` [N]: tokens of its repeaters.
    """

    end_s: float
    levels: EmissionLevels
    emission_s: Sequence[Floats]
    successes: Sequence[Sequence[Ints]]
    period_s: Floats
    birth_s: Floats
    draws: Sequence[Flags]
    token_rate_hz: Floats
    token_burst: float
    swap_time_s: Floats

    def supply(self, from_s: float, until_s: float) -> Supply:
        """The supply in the window [from_s, until_s], cut to the run; its ends count as inside."""
        start, stop = max(from_s, 0.0), min(until_s, self.end_s)
        emissions = [
            # Both ends are widened by the rounding of event times, which can only raise the supply.
            np.searchsorted(times, stop + _ROUNDING, side="right") - np.searchsorted(times, start - _ROUNDING)
            for times in self.emission_s
        ]
        return Supply(
            emissions=np.array(emissions, dtype=np.float64),
            attempts=np.array([self.attempts(link, start, stop) for link in range(len(self.successes))]),
            swaps=np.array([self.swaps(node, start, stop) for node in range(len(self.draws))]),
        )

    def swaps(self, node: int, from_s: float, until_s: float) -> float:
        """Maximum number of successful swaps at a node, from token to result inside the window.

        In a window of length W the bucket gives at most burst + rate W tokens, and likewise since t = 0. The
        k-th swap has the k-th draw; the policy decides which one the window begins with.
        """
        rate_hz, swap_time_s = float(self.token_rate_hz[node]), float(self.swap_time_s[node])
        if not rate_hz > 0.0:
            return 0.0
        successes = self._cumulative_successes[node]
        # The policy chooses how many swaps it makes before the window, and so which draws fall inside.
        before = min(whole_tokens(self.token_burst + rate_hz * from_s), len(successes) - 1)
        inside = whole_tokens(self.token_burst + rate_hz * max(until_s - swap_time_s - from_s, 0.0))
        if until_s < swap_time_s:
            return 0.0
        if from_s <= 0.0:
            # No swap can precede t = 0, so the window holds the first draws.
            return float(successes[min(inside, len(successes) - 1)])
        return _max_successes(successes, first=before, length=inside)

    def pairs(self, link: int, from_s: float, until_s: float) -> float:
        """Maximum number of pairs of a link in the window, if it had both its sources for itself."""
        if self.levels.of_link[link, 0] < 0:
            return self.attempts(link, from_s, until_s)
        before, until = self.emitted(link, np.array([from_s, until_s]))
        return float(until[1] - before[0])

    def emitted(self, link: int, edges_s: Floats) -> tuple[Floats, Floats]:
        """Emissions of both ends that a link can use: the numbers before and up to each of `edges_s`."""
        ends = [self.emission_s[level] for level in self.levels.of_link[link].tolist()]
        before = [np.searchsorted(times, edges_s - _ROUNDING) for times in ends]
        until = [np.searchsorted(times, edges_s + _ROUNDING, side="right") for times in ends]
        return np.sum(before, axis=0, dtype=np.float64), np.sum(until, axis=0, dtype=np.float64)

    def attempts(self, link: int, from_s: float, until_s: float) -> float:
        """Maximum number of a link's successes in the window.

        Its modes may pause at any time, but attempt at most once per period.
        """
        if not len(self.successes[link]):
            return 0.0
        period_s, last_s = float(self.period_s[link]), until_s - float(self.birth_s[link])
        if last_s < from_s:
            return 0.0
        # A fraction of a period is added, so that rounding never loses an attempt that fits exactly.
        inside = math.floor((last_s - from_s) / period_s + _OF_A_PERIOD) + 1
        before = math.floor(from_s / period_s + _OF_A_PERIOD) + 1 if from_s > 0.0 else 0
        return float(sum(_max_attempts(numbers, before, inside) for numbers in self.successes[link]))

    @cached_property
    def _cumulative_successes(self) -> list[Floats]:
        """Successes among the first k draws of each node, k from 0."""
        return [np.concatenate([[0.0], np.cumsum(draws)]) for draws in self.draws]


def whole_tokens(tokens: float) -> int:
    """Number of whole tokens, up to the rounding that a repeater allows each."""
    return math.floor(tokens * (1.0 + 2.0 * _ROUNDING) + _ROUNDING)


def _max_successes(cumulative: Floats, *, first: int, length: int) -> float:
    """Maximum number of successes among `length` draws in a row, after at most `first` earlier ones."""
    starts = np.arange(first + 1)
    ends = np.minimum(starts + length, len(cumulative) - 1)
    return float((cumulative[ends] - cumulative[starts]).max())


def _max_attempts(numbers: Ints, before: int, inside: int) -> int:
    """Maximum number of successes among `inside` attempts in a row, after at most `before` earlier ones."""
    if not before:
        return int(np.searchsorted(numbers, inside, side="right"))
    # The best row begins with a success, or as late as it can.
    starts = np.append(numbers[numbers <= before + 1] - 1, before)
    ends = np.searchsorted(numbers, starts + inside, side="right")
    return int((ends - np.searchsorted(numbers, starts, side="right")).max())
