"""Figures of merit of an arbitrary two-qubit state, given as a 4x4 density matrix. NumPy only.

Each function takes a density matrix in the basis |00>, |01>, |10>, |11>: anything that NumPy turns into a
complex array of shape (4, 4). It returns a float, and raises ValueError as
`physics.qubits.states.checked_density_matrix` does for a wrong shape, Hermiticity, trace or positivity.
Entropies are in bits. `physics.figures_of_merit.werner_figures` has the figures of Werner states as functions
of their fidelity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics.figures_of_merit import werner_figures
from physics.interface import DensityMatrix
from physics.qubits.states import bell_state, checked_density_matrix, pauli_table

# Y (x) Y, which is real.
_FLIP = np.array([[0, 0, 0, -1], [0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0]], dtype=np.float64)


class ErrorRates(NamedTuple):
    """The probabilities that the ends' bits disagree with those of Phi+ when both measure in Z, X or Y."""

    z: float
    x: float
    y: float


def fidelity(matrix: ArrayLike) -> float:
    """F = <Phi+|rho|Phi+>, the square of what `qutip.fidelity` returns (Jozsa 1994, J. Mod. Opt. 41, 2315).

    >>> from physics.qubits.states import werner
    >>> round(fidelity(werner(0.9)), 12)
    0.9
    """
    return float(bell_weights(matrix)[0])


def bell_weights(matrix: ArrayLike) -> NDArray[np.float64]:
    """<B|rho|B> for B = Phi+, Phi-, Psi+, Psi-, float64 (4,): the weights of rho twirled by Paulis.

    Bennett et al. 1996, Phys. Rev. A 54, 3824. They sum to 1, and are in [0, 1] up to rounding.
    """
    rho = checked_density_matrix(matrix)
    return np.array([float(np.trace(bell_state(index) @ rho).real) for index in range(4)])


def error_rates(matrix: ArrayLike) -> ErrorRates:
    """Probability of unequal bits in Z and in X, and of equal bits in Y: the errors against Phi+.

    e_Z = (1 - <ZZ>)/2, e_X = (1 - <XX>)/2, e_Y = (1 + <YY>)/2. For a Werner state each is 2(1-F)/3.

    >>> from physics.qubits.states import bell_diagonal
    >>> [round(rate, 12) for rate in error_rates(bell_diagonal((0.8, 0.1, 0.06, 0.04)))]
    [0.1, 0.14, 0.16]
    """
    _, xx, yy, zz = (float(value) for value in np.diag(pauli_table(checked_density_matrix(matrix))))
    return ErrorRates(z=0.5 * (1.0 - zz), x=0.5 * (1.0 - xx), y=0.5 * (1.0 + yy))


def concurrence(matrix: ArrayLike) -> float:
    """max(0, l1-l2-l3-l4), 1 for a Bell state (Wootters 1998, Phys. Rev. Lett. 80, 2245).

    The l are, in falling order, the square roots of the eigenvalues of rho (Y(x)Y) rho* (Y(x)Y). With
    rho = V V^dag they are the singular values of V^T (Y(x)Y) V. This form is used because it keeps full
    precision near pure states. A Werner state gives max(0, 2F-1).

    >>> from physics.qubits.states import werner
    >>> round(concurrence(werner(0.9)), 12)
    0.8
    """
    values, vectors = np.linalg.eigh(checked_density_matrix(matrix))
    # Rounding may put an eigenvalue just below 0.
    root = vectors * np.sqrt(values.clip(0.0))
    levels = np.linalg.svd(root.T @ _FLIP @ root, compute_uv=False)
    return float(max(0.0, levels[0] - levels[1:].sum()))


def negativity(matrix: ArrayLike) -> float:
    """N = (||rho^T1||_1 - 1)/2: minus the sum of the negative eigenvalues of rho^T1, 1/2 for a Bell state.

    T1 transposes the first qubit (Vidal and Werner 2002, Phys. Rev. A 65, 032314; some authors call 2N the
    negativity). N > 0 exactly for entangled states (Horodecki 1996, Phys. Lett. A 223, 1). A Werner state
    gives max(0, F - 1/2).

    >>> from physics.qubits.states import werner
    >>> round(negativity(werner(0.9)), 12)
    0.4
    """
    rho = checked_density_matrix(matrix)
    # Axes: row of the first and second qubit, column of the first and second qubit.
    transposed = rho.reshape(2, 2, 2, 2).transpose(2, 1, 0, 3).reshape(4, 4)
    return float(np.abs(np.linalg.eigvalsh(transposed).clip(max=0.0)).sum())


def logarithmic_negativity(matrix: ArrayLike) -> float:
    """E_N = log2 ||rho^T1||_1 = log2(2N + 1), in bits: no less than the distillable entanglement.

    Vidal and Werner 2002, Phys. Rev. A 65, 032314.

    >>> from physics.qubits.states import bell_state
    >>> round(logarithmic_negativity(bell_state(2)), 12)
    1.0
    """
    return float(np.log2(2.0 * negativity(matrix) + 1.0))


