"""The default model: exact two-qubit states as 4x4 real Pauli tables, constants compiled from QuTiP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from physics import links, states
from physics.chance import (
    after_success,
    check_duration,
    check_outcome,
    check_possible,
    check_protocol,
    choose,
    succeeds,
)
from physics.interface import (
    CompiledLink,
    DensityMatrix,
    DepolarisingMemory,
    Distilled,
    LinkHardware,
    Memory,
    NodeHardware,
    Swapped,
)
from physics.states import PauliTable

_FAILED_SWAP = Swapped(success=False, outcome=-1, state=None)


@dataclass(frozen=True, kw_only=True)
class _CompiledSwap:
    """One node's swap: per outcome a middle matrix and the correction's signs; weights give probabilities."""

    middles: tuple[NDArray[np.float64], ...]
    signs: tuple[NDArray[np.float64], ...]
    weights: NDArray[np.float64]
    success_probability: float


@dataclass(frozen=True, kw_only=True)
class _CompiledAge:
    """Two memories: entry (i, j) of a table decays at -exponents[i, j] per second, then relaxes to |0>."""

    exponents: NDArray[np.float64]
    first_rate_hz: float
    second_rate_hz: float


class PauliModel:
    """Pairs as read-only float64 tables R_ij = Tr(rho sigma_i (x) sigma_j): exact for every two-qubit state.

    A swap with outcome m is R_left M_m R_right with the correction's signs on the columns; a distillation is
    bilinear in both tables; memories act entry by entry. Constants are compiled from QuTiP channels when a
    node's hardware is first met, and kept in the model, so one model should serve a whole run.

    >>> model = PauliModel()
    >>> pair = model.from_density_matrix(states.werner(0.95))
    >>> node = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    >>> round(model.fidelity(model.swap(pair, pair, node, 0.0).state), 6)
    0.903333
    """

    name = "pauli"
    exact: ClassVar[bool] = True

    def __init__(self) -> None:
        self._ages: dict[tuple[Memory | None, Memory | None], _CompiledAge] = {}
        self._swaps: dict[NodeHardware, _CompiledSwap] = {}
        self._maps: dict[
            tuple[NodeHardware, NodeHardware],
            tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]],
        ] = {}

    def link(self, hardware: LinkHardware) -> CompiledLink:
        """Success probability of one attempt, its least period 2L/v, and a fresh Werner pair."""
        return CompiledLink(
            success_probability=links.success_probability(hardware),
            attempt_period_s=links.attempt_period_s(hardware.length_km),
            fresh=_table(links.fresh_state(hardware)),
        )

    def age(
        self, state: PauliTable, first: Memory | None, second: Memory | None, duration_s: float
    ) -> PauliTable:
        """Store both ends for `duration_s`. Raises ValueError for a time below 0 or not finite."""
        if not 0.0 < duration_s < math.inf:
            check_duration(duration_s)
            return state
        compiled = self._ages.get((first, second)) or self._compile_age(first, second)
        aged: PauliTable = np.multiply(compiled.exponents, duration_s)
        np.exp(aged, out=aged)
        np.multiply(aged, state, out=aged)
        # T = decay + (1 - e^(-t/T1)) |z><1|: the second part adds to Z what the identity row or column holds.
        if compiled.first_rate_hz:
            aged[3] -= math.expm1(-duration_s * compiled.first_rate_hz) * aged[0]
        if compiled.second_rate_hz:
            aged[:, 3] -= math.expm1(-duration_s * compiled.second_rate_hz) * aged[:, 0]
        aged.setflags(write=False)
        return aged

    def swap(
        self, left: PauliTable, right: PauliTable, node: NodeHardware, u: float, outcome: int | None = None
    ) -> Swapped:
        """Bell-measure the middle qubits at `node` and correct the right end; outcome -1 when it failed.

        `u` first decides success, what is left of it the outcome. Raises ValueError for a forced outcome
        outside 0..3 or of probability 0.
        """
        compiled = self._swaps.get(node) or self._compile_swap(node)
        if outcome is None:
            remainder = after_success(u, compiled.success_probability)
            if remainder is None:
                return _FAILED_SWAP
            corner = np.multiply.outer(left[0], right[:, 0]).ravel()
            outcome = choose(remainder, compiled.weights.dot(corner).tolist())
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
        """One DEJMPS round (Deutsch et al. 1996) with each node's own noise; success when u < p.

        Raises ValueError for another protocol.
        """
        check_protocol(protocol)
        compiled = self._maps.get((first, second)) or self._compile_distillation(first, second)
        coefficient, kept_index, spent_index = compiled
        terms = kept.take(kept_index)
        terms *= spent.take(spent_index)
        terms *= coefficient
        flat = np.add.reduce(terms)
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

    def _compile_age(self, first: Memory | None, second: Memory | None) -> _CompiledAge:
        exponents = -np.add.outer(_decay_rates_hz(first), _decay_rates_hz(second))
        compiled = _CompiledAge(
            exponents=exponents,
            first_rate_hz=_relaxation_rate_hz(first),
            second_rate_hz=_relaxation_rate_hz(second),
        )
        self._ages[first, second] = compiled
        return compiled

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

    def _compile_distillation(
        self, first: NodeHardware, second: NodeHardware
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
        from physics import compilation

        found = compilation.distillation_map(first, second)
        compiled = (found.coefficient, found.kept_index, found.spent_index)
        self._maps[first, second] = compiled
        return compiled


def _table(matrix: DensityMatrix) -> PauliTable:
    table = states.pauli_table(matrix)
    table.setflags(write=False)
    return table


def _decay_rates_hz(memory: Memory | None) -> NDArray[np.float64]:
    """How fast I, X, Y, Z of one stored qubit decay, per second."""
    if memory is None:
        return np.zeros(4)
    if isinstance(memory, DepolarisingMemory):
        return np.array([0.0, 1.0, 1.0, 1.0]) / memory.depolarising_s
    coherence = 1.0 / memory.dephasing_s
    return np.array([0.0, coherence, coherence, 1.0 / memory.relaxation_s])


def _relaxation_rate_hz(memory: Memory | None) -> float:
    """How fast one stored qubit relaxes to |0>, per second; 0 when its fixed point is I/2."""
    return 0.0 if memory is None or isinstance(memory, DepolarisingMemory) else 1.0 / memory.relaxation_s
