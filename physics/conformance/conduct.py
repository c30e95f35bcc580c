"""Laws of how a model behaves: ends alike, the same answer twice, hands off its arguments, no to nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from physics import states
from physics.conformance.bench import (
    BELL,
    DEPOLARISING,
    LINKS,
    LOSSY,
    MIXED,
    NOISY,
    OPTICAL,
    PERFECT,
    RELAXING,
    Bench,
    Deviation,
    distance,
    told,
    verdict,
)
from physics.interface import PROTOCOLS, DensityMatrix, State

_Call = Callable[[], object]


def symmetry(bench: Bench) -> Iterator[Deviation]:
    """Exchanging the ends of everything changes no probability and no fidelity.

    A correction at the other end gives another state of the same fidelity, so swaps are compared by F.
    """
    model = bench.model
    for name in bench.matrices:
        flipped = model.density_matrix(model.flip(bench.state(name)))
        yield distance(flipped, states.exchange_ends(bench.matrix(name))), f"flip, {name}"
    for name in bench.matrices:
        aged = model.flip(model.age(bench.state(name), RELAXING, DEPOLARISING, 0.4, (2.0, 5.0)))
        mirrored = model.age(model.flip(bench.state(name)), DEPOLARISING, RELAXING, 0.4, (5.0, 2.0))
        yield bench.gap(aged, mirrored), f"age, {name}, {told(RELAXING)} and {told(DEPOLARISING)} exchanged"
    for one, other in pairwise(MIXED):
        for outcome in range(4):
            yield _mirrored_swap(bench, one, other, outcome)
        for protocol in PROTOCOLS:
            yield from _mirrored_round(bench, one, other, protocol)


def _mirrored_swap(bench: Bench, one: str, other: str, outcome: int) -> Deviation:
    model, left, right = bench.model, bench.state(one), bench.state(other)
    forward = model.swap(left, right, NOISY, 0.0, outcome).state
    backward = model.swap(model.flip(right), model.flip(left), NOISY, 0.0, outcome).state
    difference = abs(model.fidelity(forward) - model.fidelity(backward))
    return difference, f"F of swap, {one} with {other}, outcome {outcome}, {told(NOISY)}, ends exchanged"


def _mirrored_round(bench: Bench, one: str, other: str, protocol: str) -> Iterator[Deviation]:
    model, kept, spent = bench.model, bench.state(one), bench.state(other)
    there = model.distil(kept, spent, NOISY, LOSSY, protocol, 0.0)
    back = model.distil(model.flip(kept), model.flip(spent), LOSSY, NOISY, protocol, 0.0)
    place = f"distil, {one} by {other}, {protocol}, {told(NOISY)} and {told(LOSSY)} exchanged"
    yield abs(there.success_probability - back.success_probability), f"probability of {place}"
    yield abs(model.fidelity(there.state) - model.fidelity(back.state)), f"F of {place}"


def determinism(bench: Bench) -> Iterator[Deviation]:
    """Twice the same, bit for bit, whatever was asked before."""
    again = bench.perform().made
    for place, state in bench.performance.made.items():
        same = place in again and _bytes(bench, state) == _bytes(bench, again[place])
        yield verdict(same), f"two calls differ: {place}"


def untouched(bench: Bench) -> Iterator[Deviation]:
    """No operation changes a state it was given."""
    for one, other in pairwise(MIXED):
        given = bench.state(one), bench.state(other)
        before = [_bytes(bench, state) for state in given]
        for place, call in _calls(bench, one, other, *given):
            call()
            after = [_bytes(bench, state) for state in given]
            yield verdict(before == after), f"a state that was given has changed: {place}"


def _calls(bench: Bench, one: str, other: str, a: State, b: State) -> Iterator[tuple[str, _Call]]:
    model = bench.model
    yield f"flip, {one}", partial(model.flip, a)
    yield f"fidelity, {one}", partial(model.fidelity, a)
    yield f"age, {one}", partial(model.age, a, RELAXING, DEPOLARISING, 1.0, (1.0, 2.0))
    yield f"swap, {one} with {other}", partial(model.swap, a, b, NOISY, 0.3)
    for protocol in PROTOCOLS:
        place = f"distil, {one} by {other}, {protocol}"
        yield place, partial(model.distil, a, b, NOISY, LOSSY, protocol, 0.0)


def _bytes(bench: Bench, state: State) -> bytes:
    return bench.model.density_matrix(state).tobytes()


def refusals(bench: Bench) -> Iterator[Deviation]:
    """A ValueError for matrices, times and words that mean nothing."""
    for what, call in _nonsense(bench):
        try:
            call()
        except ValueError:
            yield 0.0, what
        else:
            yield math.inf, f"no ValueError for {what}"


def _nonsense(bench: Bench) -> Iterator[tuple[str, _Call]]:
    model, bell = bench.model, bench.state(BELL)
    for what, matrix in _wrong_matrices().items():
        yield f"a matrix {what} in from_density_matrix", partial(model.from_density_matrix, matrix)
    for duration_s in (-1.0, math.nan):
        call = partial(model.age, bell, RELAXING, DEPOLARISING, duration_s)
        yield f"duration_s = {duration_s} in age", call
    for attempts in ((0.0, -1.0), (math.nan, 0.0)):
        yield f"attempts = {attempts} in age", partial(model.age, bell, RELAXING, RELAXING, 0.1, attempts)
    yield f"length_km = -1 in link, {told(LINKS[0])}", partial(model.link, LINKS[0], -1.0)
    yield "outcome 4 in swap", partial(model.swap, bell, bell, PERFECT, 0.0, 4)
    never = f"the forced outcome 0, which is never heralded, in swap, {told(OPTICAL)}"
    yield never, partial(model.swap, bell, bell, OPTICAL, 0.0, 0)
    unknown = "no-such-protocol"
    call = partial(model.distil, bell, bell, PERFECT, PERFECT, unknown, 0.0)
    yield f"protocol {unknown!r} in distil", call


def _wrong_matrices() -> dict[str, DensityMatrix]:
    bell = states.bell_state(0)
    skewed = bell.copy()
    skewed[0, 1] = 0.2
    return {
        "of trace 2": 2.0 * bell,
        "with a negative eigenvalue": np.diag([0.6, 0.6, -0.1, -0.1]).astype(np.complex128),
        "that is not Hermitian": skewed,
        "with numbers that are not finite": np.full((4, 4), np.nan, dtype=np.complex128),
    }
