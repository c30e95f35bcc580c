"""Laws of whatever state comes out of any operation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from physics import states
from physics.conformance.bench import Bench, Deviation, distance


def carried_out(bench: Bench) -> Iterator[Deviation]:
    """No operation that is possible raises anything."""
    for place in bench.performance.made:
        yield 0.0, place
    for place, error in bench.performance.raised.items():
        yield math.inf, f"{place} raised {type(error).__name__}: {error}"


def trace(bench: Bench) -> Iterator[Deviation]:
    """Tr rho = 1."""
    for place, state in bench.performance.made.items():
        value = complex(np.trace(bench.model.density_matrix(state)))
        yield abs(value - 1.0), f"{place} gave trace {value.real:.10g}"


def positivity(bench: Bench) -> Iterator[Deviation]:
    """rho is Hermitian and has no eigenvalue below 0."""
    for place, state in bench.performance.made.items():
        matrix = bench.model.density_matrix(state)
        yield distance(matrix, matrix.conj().T), f"{place} gave a matrix that is not Hermitian"
        least = float(np.linalg.eigvalsh(matrix)[0])
        yield max(0.0, -least), f"{place} gave the eigenvalue {least:.3g}"


def fidelities(bench: Bench) -> Iterator[Deviation]:
    """F is the matrix element it is said to be, hence between 0 and 1."""
    bell, made = states.bell_state(0), bench.performance.made
    values = {place: bench.model.fidelity(state) for place, state in made.items()}
    for place, value in values.items():
        yield max(0.0, -value, value - 1.0), f"F = {value:.10g} after {place}"
    for place, value in values.items():
        meant = float(np.trace(bell @ bench.model.density_matrix(made[place])).real)
        yield abs(value - meant), f"F = {value:.10g}, but <Phi+|rho|Phi+> = {meant:.10g} after {place}"


def density_matrices(bench: Bench) -> Iterator[Deviation]:
    """A state that the model made survives being written as a density matrix and read back."""
    for place, state in bench.performance.made.items():
        matrix = bench.model.density_matrix(state)
        again = bench.model.density_matrix(bench.model.from_density_matrix(matrix))
        yield distance(matrix, again), f"written and read back after {place}"
