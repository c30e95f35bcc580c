"""A swap with the storage of all four halves before it, folded into one set of constants. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.interface import FAILED_SWAP, Swapped
from physics.sampling import after_success, check_outcome, check_possible, choose
from physics.states import PauliTable


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredSwap:
    """What `PauliModel.compile_swap` gives: call it with two fresh tables, a uniform and perhaps an outcome.

    With T_1 to T_4 what storage does to the halves from left to right, M_m what the Bell measurement does
    for outcome m and S_m its correction, outcome m leaves T_1 R_left (T_2^T M_m T_3) R_right (T_4^T S_m),
    over its probability. `before` is T_1, `middles` and `after` hold the products in brackets, all float64
    (4, 4); `rows`, (4, 16), is all middles side by side.
    """

    before: NDArray[np.float64]
    middles: tuple[NDArray[np.float64], ...]
    after: tuple[NDArray[np.float64], ...]
    rows: NDArray[np.float64]
    success_probability: float

    def __call__(self, left: PauliTable, right: PauliTable, u: float, outcome: int | None = None) -> Swapped:
        """Store both pairs, then swap: the result, the errors and the use of `u` are `PauliModel.swap`'s."""
        forced = outcome is not None
        if outcome is None:
            outcome = self._drawn(left, right, u)
            if outcome is None:
                return FAILED_SWAP
        else:
            check_outcome(outcome)
        joined = self.before.dot(left).dot(self.middles[outcome]).dot(right).dot(self.after[outcome])
        probability = joined.item(0)
        if forced:
            check_possible(outcome, probability)
        joined /= probability
        joined.setflags(write=False)
        drawn = probability * self.success_probability
        return Swapped(success=True, outcome=outcome, probability=drawn, state=joined)

    def _drawn(self, left: PauliTable, right: PauliTable, u: float) -> int | None:
        remainder = after_success(u, self.success_probability)
        if remainder is None:
            return None
        # Storage keeps the trace, so T_1 leaves the table's first row, and T_4 its first column, as it was.
        return choose(remainder, left[0].dot(self.rows).reshape(4, 4).dot(right[:, 0]).tolist())


def fold_storage(
    tables: NDArray[np.float64],
    signs: NDArray[np.float64],
    transfers: Sequence[NDArray[np.float64]],
    *,
    success_probability: float,
) -> StoredSwap:
    """Fold transfer matrices, left to right, into a node's swap: `tables` and `signs`, both (4, 4, 4)."""
    outer_left, inner_left, inner_right, outer_right = transfers
    middles = inner_left.T @ tables @ inner_right
    return StoredSwap(
        before=outer_left,
        middles=tuple(middles),
        after=tuple(outer_right.T * signs),
        rows=middles.transpose(1, 0, 2).reshape(4, 16),
        success_probability=success_probability,
    )
