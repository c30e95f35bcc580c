"""Laws of storage: a semigroup in time and attempts, each memory at its own end and at its own rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import TypeAlias

from physics.conformance.bench import (
    BELL,
    DEPHASING,
    LIMITED,
    MEMORIES,
    RELAXING,
    Bench,
    Deviation,
    distance,
    end_state,
    told,
    verdict,
)
from physics.hardware import DepolarisingMemory, Memory
from physics.interface import NO_ATTEMPTS, DensityMatrix

_Stored: TypeAlias = tuple[Memory | None, Memory | None]

_STEPS = ((0.1, (1.0, 0.0)), (0.0, (2.0, 1.0)), (0.7, (0.0, 3.5)), (0.5, (3.0, 0.0)))
_WHOLE = (1.3, (6.0, 4.5))
_LEAST_LOSS = 1e-6
_SLOPE_POINTS = 8
_SLOPE_STEP = 0.02
"""Of a lifetime: F of eight steps gives its first rate to 1e-12, were one Pauli to take all of the decay."""
_KEPT = 1e-9
"""How much of |00> and |11> a model may miss to be asked what becomes of them."""


def semigroup(bench: Bench) -> Iterator[Deviation]:
    """Durations and attempts of successive calls add up, and nothing at all changes nothing."""
    model = bench.model
    for name, (first, second) in product(bench.matrices, product(MEMORIES, MEMORIES)):
        stored = f"{name}, first {told(first)}, second {told(second)}"
        parts = model.age(bench.state(name), first, second, 0.0)
        yield bench.gap(parts, bench.state(name)), f"age by 0 s, {stored}"
        for duration_s, attempts in _STEPS:
            parts = model.age(parts, first, second, duration_s, attempts)
        whole = model.age(bench.state(name), first, second, *_WHOLE)
        place = f"age by {_WHOLE[0]} s and {_WHOLE[1]} attempts, in one step and in four, {stored}"
        yield bench.gap(whole, parts), place


def own_end(bench: Bench) -> Iterator[Deviation]:
    """What is stored at one end, and attempts made there, leave the other end's qubit as it was."""
    model = bench.model
    for name, memory in product(bench.matrices, MEMORIES):
        before = bench.matrix(name)
        for end, attempts in enumerate(((7.0, 0.0), (0.0, 7.0))):
            first, second = (memory, None) if end == 0 else (None, memory)
            places = f"{name}, {told(memory)} at"
            other = f"seen at the {('second', 'first')[end]}"
            after = model.density_matrix(model.age(bench.state(name), first, second, 0.8))
            yield _other_end(before, after, end), f"age by 0.8 s, {places} one end, {other}"
            after = model.density_matrix(model.age(bench.state(name), memory, memory, 0.0, attempts))
            yield _other_end(before, after, end), f"age by attempts {attempts}, {places} both ends, {other}"


def _other_end(before: DensityMatrix, after: DensityMatrix, end: int) -> float:
    return distance(end_state(before, end=1 - end), end_state(after, end=1 - end))


def decay(bench: Bench) -> Iterator[Deviation]:
    """F of Phi+ falls with time, and with attempts where these are counted; without a memory it stays."""
    for memory, end in product(MEMORIES, (0, 1)):
        stored: _Stored = (memory, None) if end == 0 else (None, memory)
        here, there = ((9.0, 0.0), (0.0, 9.0)) if end == 0 else ((0.0, 9.0), (9.0, 0.0))
        worn = memory is not None and memory.coherence_attempts < math.inf
        yield _lost(bench, stored, 0.2, NO_ATTEMPTS, falls=memory is not None)
        yield _lost(bench, stored, 0.0, here, falls=worn)
        yield _lost(bench, stored, 0.0, there, falls=False)


