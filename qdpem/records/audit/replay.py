"""Replays the pairs of a record under a physics model, from the rows of `pairs` only.

The columns `first` and `second` give the ends of a pair in their final order. The pair may have been flipped
before, which no column records. Storage acts alike from either end, so a fresh pair is placed along its final
ends. The result of an operation is placed along the ends of its parents and is flipped if its own ends are in
the other order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from physics.interface import PROTOCOLS, PhysicsModel, State
from physics.sampling import succeeds
from qdpem.network.graph import Network
from qdpem.network.herald_timing import NO_SENDER, FreshPairs
from qdpem.provenance import provenance
from qdpem.records.audit.lineage import DISTILLATION, SWAP, Lineage, Operation
from qdpem.records.reader import Record

_BISECTIONS = 40
"""Halvings of [0, 1): 2^-40 is about 1e-12, well below the tolerance of an audit."""


class ContradictionError(Exception):
    """A pair cannot be replayed because rows contradict each other; the message describes how."""


class MissingPairError(Exception):
    """A pair cannot be replayed because its parents were not written or cannot be replayed."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The recorded result of a draw, the replayed one, and the distance of the uniform from agreement."""

    what: str
    recorded: float
    replayed: float
    deviation: float


class PairReplay:
    """Replays pairs one by one; call `pair` in the order of births.

    `draws` is False for a record of another version of qdpem, whose random streams may differ. Recorded
    outcomes are then taken as they are. `done` counts the operations carried out.
    """

    def __init__(
        self, record: Record, pairs: Mapping[str, NDArray[Any]], *, network: Network, model: PhysicsModel
    ) -> None:
        self.lineage = Lineage(pairs, network.graph, seed=record.seed)
        self.draws = record.provenance.get("qdpem_version") == provenance()["qdpem_version"]
        self.done = {SWAP: 0, DISTILLATION: 0}
        self._network, self._model, self._whole = network, model, record.complete
        self._columns = self.lineage.columns
        allocations = record.tables["allocations"]
        self._protocols = dict(
            zip(allocations["allocation"].tolist(), allocations["protocol"].tolist(), strict=True)
        )
        self._states: dict[int, State] = {}
        self._fresh_pairs = FreshPairs(network, model)

    def pair(self, row: int) -> tuple[float, Draw | None]:
        """The fidelity of the pair at the time `fidelity_s` of its row, and the draw that disagrees, if any.

        Raises ContradictionError or MissingPairError when the pair cannot be replayed.
        """
        columns = self._columns
        self._check_times(row)
        draw: Draw | None = None
        if columns["first_parent"][row] < 0:
            state = self._born(row)
        else:
            state, draw = self._result(row)
        first, second = (self._network.hardware[node].memory for node in self._ends(row))
        stored_s = columns["fidelity_s"][row] - columns["born_s"][row]
        state = self._model.age(state, first, second, stored_s)
        # Only pairs that an operation uses: `fidelity_s` is then the time of that operation.
        if row in self.lineage.used:
            self._states[row] = state
        return self._model.fidelity(state), draw

    def fail(self, operation: Operation) -> Draw | None:
        """The draw of a failed operation, if it disagrees; None where the run may have stopped just then."""
        if not (self._whole and self.draws):
            return None
        return self._operate(operation)[1]

    def _born(self, row: int) -> State:
        """The state of a fresh pair at its birth, with the storage times of its link."""
        network, (first, second) = self._network, self._ends(row)
        link, sender = self._columns["link"][row], self._columns["sender"][row]
        if network.link_between.get((first, second)) != link:
            raise ContradictionError(f"its link {link} does not join its ends {first} and {second}")
        if network.links[link].source_limited:
            if sender not in (first, second):
                raise ContradictionError(f"its sender {sender} is not one of its ends {first} and {second}")
        elif sender != NO_SENDER:
            raise ContradictionError(f"it has a sender, {sender}, on a link that attempts without one")
        return self._fresh_pairs.state(link, (first, second), sender)

    def _result(self, row: int) -> tuple[State, Draw | None]:
        """The state that a swap or distillation produced, placed along the pair's own ends."""
        columns, origin = self._columns, self.lineage.origin.get(row)
        if origin is None:
            raise ContradictionError(
                f"its parent {columns['first_parent'][row]} was not used up by a swap or distillation"
            )
        second_parent = columns["pair"][origin.right]
        if columns["second_parent"][row] != second_parent:
            raise ContradictionError(
                f"its second parent is {columns['second_parent'][row]}, not {second_parent}"
            )
        for parent in (origin.left, origin.right):
            if columns["end_s"][parent] != columns["born_s"][row]:
                parent_end = f"parent {columns['pair'][parent]} ended at {columns['end_s'][parent]:.9f} s"
                raise ContradictionError(
                    f"it was born at {columns['born_s'][row]:.9f} s, but its {parent_end}"
                )
        state, draw = self._operate(origin)
        outer = columns["first"][origin.left], columns["second"][origin.right]
        if self._ends(row) == outer:
            return state, draw
        if self._ends(row) == outer[::-1]:
            return self._model.flip(state), draw
        raise ContradictionError(f"its ends are {self._ends(row)}, those of its parents {outer}")

    def _operate(self, operation: Operation) -> tuple[State, Draw | None]:
        rows = operation.left, operation.right
        if not all(row in self._states for row in rows):
            raise MissingPairError
        # A pair takes part in one operation only, so its state is not needed again.
        left, right = (self._states.pop(row) for row in rows)
        self.done[operation.kind] += 1
        carry_out = self._swap if operation.kind is SWAP else self._distil
        return carry_out(operation, left, right)

    def _swap(self, operation: Operation, left: State, right: State) -> tuple[State, Draw | None]:
        """The outer pair with the recorded outcome, None after a failure."""
        columns, model = self._columns, self._model
        node = columns["second"][operation.left]
        if columns["first"][operation.right] != node:
            raise ContradictionError(f"the swapped pairs do not meet at node {node}")
        hardware = self._network.hardware[node]
        recorded = columns["bell_outcome"][operation.result] if operation.result >= 0 else -1
        draw = None
        if self.draws and operation.u is not None:
            result = model.swap(left, right, hardware, operation.u)
            if result.outcome == recorded:
                return result.state, None
            deviation = _distance(
                lambda u: model.swap(left, right, hardware, u).outcome, operation.u, recorded
            )
            draw = Draw(what="bell_outcome", recorded=recorded, replayed=result.outcome, deviation=deviation)
        if operation.result < 0:
            return None, draw
        try:
            # The recorded outcome is imposed, so that descendants do not repeat this deviation.
            return model.swap(left, right, hardware, 0.0, recorded).state, draw
        except ValueError as error:
            raise ContradictionError(f"the swap cannot have had its outcome: {error}") from error

    def _distil(self, operation: Operation, kept: State, spent: State) -> tuple[State, Draw | None]:
        """The distilled pair, None after a failure."""
        ends, others = self._ends(operation.left), self._ends(operation.right)
        if ends != others:
            raise ContradictionError(f"the distilled pairs have different ends: {ends}, {others}")
        first, second = (self._network.hardware[node] for node in ends)
        protocol, success = self._protocol(operation.left), operation.result >= 0
        # It can succeed if it succeeds at u = 0; its success probability does not depend on u.
        result = self._model.distil(kept, spent, first, second, protocol, 0.0)
        if success and not result.success:
            raise ContradictionError("the distillation cannot have succeeded")
        if not self.draws or operation.u is None:
            return result.state, None
        drawn = succeeds(operation.u, result.success_probability)
        if drawn == success:
            return result.state, None
        deviation = abs(operation.u - result.success_probability)
        return result.state, Draw(what="success", recorded=success, replayed=drawn, deviation=deviation)

    def _protocol(self, row: int) -> str:
        allocation = self._columns["allocation"][row]
        if allocation in self._protocols:
            return PROTOCOLS[self._protocols[allocation]]
        if self._whole:
            raise ContradictionError(f"its allocation {allocation} is not in the record")
        raise MissingPairError

    def _check_times(self, row: int) -> None:
        columns = self._columns
        born_s, fidelity_s, end_s = (columns[name][row] for name in ("born_s", "fidelity_s", "end_s"))
        if not 0.0 <= born_s <= fidelity_s <= end_s:
            times = f"born at {born_s:.9f}, fidelity of {fidelity_s:.9f}, ended at {end_s:.9f} s"
            raise ContradictionError(f"its times are out of order: {times}")
        if row in self.lineage.used and fidelity_s != end_s:
            raise ContradictionError(
                f"it was used at {end_s:.9f} s, but its fidelity is of {fidelity_s:.9f} s"
            )

    def _ends(self, row: int) -> tuple[int, int]:
        return self._columns["first"][row], self._columns["second"][row]


def _distance(outcome_at: Callable[[float], int], u: float, recorded: int) -> float:
    """How far `u` would have to move for the swap to have the recorded outcome; inf where no u gives it.

    Outcomes rise with u and failure comes last, so that bisection finds the nearest such u.
    """
    wanted = _rank(recorded)
    rises = _rank(outcome_at(u)) < wanted

    def reached(value: float) -> bool:
        rank = _rank(outcome_at(value))
        return rank >= wanted if rises else rank <= wanted

    # The largest uniform below 1 is 1 - 2^-53.
    here, there = u, 1.0 - 2.0**-53 if rises else 0.0
    if not reached(there):
        return float("inf")
    for _ in range(_BISECTIONS):
        middle = 0.5 * (here + there)
        here, there = (here, middle) if reached(middle) else (middle, there)
    return abs(there - u) if _rank(outcome_at(there)) == wanted else float("inf")


def _rank(outcome: int) -> int:
    # A failure, recorded as -1, comes after the Bell states 0 to 3.
    return outcome if outcome >= 0 else 4
