"""The law of batches: they give each pair the result of the single operations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from physics.batched import batched
from physics.conformance.fixtures import MEMORIES, Deviation, ModelUnderTest, describe, zero_if


def single_operations(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Batched storage and fidelity equal `age` and `fidelity` pair by pair. Asked of batched models only.

    Batches are compared by F, the one figure that can be read from states in the model's own form.
    """
    model = batched(tested.model)
    if model is None:
        return
    names = tuple(tested.matrices)
    durations_s = [0.05 * number for number in range(len(names))]
    attempts = [float(number % 4) for number in range(len(names))]
    for first, second in product(MEMORIES, MEMORIES):
        stored = f"first {describe(first)}, second {describe(second)}"
        states = [tested.state(name) for name in names]
        # Both forms of an argument: one number a pair, and one number for all.
        aged = model.age_many(states, first, second, durations_s, (attempts, 2.0))
        fidelities = model.fidelity_many(aged).tolist()
        complete = zero_if(len(fidelities) == len(names))
        yield complete, f"fidelity_many gave {len(fidelities)} numbers: {stored}"
        for name, duration_s, count, value in zip(names, durations_s, attempts, fidelities, strict=True):
            single = model.age(tested.state(name), first, second, duration_s, (count, 2.0))
            where = f"age_many, {name}, {duration_s:g} s and ({count:g}, 2) attempts, {stored}"
            expected = model.fidelity(single)
            yield abs(value - expected), f"F = {value:.10g}, not {expected:.10g}: {where}"
