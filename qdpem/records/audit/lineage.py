"""The lineage of pairs: the swaps and distillations of a record, each with the uniform that decided it."""

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
    """A swap or a distillation.

    `left` and `right` are the rows of the two pairs it ended, `result` is the row of the pair it produced, -1
    if it failed. `u` is the uniform of the run's seed that decided it, None where the rows name no node or
    link.
    """

    kind: str
    left: int
    right: int
    result: int
    u: float | None


class Lineage:
    """The table `pairs` with its operations, in the order in which they were done.

    A run writes the two pairs that an operation ends one after the other, whether it succeeds or not. Their
    order is therefore the order of the draws at each node and link. `unpaired` holds rows whose partner is
    missing.
    """

    def __init__(self, pairs: Mapping[str, NDArray[Any]], graph: Graph, *, seed: int) -> None:
        self.columns: dict[str, list[Any]] = {name: values.tolist() for name, values in pairs.items()}
        self.operations: list[Operation] = []
        self.unpaired: list[int] = []
        self._draws = {
            SWAP: swap_draws(graph, seed=seed),
            DISTILLATION: distillation_draws(graph, seed=seed),
        }
        self._end_distillation_draws = EndDistillationDraws(graph, seed=seed)
        self._read()
        self.origin = {operation.result: operation for operation in self.operations if operation.result >= 0}
        self.used = {row for operation in self.operations for row in (operation.left, operation.right)}

    def __len__(self) -> int:
        return len(self.columns["pair"])

    def made_by(self, row: int) -> str:
        """The origin of the pair in `row`: a link, a swap or a distillation."""
        if self.columns["first_parent"][row] < 0:
            return LINK
        if row in self.origin:
            return self.origin[row].kind
        return SWAP if self.columns["bell_outcome"][row] >= 0 else DISTILLATION

    def families(self) -> NDArray[np.int64]:
        """For each row, the row of the last pair that descends from it, or of the left pair of a failure.

        Rows with equal numbers form a family: no pair outside it descends from a pair inside it. Shape
        [pairs].
        """
        leads_to = list(range(len(self)))
        # Backwards, so that the end of a lineage is known before the pairs that lead to it.
        for operation in reversed(self.operations):
            last = leads_to[operation.result] if operation.result >= 0 else operation.left
            leads_to[operation.left] = leads_to[operation.right] = last
        return np.array(leads_to, dtype=np.int64)

    def _read(self) -> None:
        outcomes, children = self.columns["outcome"], self._children()
        row = 0
        while row < len(self):
            kind = _KINDS.get(outcomes[row])
            if kind is None:
                row += 1
            elif row + 1 < len(self) and outcomes[row + 1] == outcomes[row]:
                result = children.get(self.columns["pair"][row], -1)
                # Drawn for failed operations as well: each takes one uniform of its stream.
                u = self._draw(kind, row)
                self.operations.append(Operation(kind=kind, left=row, right=row + 1, result=result, u=u))
                row += 2
            else:
                self.unpaired.append(row)
                row += 1

    def _children(self) -> dict[int, int]:
        """The row of each pair that was made of others, by the id of its first parent."""
        parents = enumerate(self.columns["first_parent"])
        return {parent: row for row, parent in parents if parent >= 0}

    def _draw(self, kind: str, left: int) -> float | None:
        """The next uniform of the node that swapped, or of the link or the two ends that distilled."""
        # The left pair ends at the node that swaps. Pairs made by swaps have no link (-1).
        index = self.columns["second" if kind is SWAP else "link"][left]
        if kind is DISTILLATION and index < 0:
            ends = self.columns["first"][left], self.columns["second"][left]
            return self._end_distillation_draws.between(*ends).next() if min(ends) >= 0 else None
        draws = self._draws[kind]
        return draws[index].next() if 0 <= index < len(draws) else None
