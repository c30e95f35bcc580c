"""The fast model: the default one with other decay rates for depolarising memories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biased_memory.parameters import BiasParameters
from physics.hardware import DepolarisingMemory, Memory
from physics.models.pauli import PauliModel
from physics.models.storage import Decay


class BiasedMemoryModel(PauliModel):
    """Depolarising memories keep their rate of errors, but Z errors are `bias` times as likely as X and Y.

    A depolarising memory of lifetime T errs at the rate gamma = 3/(4T), a third each in X, Y and Z. Here Z
    has the fraction bias/(1 + bias) of gamma, and X and Y share the rest equally. A Pauli's expectation value
    decays at twice the rates of the two Paulis that anticommute with it:

        X, Y:  2 gamma (1/2 + bias)/(1 + bias)        Z:  2 gamma/(1 + bias)

    Errors by entangling attempts have the same bias. Other memories are those of the default model.

    >>> from physics.qubits import states
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
        """The decay of one qubit stored in `memory`."""
        unbiased = super().decay_of(memory)
        if not isinstance(memory, DepolarisingMemory):
            return unbiased
        bias = self.parameters.bias
        # Relative to the unbiased rate 4 gamma/3, that is 1/T.
        xy_factor, z_factor = 1.5 * (0.5 + bias) / (1.0 + bias), 1.5 / (1.0 + bias)
        factors = np.array([1.0, xy_factor, xy_factor, z_factor])
        return replace(
            unbiased, per_second=unbiased.per_second * factors, per_attempt=unbiased.per_attempt * factors
        )
