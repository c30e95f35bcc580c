"""The constants by which Pauli tables are swapped and distilled, compiled once per node or pair of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from physics.hardware import NodeHardware
from physics.models import compilation

BilinearTerms: TypeAlias = tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]
"""Coefficients and flat indices of the kept and the spent table; the result is their sum over axis 0 (2)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SwapConstants:
    """The swap of one node: for each outcome a middle matrix M_m and the signs of its correction, (4, 4).

    R_left M_m R_right is the joined table times the probability of the outcome, and the signs multiply it
    entry by entry. The middle matrices of a Bell measurement are diagonal; `weights`, (4, 4), has a row of
    them per outcome. `success_probability`: of everything but the Bell measurement.
    """

    middles: tuple[NDArray[np.float64], ...]
    signs: tuple[NDArray[np.float64], ...]
    weights: NDArray[np.float64]
    success_probability: float


def swap_constants(node: NodeHardware) -> SwapConstants:
    """The constants of a node's swap, as its hardware gives them."""
    tables = compilation.swap_tables(node)
    return SwapConstants(
        middles=tuple(tables),
        signs=tuple(np.tile(signs, (4, 1)) for signs in compilation.correction_signs()),
        weights=np.ascontiguousarray(tables.diagonal(axis1=1, axis2=2)),
        success_probability=node.swap_success_probability,
    )


def dejmps_constants(first: NodeHardware, second: NodeHardware) -> BilinearTerms:
    """The terms of DEJMPS between two nodes, as `PauliModel.dejmps_terms` describes them."""
    bilinear = compilation.distillation_map(first, second)
    coefficient = bilinear.coefficient.reshape(2, 4, 4)
    return coefficient, bilinear.kept_index.reshape(2, 4, 4), bilinear.spent_index.reshape(2, 4, 4)
