"""Qubit channels and gates as QuTiP operators: what the reference model applies.

A channel is a tuple of Kraus operators: rho -> sum_k K_k rho K_k^dag.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, TypeAlias

import qutip

from physics.hardware import DepolarisingMemory, Memory

Operator: TypeAlias = qutip.Qobj
Kraus: TypeAlias = tuple[Operator, ...]

PAULIS: Final[tuple[Operator, ...]] = (qutip.qeye(2), qutip.sigmax(), qutip.sigmay(), qutip.sigmaz())
HADAMARD: Final[Operator] = (qutip.sigmax() + qutip.sigmaz()) / math.sqrt(2.0)
PROJECTORS: Final[tuple[Operator, ...]] = (qutip.ket2dm(qutip.basis(2, 0)), qutip.ket2dm(qutip.basis(2, 1)))
CORRECTIONS: Final[tuple[Operator, ...]] = (PAULIS[0], PAULIS[3], PAULIS[1], PAULIS[3] * PAULIS[1])
"""The Pauli that turns Bell state Phi+, Phi-, Psi+, Psi- into Phi+, on its second qubit."""


def memory_kraus(memory: Memory | None, *, duration_s: float, attempts: float = 0.0) -> Kraus:
    """The channel of one qubit stored in `memory` for `duration_s` and `attempts`; the identity for None.

    The channels form a semigroup in both. Raises ValueError for a duration or attempts below 0.
    """
    for name, value in (("duration_s", duration_s), ("attempts", attempts)):
        # Negated, so that NaN is refused too.
        if not value >= 0.0:
            raise ValueError(f"{name} is {value!r}; it must be 0 or more")
    if memory is None:
        return (PAULIS[0],)
    attempt_decay = attempts / memory.coherence_attempts
    # expm1 keeps the digits of small probabilities, which 1 - exp would cancel.
    if isinstance(memory, DepolarisingMemory):
        return depolarising_kraus(-math.expm1(-duration_s / memory.depolarising_s - attempt_decay))
    # 1/T2 = 1/(2 T1) + 1/T_phi; when T2 = 2 T1, rounding may put the rate 1/T_phi just below 0.
    pure_rate_hz = max(0.0, 1.0 / memory.dephasing_s - 0.5 / memory.relaxation_s)
    damping = amplitude_damping_kraus(math.exp(-duration_s / memory.relaxation_s))
    dephasing = dephasing_kraus(-0.5 * math.expm1(-duration_s * pure_rate_hz - attempt_decay))
    return tuple(outer * inner for outer in dephasing for inner in damping)


def depolarising_kraus(probability: float) -> Kraus:
    """rho -> (1-p) rho + p I/2 (Nielsen and Chuang 2000, section 8.3.4)."""
    identity, error = math.sqrt(1.0 - 0.75 * probability), 0.5 * math.sqrt(probability)
    return (identity * PAULIS[0], *(error * pauli for pauli in PAULIS[1:]))


def dephasing_kraus(probability: float) -> Kraus:
    """rho -> (1-p) rho + p Z rho Z (Nielsen and Chuang 2000, section 8.3.6)."""
    return (math.sqrt(1.0 - probability) * PAULIS[0], math.sqrt(probability) * PAULIS[3])


def amplitude_damping_kraus(survival: float) -> Kraus:
    """|1> decays to |0> with probability gamma = 1 - `survival` (Nielsen and Chuang 2000, section 8.3.5)."""
    # Takes `survival`: coherences shrink by its root, and 1 - gamma would round it off in long storage.
    survives = qutip.Qobj([[1.0, 0.0], [0.0, math.sqrt(survival)]])
    decayed = qutip.Qobj([[0.0, math.sqrt(1.0 - survival)], [0.0, 0.0]])
    return (survives, decayed)


def apply(kraus: Kraus, state: Operator) -> Operator:
    """sum_k K_k rho K_k^dag, for operators of the state's own dimensions."""
    return sum(operator * state * operator.dag() for operator in kraus)


def embed(operator: Operator, *, qubit: int, count: int) -> Operator:
    """A one-qubit operator on `qubit` of `count`, identities on the others."""
    return qutip.tensor([operator if position == qubit else PAULIS[0] for position in range(count)])


@lru_cache(maxsize=64)
def controlled_not(*, control: int, target: int, count: int) -> Operator:
    """CNOT between two of `count` qubits."""
    idle = embed(PROJECTORS[0], qubit=control, count=count)
    return idle + embed(PROJECTORS[1], qubit=control, count=count) * embed(
        PAULIS[1], qubit=target, count=count
    )


def rotation_before(protocol: str, *, sign: int) -> Operator:
    """The rotation of both qubits of an end before a round: none in BBPSSW, exp(-i sign pi/4 X) in DEJMPS.

    `sign` is +1 at the first end of the pairs and -1 at the second.

    Deutsch et al. 1996, Phys. Rev. Lett. 77, 2818.
    """
    if protocol == "bbpssw":
        return PAULIS[0]
    # Opposite signs at the two ends, because U (x) U* leaves Phi+ unchanged.
    return (PAULIS[0] - 1j * sign * PAULIS[1]) / math.sqrt(2.0)
