"""Test fixtures of the laws: states, hardware, and a model with every operation carried out on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from itertools import pairwise, product
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from physics.hardware import (
    HERALDED_FRACTIONS,
    DepolarisingMemory,
    Detector,
    DirectLink,
    DoubleClickLink,
    LinkHardware,
    Memory,
    MidpointSourceLink,
    NodeHardware,
    RelaxingMemory,
    SingleClickLink,
    SourceLink,
)
from physics.interface import PROTOCOLS, DensityMatrix, PhysicsModel, State
from physics.qubits import states

Deviation: TypeAlias = tuple[float, str]
"""The distance from what a law requires, and a description of the case."""

DEPOLARISING: Final = DepolarisingMemory(depolarising_s=2.0, coherence_attempts=40.0)
RELAXING: Final = RelaxingMemory(relaxation_s=1.5, dephasing_s=0.8, coherence_attempts=25.0)
LIMITED: Final = RelaxingMemory(relaxation_s=0.6, dephasing_s=1.2)
"""T2 = 2 T1, the physical limit: here a slightly wrong map is no longer positive."""
DEPHASING: Final = RelaxingMemory(relaxation_s=math.inf, dephasing_s=0.9, coherence_attempts=60.0)
MEMORIES: Final[tuple[Memory | None, ...]] = (None, DEPOLARISING, RELAXING, LIMITED, DEPHASING)

PERFECT: Final = NodeHardware(memory=DEPOLARISING)
NOISY: Final = NodeHardware(memory=DEPOLARISING, gate_fidelity=0.97, readout_fidelity=0.98)
LOSSY: Final = NodeHardware(
    memory=RELAXING, swap_success_probability=0.5, gate_fidelity=0.9, readout_fidelity=0.95
)
OPTICAL: Final = NodeHardware(
    memory=DEPOLARISING, swap_success_probability=0.9, bell_measurement="linear-optics"
)
BOOSTED: Final = NodeHardware(memory=DEPOLARISING, readout_fidelity=0.97, bell_measurement="boosted")
NODES: Final = (PERFECT, NOISY, LOSSY, OPTICAL, BOOSTED)
_ENDS: Final = ((PERFECT, PERFECT), (NOISY, LOSSY), (LOSSY, PERFECT))

_DETECTOR: Final = Detector(efficiency=0.8, dark_count_rate_hz=20.0)
LINKS: Final[tuple[LinkHardware, ...]] = (
    SourceLink(efficiency=0.7, fresh_fidelity=0.93),
    MidpointSourceLink(pair_probability=0.1, absorption_efficiency=0.6, fresh_fidelity=0.9, modes=4),
    DoubleClickLink(detector=_DETECTOR, emission_efficiency=0.5, visibility=0.9, reset_time_s=1e-6),
    DoubleClickLink(detector=_DETECTOR, rounds=2, visibility=0.95, station_position=0.3),
    SingleClickLink(bright_population=0.1, detector=_DETECTOR, visibility=0.9, phase_deviation_rad=0.2),
    DirectLink(success_probability=0.01, attempt_period_s=1e-3, fresh_weights=(0.8, 0.1, 0.06, 0.04)),
)
LENGTHS_KM: Final = (0.0, 10.0, 80.0)

BELL: Final = "Phi+"


def trial_states(generator: np.random.Generator) -> dict[str, DensityMatrix]:
    """Density matrices by name.

    Pure states lie on the boundary of the physical states; random ones have no symmetry that could hide a
    mistake. A map on one half of Phi+ gives a positive matrix exactly when it is completely positive (Choi
    1975, Linear Algebra Appl. 10, 285). Products try the surface of the Bloch ball at each end.
    """
    zero, one = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    plus, circular = np.array([1.0, 1.0]) / math.sqrt(2.0), np.array([1.0, 1.0j]) / math.sqrt(2.0)
    bell = {name: states.bell_state(index) for index, name in enumerate((BELL, "Phi-", "Psi+", "Psi-"))}
    mixed = {
        "Werner F = 0.8": states.werner(0.8),
        "Bell-diagonal (0.7, 0.15, 0.1, 0.05)": states.bell_diagonal((0.7, 0.15, 0.1, 0.05)),
        **{f"random state {number}": states.random_state(generator) for number in (1, 2, 3)},
    }
    products = {
        "|00>": _product(zero, zero),
        "|11>": _product(one, one),
        "|+>|+>": _product(plus, plus),
        "|+>|0>": _product(plus, zero),
        "|i>|1>": _product(circular, one),
    }
    return {**bell, **mixed, **products}


MIXED: Final = (
    "Werner F = 0.8",
    "Bell-diagonal (0.7, 0.15, 0.1, 0.05)",
    "random state 1",
    "random state 2",
    "random state 3",
)
"""States for which every outcome of every measurement is possible."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Every operation carried out once: the states returned and the errors raised, by description."""

    states: Mapping[str, State]
    errors: Mapping[str, Exception]


