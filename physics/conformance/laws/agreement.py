"""The comparison of a model with the reference that it names, on every operation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise, product

from physics.conformance.fixtures import (
    LENGTHS_KM,
    LINKS,
    LOSSY,
    MIXED,
    NODES,
    NOISY,
    Deviation,
    ModelUnderTest,
    describe,
    distance,
    zero_if,
)
from physics.interface import PROTOCOLS
from physics.plugins.load import load_reference

_UNIFORMS = (0.0, 0.1, 0.25, 0.375, 0.49, 0.5, 0.9)


def agreement(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Both models give the same states, links, choices and probabilities."""
    model = load_reference(tested.model)
    if model is not None:
        reference = ModelUnderTest(model, tested.matrices)
        for comparison in (_states, _links, _swaps, _rounds):
            yield from comparison(tested, reference)


def _states(ours: ModelUnderTest, theirs: ModelUnderTest) -> Iterator[Deviation]:
    expected = theirs.results.states
    # An operation that fails in both models counts as agreement.
    for where in sorted(ours.results.states.keys() ^ expected.keys()):
        yield math.inf, f"only one of the two models gave a state: {where}"
    for where, state in ours.results.states.items():
        if where in expected:
            our_matrix, their_matrix = (
                ours.model.density_matrix(state),
                theirs.model.density_matrix(expected[where]),
            )
            yield distance(our_matrix, their_matrix), where
            difference = ours.model.fidelity(state) - theirs.model.fidelity(expected[where])
            yield abs(difference), f"F after {where}"


def _links(ours: ModelUnderTest, theirs: ModelUnderTest) -> Iterator[Deviation]:
    for hardware, length_km in product(LINKS, LENGTHS_KM):
        our_link, their_link = ours.model.link(hardware, length_km), theirs.model.link(hardware, length_km)
        where = f"link, {describe(hardware)}, {length_km:g} km"
        difference = our_link.success_probability - their_link.success_probability
        yield abs(difference), f"success_probability of {where}"
        times = [
            (compiled.attempt_period_s, compiled.stored_from_s, compiled.known_s, compiled.modes)
            for compiled in (our_link, their_link)
        ]
        # Equal to the last bit, because times order the events of a run.
        yield zero_if(times[0] == times[1]), f"times or modes of {where}"


def _swaps(ours: ModelUnderTest, theirs: ModelUnderTest) -> Iterator[Deviation]:
    for (left_name, right_name), node, u in product(pairwise(MIXED), NODES, _UNIFORMS):
        our_swap, their_swap = (
            tested.model.swap(tested.state(left_name), tested.state(right_name), node, u)
            for tested in (ours, theirs)
        )
        same = (our_swap.success, our_swap.outcome) == (their_swap.success, their_swap.outcome)
        where = f"swap, {left_name} with {right_name}, u = {u:g}, {describe(node)}"
        yield zero_if(same), f"outcome {our_swap.outcome}, not {their_swap.outcome}: {where}"
        if our_swap.success:
            difference = our_swap.probability - their_swap.probability
            yield abs(difference), f"probability of outcome {our_swap.outcome}: {where}"


def _rounds(ours: ModelUnderTest, theirs: ModelUnderTest) -> Iterator[Deviation]:
    for (kept_name, spent_name), protocol in product(pairwise(MIXED), PROTOCOLS):
        our_round, their_round = (
            tested.model.distil(
                tested.state(kept_name), tested.state(spent_name), NOISY, LOSSY, protocol, 0.0
            )
            for tested in (ours, theirs)
        )
        where = f"success probability of distil, {kept_name} by {spent_name}, {protocol}"
        yield abs(our_round.success_probability - their_round.success_probability), where
