"""What a model is tried on: states, hardware, every operation on them, and words for all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from itertools import pairwise, product
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from physics import states
from physics.hardware import (
    HERALDED_SHARES,
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

Deviation: TypeAlias = tuple[float, str]
"""How far something is from what a law says, and where."""

DEPOLARISING: Final = DepolarisingMemory(depolarising_s=2.0, coherence_attempts=40.0)
RELAXING: Final = RelaxingMemory(relaxation_s=1.5, dephasing_s=0.8, coherence_attempts=25.0)
LIMITED: Final = RelaxingMemory(relaxation_s=0.6, dephasing_s=1.2)
"""T2 = 2 T1, the most that is physical: a map that errs a little is no longer positive here."""
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
    DoubleClickLink(detector=_DETECTOR, rounds=2, visibility=0.95, station_share=0.3),
    SingleClickLink(bright_population=0.1, detector=_DETECTOR, visibility=0.9, phase_deviation_rad=0.2),
    DirectLink(success_probability=0.01, attempt_period_s=1e-3, fresh_weights=(0.8, 0.1, 0.06, 0.04)),
)
LENGTHS_KM: Final = (0.0, 10.0, 80.0)

BELL: Final = "Phi+"


def tried_states(generator: np.random.Generator) -> dict[str, DensityMatrix]:
    """Density matrices by name. Pure ones lie on the edge of what is physical, random ones hide nothing.

    A map on one half of Phi+ gives a positive matrix exactly when it is completely positive (Choi 1975,
    Linear Algebra Appl. 10, 285); on products the edges of the Bloch ball are tried end by end.
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
"""States of which every outcome of every measurement is possible."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Every operation carried out once: the state each gave, and what was raised instead, by place."""

    made: Mapping[str, State]
    raised: Mapping[str, Exception]


class Bench:
    """What every law gets: the model, and its own states of the density matrices to try."""

    def __init__(self, model: PhysicsModel, matrices: Mapping[str, DensityMatrix]) -> None:
        self.model = model
        self.matrices = matrices
        self._performance: Performance | None = None

    def state(self, name: str) -> State:
        """Made anew each time, so that a model that changes its arguments spoils one trial only."""
        return self.model.from_density_matrix(self.matrices[name])

    def matrix(self, name: str) -> DensityMatrix:
        """What the model keeps of the state called `name`."""
        return self.model.density_matrix(self.state(name))

    def gap(self, one: State, other: State) -> float:
        """The largest difference of any entry of two states' density matrices."""
        return distance(self.model.density_matrix(one), self.model.density_matrix(other))

    @property
    def performance(self) -> Performance:
        """The first `perform()`, kept."""
        if self._performance is None:
            self._performance = self.perform()
        return self._performance

    def perform(self) -> Performance:
        """Carry out every operation on every state and all hardware that makes sense together."""
        made: dict[str, State] = {}
        raised: dict[str, Exception] = {}
        for place, operation in self._operations():
            try:
                state = operation()
            except Exception as error:  # a stranger's model may raise anything; that is a finding
                raised[place] = error
            else:
                if state is not None:
                    made[place] = state
        return Performance(made=made, raised=raised)

    def _operations(self) -> Iterator[tuple[str, Callable[[], State | None]]]:
        for hardware, length_km in product(LINKS, LENGTHS_KM):
            yield f"link, {told(hardware)}, {length_km:g} km", partial(self._fresh, hardware, length_km)
        for name in self.matrices:
            yield f"from_density_matrix, {name}", partial(self.state, name)
            yield f"flip, {name}", partial(self._flipped, name)
            for ends in product(MEMORIES, MEMORIES):
                stored = f"first {told(ends[0])}, second {told(ends[1])}"
                yield f"age, {name}, 0.37 s and (3, 2) attempts, {stored}", partial(self._aged, name, *ends)
        for one, other in pairwise(self.matrices):
            for node in NODES:
                for outcome in possible_outcomes(self.matrices[one], self.matrices[other], node):
                    place = f"swap, {one} with {other}, outcome {outcome}, {told(node)}"
                    yield place, partial(self._swapped, one, other, node, outcome)
            for protocol, (first, second) in product(PROTOCOLS, _ENDS):
                place = f"distil, {one} by {other}, {protocol}, first {told(first)}, second {told(second)}"
                yield place, partial(self._distilled, one, other, first, second, protocol)

    def _fresh(self, hardware: LinkHardware, length_km: float) -> State:
        return self.model.link(hardware, length_km).fresh

    def _flipped(self, name: str) -> State:
        return self.model.flip(self.state(name))

    def _aged(self, name: str, first: Memory | None, second: Memory | None) -> State:
        return self.model.age(self.state(name), first, second, 0.37, (3.0, 2.0))

    def _swapped(self, one: str, other: str, node: NodeHardware, outcome: int) -> State:
        return self.model.swap(self.state(one), self.state(other), node, 0.0, outcome).state

    def _distilled(
        self, one: str, other: str, first: NodeHardware, second: NodeHardware, protocol: str
    ) -> State | None:
        return self.model.distil(self.state(one), self.state(other), first, second, protocol, 0.0).state


def outcome_weights(left: DensityMatrix, right: DensityMatrix, node: NodeHardware) -> NDArray[np.float64]:
    """Born's rule for a Bell measurement of the inner qubits, times what `node` heralds; float64 (4,).

    Noise of gates and readout is left out, and so is `swap_success_probability`.
    """
    inner = np.kron(end_state(left, end=1), end_state(right, end=0))
    born = [np.trace(states.bell_state(outcome) @ inner).real for outcome in range(4)]
    weights: NDArray[np.float64] = np.array(HERALDED_SHARES[node.bell_measurement]) * born
    return weights


def possible_outcomes(left: DensityMatrix, right: DensityMatrix, node: NodeHardware) -> list[int]:
    """The outcomes that can be forced: noise lets every heralded one happen now and then."""
    if min(node.gate_fidelity, node.readout_fidelity) < 1.0:
        return list(node.heralded_outcomes)
    return [int(outcome) for outcome in np.flatnonzero(outcome_weights(left, right, node) > 1e-9)]


def end_state(matrix: DensityMatrix, *, end: int) -> NDArray[np.complex128]:
    """The reduced state of one qubit of a pair, complex128 (2, 2); `end` 0 is the first."""
    qubits = matrix.reshape(2, 2, 2, 2)
    reduced: NDArray[np.complex128] = np.einsum("abcb->ac" if end == 0 else "abac->bc", qubits)
    return reduced


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of any entry."""
    return float(np.abs(one - other).max())


def verdict(holds: bool) -> float:
    """The deviation of what is either right or wrong."""
    return 0.0 if holds else math.inf


def told(hardware: object) -> str:
    """A short name for hardware: its kind, and what of it is not as usual."""
    if hardware is None:
        return "no memory"
    unusual = [
        f"{part.name}={getattr(hardware, part.name)!r}"
        for part in fields(hardware)  # type: ignore[arg-type]
        if part.name not in ("kind", "memory", "detector") and not _usual(hardware, part)
    ]
    return f"{type(hardware).__name__}({', '.join(unusual) or 'defaults'})"


def _usual(hardware: object, part: Any) -> bool:
    usual = part.default if part.default_factory is MISSING else part.default_factory()
    return bool(getattr(hardware, part.name) == usual)


def _product(first: NDArray[Any], second: NDArray[Any]) -> DensityMatrix:
    vector = np.kron(first, second)
    return np.asarray(np.outer(vector, vector.conj()), dtype=np.complex128)
