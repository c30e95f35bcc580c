"""The pair ledger: the one place where a pair is born, ages, is swapped, distilled and ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from physics.batched import batched
from physics.interface import PhysicsModel, State
from qdpem.draws.herald_timing import FreshPairs
from qdpem.events.recorder import Row
from qdpem.events.words import PairOutcome
from qdpem.network.graph import Network

_MIN_BATCH = 8
"""Fewer pairs than this are looked at faster one by one."""

_SWAPPED, _DISTILLED = PairOutcome.SWAPPED, PairOutcome.DISTILLED


class Pair:
    """A live pair: its ends in the order of its state, and the state as of `stamp_s`.

    `first_link`, `second_link`: the link through which the half at either end left its node, or came to it.
    """

    __slots__ = (
        "allocation",
        "born_s",
        "first",
        "first_link",
        "first_parent",
        "id",
        "link",
        "outcome",
        "owner",
        "second",
        "second_link",
        "second_parent",
        "sender",
        "stamp_s",
        "state",
    )

    def __init__(
        self,
        id: int,
        ends: tuple[int, int],
        state: State,
        born_s: float,
        link: int,
        ports: tuple[int, int],
        parents: tuple[int, int],
        allocation: int,
        sender: int,
        outcome: int,
    ) -> None:
        self.id = id
        self.first, self.second = ends
        self.first_link, self.second_link = ports
        self.state = state
        self.born_s = self.stamp_s = born_s
        self.link = link
        self.first_parent, self.second_parent = parents
        self.allocation = allocation
        self.sender = sender
        self.outcome = outcome
        self.owner = -1


class Ledger:
    """Every pair under an id that is never reused. born = sum of all ends + live, at any moment."""

    def __init__(self, network: Network, physics: PhysicsModel, append: Callable[[Row], None]) -> None:
        self._network = network
        self._physics = physics
        self._append = append
        self._memory = [hardware.memory for hardware in network.hardware]
        alike = len(set(self._memory)) == 1
        self._batched = batched(physics) if alike else None
        self.fresh_pairs = FreshPairs(network, physics)
        self.live: dict[int, Pair] = {}
        self.born = 0
        self.ended = dict.fromkeys(PairOutcome, 0)

    def birth(self, link: int, *, sender: int, ends: tuple[int, int], now_s: float, allocation: int) -> Pair:
        """A fresh pair, known now at one end at least; its halves have been stored as `fresh_pairs` says."""
        state = self.fresh_pairs.state(link, ends, sender)
        return self._enter(ends, state, now_s, link, (link, link), (-1, -1), allocation, sender)

    def advance(self, pair: Pair, now_s: float) -> State:
        """Bring the pair's state to `now_s`, both halves stored meanwhile, and return it."""
        if now_s > pair.stamp_s:
            first, second = self._memory[pair.first], self._memory[pair.second]
            pair.state = self._physics.age(pair.state, first, second, now_s - pair.stamp_s)
            pair.stamp_s = now_s
        return pair.state

    def fidelity(self, pair: Pair, now_s: float) -> float:
        """The true fidelity at `now_s`; the pair itself is not touched."""
        state, waited_s = pair.state, now_s - pair.stamp_s
        if waited_s > 0.0:
            state = self._physics.age(state, self._memory[pair.first], self._memory[pair.second], waited_s)
        return self._physics.fidelity(state)

    def fidelities(self, pairs: Sequence[Pair], now_s: float) -> list[float]:
        """The true fidelity of each at `now_s`, at once where the model can and all memories are alike."""
        if self._batched is None or len(pairs) < _MIN_BATCH:
            return [self.fidelity(pair, now_s) for pair in pairs]
        memory = self._memory[0]
        waited_s = np.maximum(now_s - np.array([pair.stamp_s for pair in pairs]), 0.0)
        aged = self._batched.age_many([pair.state for pair in pairs], memory, memory, waited_s)
        fidelities: list[float] = self._batched.fidelity_many(aged).tolist()
        return fidelities

    def swap(self, left: Pair, right: Pair, *, now_s: float, u: float, allocation: int) -> Pair | None:
        """Swap at the node where `left` ends and `right` begins; None when the measurement failed."""
        node = self._network.hardware[left.second]
        before = self.advance(left, now_s), self.advance(right, now_s)
        result = self._physics.swap(*before, node, u)
        self._use_up(left, _SWAPPED, now_s)
        self._use_up(right, _SWAPPED, now_s)
        if not result.success:
            return None
        ends, ports = (left.first, right.second), (left.first_link, right.second_link)
        parents = left.id, right.id
        return self._enter(ends, result.state, now_s, -1, ports, parents, allocation, outcome=result.outcome)

    def distil(self, kept: Pair, spent: Pair, *, protocol: str, now_s: float, u: float) -> Pair | None:
        """Two pairs between the same ends into one; None when the readings disagreed."""
        first, second = self._network.hardware[kept.first], self._network.hardware[kept.second]
        before = self.advance(kept, now_s), self.advance(spent, now_s)
        result = self._physics.distil(*before, first, second, protocol, u)
        self._use_up(kept, _DISTILLED, now_s)
        self._use_up(spent, _DISTILLED, now_s)
        if not result.success:
            return None
        ends, ports = (kept.first, kept.second), (kept.first_link, kept.second_link)
        parents = kept.id, spent.id
        return self._enter(ends, result.state, now_s, kept.link, ports, parents, kept.allocation)

    def turn(self, pair: Pair) -> None:
        """The same pair seen from its other end."""
        pair.state = self._physics.flip(pair.state)
        pair.first, pair.second = pair.second, pair.first
        pair.first_link, pair.second_link = pair.second_link, pair.first_link

    def end(self, pair: Pair, how: PairOutcome, now_s: float, *, fidelity_at_s: float | None = None) -> float:
        """End a live pair and return its true fidelity at `fidelity_at_s` (now unless given)."""
        del self.live[pair.id]
        self.ended[how] += 1
        true_at_s = now_s if fidelity_at_s is None else max(fidelity_at_s, pair.stamp_s)
        fidelity = self.fidelity(pair, true_at_s)
        self._write(pair, how, now_s, true_at_s, fidelity)
        return fidelity

    def close(self, now_s: float) -> None:
        """Write the pairs still live at the end of the run."""
        for pair in list(self.live.values()):
            fidelity = self.fidelity(pair, now_s)
            self._write(pair, PairOutcome.LIVE, now_s, now_s, fidelity)

    def check(self) -> None:
        """Assert conservation: born = delivered + swapped + distilled + expired + lost + live."""
        ended = sum(self.ended.values())
        assert self.born == ended + len(self.live), (self.born, self.ended, len(self.live))

    def _enter(
        self,
        ends: tuple[int, int],
        state: State,
        now_s: float,
        link: int,
        ports: tuple[int, int],
        parents: tuple[int, int],
        allocation: int,
        sender: int = -1,
        outcome: int = -1,
    ) -> Pair:
        pair = Pair(self.born, ends, state, now_s, link, ports, parents, allocation, sender, outcome)
        self.born += 1
        self.live[pair.id] = pair
        return pair

    def _use_up(self, pair: Pair, how: PairOutcome, now_s: float) -> None:
        """End a pair whose state is that of now."""
        del self.live[pair.id]
        self.ended[how] += 1
        fidelity = self._physics.fidelity(pair.state)
        self._write(pair, how, now_s, now_s, fidelity)

    def _write(self, pair: Pair, how: PairOutcome, end_s: float, fidelity_s: float, fidelity: float) -> None:
        self._append(
            (
                pair.id,
                pair.born_s,
                pair.first,
                pair.second,
                pair.link,
                pair.sender,
                pair.first_parent,
                pair.second_parent,
                pair.outcome,
                pair.allocation,
                pair.owner,
                end_s,
                how.code,
                fidelity_s,
                fidelity,
            )
        )
