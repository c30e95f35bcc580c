"""Compiles noisy operations into constants that act on Pauli tables. NumPy only.

Swaps and distillations are linear in each pair, so running them on products of Paulis is enough. The
constants of one node concern only the two qubits at that node. Tests derive the same constants with QuTiP and
compare them to the bit (to the last decimal, for fidelities of more than a few digits).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from physics.hardware import HERALDED_FRACTIONS, NodeHardware
from physics.qubits import operators
from physics.qubits.operators import CONTROLLED_NOT, CORRECTIONS, HADAMARD, PROJECTORS, Matrix
from physics.qubits.states import PAULI_PRODUCTS, PAULIS


def swap_tables(node: NodeHardware) -> NDArray[np.float64]:
    """A[m, k, l] = Tr(E_m sigma_k (x) sigma_l)/4, float64 (4, 4, 4), E_m the POVM of REPORTED outcome m.

    R_left A_m R_right is then the uncorrected table of the outer ends, times the outcome's probability. The
    table of an outcome includes the fraction that the node's Bell measurement heralds.
    """
    return _swap_tables(node.gate_fidelity, node.readout_fidelity, node.bell_measurement)


@lru_cache(maxsize=1024)
def _swap_tables(gate_fidelity: float, readout_fidelity: float, bell_measurement: str) -> NDArray[np.float64]:
    """The tables, read-only because models share them: they meet the same few nodes again and again."""
    entangled = operators.apply((CONTROLLED_NOT,), PAULI_PRODUCTS)
    noisy = operators.apply(operators.gate_noise_kraus(gate_fidelity), entangled)
    turned = operators.apply((np.kron(HADAMARD, PAULIS[0]),), noisy)
    # Control reads the phase, target the parity: Bell state number = 2 x parity + phase.
    readings = [np.kron(PROJECTORS[phase], PROJECTORS[parity]) for parity, phase in operators.readings_of(2)]
    by_true_reading = np.array([0.25 * _expectations(reading, turned) for reading in readings])
    # Outcomes number the pairs (parity, phase) in binary, in the order of a Kronecker product.
    confusion = operators.confusion(readout_fidelity)
    fractions = np.array(HERALDED_FRACTIONS[bell_measurement])
    return _rounded(np.einsum("m,mt,tkl->mkl", fractions, np.kron(confusion, confusion), by_true_reading))


def correction_signs() -> NDArray[np.float64]:
    """S[m, j] = +1 or -1: the correction of outcome m on column j of a table, float64 (4, 4)."""
    images = [operators.apply((correction,), PAULIS) for correction in CORRECTIONS]
    return np.array(
        [
            [0.5 * _expectations(pauli, image) for pauli, image in zip(PAULIS, row, strict=True)]
            for row in images
        ]
    )


def distillation_tables(node: NodeHardware, protocol: str, *, sign: int) -> NDArray[np.float64]:
    """D[r, i, k, m]: one end's part in a round of `protocol` that reports reading r, float64 (2, 4, 4, 4).

    k and m number the Paulis of the kept and the spent qubit before the round, i those of the kept qubit
    after it. `sign` is +1 at the first end of the pair and -1 at the second.
    """
    return _distillation_tables(node.gate_fidelity, node.readout_fidelity, protocol, sign)


@lru_cache(maxsize=1024)
def _distillation_tables(
    gate_fidelity: float, readout_fidelity: float, protocol: str, sign: int
) -> NDArray[np.float64]:
    turn = operators.rotation_before(protocol, sign=sign)
    turned = operators.apply((CONTROLLED_NOT @ np.kron(turn, turn),), PAULI_PRODUCTS)
    noisy = operators.apply(operators.gate_noise_kraus(gate_fidelity), turned)
    by_true_reading = np.array(
        [
            [0.25 * _expectations(np.kron(pauli, projector), noisy) for pauli in PAULIS]
            for projector in PROJECTORS
        ]
    )
    return _rounded(np.einsum("rt,tikm->rikm", operators.confusion(readout_fidelity), by_true_reading))


@dataclass(frozen=True, kw_only=True)
class BilinearMap:
    """Table out[e] = sum_t coefficient[t, e] kept[kept_index[t, e]] spent[spent_index[t, e]], all flat 16.

    The arrays have shape (terms, 16); entries with fewer terms are padded with coefficient 0.
    """

    coefficient: NDArray[np.float64]
    kept_index: NDArray[np.intp]
    spent_index: NDArray[np.intp]


def distillation_map(first: NodeHardware, second: NodeHardware) -> BilinearMap:
    """DEJMPS between two nodes, kept when both REPORT the same reading; out[0] is that probability."""
    full = _both_ends(first, second, "dejmps")
    # Smaller entries are rounding errors of products that cancel.
    terms = [np.argwhere(np.abs(entry) > 1e-14) for entry in full]
    # `PauliModel` always adds two terms.
    max_terms = max(2, *(len(indices) for indices in terms))
    coefficient = np.zeros((max_terms, 16))
    kept_index = np.zeros((max_terms, 16), dtype=np.intp)
    spent_index = np.zeros((max_terms, 16), dtype=np.intp)
    for entry, indices in enumerate(terms):
        for term, (kept, spent) in enumerate(indices):
            coefficient[term, entry] = full[entry, kept, spent]
            kept_index[term, entry], spent_index[term, entry] = kept, spent
    return BilinearMap(coefficient=coefficient, kept_index=kept_index, spent_index=spent_index)


def werner_distillation_map(first: NodeHardware, second: NodeHardware, protocol: str) -> NDArray[np.float64]:
    """A round on pairs of Werner weights w (kept) and v: out = (1, w, v, w v) A, float64 (4, 16).

    `out` is the flat table of the kept pair times the probability out[0] that both REPORT the same reading.
    """
    full = _both_ends(first, second, protocol)
    noise, bell = np.zeros(16), np.zeros(16)
    noise[0] = 1.0
    # The flat positions of <XX>, <YY> and <ZZ>, with their values in Phi+.
    bell[[5, 10, 15]] = 1.0, -1.0, 1.0
    pairs = ((noise, noise), (bell, noise), (noise, bell), (bell, bell))
    return _rounded(np.array([full @ spent @ kept for kept, spent in pairs]))


def _both_ends(first: NodeHardware, second: NodeHardware, protocol: str) -> NDArray[np.float64]:
    """out[e] = sum full[e, kept, spent] for flat tables, kept when both ends report the same reading."""
    ends = (distillation_tables(first, protocol, sign=1), distillation_tables(second, protocol, sign=-1))
    full: NDArray[np.float64] = np.einsum("rikm,rjln->ijklmn", *ends).reshape(16, 16, 16)
    return full


def _expectations(observable: Matrix, states: Matrix) -> NDArray[np.float64]:
    """Tr(O rho) of each of the matrices `states`, float64 (...)."""
    expectations: NDArray[np.float64] = np.trace(observable @ states, axis1=-2, axis2=-1).real
    return expectations


def _rounded(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round off errors of the square roots in Kraus operators in the sixteenth decimal: 1/4 is 1/4 again."""
    # Adding 0.0 turns -0.0 into 0.0.
    rounded: NDArray[np.float64] = np.round(tables, 15) + 0.0
    rounded.setflags(write=False)
    return rounded
