"""The slow model that the fast one must equal: every kind of error carried out by Kraus operators."""

from __future__ import annotations

import math

from biased_memory.parameters import BiasParameters
from physics.hardware import DepolarisingMemory, Memory
from physics.interface import NO_ATTEMPTS
from physics.models.density_matrix import DensityMatrixModel
from physics.qubits import channels
from physics.qubits.channels import Kraus, Operator
from physics.sampling import check_attempts, check_duration


class BiasedMemoryReference(DensityMatrixModel):
    """QuTiP density matrices; X, Y and Z errors act one after the other, each at its own rate.

    An error P of rate r has acted an odd number of times after t with probability p = (1 - e^(-2 r t))/2. The
    Kraus operators are sqrt(1-p) I and sqrt(p) P.
    """

    name = "biased-reference"
    Parameters = BiasParameters

    def __init__(self, parameters: BiasParameters) -> None:
        self.parameters = parameters

    def age(
        self,
        state: Operator,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> Operator:
        """Carry out the errors of both ends. Raises ValueError for a time or attempts below 0.

        Args:
            state: the pair.
            first: the memory at the first end; None for an end that does not decay.
            second: the memory at the second end.
            duration_s: seconds of storage.
            attempts: the entangling attempts made meanwhile at the first and the second end's node.
        """
        check_duration(duration_s)
        check_attempts(attempts)
        for end, memory in enumerate((first, second)):
            for kraus in self._errors(memory, duration_s, attempts[end]):
                at_end = tuple(channels.embed(operator, qubit=end, count=2) for operator in kraus)
                state = channels.apply(at_end, state)
        return state

    def _errors(self, memory: Memory | None, duration_s: float, attempts: float) -> list[Kraus]:
        if not isinstance(memory, DepolarisingMemory):
            return [channels.memory_kraus(memory, duration_s=duration_s, attempts=attempts)]
        lifetimes = duration_s / memory.depolarising_s + attempts / memory.coherence_attempts
        errors = 0.75 * lifetimes
        z_fraction = self.parameters.bias / (1.0 + self.parameters.bias)
        x_fraction = y_fraction = 0.5 / (1.0 + self.parameters.bias)
        return [
            _flip(pauli, errors * fraction)
            for pauli, fraction in zip(channels.PAULIS[1:], (x_fraction, y_fraction, z_fraction), strict=True)
        ]


def _flip(pauli: Operator, expected_errors: float) -> Kraus:
    # expm1 keeps the digits of small probabilities.
    flipped = -0.5 * math.expm1(-2.0 * expected_errors)
    return (math.sqrt(1.0 - flipped) * channels.PAULIS[0], math.sqrt(flipped) * pauli)