def _lost(
    bench: Bench,
    stored: _Stored,
    duration_s: float,
    attempts: tuple[float, float],
    *,
    falls: bool,
) -> Deviation:
    model, fresh = bench.model, bench.state(BELL)
    aged = model.age(bench.state(BELL), *stored, duration_s, attempts)
    lost = model.fidelity(fresh) - model.fidelity(aged)
    place = f"age of {BELL} by {duration_s:g} s and {attempts} attempts"
    place = f"{place}, first {told(stored[0])}, second {told(stored[1])}"
    if falls:
        return verdict(lost > _LEAST_LOSS), f"F fell by {lost:.3g}, and it must fall, in {place}"
    return bench.gap(aged, fresh), f"it must change nothing: {place}"


def rates(bench: Bench) -> Iterator[Deviation]:
    """Phi+ with its halves stored loses F at first at the sum of their memories' error rates.

    A depolarising half: 3/(4T) a second and 3/(4N) an attempt; one with T1 and T2: (2/T2 + 1/T1)/4 and
    1/(2N). Which errors they are is left open, and so is F later on.
    """
    for first, second in product(MEMORIES, MEMORIES):
        stored = f"{BELL}, first {told(first)}, second {told(second)}"
        rates_hz = [_error_rate_hz(memory) for memory in (first, second)]
        yield _slope(bench, (first, second), (1.0, NO_ATTEMPTS), sum(rates_hz), f"a second, {stored}")
        per_attempt = [_errors_per_attempt(memory) for memory in (first, second)]
        for end, attempts in enumerate(((1.0, 0.0), (0.0, 1.0))):
            place = f"an attempt at the {('first', 'second')[end]} end, {stored}"
            yield _slope(bench, (first, second), (0.0, attempts), per_attempt[end], place)


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
    bench: Bench,
    stored: _Stored,
    unit: tuple[float, tuple[float, float]],
    expected: float,
    place: str,
) -> Deviation:
    """How fast F falls with `unit`s of storage, relative to `expected` where something is."""
    model, (duration_s, attempts) = bench.model, unit
    scale = expected or 1.0

    def lost(units: float) -> float:
        worn = attempts[0] * units, attempts[1] * units
        aged = model.age(bench.state(BELL), *stored, duration_s * units, worn)
        return 1.0 - model.fidelity(aged)

    seen = _first_derivative(lost, _SLOPE_STEP / scale)
    return abs(seen - expected) / scale, f"F falls at {seen:.10g}, not {expected:.10g}, {place}"


def _first_derivative(function: Callable[[float], float], step: float) -> float:
    """At 0, from 0 and above: ln(1 + D)/step for the forward difference D, to the power of the points."""
    start, points = function(0.0), range(1, _SLOPE_POINTS + 1)
    signed = [(-1.0) ** (k + 1) * math.comb(_SLOPE_POINTS, k) / k for k in points]
    return sum(share * (function(k * step) - start) for share, k in zip(signed, points, strict=True)) / step


def ground(bench: Bench) -> Iterator[Deviation]:
    """Memories with T1 and T2 leave |00> as it is, and those that relax take |11> towards it.

    Asked of models that can hold these states; one that keeps only F cannot.
    """
    if any(distance(bench.matrix(name), bench.matrices[name]) > _KEPT for name in ("|00>", "|11>")):
        return
    model, memories = bench.model, (None, RELAXING, LIMITED, DEPHASING)
    for first, second in product(memories, memories):
        place = f"age by 0.8 s, first {told(first)}, second {told(second)}"
        aged = model.density_matrix(model.age(bench.state("|00>"), first, second, 0.8))
        yield distance(aged, bench.matrices["|00>"]), f"|00> has changed: {place}"
        aged = model.density_matrix(model.age(bench.state("|11>"), first, second, 0.8))
        for end, memory in enumerate((first, second)):
            if memory in (RELAXING, LIMITED):
                excited = float(end_state(aged, end=end)[1, 1].real)
                still = f"the {('first', 'second')[end]} end of |11> keeps {excited:.6g} of |1>"
                yield verdict(excited < 1.0 - _LEAST_LOSS), f"{still}: {place}"
