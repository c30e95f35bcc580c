"""Laws of storage: a semigroup in time and attempts, with each memory at its own end and rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import TypeAlias

from physics.conformance.fixtures import (
    BELL,
    DEPHASING,
    LIMITED,
    MEMORIES,
    RELAXING,
    Deviation,
    ModelUnderTest,
    describe,
    distance,
    end_state,
    zero_if,
)
from physics.hardware import DepolarisingMemory, Memory
from physics.interface import NO_ATTEMPTS, DensityMatrix

_Stored: TypeAlias = tuple[Memory | None, Memory | None]

_STEPS = ((0.1, (1.0, 0.0)), (0.0, (2.0, 1.0)), (0.7, (0.0, 3.5)), (0.5, (3.0, 0.0)))
_WHOLE = (1.3, (6.0, 4.5))
_MIN_LOSS = 1e-6
_SLOPE_POINTS = 8
_SLOPE_STEP = 0.02
"""In lifetimes. F at eight such steps gives its first rate to 1e-12 even if one Pauli takes all the decay."""
_HOLDS = 1e-9
"""A model that represents |00> and |11> to this accuracy is asked how they relax."""


def semigroup(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Durations and attempts of successive calls add up, and a call with none of either changes nothing."""
    model = tested.model
    for name, (first, second) in product(tested.matrices, product(MEMORIES, MEMORIES)):
        stored = f"{name}, first {describe(first)}, second {describe(second)}"
        parts = model.age(tested.state(name), first, second, 0.0)
        yield tested.gap(parts, tested.state(name)), f"age by 0 s, {stored}"
        for duration_s, attempts in _STEPS:
            parts = model.age(parts, first, second, duration_s, attempts)
        whole = model.age(tested.state(name), first, second, *_WHOLE)
        where = f"age by {_WHOLE[0]} s and {_WHOLE[1]} attempts, in one step and in four, {stored}"
        yield tested.gap(whole, parts), where


