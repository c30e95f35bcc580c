"""The slow model that the fast one is held to: every kind of error carried out by Kraus operators."""

from __future__ import annotations

import math

from biased_memory.parameters import BiasParameters
from physics import channels
from physics.channels import Kraus, Operator
from physics.density_matrix import DensityMatrixModel
from physics.hardware import DepolarisingMemory, Memory
from physics.interface import NO_ATTEMPTS
from physics.sampling import check_attempts, check_duration


class BiasedMemoryReference(DensityMatrixModel):
    """QuTiP density matrices; X, Y and Z errors happen one after the other, each at its own rate.

    An error P that happens at the rate r has flipped the state after t with probability
    p = (1 - e^(-2 r t))/2: an odd number of times. Its Kraus operators are sqrt(1-p) I and sqrt(p) P.
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
        """Carry out the errors of both ends. Raises ValueError for a time or attempts below 0."""
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
        of_z = self.parameters.bias / (1.0 + self.parameters.bias)
        of_x = of_y = 0.5 / (1.0 + self.parameters.bias)
        return [
            _flip(pauli, errors * fraction)
            for pauli, fraction in zip(channels.PAULIS[1:], (of_x, of_y, of_z), strict=True)
        ]


def _flip(pauli: Operator, expected_errors: float) -> Kraus:
    flipped = -0.5 * math.expm1(-2.0 * expected_errors)
    return (math.sqrt(1.0 - flipped) * channels.PAULIS[0], math.sqrt(flipped) * pauli)
