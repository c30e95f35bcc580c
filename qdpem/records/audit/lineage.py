"""Who was made of whom: the swaps and distillations of a record, each with the uniform that decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.draws.outcome_draws import EndDistillationDraws, distillation_draws, swap_draws
from qdpem.events.words import PairOutcome
from qdpem.network.graph import Graph

LINK, SWAP, DISTILLATION = "link", "swap", "distillation"
_KINDS = {PairOutcome.SWAPPED.code: SWAP, PairOutcome.DISTILLED.code: DISTILLATION}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A swap or a distillation: the rows of the two pairs it ended and of the one it made, -1 for none.

    `u` is the uniform of the run's seed that decided it; None where the rows name no place to draw it for.
    """

    kind: str
    left: int
    right: int
    made: int
    u: float | None


class Lineage:
    """The table `pairs` with its operations, in the order in which they were done.

    A run writes the two pairs that an operation ends one after the other, whether it succeeds or not, so
    their order is that of the draws at each node and link. `alone` are rows where the second is not there.
    """

    def __init__(self, pairs: Mapping[str, NDArray[Any]], graph: Graph, *, seed: int) -> None:
        self.columns: dict[str, list[Any]] = {name: values.tolist() for name, values in pairs.items()}
        self.operations: list[Operation] = []
        self.alone: list[int] = []
        self._draws = {
            SWAP: swap_draws(graph, seed=seed),
            DISTILLATION: distillation_draws(graph, seed=seed),
        }
        self._end_distillation_draws = EndDistillationDraws(graph, seed=seed)
        self._read()
        self.maker = {one.made: one for one in self.operations if one.made >= 0}
        self.used = {row for one in self.operations for row in (one.left, one.right)}

    def __len__(self) -> int:
        return len(self.columns["pair"])

    def made_by(self, row: int) -> str:
        """What the pair of `row` says it came from: a link, a swap or a distillation."""
        if self.columns["first_parent"][row] < 0:
            return LINK
        if row in self.maker:
            return self.maker[row].kind
        return SWAP if self.columns["bell_outcome"][row] >= 0 else DISTILLATION

    def stories(self) -> NDArray[np.int64]:
        """For each row, the row its life led to: the last pair made of it, or the left one of a failure.

        Rows with one number belong together: none of the others was made of any of them.
        """
        leads_to = list(range(len(self)))
        for one in reversed(self.operations):
            last = leads_to[one.made] if one.made >= 0 else one.left
            leads_to[one.left] = leads_to[one.right] = last
        return np.array(leads_to, dtype=np.int64)

    def _read(self) -> None:
        ends, children = self.columns["outcome"], self._children()
        row = 0
        while row < len(self):
            kind = _KINDS.get(ends[row])
            if kind is None:
                row += 1
            elif row + 1 < len(self) and ends[row + 1] == ends[row]:
                made = children.get(self.columns["pair"][row], -1)
                u = self._draw(kind, row)
                self.operations.append(Operation(kind=kind, left=row, right=row + 1, made=made, u=u))
                row += 2
            else:
                self.alone.append(row)
                row += 1

    def _children(self) -> dict[int, int]:
        """The row of what was made of each pair, by the id of its first parent."""
        parents = enumerate(self.columns["first_parent"])
        return {parent: row for row, parent in parents if parent >= 0}

    def _draw(self, kind: str, left: int) -> float | None:
        """The next uniform of the node where the swap was, or of the link or ends that distilled."""
        place = self.columns["second" if kind is SWAP else "link"][left]
        if kind is DISTILLATION and place < 0:
            ends = self.columns["first"][left], self.columns["second"][left]
            return self._end_distillation_draws.between(*ends).next() if min(ends) >= 0 else None
        draws = self._draws[kind]
        return draws[place].next() if 0 <= place < len(draws) else None
