"""The default model: exact two-qubit states as 4x4 real Pauli tables, constants compiled once per node."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics.batched import BatchedStates, amounts, attempt_counts, flat_tables
from physics.figures_of_merit.werner_figures import twirled_weight
from physics.hardware import LinkHardware, Memory, NodeHardware
from physics.interface import FAILED_SWAP, NO_ATTEMPTS, CompiledLink, DensityMatrix, Distilled, Swapped
from physics.links import elementary
from physics.models import compilation
from physics.models.pauli_constants import BilinearTerms, SwapConstants, dejmps_constants, swap_constants
from physics.models.storage import MAX_DURATION_S, Decay, Storage, compile_storage, decay_of
from physics.qubits import states
from physics.qubits.states import PauliTable
from physics.sampling import (
    MIN_FORCED_PROBABILITY,
    after_success,
    check_attempts,
    check_duration,
    check_outcome,
    check_possible,
    check_protocol,
    choose,
    succeeds,
)


class PauliModel:
    """Pairs as read-only float64 tables R_ij = Tr(rho sigma_i (x) sigma_j): exact for every two-qubit state.

    A swap with outcome m is R_left M_m R_right with the correction's signs on the columns. A distillation is
    bilinear in both tables. Memories act entry by entry. The model compiles the constants of a node on first
    use and keeps them, so one model should serve a whole run.

    >>> model = PauliModel()
    >>> pair = model.from_density_matrix(states.werner(0.95))
    >>> from physics.hardware import DepolarisingMemory
    >>> node = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    >>> round(model.fidelity(model.swap(pair, pair, node, 0.0).state), 6)
    0.903333
    """

    name = "pauli"
    reference: ClassVar[str | None] = "qutip"

    def __init__(self) -> None:
        self._storages: dict[tuple[Memory | None, Memory | None], Storage] = {}
        self._swaps: dict[NodeHardware, SwapConstants] = {}
        self._dejmps: dict[tuple[NodeHardware, NodeHardware], BilinearTerms] = {}
        self._bbpssw: dict[tuple[NodeHardware, NodeHardware], NDArray[np.float64]] = {}

    def link(self, hardware: LinkHardware, length_km: float) -> CompiledLink:
        """Success probability, timing and heralded state. Raises ValueError for an invalid length."""
        compiled = elementary.compile_link(hardware, length_km)
        return replace(compiled, fresh=_table(compiled.fresh))

    def age(
        self,
        state: PauliTable,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> PauliTable:
        """Store both ends. Raises ValueError for a time or attempts below 0 or not finite.

        Args:
            state: the pair.
            first: the memory at the first end; None for an end that does not decay.
            second: the memory at the second end.
            duration_s: seconds of storage.
            attempts: the entangling attempts made meanwhile at the first and the second end's node.
        """
        storage = self._storages.get((first, second)) or self._kept_storage(first, second)
        # The most frequent call needs no further check: NaN, negative and huge durations fail this one.
        if attempts is NO_ATTEMPTS and 0.0 < duration_s <= MAX_DURATION_S:
            return storage.after(state, duration_s)
        check_duration(duration_s)
        check_attempts(attempts)
        if duration_s == 0.0 and attempts is NO_ATTEMPTS:
            return state
        return storage.after_attempts(state, duration_s, attempts)

    def swap(
        self, left: PauliTable, right: PauliTable, node: NodeHardware, u: float, outcome: int | None = None
    ) -> Swapped:
        """Bell-measure the middle qubits at `node` and correct the right end; outcome -1 for a failed swap.

        `u` decides success first and, rescaled, the outcome. An outcome that the node's Bell measurement
        cannot identify fails. Raises ValueError for a forced outcome outside 0..3 or of probability 0.

        Args:
            left: the pair that ends at `node`.
            right: the pair that begins at `node`.
            node: the hardware that measures.
            u: uniform on [0, 1).
            outcome: 0..3 to force a success with this outcome; None to draw it.
        """
        compiled = self._swaps.get(node) or self._swaps.setdefault(node, self.swap_constants(node))
        forced = outcome is not None
        if outcome is None:
            remainder = after_success(u, compiled.success_probability)
            if remainder is None:
                return FAILED_SWAP
            # The middle matrices are diagonal, so the probabilities need only the reduced states of the inner
            # qubits: the first row of the left table and the first column of the right one.
            outcome = choose(remainder, compiled.weights.dot(left[0] * right[:, 0]).tolist())
            if outcome is None:
                return FAILED_SWAP
        # The slower full check, with its messages, follows only where the quick one fails.
        elif type(outcome) is not int or not 0 <= outcome <= 3:
            check_outcome(outcome)
        # Entry (0, 0) of the unnormalised table is the probability of the outcome.
        joined: PauliTable = left.dot(compiled.middles[outcome]).dot(right)
        probability = joined.item(0)
        if forced and not probability > MIN_FORCED_PROBABILITY:
            check_possible(outcome, probability)
        joined /= probability
        # Outcome 0 needs no correction.
        if outcome:
            joined *= compiled.signs[outcome]
        joined.setflags(False)  # type: ignore[call-arg]  # the keyword would take twice as long
        # The __init__ of the frozen dataclass would take a sixth of the whole time.
        swapped = object.__new__(Swapped)
        fields = swapped.__dict__
        fields["success"], fields["outcome"], fields["state"] = True, outcome, joined
        fields["probability"] = probability * compiled.success_probability
        return swapped

    def distil(
        self,
        kept: PauliTable,
        spent: PauliTable,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: float,
    ) -> Distilled:
        """One round of BBPSSW (Bennett et al. 1996) or DEJMPS (Deutsch et al. 1996); succeeds when u < p.

        Each node has its own noise. BBPSSW first twirls both pairs. Raises ValueError for another protocol.

        Args:
            kept: the pair that stays on success.
            spent: the pair that is measured.
            first: the hardware at the first end of both pairs.
            second: the hardware at the second end.
            protocol: one of `interface.PROTOCOLS`.
            u: uniform on [0, 1).
        """
        nodes = first, second
        if protocol == "dejmps":
            compiled = self._dejmps.get(nodes) or self._dejmps.setdefault(nodes, self.dejmps_terms(*nodes))
            coefficient, kept_index, spent_index = compiled
            terms = kept.ravel()[kept_index]
            terms *= spent.ravel()[spent_index]
            terms *= coefficient
            state = terms[0] + terms[1]
        else:
            check_protocol(protocol)
            # A twirled pair has one number, so the round is bilinear in two of them.
            w, v = _twirled_weight(kept), _twirled_weight(spent)
            table = self._bbpssw.get(nodes)
            if table is None:
                table = self._bbpssw.setdefault(nodes, self.bbpssw_map(*nodes))
            state = np.array((1.0, w, v, w * v)).dot(table).reshape(4, 4)
        probability = state.item(0)
        if not succeeds(u, probability):
            return Distilled(success=False, success_probability=probability, state=None)
        state /= probability
        state.setflags(False)
        # As in `swap`.
        distilled = object.__new__(Distilled)
        fields = distilled.__dict__
        fields["success"], fields["success_probability"], fields["state"] = True, probability, state
        return distilled

    def flip(self, state: PauliTable) -> PauliTable:
        """The same pair with its ends exchanged: the transposed table."""
        flipped: PauliTable = state.T.copy()
        flipped.setflags(write=False)
        return flipped

    def fidelity(self, state: PauliTable) -> float:
        """<Phi+| rho |Phi+> = (1 + R_11 - R_22 + R_33)/4."""
        # The flat positions of the diagonal XX, YY, ZZ.
        return 0.25 * (1.0 + state.item(5) - state.item(10) + state.item(15))

    def age_many(
        self,
        states: BatchedStates,
        first: Memory | None,
        second: Memory | None,
        duration_s: ArrayLike,
        attempts: tuple[ArrayLike, ArrayLike] = NO_ATTEMPTS,
    ) -> NDArray[np.float64]:
        """Store both ends of many pairs; the tables, float64 (n, 4, 4), read-only.

        Raises ValueError for durations or attempts below 0 or not finite, and for wrong shapes.

        Args:
            states: n tables, as a sequence or as one array (n, 4, 4).
            first: the memory at the first end of every pair; None for an end that does not decay.
            second: the memory at the second end.
            duration_s: seconds, one number or (n,).
            attempts: entangling attempts at either end's node, each one number or (n,).

        >>> from physics.hardware import DepolarisingMemory
        >>> model, memory = PauliModel(), DepolarisingMemory(depolarising_s=1.0)
        >>> pairs = [model.from_density_matrix(states.werner(fidelity)) for fidelity in (0.95, 0.9)]
        >>> model.fidelity_many(model.age_many(pairs, memory, memory, [0.0, 0.1])).round(6).tolist()
        [0.95, 0.782175]
        """
        tables = flat_tables(states)
        storage = self._storages.get((first, second)) or self._kept_storage(first, second)
        durations_s = amounts("duration_s", duration_s, len(tables))
        counts = () if attempts is NO_ATTEMPTS else attempt_counts(attempts, len(tables))
        aged = storage.after_each(tables, durations_s, counts).reshape(len(tables), 4, 4)
        aged.setflags(write=False)
        return aged

    def fidelity_many(self, states: BatchedStates) -> NDArray[np.float64]:
        """<Phi+| rho |Phi+> = (1 + R_11 - R_22 + R_33)/4 of each table, float64 (n,), read-only."""
        tables = flat_tables(states)
        fidelity: NDArray[np.float64] = 0.25 * (1.0 + tables[:, 5] - tables[:, 10] + tables[:, 15])
        fidelity.setflags(write=False)
        return fidelity

    def density_matrix(self, state: PauliTable) -> DensityMatrix:
        """The 4x4 complex128 density matrix."""
        return states.from_pauli_table(state)

    def from_density_matrix(self, matrix: DensityMatrix) -> PauliTable:
        """The table of a density matrix. Raises ValueError unless Hermitian, positive, trace 1."""
        return _table(states.checked_density_matrix(matrix))

    def decay_of(self, memory: Memory | None) -> Decay:
        """The decay of one qubit stored in `memory`; None stands for an end that does not decay.

        This and the four methods that follow are hooks: a derived model overrides one, and may change what
        the inherited one returns. The model calls a hook once for each memory or node, or pair of them, and
        keeps the result.
        """
        return decay_of(memory)

    def storage(self, first: Memory | None, second: Memory | None) -> Storage:
        """The storage in a pair of memories, compiled from the decay of each."""
        return compile_storage(first, second, self.decay_of)

    def swap_constants(self, node: NodeHardware) -> SwapConstants:
        """The constants of a node's swap."""
        return swap_constants(node)

    def dejmps_terms(self, first: NodeHardware, second: NodeHardware) -> BilinearTerms:
        """DEJMPS between two nodes: coefficients float64, kept indices and spent indices int, each (2, 4, 4).

        Entry e of the result is the sum over t of coefficient[t, e] kept[kept_index[t, e]]
        spent[spent_index[t, e]], with flat indices 0 to 15 of the two tables.
        """
        return dejmps_constants(first, second)

    def bbpssw_map(self, first: NodeHardware, second: NodeHardware) -> NDArray[np.float64]:
        """BBPSSW between two nodes: the row (1, w, v, w v) times this gives a flat table, float64 (4, 16).

        w and v are the Werner weights of the twirled kept and spent pair.
        """
        return compilation.werner_distillation_map(first, second, "bbpssw")

    def _kept_storage(self, first: Memory | None, second: Memory | None) -> Storage:
        return self._storages.setdefault((first, second), self.storage(first, second))


def _table(matrix: DensityMatrix) -> PauliTable:
    table = states.pauli_table(matrix)
    table.setflags(write=False)
    return table


def _twirled_weight(table: PauliTable) -> float:
    """The weight of the Werner state of the same fidelity."""
    return twirled_weight(table.item(5), table.item(10), table.item(15))