def hashing_bound(matrix: ArrayLike) -> float:
    """max(0, S(B) - S(AB), S(A) - S(AB)): Bell pairs per pair that one-way distillation can reach.

    S is the von Neumann entropy in bits; the two terms are the coherent information for messages from
    either end to the other. Hashing of Bell-diagonal states, 1 - H(weights): Bennett et al. 1996, Phys. Rev.
    A 54, 3824; any state: Devetak and Winter 2005, Proc. R. Soc. A 461, 207.

    >>> from physics.qubits.states import werner
    >>> round(hashing_bound(werner(0.9)), 6), hashing_bound(werner(0.8))
    (0.372508, 0.0)
    """
    rho = checked_density_matrix(matrix)
    parts = rho.reshape(2, 2, 2, 2)
    # The reduced states of the first and the second qubit.
    ends = (np.einsum("ikjk->ij", parts), np.einsum("kikj->ij", parts))
    return max(0.0, max(_entropy(end) for end in ends) - _entropy(rho))


def bbm92_key_fraction(matrix: ArrayLike) -> float:
    """Secret bits per sifted pair of BBM92 from the state's own errors: max(0, 1 - h(e_Z) - h(e_X)).

    Bennett, Brassard and Mermin 1992, Phys. Rev. Lett. 68, 557; rate of Shor and Preskill 2000, Phys. Rev.
    Lett. 85, 441. The key comes from Z, and the errors in X bound the knowledge of anyone else. Asymptotic,
    with ideal one-way error correction. If bits disagree with probability above 1/2, one end flips its own.
    For a Werner state the figure is `physics.figures_of_merit.werner_figures.key_fraction`.

    >>> from physics.qubits.states import werner
    >>> round(bbm92_key_fraction(werner(0.95)), 6)
    0.578315
    """
    errors = error_rates(matrix)
    return max(0.0, 1.0 - werner_figures.binary_entropy(errors.z) - werner_figures.binary_entropy(errors.x))


def six_state_key_fraction(matrix: ArrayLike) -> float:
    """Secret bits per sifted pair of the six-state protocol: max(0, 1 - H(weights)), weights on Bell states.

    The errors in Z, X and Y determine the four weights; H is their Shannon entropy in bits (Lo 2001, Quantum
    Inf. Comput. 1, 81). Asymptotic, with ideal one-way error correction and no added noise. The figure is
    never below `bbm92_key_fraction`.

    >>> from physics.qubits.states import werner
    >>> round(six_state_key_fraction(werner(0.95)), 6)
    0.634355
    """
    return max(0.0, 1.0 - _shannon(bell_weights(matrix)))


def teleportation_fidelity(matrix: ArrayLike) -> float:
    """Mean fidelity, over all pure inputs, of a qubit teleported with the corrections for Phi+.

    (2F+1)/3 for every state of fidelity F: Horodecki, Horodecki and Horodecki 1999, Phys. Rev. A 60, 1888.

    >>> from physics.qubits.states import bell_state
    >>> round(teleportation_fidelity(bell_state(0)), 12), round(teleportation_fidelity(bell_state(3)), 12)
    (1.0, 0.333333333333)
    """
    return werner_figures.teleportation_fidelity(fidelity(matrix))


def chsh_value(matrix: ArrayLike) -> float:
    """The largest CHSH sum over all measurements, 2 sqrt(u1 + u2). Local hidden variables allow up to 2.

    u1 and u2 are the two largest eigenvalues of T^T T, T_ij = Tr(rho sigma_i (x) sigma_j) for i, j = X, Y, Z
    (Horodecki, Horodecki and Horodecki 1995, Phys. Lett. A 200, 340). A Werner state gives 2 sqrt(2) w,
    which is above 2 for F above (3/sqrt(2) + 1)/4 = 0.780330.

    >>> from physics.qubits.states import bell_state
    >>> round(chsh_value(bell_state(1)) ** 2, 12)
    8.0
    """
    correlations = pauli_table(checked_density_matrix(matrix))[1:, 1:]
    levels = np.linalg.svd(correlations, compute_uv=False)
    # Singular values are the square roots of the eigenvalues u1 and u2.
    return float(2.0 * np.hypot(levels[0], levels[1]))


def _entropy(rho: DensityMatrix) -> float:
    return _shannon(np.asarray(np.linalg.eigvalsh(rho), dtype=np.float64))


def _shannon(weights: NDArray[np.float64]) -> float:
    """H = -sum p log2 p; a weight that rounding put below 0 counts as 0."""
    positive = weights[weights > 0.0]
    return float(-(positive * np.log2(positive)).sum())
