"""The reference model: QuTiP density matrices, with every gate, reading and correction carried out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import qutip

from physics.hardware import HERALDED_FRACTIONS, LinkHardware, Memory, NodeHardware
from physics.interface import FAILED_SWAP, NO_ATTEMPTS, CompiledLink, DensityMatrix, Distilled, Swapped
from physics.links import elementary
from physics.qubits import channels, operators, states
from physics.qubits.channels import Operator
from physics.sampling import (
    after_success,
    check_attempts,
    check_duration,
    check_outcome,
    check_possible,
    check_protocol,
    choose,
    succeeds,
)

_PAIR = [[2, 2], [2, 2]]


class DensityMatrixModel:
    """Pairs as two-qubit `qutip.Qobj` density matrices: slow (milliseconds) and literal, to check others by.

    >>> model = DensityMatrixModel()
    >>> pair = model.from_density_matrix(states.werner(0.95))
    >>> from physics.hardware import DepolarisingMemory
    >>> node = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    >>> round(model.fidelity(model.swap(pair, pair, node, 0.0).state), 6)
    0.903333
    """

    name = "qutip"

    def link(self, hardware: LinkHardware, length_km: float) -> CompiledLink:
        """Success probability, timing and heralded state. Raises ValueError for an invalid length."""
        compiled = elementary.compile_link(hardware, length_km)
        return replace(compiled, fresh=qutip.Qobj(compiled.fresh, dims=_PAIR))

    def age(
        self,
        state: Operator,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> Operator:
        """Apply both memories' Kraus operators. Raises ValueError for a time or attempts below 0.

        Args:
            state: the pair.
            first: the memory at the first end; None for an end that does not decay.
            second: the memory at the second end.
            duration_s: seconds of storage.
            attempts: the entangling attempts made meanwhile at the first and the second end's node.
        """
        check_duration(duration_s)
        check_attempts(attempts)
        at_first = channels.memory_kraus(first, duration_s=duration_s, attempts=attempts[0])
        at_second = channels.memory_kraus(second, duration_s=duration_s, attempts=attempts[1])
        return channels.apply(tuple(qutip.tensor(a, b) for a in at_first for b in at_second), state)

    def swap(
        self, left: Operator, right: Operator, node: NodeHardware, u: float, outcome: int | None = None
    ) -> Swapped:
        """Bell-measure the inner two of four qubits and correct the right end as REPORTED.

        `u` decides success first and, rescaled, the outcome. An outcome that the node's Bell measurement
        cannot identify fails. A failed swap has outcome -1. Noise: Duer and Briegel 2007. Raises ValueError
        for a forced outcome outside 0..3 or of probability 0.

        Args:
            left: the pair that ends at `node`.
            right: the pair that begins at `node`.
            node: the hardware that measures.
            u: uniform on [0, 1).
            outcome: 0..3 to force a success with this outcome; None to draw it.
        """
        if outcome is None:
            remainder = after_success(u, node.swap_success_probability)
            if remainder is None:
                return FAILED_SWAP
            reported = _bell_measurement(qutip.tensor(left, right), node)
            outcome = choose(remainder, [branch.tr().real for branch in reported])
            if outcome is None:
                return FAILED_SWAP
        else:
            check_outcome(outcome)
            reported = _bell_measurement(qutip.tensor(left, right), node)
            check_possible(outcome, reported[outcome].tr().real)
        branch = reported[outcome]
        correction = channels.embed(channels.CORRECTIONS[outcome], qubit=1, count=2)
        return Swapped(
            success=True,
            outcome=outcome,
            probability=node.swap_success_probability * float(branch.tr().real),
            state=_normalised(correction * branch * correction.dag()),
        )

    def distil(
        self,
        kept: Operator,
        spent: Operator,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: float,
    ) -> Distilled:
        """One round: prepare, CNOT at both ends, read `spent`, keep on agreement. Succeeds when u < p.

        "bbpssw" prepares by twirling both pairs (Bennett et al. 1996), "dejmps" by rotating both qubits of
        each end (Deutsch et al. 1996). The gate and readout noise of a node acts at its own end. Raises
        ValueError for another protocol.

        Args:
            kept: the pair that stays on success.
            spent: the pair that is measured.
            first: the hardware at the first end of both pairs.
            second: the hardware at the second end.
            protocol: one of `interface.PROTOCOLS`.
            u: uniform on [0, 1).
        """
        check_protocol(protocol)
        if protocol == "bbpssw":
            kept, spent = _twirled(kept), _twirled(spent)
        branch = _round(qutip.tensor(kept, spent), first, second, protocol)
        probability = float(branch.tr().real)
        if not succeeds(u, probability):
            return Distilled(success=False, success_probability=probability, state=None)
        return Distilled(success=True, success_probability=probability, state=_normalised(branch))

    def flip(self, state: Operator) -> Operator:
        """The same pair with its ends exchanged."""
        return state.permute([1, 0])

    def fidelity(self, state: Operator) -> float:
        """<Phi+| rho |Phi+>: the square of `qutip.fidelity` with Phi+."""
        return float(qutip.expect(qutip.Qobj(states.bell_state(0), dims=_PAIR), state))

    def density_matrix(self, state: Operator) -> DensityMatrix:
        """The 4x4 complex128 density matrix, a copy."""
        return np.array(state.full(), dtype=np.complex128)

    def from_density_matrix(self, matrix: DensityMatrix) -> Operator:
        """A `qutip.Qobj` of the matrix. Raises ValueError unless Hermitian, positive, trace 1."""
        return qutip.Qobj(states.checked_density_matrix(matrix), dims=_PAIR)


def _normalised(branch: Operator) -> Operator:
    return branch / branch.tr().real


def _depolarised(state: Operator, qubits: tuple[int, int], probability: float) -> Operator:
    """(1-p) rho + p Tr_qubits(rho) (x) I/4 for two of four qubits, which are traced out and put back."""
    if probability == 0.0:
        return state
    others = [qubit for qubit in range(4) if qubit not in qubits]
    # `ptrace` keeps the qubits that it is given; the result has them in rising order.
    mixed = qutip.tensor(state.ptrace(others), channels.PAULIS[0] / 2.0, channels.PAULIS[0] / 2.0)
    order = [*others, *qubits]
    return (1.0 - probability) * state + probability * mixed.permute(
        [order.index(qubit) for qubit in range(4)]
    )


def _gate(state: Operator, control: int, target: int, gate_fidelity: float) -> Operator:
    """A CNOT between two of four qubits that depolarises both with probability 1-g."""
    gate = channels.controlled_not(control=control, target=target, count=4)
    return _depolarised(gate * state * gate.dag(), (control, target), 1.0 - gate_fidelity)


def _read(state: Operator, qubits: tuple[int, int]) -> list[tuple[tuple[int, ...], Operator]]:
    """Each true reading of two of four qubits, with the unnormalised state of the other two after it."""
    others = [qubit for qubit in range(4) if qubit not in qubits]
    branches = []
    for bits in operators.readings_of(2):
        projector = _projector(qubits, bits)
        branches.append((bits, (projector * state * projector).ptrace(others)))
    return branches


@lru_cache(maxsize=64)
def _projector(qubits: tuple[int, int], bits: tuple[int, ...]) -> Operator:
    return math.prod(
        channels.embed(channels.PROJECTORS[bit], qubit=qubit, count=4)
        for qubit, bit in zip(qubits, bits, strict=True)
    )


def _bell_measurement(state: Operator, node: NodeHardware) -> list[Operator]:
    """The outer pair's unnormalised, uncorrected states for each REPORTED outcome 2 x parity + phase."""
    entangled = _gate(state, 1, 2, node.gate_fidelity)
    hadamard = channels.embed(channels.HADAMARD, qubit=1, count=4)
    # The target, qubit 2, holds the parity and the control, qubit 1, the phase.
    branches = _read(hadamard * entangled * hadamard.dag(), (2, 1))
    confusion: Any = operators.confusion(node.readout_fidelity)
    fractions = HERALDED_FRACTIONS[node.bell_measurement]
    return [
        fraction
        * sum(confusion[parity, bits[0]] * confusion[phase, bits[1]] * branch for bits, branch in branches)
        for fraction, (parity, phase) in zip(fractions, operators.readings_of(2), strict=True)
    ]


