"""Two-qubit states as density matrices, and as tables of Pauli expectation values. NumPy only.

Basis |00>, |01>, |10>, |11>, first qubit leftmost. Paulis are numbered I, X, Y, Z = 0, 1, 2, 3. Bell
states are numbered Phi+, Phi-, Psi+, Psi- = 0, 1, 2, 3: number k is (I (x) P_k)|Phi+> up to a phase, with
P = I, Z, X, Y, so two Pauli frames compose by the exclusive or of their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics.interface import DensityMatrix

PauliTable: TypeAlias = NDArray[np.float64]
"""A 4x4 float64 table R_ij = Tr(rho sigma_i (x) sigma_j); R_00 = 1."""

TOLERANCE: Final = 1e-9
"""The deviation from Hermitian, positive or trace 1 that is accepted in a given density matrix."""


def read_only_array(array: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """`array` itself, made read-only, so that a module may share it."""
    array.setflags(write=False)
    return array


PAULIS: Final = read_only_array(
    np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex)
)
"""The Pauli matrices I, X, Y, Z, shape (4, 2, 2)."""

PAULI_PRODUCTS: Final = read_only_array(np.array([[np.kron(a, b) for b in PAULIS] for a in PAULIS]))
"""sigma_i (x) sigma_j, shape (4, 4, 4, 4): first two axes i and j, last two the matrix."""

_BELL_VECTORS: Final = read_only_array(
    np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]], dtype=complex) / np.sqrt(2.0)
)


def bell_state(index: int) -> DensityMatrix:
    """The pure Bell state `index`: 0 Phi+, 1 Phi-, 2 Psi+, 3 Psi-. Raises ValueError for another index.

    >>> float(bell_state(0)[0, 3].real.round(12))
    0.5
    """
    if index not in (0, 1, 2, 3):
        raise ValueError(f"index is {index!r}; it must be 0, 1, 2 or 3 (Phi+, Phi-, Psi+, Psi-)")
    vector = _BELL_VECTORS[index]
    state: DensityMatrix = np.outer(vector, vector.conj())
    return state


def bell_diagonal(weights: Sequence[float]) -> DensityMatrix:
    """The mixture of Phi+, Phi-, Psi+, Psi- with `weights`, four numbers of 0 or more that sum to 1.

    A sum within 1e-9 of 1 is normalised; any other raises ValueError. (Bennett et al. 1996, Phys. Rev. A 54,
    3824.)
    """
    values = np.asarray(weights, dtype=np.float64)
    is_valid = values.shape == (4,) and bool(np.all(values >= 0.0)) and abs(values.sum() - 1.0) <= TOLERANCE
    if not is_valid:
        raise ValueError(f"weights are {weights!r}; they must be four numbers of 0 or more that sum to 1")
    total = values.sum()
    return _mixture(values if total == 1.0 else values / total)


def _mixture(values: Sequence[float] | NDArray[np.float64]) -> DensityMatrix:
    state: DensityMatrix = np.einsum("k,ka,kb->ab", np.asarray(values), _BELL_VECTORS, _BELL_VECTORS.conj())
    return state


def werner(fidelity: float) -> DensityMatrix:
    """rho = w |Phi+><Phi+| + (1-w) I/4 with w = (4F-1)/3 (Werner 1989, Phys. Rev. A 40, 4277).

    `fidelity` is <Phi+|rho|Phi+>, from 0 (w = -1/3) to 1; below 1/4 the state is still physical. Raises
    ValueError outside.

    >>> werner(0.9)[0, 0].real.round(6)
    np.float64(0.466667)
    """
    if not 0.0 <= fidelity <= 1.0:
        raise ValueError(f"fidelity is {fidelity!r}; it must be between 0 and 1")
    rest = (1.0 - fidelity) / 3.0
    return _mixture((fidelity, rest, rest, rest))


def random_state(generator: np.random.Generator) -> DensityMatrix:
    """A full-rank state G G^dag / Tr(G G^dag), G a complex Gaussian 4x4 matrix: the Hilbert-Schmidt measure.

    Zyczkowski and Sommers 2001, J. Phys. A 34, 7111. All randomness comes from `generator`.
    """
    ginibre = generator.normal(size=(4, 4)) + 1j * generator.normal(size=(4, 4))
    matrix = ginibre @ ginibre.conj().T
    # The product is Hermitian only up to rounding.
    hermitian = 0.5 * (matrix + matrix.conj().T)
    return np.asarray(hermitian / np.trace(hermitian).real, dtype=np.complex128)


def checked_density_matrix(matrix: ArrayLike) -> DensityMatrix:
    """A complex128 copy of `matrix`, shape (4, 4), checked to be a density matrix to 1e-9.

    Deviations from Hermitian and trace 1 within the tolerance are removed, so that rounding in the input
    costs no precision later. Any other deviation raises ValueError, whose message gives the violated
    property and by how much: shape, finite entries, Hermiticity, trace, positivity.
    """
    checked = np.array(matrix, dtype=np.complex128)
    if checked.shape != (4, 4):
        raise ValueError(f"density matrix has shape {checked.shape}; it must be (4, 4): two qubits")
    if not np.all(np.isfinite(checked)):
        raise ValueError("density matrix holds a number that is not finite; all 16 entries must be finite")
    skew = float(np.abs(checked - checked.conj().T).max())
    if skew > TOLERANCE:
        raise ValueError(f"density matrix differs from its adjoint by {skew:.3g}; it must be Hermitian")
    trace = float(np.trace(checked).real)
    if abs(trace - 1.0) > TOLERANCE:
        raise ValueError(f"density matrix has trace {trace:.10g}; it must be 1")
    smallest = float(np.linalg.eigvalsh(checked)[0])
    if smallest < -TOLERANCE:
        raise ValueError(f"density matrix has eigenvalue {smallest:.3g}; it must be positive: none below 0")
    return 0.5 * (checked + checked.conj().T) / trace


def pauli_table(matrix: DensityMatrix) -> PauliTable:
    """R_ij = Tr(rho sigma_i (x) sigma_j) of a density matrix, float64 (4, 4), rows the first qubit.

    >>> [float(x) for x in np.diag(pauli_table(bell_state(0))).round(12)]
    [1.0, 1.0, -1.0, 1.0]
    """
    # The real part is a view with gaps: a copy without them multiplies faster.
    table: PauliTable = np.ascontiguousarray(np.einsum("ijab,ba->ij", PAULI_PRODUCTS, matrix).real)
    return table


def from_pauli_table(table: PauliTable) -> DensityMatrix:
    """rho = (1/4) sum_ij R_ij sigma_i (x) sigma_j: the inverse of `pauli_table`."""
    matrix: DensityMatrix = 0.25 * np.einsum("ij,ijab->ab", table, PAULI_PRODUCTS)
    return matrix


def is_bell_diagonal(matrix: DensityMatrix) -> bool:
    """True when `matrix` is a mixture of the four Bell states, to 1e-12.

    >>> is_bell_diagonal(werner(0.9)), is_bell_diagonal(np.diag([1.0, 0.0, 0.0, 0.0]).astype(complex))
    (True, False)
    """
    # <B_k| rho |B_l>, diagonal for a mixture of Bell states.
    rotated = _BELL_VECTORS.conj() @ matrix @ _BELL_VECTORS.T
    return bool(np.abs(rotated - np.diag(rotated.diagonal())).max() < 1e-12)


def exchange_ends(matrix: DensityMatrix) -> DensityMatrix:
    """The density matrix of the same pair with its first and second qubit exchanged."""
    return np.ascontiguousarray(matrix.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4))
