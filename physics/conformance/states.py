"""Laws of whatever state comes out of any operation, and of links."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from physics import states
from physics.conformance.bench import LENGTHS_KM, LINKS, Bench, Deviation, distance, told, verdict
from physics.interface import CompiledLink


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


def links(bench: Bench) -> Iterator[Deviation]:
    """Probabilities, times and modes of every kind of link, at several lengths."""
    for hardware, length_km in product(LINKS, LENGTHS_KM):
        place = f"link, {told(hardware)}, {length_km:g} km"
        compiled = bench.model.link(hardware, length_km)
        p = compiled.success_probability
        yield max(0.0, p - 1.0), f"success_probability is {p!r}, above 1: {place}"
        yield verdict(p > 0.0), f"success_probability is {p!r}, not above 0: {place}"
        for wrong in _wrong_times(compiled):
            yield math.inf, f"{wrong}: {place}"
        whole = isinstance(compiled.modes, int) and compiled.modes == hardware.modes
        yield verdict(whole), f"modes are {compiled.modes!r}, those of the hardware {hardware.modes}: {place}"


def _wrong_times(compiled: CompiledLink) -> Iterator[str]:
    period_s = compiled.attempt_period_s
    if not 0.0 <= period_s < math.inf:
        yield f"attempt_period_s is {period_s!r}"
    for end, (stored, known) in enumerate(zip(compiled.stored_from_s, compiled.known_s, strict=True)):
        if not 0.0 <= stored < math.inf:
            yield f"stored_from_s[{end}] is {stored!r}"
        if not stored <= known < math.inf:
            yield f"known_s[{end}] is {known!r}, before the qubit is stored at {stored!r}"