class ModelUnderTest:
    """The argument of every law: the model, with its own states of the density matrices to try."""

    def __init__(self, model: PhysicsModel, matrices: Mapping[str, DensityMatrix]) -> None:
        self.model = model
        self.matrices = matrices
        self._results: Results | None = None

    def state(self, name: str) -> State:
        """The model's state of a density matrix, new at each call.

        A model that changes its arguments in place thus spoils one trial only.
        """
        return self.model.from_density_matrix(self.matrices[name])

    def matrix(self, name: str) -> DensityMatrix:
        """The density matrix that the model has for the state called `name`."""
        return self.model.density_matrix(self.state(name))

    def gap(self, a: State, b: State) -> float:
        """The largest difference between entries of two states' density matrices."""
        return distance(self.model.density_matrix(a), self.model.density_matrix(b))

    @property
    def results(self) -> Results:
        """The results of the first `carry_out()`, cached."""
        if self._results is None:
            self._results = self.carry_out()
        return self._results

    def carry_out(self) -> Results:
        """Carry out every operation on every state and all hardware that makes sense together."""
        results: dict[str, State] = {}
        errors: dict[str, Exception] = {}
        for where, operation in self._operations():
            try:
                state = operation()
            except Exception as error:  # a plugin may raise anything; that is a finding
                errors[where] = error
            else:
                if state is not None:
                    results[where] = state
        return Results(states=results, errors=errors)

    def _operations(self) -> Iterator[tuple[str, Callable[[], State | None]]]:
        for hardware, length_km in product(LINKS, LENGTHS_KM):
            yield f"link, {describe(hardware)}, {length_km:g} km", partial(self._fresh, hardware, length_km)
        for name in self.matrices:
            yield f"from_density_matrix, {name}", partial(self.state, name)
            yield f"flip, {name}", partial(self._flipped, name)
            for first, second in product(MEMORIES, MEMORIES):
                stored = f"first {describe(first)}, second {describe(second)}"
                where = f"age, {name}, 0.37 s and (3, 2) attempts, {stored}"
                yield where, partial(self._aged, name, first, second)
        for name, next_name in pairwise(self.matrices):
            for node in NODES:
                for outcome in possible_outcomes(self.matrices[name], self.matrices[next_name], node):
                    where = f"swap, {name} with {next_name}, outcome {outcome}, {describe(node)}"
                    yield where, partial(self._swapped, name, next_name, node, outcome)
            for protocol, (at_first, at_second) in product(PROTOCOLS, _ENDS):
                ends = f"first {describe(at_first)}, second {describe(at_second)}"
                where = f"distil, {name} by {next_name}, {protocol}, {ends}"
                yield where, partial(self._distilled, name, next_name, at_first, at_second, protocol)

    def _fresh(self, hardware: LinkHardware, length_km: float) -> State:
        return self.model.link(hardware, length_km).fresh

    def _flipped(self, name: str) -> State:
        return self.model.flip(self.state(name))

    def _aged(self, name: str, first: Memory | None, second: Memory | None) -> State:
        return self.model.age(self.state(name), first, second, 0.37, (3.0, 2.0))

    def _swapped(self, left_name: str, right_name: str, node: NodeHardware, outcome: int) -> State:
        return self.model.swap(self.state(left_name), self.state(right_name), node, 0.0, outcome).state

    def _distilled(
        self, kept_name: str, spent_name: str, first: NodeHardware, second: NodeHardware, protocol: str
    ) -> State | None:
        kept, spent = self.state(kept_name), self.state(spent_name)
        return self.model.distil(kept, spent, first, second, protocol, 0.0).state


def outcome_weights(left: DensityMatrix, right: DensityMatrix, node: NodeHardware) -> NDArray[np.float64]:
    """Born probabilities of a Bell measurement, times the fractions that `node` heralds; float64 (4,).

    The measurement is that of the inner qubits, without gate noise, readout noise or
    `swap_success_probability`.
    """
    inner = np.kron(end_state(left, end=1), end_state(right, end=0))
    born = [np.trace(states.bell_state(outcome) @ inner).real for outcome in range(4)]
    weights: NDArray[np.float64] = np.array(HERALDED_FRACTIONS[node.bell_measurement]) * born
    return weights


def possible_outcomes(left: DensityMatrix, right: DensityMatrix, node: NodeHardware) -> list[int]:
    """The outcomes that can be forced. With noise every heralded outcome has some probability."""
    if min(node.gate_fidelity, node.readout_fidelity) < 1.0:
        return list(node.heralded_outcomes)
    return [int(outcome) for outcome in np.flatnonzero(outcome_weights(left, right, node) > 1e-9)]


def end_state(matrix: DensityMatrix, *, end: int) -> NDArray[np.complex128]:
    """The reduced state of one qubit of a pair, complex128 (2, 2); `end` 0 is the first."""
    qubits = matrix.reshape(2, 2, 2, 2)
    reduced: NDArray[np.complex128] = np.einsum("abcb->ac" if end == 0 else "abac->bc", qubits)
    return reduced


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference between two entries."""
    return float(np.abs(a - b).max())


def zero_if(holds: bool) -> float:
    """0 if a condition holds, else infinity: the deviation from a law that allows no other value."""
    return 0.0 if holds else math.inf


def describe(hardware: object) -> str:
    """A short description of hardware: its class and the fields that differ from their defaults."""
    if hardware is None:
        return "no memory"
    changed = [
        f"{field.name}={getattr(hardware, field.name)!r}"
        for field in fields(hardware)  # type: ignore[arg-type]
        if field.name not in ("kind", "memory", "detector") and not _is_default(hardware, field)
    ]
    return f"{type(hardware).__name__}({', '.join(changed) or 'defaults'})"


def _is_default(hardware: object, field: Any) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return bool(getattr(hardware, field.name) == default)


def _product(first: NDArray[Any], second: NDArray[Any]) -> DensityMatrix:
    vector = np.kron(first, second)
    return np.asarray(np.outer(vector, vector.conj()), dtype=np.complex128)
