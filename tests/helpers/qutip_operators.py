"""Channels and compiled tables as QuTiP gives them: the origin of what `physics` computes with NumPy."""

from __future__ import annotations

import math

import numpy as np
import qutip
from numpy.typing import NDArray

from physics.hardware import HERALDED_FRACTIONS
from physics.qubits import channels
from physics.qubits.channels import Kraus
from physics.qubits.operators import confusion, readings_of


def transfer_matrix(kraus: Kraus) -> NDArray[np.float64]:
    """T_ij = Tr(sigma_i N(sigma_j))/2: the Bloch vector (1, x, y, z) of N(rho) is T times rho's."""
    images = [channels.apply(kraus, pauli) for pauli in channels.PAULIS]
    return np.array([[0.5 * (pauli * image).tr().real for image in images] for pauli in channels.PAULIS])


def gate_noise_kraus(gate_fidelity: float) -> Kraus:
    """rho -> g rho + (1-g) I/4 as 16 weighted Pauli products."""
    error = (1.0 - gate_fidelity) / 16.0
    weights = [gate_fidelity + error] + [error] * 15
    products = [qutip.tensor(a, b) for a in channels.PAULIS for b in channels.PAULIS]
    return tuple(math.sqrt(weight) * product for weight, product in zip(weights, products, strict=True))


def swap_tables(gate_fidelity: float, readout_fidelity: float, bell_measurement: str) -> NDArray[np.float64]:
    """`compilation.swap_tables`, one product of two Paulis after the other."""
    gate = channels.controlled_not(control=0, target=1, count=2)
    hadamard = channels.embed(channels.HADAMARD, qubit=0, count=2)
    noise = gate_noise_kraus(gate_fidelity)
    readings = [
        qutip.tensor(channels.PROJECTORS[phase], channels.PROJECTORS[parity])
        for parity, phase in readings_of(2)
    ]
    by_true_reading = np.zeros((4, 4, 4))
    for k, left in enumerate(channels.PAULIS):
        for m, right in enumerate(channels.PAULIS):
            after = channels.apply(noise, gate * qutip.tensor(left, right) * gate.dag())
            turned = hadamard * after * hadamard.dag()
            by_true_reading[:, k, m] = [0.25 * (reading * turned).tr().real for reading in readings]
    both = np.kron(confusion(readout_fidelity), confusion(readout_fidelity))
    fractions = np.array(HERALDED_FRACTIONS[bell_measurement])
    return _rounded(np.einsum("m,mt,tkl->mkl", fractions, both, by_true_reading))


def distillation_tables(
    gate_fidelity: float, readout_fidelity: float, protocol: str, *, sign: int
) -> NDArray[np.float64]:
    """`compilation.distillation_tables`, one product of two Paulis after the other."""
    turn = channels.rotation_before(protocol, sign=sign)
    gate = channels.controlled_not(control=0, target=1, count=2) * qutip.tensor(turn, turn)
    noise = gate_noise_kraus(gate_fidelity)
    effects = [
        [qutip.tensor(pauli, projector) for pauli in channels.PAULIS] for projector in channels.PROJECTORS
    ]
    by_true_reading = np.zeros((2, 4, 4, 4))
    for k, kept in enumerate(channels.PAULIS):
        for m, spent in enumerate(channels.PAULIS):
            after = channels.apply(noise, gate * qutip.tensor(kept, spent) * gate.dag())
            by_true_reading[:, :, k, m] = [
                [0.25 * (effect * after).tr().real for effect in row] for row in effects
            ]
    return _rounded(np.einsum("rt,tikm->rikm", confusion(readout_fidelity), by_true_reading))


def _rounded(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(tables, 15) + 0.0
