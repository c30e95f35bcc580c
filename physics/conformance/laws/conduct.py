"""Laws of a model's behaviour: symmetry, determinism, unchanged arguments, errors for invalid input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from physics.conformance.fixtures import (
    BELL,
    DEPOLARISING,
    LINKS,
    LOSSY,
    MIXED,
    NOISY,
    OPTICAL,
    PERFECT,
    RELAXING,
    Deviation,
    ModelUnderTest,
    describe,
    distance,
    zero_if,
)
from physics.interface import PROTOCOLS, DensityMatrix, State
from physics.qubits import states

_Call = Callable[[], object]


def symmetry(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Exchanging all ends changes no probability and no fidelity.

    Swaps are compared by F: a correction at the other end gives another state, of the same fidelity.
    """
    model = tested.model
    for name in tested.matrices:
        flipped = model.density_matrix(model.flip(tested.state(name)))
        yield distance(flipped, states.exchange_ends(tested.matrix(name))), f"flip, {name}"
    for name in tested.matrices:
        flipped_last = model.flip(model.age(tested.state(name), RELAXING, DEPOLARISING, 0.4, (2.0, 5.0)))
        flipped_first = model.age(model.flip(tested.state(name)), DEPOLARISING, RELAXING, 0.4, (5.0, 2.0))
        memories = f"{describe(RELAXING)} and {describe(DEPOLARISING)} exchanged"
        yield tested.gap(flipped_last, flipped_first), f"age, {name}, {memories}"
    for name, next_name in pairwise(MIXED):
        for outcome in range(4):
            yield _mirrored_swap(tested, name, next_name, outcome)
        for protocol in PROTOCOLS:
            yield from _mirrored_round(tested, name, next_name, protocol)


def _mirrored_swap(tested: ModelUnderTest, left_name: str, right_name: str, outcome: int) -> Deviation:
    model, left, right = tested.model, tested.state(left_name), tested.state(right_name)
    forward = model.swap(left, right, NOISY, 0.0, outcome).state
    backward = model.swap(model.flip(right), model.flip(left), NOISY, 0.0, outcome).state
    difference = abs(model.fidelity(forward) - model.fidelity(backward))
    pairs = f"{left_name} with {right_name}, outcome {outcome}"
    return difference, f"F of swap, {pairs}, {describe(NOISY)}, ends exchanged"


def _mirrored_round(
    tested: ModelUnderTest, kept_name: str, spent_name: str, protocol: str
) -> Iterator[Deviation]:
    model, kept, spent = tested.model, tested.state(kept_name), tested.state(spent_name)
    forward = model.distil(kept, spent, NOISY, LOSSY, protocol, 0.0)
    backward = model.distil(model.flip(kept), model.flip(spent), LOSSY, NOISY, protocol, 0.0)
    nodes = f"{describe(NOISY)} and {describe(LOSSY)} exchanged"
    where = f"distil, {kept_name} by {spent_name}, {protocol}, {nodes}"
    yield abs(forward.success_probability - backward.success_probability), f"probability of {where}"
    yield abs(model.fidelity(forward.state) - model.fidelity(backward.state)), f"F of {where}"


def determinism(tested: ModelUnderTest) -> Iterator[Deviation]:
    """A repeated call gives the same bits, whatever calls came before."""
    repeated = tested.carry_out().states
    for where, state in tested.results.states.items():
        same = where in repeated and _bytes(tested, state) == _bytes(tested, repeated[where])
        yield zero_if(same), f"two calls differ: {where}"


def arguments(tested: ModelUnderTest) -> Iterator[Deviation]:
    """No operation changes a state that it was given."""
    for name, next_name in pairwise(MIXED):
        given = tested.state(name), tested.state(next_name)
        before = [_bytes(tested, state) for state in given]
        for where, call in _calls(tested, name, next_name, *given):
            call()
            after = [_bytes(tested, state) for state in given]
            yield zero_if(before == after), f"a state that was given has changed: {where}"


def _calls(
    tested: ModelUnderTest, name: str, next_name: str, a: State, b: State
) -> Iterator[tuple[str, _Call]]:
    model = tested.model
    yield f"flip, {name}", partial(model.flip, a)
    yield f"fidelity, {name}", partial(model.fidelity, a)
    yield f"age, {name}", partial(model.age, a, RELAXING, DEPOLARISING, 1.0, (1.0, 2.0))
    yield f"swap, {name} with {next_name}", partial(model.swap, a, b, NOISY, 0.3)
    for protocol in PROTOCOLS:
        where = f"distil, {name} by {next_name}, {protocol}"
        yield where, partial(model.distil, a, b, NOISY, LOSSY, protocol, 0.0)


def _bytes(tested: ModelUnderTest, state: State) -> bytes:
    return tested.model.density_matrix(state).tobytes()


def refusals(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Invalid matrices, times, outcomes and protocols raise ValueError."""
    for case, call in _invalid_calls(tested):
        try:
            call()
        except ValueError:
            yield 0.0, case
        else:
            yield math.inf, f"no ValueError for {case}"


def _invalid_calls(tested: ModelUnderTest) -> Iterator[tuple[str, _Call]]:
    model, bell = tested.model, tested.state(BELL)
    for flaw, matrix in _invalid_matrices().items():
        yield f"a matrix {flaw} in from_density_matrix", partial(model.from_density_matrix, matrix)
    for duration_s in (-1.0, math.nan):
        call = partial(model.age, bell, RELAXING, DEPOLARISING, duration_s)
        yield f"duration_s = {duration_s} in age", call
    for attempts in ((0.0, -1.0), (math.nan, 0.0)):
        yield f"attempts = {attempts} in age", partial(model.age, bell, RELAXING, RELAXING, 0.1, attempts)
    yield f"length_km = -1 in link, {describe(LINKS[0])}", partial(model.link, LINKS[0], -1.0)
    yield "outcome 4 in swap", partial(model.swap, bell, bell, PERFECT, 0.0, 4)
    never = f"the forced outcome 0, which is never heralded, in swap, {describe(OPTICAL)}"
    yield never, partial(model.swap, bell, bell, OPTICAL, 0.0, 0)
    unknown = "no-such-protocol"
    call = partial(model.distil, bell, bell, PERFECT, PERFECT, unknown, 0.0)
    yield f"protocol {unknown!r} in distil", call


def _invalid_matrices() -> dict[str, DensityMatrix]:
    bell = states.bell_state(0)
    skewed = bell.copy()
    skewed[0, 1] = 0.2
    return {
        "of trace 2": 2.0 * bell,
        "with a negative eigenvalue": np.diag([0.6, 0.6, -0.1, -0.1]).astype(np.complex128),
        "that is not Hermitian": skewed,
        "with numbers that are not finite": np.full((4, 4), np.nan, dtype=np.complex128),
    }
