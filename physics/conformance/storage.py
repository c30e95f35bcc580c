"""Laws of storage: a semigroup in time and attempts, and each memory at its own end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

from physics.conformance.bench import BELL, MEMORIES, Bench, Deviation, distance, end_state, told, verdict
from physics.hardware import Memory
from physics.interface import NO_ATTEMPTS, DensityMatrix

_Stored: TypeAlias = tuple[Memory | None, Memory | None]

_STEPS = ((0.1, (1.0, 0.0)), (0.0, (2.0, 1.0)), (0.7, (0.0, 3.5)), (0.5, (3.0, 0.0)))
_WHOLE = (1.3, (6.0, 4.5))
_LEAST_LOSS = 1e-6


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
