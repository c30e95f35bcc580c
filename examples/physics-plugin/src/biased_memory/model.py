"""The fast model: the default one, with other numbers for what a depolarising memory does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biased_memory.parameters import BiasParameters
from physics.hardware import DepolarisingMemory, Memory
from physics.pauli import PauliModel
from physics.storage import Decay


class BiasedMemoryModel(PauliModel):
    """Depolarising memories keep their rate of errors, but Z errors are `bias` times as likely as X and Y.

    A depolarising memory of lifetime T errs at the rate gamma = 3/(4T), a third of it each in X, Y and Z.
    Here Z has the share bias/(1 + bias) of gamma, X and Y have half of the rest. A Pauli's expectation value
    decays at twice the rates of the two Paulis that anticommute with it:

        X, Y:  2 gamma (1/2 + bias)/(1 + bias)        Z:  2 gamma/(1 + bias)

    Entangling attempts wear the memory with the same bias. Other memories are as they were.

    >>> from physics import states
    >>> model = BiasedMemoryModel(BiasParameters(bias=100.0))
    >>> memory = DepolarisingMemory(depolarising_s=1.0)
    >>> pair = model.from_density_matrix(states.bell_state(0))
    >>> round(model.fidelity(model.age(pair, memory, memory, 1.0)), 6)
    0.517949
    """

    name = "biased"
    reference = "biased-reference"
    Parameters = BiasParameters

    def __init__(self, parameters: BiasParameters) -> None:
        super().__init__()
        self.parameters = parameters

    def decay_of(self, memory: Memory | None) -> Decay:
        """What `memory` does to one stored qubit."""
        unbiased = super().decay_of(memory)
        if not isinstance(memory, DepolarisingMemory):
            return unbiased
        bias = self.parameters.bias
        flipped, turned = 1.5 * (0.5 + bias) / (1.0 + bias), 1.5 / (1.0 + bias)
        fraction = np.array([1.0, flipped, flipped, turned])
        return replace(
            unbiased, per_second=unbiased.per_second * fraction, per_attempt=unbiased.per_attempt * fraction
        )
