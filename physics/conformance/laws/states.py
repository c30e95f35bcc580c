"""Laws of the states that operations return."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from physics.conformance.fixtures import Deviation, ModelUnderTest, distance
from physics.qubits import states


def completion(tested: ModelUnderTest) -> Iterator[Deviation]:
    """No possible operation raises an error."""
    for where in tested.results.states:
        yield 0.0, where
    for where, error in tested.results.errors.items():
        yield math.inf, f"{where} raised {type(error).__name__}: {error}"


def trace(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Tr rho = 1."""
    for where, state in tested.results.states.items():
        value = complex(np.trace(tested.model.density_matrix(state)))
        yield abs(value - 1.0), f"{where} gave trace {value.real:.10g}"


def positivity(tested: ModelUnderTest) -> Iterator[Deviation]:
    """rho is Hermitian and has no eigenvalue below 0."""
    for where, state in tested.results.states.items():
        matrix = tested.model.density_matrix(state)
        yield distance(matrix, matrix.conj().T), f"{where} gave a matrix that is not Hermitian"
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        yield max(0.0, -smallest), f"{where} gave the eigenvalue {smallest:.3g}"


def fidelities(tested: ModelUnderTest) -> Iterator[Deviation]:
    """`fidelity` returns <Phi+|rho|Phi+>, which lies between 0 and 1."""
    bell, results = states.bell_state(0), tested.results.states
    values = {where: tested.model.fidelity(state) for where, state in results.items()}
    for where, value in values.items():
        yield max(0.0, -value, value - 1.0), f"F = {value:.10g} after {where}"
    for where, value in values.items():
        expected = float(np.trace(bell @ tested.model.density_matrix(results[where])).real)
        yield abs(value - expected), f"F = {value:.10g}, but <Phi+|rho|Phi+> = {expected:.10g} after {where}"


def density_matrices(tested: ModelUnderTest) -> Iterator[Deviation]:
    """A state of the model survives conversion to a density matrix and back."""
    for where, state in tested.results.states.items():
        matrix = tested.model.density_matrix(state)
        restored = tested.model.density_matrix(tested.model.from_density_matrix(matrix))
        yield distance(matrix, restored), f"written and read back after {where}"
