"""The pair ledger: the one place where pairs are born, age, are swapped and distilled, and end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from physics.batched import batched
from physics.interface import PhysicsModel, State
from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import PAIRS
from qdpem.events.words import PairOutcome
from qdpem.network.graph import Network
from qdpem.network.herald_timing import FreshPairs

_MIN_BATCH = 8
"""Below this number, pairs are aged faster one by one."""

_row = named_row(PAIRS)


class Pair:
    """A live pair: its two ends in the order of its state, and the state at `stamp_s`.

    Args:
        id: never reused.
        ends: nodes that hold the first and the second half.
        state: quantum state at `born_s`.
        born_s: when the pair came to be.
        link: the link that made it; -1 if swapped.
        ports: the link through which the half at each end left or reached its node.
        parents: ids of the two pairs it was made from; -1 if fresh.
        allocation: id of the allocation that ordered it.
        sender: the end whose source emitted it; -1 unless fresh from a source-limited link.
        bell_outcome: Bell state 0 to 3 that the swap reported; -1 if not swapped.
    """

    __slots__ = (
        "allocation",
        "bell_outcome",
        "born_s",
        "first",
        "first_link",
        "first_parent",
        "id",
        "link",
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
        *,
        id: int,
        ends: tuple[int, int],
        state: State,
        born_s: float,
        link: int,
        ports: tuple[int, int],
        parents: tuple[int, int],
        allocation: int,
        sender: int = -1,
        bell_outcome: int = -1,
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
        self.bell_outcome = bell_outcome
        self.owner = -1


class Ledger:
    """All pairs of a run, under ids that are never reused; at any moment born = ended + live.

    `live`: by id. `born`: pairs so far. `ended`: how many ended in each way.
    """

    def __init__(self, network: Network, physics: PhysicsModel, append: Callable[[Row], None]) -> None:
        self._network = network
        self._physics = physics
        self._append = append
        self._memory = [hardware.memory for hardware in network.hardware]
        # Batches are compiled for one kind of memory and for the Pauli model itself: a derived model may
        # change what they compile.
        alike = len(set(self._memory)) == 1
        self._batched = batched(physics) if alike else None
        self.fresh_pairs = FreshPairs(network, physics)
        self.live: dict[int, Pair] = {}
        self.born = 0
        self.ended = dict.fromkeys(PairOutcome, 0)

    def birth(self, link: int, *, sender: int, ends: tuple[int, int], now_s: float, allocation: int) -> Pair:
        """A fresh pair of `link`, which at least one end knows of now.

        Its halves have been stored for as long as `FreshPairs` states.

        Args:
            link: the link that made it.
            sender: the end whose source emitted it; NO_SENDER if the link attempts by itself.
            ends: nodes that hold the first and the second half.
            now_s: the present simulated second.
            allocation: id of the allocation that ordered it.
        """
        pair = Pair(
            id=self.born,
            ends=ends,
            state=self.fresh_pairs.state(link, ends, sender),
            born_s=now_s,
            link=link,
            ports=(link, link),
            parents=(-1, -1),
            allocation=allocation,
            sender=sender,
        )
        return self._enter(pair)

    def advance(self, pair: Pair, now_s: float) -> State:
        """Age the pair to `now_s`, with both halves in memory, and return its state."""
        if now_s > pair.stamp_s:
            first, second = self._memory[pair.first], self._memory[pair.second]
            pair.state = self._physics.age(pair.state, first, second, now_s - pair.stamp_s)
            # The state is now that of `now_s`: a second call at this time ages nothing.
            pair.stamp_s = now_s
        return pair.state

    def fidelity(self, pair: Pair, now_s: float) -> float:
        """The true fidelity at `now_s`; the pair itself stays as it is."""
        # Not `advance`: two steps may round otherwise than one, and a mere reading must not change a run.
        state, waited_s = pair.state, now_s - pair.stamp_s
        if waited_s > 0.0:
            state = self._physics.age(state, self._memory[pair.first], self._memory[pair.second], waited_s)
        return self._physics.fidelity(state)

    def fidelities(self, pairs: Sequence[Pair], now_s: float) -> list[float]:
        """The true fidelities at `now_s`, in one batch if the model can and all memories are alike."""
        if self._batched is None or len(pairs) < _MIN_BATCH:
            return [self.fidelity(pair, now_s) for pair in pairs]
        memory = self._memory[0]
        waited_s = np.maximum(now_s - np.array([pair.stamp_s for pair in pairs]), 0.0)
        aged = self._batched.age_many([pair.state for pair in pairs], memory, memory, waited_s)
        fidelities: list[float] = self._batched.fidelity_many(aged).tolist()
        return fidelities

    def swap(self, left: Pair, right: Pair, *, now_s: float, u: float, allocation: int) -> Pair | None:
        """Swap at the node where `left` ends and `right` begins; None if the measurement fails.

        Both pairs are used up.

        Args:
            left: its second end is at the node that swaps.
            right: its first end is at that node.
            now_s: the present simulated second.
            u: uniform on [0, 1); decides the outcome.
            allocation: id of the allocation that the new pair is for.
        """
        node = self._network.hardware[left.second]
        before = self.advance(left, now_s), self.advance(right, now_s)
        result = self._physics.swap(*before, node, u)
        # Both rows follow each other, also after a failure: an audit finds operations by that.
        self._use_up(left, PairOutcome.SWAPPED, now_s)
        self._use_up(right, PairOutcome.SWAPPED, now_s)
        if not result.success:
            return None
        pair = Pair(
            id=self.born,
            ends=(left.first, right.second),
            state=result.state,
            born_s=now_s,
            link=-1,
            ports=(left.first_link, right.second_link),
            parents=(left.id, right.id),
            allocation=allocation,
            bell_outcome=result.outcome,
        )
        return self._enter(pair)

    def distil(self, kept: Pair, spent: Pair, *, protocol: str, now_s: float, u: float) -> Pair | None:
        """Distil two pairs between the same ends into one; None if the readings disagree.

        Both pairs are used up.

        Args:
            kept: the pair that is kept on success; the new pair has its link, ends and allocation.
            spent: the pair that is measured.
            protocol: of the distillation.
            now_s: the present simulated second.
            u: uniform on [0, 1); decides the readings.
        """
        first, second = self._network.hardware[kept.first], self._network.hardware[kept.second]
        before = self.advance(kept, now_s), self.advance(spent, now_s)
        result = self._physics.distil(*before, first, second, protocol, u)
        # As in a swap, the two rows follow each other.
        self._use_up(kept, PairOutcome.DISTILLED, now_s)
        self._use_up(spent, PairOutcome.DISTILLED, now_s)
        if not result.success:
            return None
        pair = Pair(
            id=self.born,
            ends=(kept.first, kept.second),
            state=result.state,
            born_s=now_s,
            link=kept.link,
            ports=(kept.first_link, kept.second_link),
            parents=(kept.id, spent.id),
            allocation=kept.allocation,
        )
        return self._enter(pair)

    def flip(self, pair: Pair) -> None:
        """Exchange the first and the second end of a pair, in its state as well."""
        pair.state = self._physics.flip(pair.state)
        pair.first, pair.second = pair.second, pair.first
        pair.first_link, pair.second_link = pair.second_link, pair.first_link

    def end(
        self, pair: Pair, outcome: PairOutcome, now_s: float, *, fidelity_at_s: float | None = None
    ) -> float:
        """End a live pair and return its true fidelity at `fidelity_at_s`, or now if not given."""
        del self.live[pair.id]
        self.ended[outcome] += 1
        # A state cannot be taken back in time: if it has aged past the wanted moment, its stamp counts.
        fidelity_s = now_s if fidelity_at_s is None else max(fidelity_at_s, pair.stamp_s)
        fidelity = self.fidelity(pair, fidelity_s)
        self._write(pair, outcome, end_s=now_s, fidelity_s=fidelity_s, fidelity=fidelity)
        return fidelity

    def close(self, now_s: float) -> None:
        """Write the pairs that are still live at the end of the run."""
        for pair in list(self.live.values()):
            fidelity = self.fidelity(pair, now_s)
            self._write(pair, PairOutcome.LIVE, end_s=now_s, fidelity_s=now_s, fidelity=fidelity)

    def check(self) -> None:
        """Assert conservation: born = delivered + swapped + distilled + expired + lost + live."""
        ended = sum(self.ended.values())
        assert self.born == ended + len(self.live), (self.born, self.ended, len(self.live))

    def _enter(self, pair: Pair) -> Pair:
        """The pair is live from now on; it has taken the next id."""
        self.born += 1
        self.live[pair.id] = pair
        return pair

    def _use_up(self, pair: Pair, outcome: PairOutcome, now_s: float) -> None:
        """End a pair whose state has been advanced to now."""
        del self.live[pair.id]
        self.ended[outcome] += 1
        # `advance` has aged the state to now already.
        fidelity = self._physics.fidelity(pair.state)
        self._write(pair, outcome, end_s=now_s, fidelity_s=now_s, fidelity=fidelity)

    def _write(
        self, pair: Pair, outcome: PairOutcome, *, end_s: float, fidelity_s: float, fidelity: float
    ) -> None:
        self._append(
            _row(
                pair=pair.id,
                born_s=pair.born_s,
                first=pair.first,
                second=pair.second,
                link=pair.link,
                sender=pair.sender,
                first_parent=pair.first_parent,
                second_parent=pair.second_parent,
                bell_outcome=pair.bell_outcome,
                allocation=pair.allocation,
                owner=pair.owner,
                end_s=end_s,
                outcome=outcome.code,
                fidelity_s=fidelity_s,
                fidelity=fidelity,
            )
        )
