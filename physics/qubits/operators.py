"""Gates, readings and gate noise of one and two qubits as complex128 matrices. NumPy only.

The basis and the numbering of Paulis and Bell states are those of `states`. The reference model has QuTiP's
own operators, in `channels`; tests hold the two together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from physics.qubits.states import PAULI_PRODUCTS, PAULIS, read_only_array

Matrix: TypeAlias = NDArray[np.complex128]

HADAMARD: Final[Matrix] = read_only_array((PAULIS[1] + PAULIS[3]) / math.sqrt(2.0))
PROJECTORS: Final[Matrix] = read_only_array(np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]], dtype=complex))
"""|0><0| and |1><1|, shape (2, 2, 2)."""
CONTROLLED_NOT: Final[Matrix] = read_only_array(
    np.kron(PROJECTORS[0], PAULIS[0]) + np.kron(PROJECTORS[1], PAULIS[1])
)
"""The first of two qubits is the control."""
CORRECTIONS: Final[Matrix] = read_only_array(
    np.array([PAULIS[0], PAULIS[3], PAULIS[1], PAULIS[3] @ PAULIS[1]])
)
"""The Pauli that turns Bell state Phi+, Phi-, Psi+, Psi- into Phi+, on its second qubit; shape (4, 2, 2)."""


def gate_noise_kraus(gate_fidelity: float) -> Matrix:
    """The noise of a two-qubit gate of fidelity g: rho -> g rho + (1-g) I/4, as Kraus operators (16, 4, 4).

    Briegel et al. 1998, Phys. Rev. Lett. 81, 5932; Duer and Briegel 2007, Rep. Prog. Phys. 70, 1381.
    """
    # I/4 is the mean over all 16 Pauli products, the identity included.
    error = (1.0 - gate_fidelity) / 16.0
    weights = np.array([gate_fidelity + error] + [error] * 15)
    kraus: Matrix = np.sqrt(weights)[:, None, None] * PAULI_PRODUCTS.reshape(16, 4, 4)
    return kraus


def rotation_before(protocol: str, *, sign: int) -> Matrix:
    """The rotation of both qubits of an end before a round: none in BBPSSW, exp(-i sign pi/4 X) in DEJMPS.

    `sign` is +1 at the first end of the pairs and -1 at the second.

    Deutsch et al. 1996, Phys. Rev. Lett. 77, 2818.
    """
    rotation: Matrix = PAULIS[0]
    if protocol != "bbpssw":
        # Opposite signs at the two ends, because U (x) U* leaves Phi+ unchanged.
        rotation = (PAULIS[0] - 1j * sign * PAULIS[1]) / math.sqrt(2.0)
    return rotation


def apply(kraus: Iterable[Matrix], states: Matrix) -> Matrix:
    """sum_k K_k rho K_k^dag of each of the matrices `states`, (..., n, n)."""
    image: Matrix = sum(operator @ states @ operator.conj().T for operator in kraus)  # type: ignore[assignment]
    return image


def readings_of(count: int) -> Sequence[tuple[int, ...]]:
    """All readings of `count` qubits in rising binary order: (0, 0), (0, 1), (1, 0), (1, 1) for two."""
    return [tuple(int(bit) for bit in f"{number:0{count}b}") for number in range(2**count)]


def confusion(readout_fidelity: float) -> NDArray[np.float64]:
    """P[reported, true] of one readout that is right with probability m, float64 (2, 2)."""
    m = readout_fidelity
    return np.array([[m, 1.0 - m], [1.0 - m, m]])
