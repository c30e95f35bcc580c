"""The default model: exact two-qubit states as 4x4 real Pauli tables, constants compiled from QuTiP."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from physics import links, states
from physics.chance import (
    after_success,
    check_attempts,
    check_duration,
    check_outcome,
    check_possible,
    check_protocol,
    choose,
    succeeds,
)
from physics.hardware import LinkHardware, Memory, NodeHardware
from physics.interface import NO_ATTEMPTS, CompiledLink, DensityMatrix, Distilled, Swapped
from physics.states import PauliTable
from physics.storage import Storage, compile_storage

_FAILED_SWAP = Swapped(success=False, outcome=-1, state=None)


@dataclass(frozen=True, kw_only=True)
class _CompiledSwap:
    """One node's swap: per outcome a middle matrix and the correction's signs; weights give probabilities."""

    middles: tuple[NDArray[np.float64], ...]
    signs: tuple[NDArray[np.float64], ...]
    weights: NDArray[np.float64]
    success_probability: float


class PauliModel:
    """Pairs as read-only float64 tables R_ij = Tr(rho sigma_i (x) sigma_j): exact for every two-qubit state.

    A swap with outcome m is R_left M_m R_right with the correction's signs on the columns; a distillation is
    bilinear in both tables; memories act entry by entry. Constants are compiled from QuTiP channels when a
    node's hardware is first met, and kept in the model, so one model should serve a whole run.

    >>> model = PauliModel()
    >>> pair = model.from_density_matrix(states.werner(0.95))
    >>> from physics.hardware import DepolarisingMemory
    >>> node = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    >>> round(model.fidelity(model.swap(pair, pair, node, 0.0).state), 6)
    0.903333
    """

    name = "pauli"
    exact: ClassVar[bool] = True

    def __init__(self) -> None:
        self._storages: dict[tuple[Memory | None, Memory | None], Storage] = {}
        self._swaps: dict[NodeHardware, _CompiledSwap] = {}
        self._dejmps_maps: dict[
            tuple[NodeHardware, NodeHardware],
            tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]],
        ] = {}
        self._bbpssw_maps: dict[tuple[NodeHardware, NodeHardware], NDArray[np.float64]] = {}

    def link(self, hardware: LinkHardware, length_km: float) -> CompiledLink:
        """Success probability, timing and the heralded state; ValueError for a wrong length."""
        found = links.compile_link(hardware, length_km)
        return replace(found, fresh=_table(found.fresh))

    def age(
        self,
        state: PauliTable,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> PauliTable:
        """Store both ends. Raises ValueError for a time or attempts below 0 or not finite."""
        if not 0.0 < duration_s < math.inf:
            check_duration(duration_s)
            if attempts is NO_ATTEMPTS:
                return state
        if attempts is not NO_ATTEMPTS:
            check_attempts(attempts)
        storage = self._storages.get((first, second))
        if storage is None:
            storage = self._storages[first, second] = compile_storage(first, second)
        return storage.after(state, duration_s, attempts)

    def swap(
        self, left: PauliTable, right: PauliTable, node: NodeHardware, u: float, outcome: int | None = None
    ) -> Swapped:
        """Bell-measure the middle qubits at `node` and correct the right end; outcome -1 when it failed.

        `u` first decides success, what is left of it the outcome; one that the node's Bell measurement cannot
        tell from others fails. Raises ValueError for a forced outcome outside 0..3 or of probability 0.
        """
        compiled = self._swaps.get(node) or self._compile_swap(node)
        if outcome is None:
            remainder = after_success(u, compiled.success_probability)
            if remainder is None:
                return _FAILED_SWAP
            corner = np.multiply.outer(left[0], right[:, 0]).ravel()
            outcome = choose(remainder, compiled.weights.dot(corner).tolist())
            if outcome is None:
                return _FAILED_SWAP
        else:
            check_outcome(outcome)
        joined: PauliTable = left.dot(compiled.middles[outcome]).dot(right)
        probability = joined.item(0)
        check_possible(outcome, probability)
        joined /= compiled.signs[outcome] * probability
        joined.setflags(write=False)
        return Swapped(success=True, outcome=outcome, state=joined)

    def distil(
        self,
        kept: PauliTable,
        spent: PauliTable,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: float,
    ) -> Distilled:
        """One round of BBPSSW (Bennett et al. 1996) or DEJMPS (Deutsch et al. 1996); success when u < p.

        Each node has its own noise. BBPSSW twirls both pairs first. Raises ValueError for another protocol.
        """
        if protocol == "dejmps":
            flat = self._dejmps(kept, spent, first, second)
        else:
            check_protocol(protocol)
            flat = self._bbpssw(kept, spent, first, second)
        probability = flat.item(0)
        if not succeeds(u, probability):
            return Distilled(success=False, success_probability=probability, state=None)
        flat /= probability
        state = flat.reshape(4, 4)
        flat.setflags(write=False)
        state.setflags(write=False)
        return Distilled(success=True, success_probability=probability, state=state)

    def flip(self, state: PauliTable) -> PauliTable:
        """The same pair with its ends exchanged: the transposed table."""
        flipped: PauliTable = state.T.copy()
        flipped.setflags(write=False)
        return flipped

    def fidelity(self, state: PauliTable) -> float:
        """<Phi+| rho |Phi+> = (1 + R_11 - R_22 + R_33)/4."""
        return 0.25 * (1.0 + state.item(5) - state.item(10) + state.item(15))

    def density_matrix(self, state: PauliTable) -> DensityMatrix:
        """The 4x4 complex128 density matrix."""
        return states.from_pauli_table(state)

    def from_density_matrix(self, matrix: DensityMatrix) -> PauliTable:
        """The table of a density matrix; raises ValueError unless Hermitian, positive, trace 1."""
        return _table(states.checked_density_matrix(matrix))

    def _compile_swap(self, node: NodeHardware) -> _CompiledSwap:
        from physics import compilation

        tables = compilation.swap_tables(node)
        compiled = _CompiledSwap(
            middles=tuple(tables),
            signs=tuple(compilation.correction_signs()),
            weights=tables.reshape(4, 16),
            success_probability=node.swap_success_probability,
        )
        self._swaps[node] = compiled
        return compiled

    def _dejmps(
        self, kept: PauliTable, spent: PauliTable, first: NodeHardware, second: NodeHardware
    ) -> NDArray[np.float64]:
        compiled = self._dejmps_maps.get((first, second)) or self._compile_dejmps(first, second)
        coefficient, kept_index, spent_index = compiled
        terms = kept.take(kept_index)
        terms *= spent.take(spent_index)
        terms *= coefficient
        flat: NDArray[np.float64] = np.add.reduce(terms)
        return flat

    def _bbpssw(
        self, kept: PauliTable, spent: PauliTable, first: NodeHardware, second: NodeHardware
    ) -> NDArray[np.float64]:
        compiled = self._bbpssw_maps.get((first, second))
        if compiled is None:
            compiled = self._compile_bbpssw(first, second)
        w, v = _twirled_weight(kept), _twirled_weight(spent)
        flat: NDArray[np.float64] = np.array((1.0, w, v, w * v)).dot(compiled)
        return flat

    def _compile_bbpssw(self, first: NodeHardware, second: NodeHardware) -> NDArray[np.float64]:
        from physics import compilation

        compiled = compilation.werner_distillation_map(first, second, "bbpssw")
        self._bbpssw_maps[first, second] = compiled
        return compiled

    def _compile_dejmps(
        self, first: NodeHardware, second: NodeHardware
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
        from physics import compilation

        found = compilation.distillation_map(first, second)
        compiled = (found.coefficient, found.kept_index, found.spent_index)
        self._dejmps_maps[first, second] = compiled
        return compiled


def _table(matrix: DensityMatrix) -> PauliTable:
    table = states.pauli_table(matrix)
    table.setflags(write=False)
    return table


def _twirled_weight(table: PauliTable) -> float:
    """The weight of the Werner state of the same fidelity."""
    return (table.item(5) - table.item(10) + table.item(15)) / 3.0
