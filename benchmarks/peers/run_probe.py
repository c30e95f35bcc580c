"""The floor: the chain on bare SimPy callbacks, with exact states and nothing else.

No requests, no record, no choice of path. A pair is a 4 x 4 table of Pauli correlations,
T[i, j] = Tr(rho s_i x s_j), so any two-qubit state would do; failed attempts are drawn, not run.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import simpy
from case import ATTEMPT_S, COHERENCE_S, FRESH_FIDELITY, HOP_S, Case, asked_case, link_success, tell

_PHI_PLUS = np.array([1.0, 1.0, -1.0, 1.0])
_TURNS = np.array(
    [[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, -1.0, 1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]
)
"""The effect of the correction of each Bell outcome on the Pauli operators of a qubit."""
_FRESH = np.diag(_PHI_PLUS * [1.0, *[(4.0 * FRESH_FIDELITY - 1.0) / 3.0] * 3])


class Pair:
    """A pair between nodes `first` and `last`; its state is of the moment `since_s`."""

    __slots__ = ("first", "last", "since_s", "state", "told")

    def __init__(self, first: int, last: int, state: Any, since_s: float) -> None:
        self.first, self.last, self.state, self.since_s = first, last, state, since_s
        self.told = 0


class Chain:
    """Lanes of `memories` qubits side by side; lane k of a node is swapped with lane k alone.

    `left[k][i]`, `right[k][i]`: the pair that ends in, or begins in, node i; `knows[k][i]`: node i has been
    told of the pair that begins in it; `may[k][i]`: it knows its neighbour's qubit to be free.
    """

    def __init__(self, case: Case) -> None:
        self.clock = simpy.Environment()
        self.events = 0
        self.fidelities: list[float] = []
        self._last = case.nodes - 1
        self._uniform = random.Random(case.seed).random
        self._log_failure = math.log1p(-link_success())
        lanes = range(case.memories)
        self.left: list[list[Pair | None]] = [[None] * case.nodes for _ in lanes]
        self.right: list[list[Pair | None]] = [[None] * case.nodes for _ in lanes]
        self.knows = [[False] * case.nodes for _ in lanes]
        self.may = [[True] * case.nodes for _ in lanes]
        for lane in lanes:
            for node in range(self._last):
                self._begin(lane, node)

    def _after(self, delay_s: float, function: Callable[..., None], *about: Any) -> None:
        self.events += 1
        self.clock.timeout(delay_s).callbacks.append(lambda _: function(*about))

    def _begin(self, lane: int, node: int) -> None:
        """Node `node` and its right neighbour attempt, if either has a free qubit."""
        if self.may[lane][node] and self.right[lane][node] is None:
            self.may[lane][node] = False
            failures = int(math.log(1.0 - self._uniform()) / self._log_failure)
            self._after(failures * ATTEMPT_S + HOP_S, self._arrive, lane, node)

    def _arrive(self, lane: int, node: int) -> None:
        pair = Pair(node, node + 1, _FRESH, self.clock.now)
        self.right[lane][node] = self.left[lane][node + 1] = pair
        self._after(HOP_S, self._herald, lane, node)
        self._swap(lane, node + 1)

    def _herald(self, lane: int, node: int) -> None:
        self.knows[lane][node] = True
        self._swap(lane, node)

    def _take(self, lane: int, pair: Pair) -> Any:
        """Its state now, and its two qubits with no pair in them."""
        kept = math.exp(-(self.clock.now - pair.since_s) / COHERENCE_S)
        state = pair.state.copy()
        state[1:] *= kept
        state[:, 1:] *= kept
        self.right[lane][pair.first] = self.left[lane][pair.last] = None
        return state

    def _swap(self, lane: int, node: int) -> None:
        before, after = self.left[lane][node], self.right[lane][node]
        if before is None or after is None or not self.knows[lane][node]:
            return
        turn = _TURNS[int(4.0 * self._uniform())]
        state = (self._take(lane, before) * (_PHI_PLUS * turn)) @ self._take(lane, after) * turn
        pair = Pair(before.first, after.last, state / state[0, 0], self.clock.now)
        self.right[lane][pair.first] = self.left[lane][pair.last] = pair
        self.knows[lane][node] = False
        self._after((node - pair.first) * HOP_S, self._correct, lane, pair)
        self._after((pair.last - node) * HOP_S, self._correct, lane, pair)
        self._after(HOP_S, self._free, lane, node - 1)
        self._begin(lane, node)

    def _correct(self, lane: int, pair: Pair) -> None:
        pair.told += 1
        if pair.told == 2 and pair.first == 0 and pair.last == self._last:
            state = self._take(lane, pair)
            self.fidelities.append(float(state.diagonal() @ _PHI_PLUS) / 4.0)
            self.knows[lane][0] = False
            self._begin(lane, 0)
            self._after(HOP_S, self._free, lane, self._last - 1)

    def _free(self, lane: int, node: int) -> None:
        self.may[lane][node] = True
        self._begin(lane, node)


def settle_heap() -> None:
    """The collector of cycles as `qdpem` sets it for a run (`qdpem.simulation.frozen_gc`)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, *gc.get_threshold()[1:])


def main() -> None:
    """Run the asked case."""
    case = asked_case(__doc__.splitlines()[0])
    chain = Chain(case)
    settle_heap()
    chain.clock.run(until=case.warm_up_s)
    before, delivered = chain.events, len(chain.fidelities)
    began = time.perf_counter()
    chain.clock.run(until=case.warm_up_s + case.simulated_s)
    wall_s = time.perf_counter() - began
    tell("probe", case, wall_s=wall_s, fidelities=chain.fidelities[delivered:], events=chain.events - before)


if __name__ == "__main__":
    main()