def _twirled(state: Operator) -> Operator:
    """The Werner state of the same fidelity: the mean over U (x) U* on both ends (Bennett et al. 1996).

    The mean over the twelve rotations of the tetrahedron equals that over all unitaries.
    """
    axis = (channels.PAULIS[1] + channels.PAULIS[2] + channels.PAULIS[3]) / math.sqrt(3.0)
    thirds = [(-1j * math.pi / 3.0 * number * axis).expm() for number in range(3)]
    rotations = [pauli * third for pauli in channels.PAULIS for third in thirds]
    both = [qutip.tensor(rotation, rotation.conj()) for rotation in rotations]
    return sum(pair * state * pair.dag() for pair in both) / len(both)


def _round(state: Operator, first: NodeHardware, second: NodeHardware, protocol: str) -> Operator:
    """The kept pair's unnormalised state when both ends report the same bit; qubits are A, B, A', B'."""
    for qubit, sign in enumerate((1, -1, 1, -1)):
        turn = channels.embed(channels.rotation_before(protocol, sign=sign), qubit=qubit, count=4)
        state = turn * state * turn.dag()
    state = _gate(state, 0, 2, first.gate_fidelity)
    state = _gate(state, 1, 3, second.gate_fidelity)
    first_confusion: Any = operators.confusion(first.readout_fidelity)
    second_confusion: Any = operators.confusion(second.readout_fidelity)
    return sum(
        sum(first_confusion[bit, true[0]] * second_confusion[bit, true[1]] for bit in (0, 1)) * branch
        for true, branch in _read(state, (2, 3))
    )
