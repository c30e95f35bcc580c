"""Estimates of paths for planners: physics on nominal states, computed once and cached."""

from __future__ import annotations

import math

from physics.interface import PhysicsModel, State
from physics.plans import Plan, Rounds, distilled, rounds_on, swapped
from physics.qubits.states import is_bell_diagonal
from qdpem.network.graph import Network
from qdpem.network.path import Path

_BISECTIONS = 40
_PROBE_S = 1.0
_AGE_DIGITS = 2
"""Ages are rounded up to this many significant digits, so that a few cached values serve many calls."""

_MAX_CACHED = 65_536
"""Fidelities are cached up to this many, about 15 MB; then the cache is cleared."""

MAX_ROUNDS = 2

ASSUMED_WAIT_FRACTION = 0.3
"""Fraction of the time left that fresh link pairs are assumed to wait beside an aged one.

Nodes admit stock to a path under this assumption, so planners must make the same one.
"""

_PLAN = Plan()
"""The default protocol and schedule, which are those of allocations."""


class Estimates:
    """Estimated fidelity, cost and useful life of the pairs over a path and of stocked pairs.

    Distillation rounds along a path are one number for all its links or one for each, from its first node.
    All estimates are deterministic functions of the network and the physics model, the same for every arm.
    """

    def __init__(self, network: Network, physics: PhysicsModel) -> None:
        self._network = network
        self._physics = physics
        self._fidelity: dict[tuple[tuple[int, ...], Rounds, float], float] = {}
        self._link_fidelity: dict[tuple[int, int], float] = {}
        self._end_to_end: dict[tuple[tuple[int, ...], Rounds, float], tuple[float, float]] = {}
        self._useful_life_s: dict[tuple[tuple[int, ...], Rounds, float], float] = {}
        self._distilled_links: dict[tuple[int, int], tuple[State, float]] = {}
        self._aged_links: dict[tuple[int, int, int, float], State] = {}
        self._stays_bell_diagonal: dict[tuple[int, int], bool] = {}

    def fidelity(self, path: Path, *, rounds: Rounds = 0, age_s: float = 0.0) -> float:
        """Estimated fidelity over `path` if its link pairs wait `age_s` at both ends before the swaps."""
        age_s = _rounded_up(age_s)
        key = (path.nodes, rounds, age_s)
        if key not in self._fidelity:
            if len(self._fidelity) == _MAX_CACHED:
                # Cleared whole: an LRU would cost more at every look-up than the rare computation again.
                self._fidelity.clear()
            self._fidelity[key] = self._physics.fidelity(self._state(path, rounds, age_s))
        return self._fidelity[key]

    def link_fidelity(self, link: int, *, rounds: int = 0) -> float:
        """Estimated fidelity of a pair on `link` after `rounds`, without waiting."""
        if (link, rounds) not in self._link_fidelity:
            self._link_fidelity[link, rounds] = self._physics.fidelity(self._distilled(link, rounds)[0])
        return self._link_fidelity[link, rounds]

    def end_to_end(self, path: Path, *, rounds: Rounds = 0, age_s: float = 0.0) -> tuple[float, float]:
        """Estimated fidelity after one round of distillation between the ends, and the pairs that it takes.

        The two pairs are those that `fidelity` describes. The number of pairs over the path is a mean, with
        failures included.
        """
        age_s = _rounded_up(age_s)
        key = (path.nodes, rounds, age_s)
        if key not in self._end_to_end:
            if len(self._end_to_end) == _MAX_CACHED:
                self._end_to_end.clear()
            first, last = (self._network.hardware[path.nodes[end]] for end in (0, -1))
            undistilled = self._state(path, rounds, age_s)
            state, pairs = distilled(
                undistilled, 1, plan=_PLAN, model=self._physics, first=first, second=last
            )
            self._end_to_end[key] = self._physics.fidelity(state), pairs
        return self._end_to_end[key]

    def rounds_for(self, path: Path, target_fidelity: float, *, age_s: float) -> int | None:
        """Smallest number of rounds per link that meets the target after `age_s`; None if none does."""
        for rounds in range(MAX_ROUNDS + 1):
            if self.fidelity(path, rounds=rounds, age_s=age_s) >= target_fidelity:
                return rounds
        return None

    def pairs_per_link(self, link: int, *, rounds: int) -> float:
        """Expected fresh pairs on `link` for one pair after `rounds` nested rounds: the product of 2/p.

        The cost of failed swaps is left out.
        """
        return self._distilled(link, rounds)[1]

    def useful_life_s(self, path: Path, target_fidelity: float, *, rounds: Rounds = 0) -> float:
        """How long a pair over `path`, swapped fresh and then stored at both ends, meets the target.

        0 if it never does; inf if it always does.
        """
        key = (path.nodes, rounds, target_fidelity)
        if key not in self._useful_life_s:
            self._useful_life_s[key] = self._find_useful_life_s(path, target_fidelity, rounds)
        return self._useful_life_s[key]

    def _find_useful_life_s(self, path: Path, target_fidelity: float, rounds: Rounds) -> float:
        state = self._state(path, rounds, 0.0)
        first = self._network.hardware[path.nodes[0]].memory
        second = self._network.hardware[path.nodes[-1]].memory

        def meets(age_s: float) -> bool:
            aged = self._physics.age(state, first, second, age_s)
            return self._physics.fidelity(aged) >= target_fidelity

        if not meets(0.0):
            return 0.0
        # Doubling from 1 ms brackets the life; beyond 1e9 s (30 years) it counts as unlimited.
        low, high = 0.0, 1e-3
        while meets(high):
            low, high = high, 2.0 * high
            if high > 1e9:
                return math.inf
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if meets(middle) else (low, middle)
        # The lower end of the bracket still meets the target, so the life is never overestimated.
        return low

    def _state(self, path: Path, rounds: Rounds, age_s: float) -> State:
        """The state after the aged link pairs of `path` are swapped, from its source to its end."""
        pairs = [
            self._aged(link, first, rounds_on(rounds, hop), age_s)
            for hop, (first, link) in enumerate(zip(path.nodes, path.links, strict=False))
        ]
        nodes = [self._network.hardware[node] for node in path.nodes]
        bell_diagonal = all(
            self._bell_diagonal(link, rounds_on(rounds, hop)) for hop, link in enumerate(path.links)
        )
        return swapped(pairs, model=self._physics, nodes=nodes, bell_diagonal=bell_diagonal)[0]

    def _aged(self, link: int, first: int, rounds: int, age_s: float) -> State:
        """The state on `link`, with its end `first` first, after `rounds` and storage for `age_s`."""
        key = (link, first, rounds, age_s)
        if key not in self._aged_links:
            if len(self._aged_links) == _MAX_CACHED:
                self._aged_links.clear()
            pair = self._distilled(link, rounds)[0]
            ends = self._network.graph.link_ends[link].tolist()
            if ends[0] != first:
                pair, ends = self._physics.flip(pair), ends[::-1]
            left, right = (self._network.hardware[end].memory for end in ends)
            self._aged_links[key] = self._physics.age(pair, left, right, age_s)
        return self._aged_links[key]

    def _bell_diagonal(self, link: int, rounds: int) -> bool:
        """Whether a pair on `link` is Bell-diagonal after `rounds` and some storage, and so after any."""
        key = (link, rounds)
        if key not in self._stays_bell_diagonal:
            first, second = (self._network.hardware[end] for end in self._network.graph.link_ends[link])
            pair = self._distilled(link, rounds)[0]
            # A memory channel that preserves the form for one duration preserves it for all.
            aged = self._physics.age(pair, first.memory, second.memory, _PROBE_S)
            self._stays_bell_diagonal[key] = is_bell_diagonal(self._physics.density_matrix(aged))
        return self._stays_bell_diagonal[key]

    def _distilled(self, link: int, rounds: int) -> tuple[State, float]:
        """The state on `link` (first end = lower node) after `rounds`, and the mean number of fresh pairs."""
        if (link, rounds) not in self._distilled_links:
            first, second = (self._network.hardware[end] for end in self._network.graph.link_ends[link])
            self._distilled_links[link, rounds] = distilled(
                self._network.links[link].fresh,
                rounds,
                plan=_PLAN,
                model=self._physics,
                first=first,
                second=second,
            )
        return self._distilled_links[link, rounds]


def _rounded_up(age_s: float) -> float:
    """The smallest number of two significant digits that is not below `age_s`."""
    if age_s <= 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(age_s)) - (_AGE_DIGITS - 1))
    # Rounded up, estimates err on the safe side. The 1e-9 keeps ages that are already round from moving up.
    return math.ceil(age_s / unit - 1e-9) * unit