def own_end(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Storage and attempts at one end leave the other end's qubit unchanged."""
    model = tested.model
    for name, memory in product(tested.matrices, MEMORIES):
        before = tested.matrix(name)
        for end, attempts in enumerate(((7.0, 0.0), (0.0, 7.0))):
            first, second = (memory, None) if end == 0 else (None, memory)
            stored = f"{name}, {describe(memory)} at"
            seen = f"seen at the {('second', 'first')[end]}"
            after = model.density_matrix(model.age(tested.state(name), first, second, 0.8))
            yield _other_end(before, after, end), f"age by 0.8 s, {stored} one end, {seen}"
            after = model.density_matrix(model.age(tested.state(name), memory, memory, 0.0, attempts))
            yield _other_end(before, after, end), f"age by attempts {attempts}, {stored} both ends, {seen}"


def _other_end(before: DensityMatrix, after: DensityMatrix, end: int) -> float:
    return distance(end_state(before, end=1 - end), end_state(after, end=1 - end))


def decay(tested: ModelUnderTest) -> Iterator[Deviation]:
    """F of Phi+ falls with time, and with attempts if the memory counts them; without a memory it stays."""
    for memory, end in product(MEMORIES, (0, 1)):
        stored: _Stored = (memory, None) if end == 0 else (None, memory)
        own_attempts, other_attempts = ((9.0, 0.0), (0.0, 9.0)) if end == 0 else ((0.0, 9.0), (9.0, 0.0))
        counts_attempts = memory is not None and memory.coherence_attempts < math.inf
        yield _lost(tested, stored, 0.2, NO_ATTEMPTS, falls=memory is not None)
        yield _lost(tested, stored, 0.0, own_attempts, falls=counts_attempts)
        yield _lost(tested, stored, 0.0, other_attempts, falls=False)


def _lost(
    tested: ModelUnderTest,
    stored: _Stored,
    duration_s: float,
    attempts: tuple[float, float],
    *,
    falls: bool,
) -> Deviation:
    model, fresh = tested.model, tested.state(BELL)
    aged = model.age(tested.state(BELL), *stored, duration_s, attempts)
    lost = model.fidelity(fresh) - model.fidelity(aged)
    where = f"age of {BELL} by {duration_s:g} s and {attempts} attempts"
    where = f"{where}, first {describe(stored[0])}, second {describe(stored[1])}"
    if falls:
        return zero_if(lost > _MIN_LOSS), f"F fell by {lost:.3g}, and it must fall, in {where}"
    return tested.gap(aged, fresh), f"it must change nothing: {where}"


def rates(tested: ModelUnderTest) -> Iterator[Deviation]:
    """A stored Phi+ first loses F at the sum of the error rates of its two memories.

    A depolarising memory errs at 3/(4T) a second and 3/(4N) an attempt, one with T1 and T2 at
    (2/T2 + 1/T1)/4 and 1/(2N). The law leaves open which errors these are, and the later course of F.
    """
    for first, second in product(MEMORIES, MEMORIES):
        stored = f"{BELL}, first {describe(first)}, second {describe(second)}"
        rates_hz = [_error_rate_hz(memory) for memory in (first, second)]
        yield _slope(tested, (first, second), (1.0, NO_ATTEMPTS), sum(rates_hz), f"a second, {stored}")
        per_attempt = [_errors_per_attempt(memory) for memory in (first, second)]
        for end, attempts in enumerate(((1.0, 0.0), (0.0, 1.0))):
            where = f"an attempt at the {('first', 'second')[end]} end, {stored}"
            yield _slope(tested, (first, second), (0.0, attempts), per_attempt[end], where)


def _error_rate_hz(memory: Memory | None) -> float:
    if memory is None:
        return 0.0
    if isinstance(memory, DepolarisingMemory):
        return 0.75 / memory.depolarising_s
    return 0.5 / memory.dephasing_s + 0.25 / memory.relaxation_s


def _errors_per_attempt(memory: Memory | None) -> float:
    if memory is None:
        return 0.0
    return (0.75 if isinstance(memory, DepolarisingMemory) else 0.5) / memory.coherence_attempts


def _slope(
    tested: ModelUnderTest,
    stored: _Stored,
    unit: tuple[float, tuple[float, float]],
    expected: float,
    where: str,
) -> Deviation:
    """The rate at which F falls with `unit`s of storage, relative to `expected` unless that is 0."""
    model, (duration_s, attempts) = tested.model, unit
    scale = expected or 1.0

    def lost(units: float) -> float:
        counts = attempts[0] * units, attempts[1] * units
        aged = model.age(tested.state(BELL), *stored, duration_s * units, counts)
        return 1.0 - model.fidelity(aged)

    seen = _first_derivative(lost, _SLOPE_STEP / scale)
    return abs(seen - expected) / scale, f"F falls at {seen:.10g}, not {expected:.10g}, {where}"


def _first_derivative(function: Callable[[float], float], step: float) -> float:
    """The derivative at 0 from values at 0 and above: the series of ln(1 + D)/step, D a forward step."""
    start, points = function(0.0), range(1, _SLOPE_POINTS + 1)
    signed = [(-1.0) ** (k + 1) * math.comb(_SLOPE_POINTS, k) / k for k in points]
    return sum(weight * (function(k * step) - start) for weight, k in zip(signed, points, strict=True)) / step


def ground(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Memories with T1 and T2 leave |00> unchanged, and those that relax take |11> towards it.

    The law is asked of models that can represent these states. A model that keeps only F cannot.
    """
    if any(distance(tested.matrix(name), tested.matrices[name]) > _HOLDS for name in ("|00>", "|11>")):
        return
    model, memories = tested.model, (None, RELAXING, LIMITED, DEPHASING)
    for first, second in product(memories, memories):
        where = f"age by 0.8 s, first {describe(first)}, second {describe(second)}"
        aged = model.density_matrix(model.age(tested.state("|00>"), first, second, 0.8))
        yield distance(aged, tested.matrices["|00>"]), f"|00> has changed: {where}"
        aged = model.density_matrix(model.age(tested.state("|11>"), first, second, 0.8))
        for end, memory in enumerate((first, second)):
            if memory in (RELAXING, LIMITED):
                excited = float(end_state(aged, end=end)[1, 1].real)
                excitation = f"the {('first', 'second')[end]} end of |11> keeps {excited:.6g} of |1>"
                yield zero_if(excited < 1.0 - _MIN_LOSS), f"{excitation}: {where}"
