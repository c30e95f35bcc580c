"""A model that names a reference is compared with it on every operation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise, product

from physics.conformance.bench import (
    LENGTHS_KM,
    LINKS,
    LOSSY,
    MIXED,
    NODES,
    NOISY,
    Bench,
    Deviation,
    distance,
    told,
    verdict,
)
from physics.interface import PROTOCOLS
from physics.plugins import load_reference

_UNIFORMS = (0.0, 0.1, 0.25, 0.375, 0.49, 0.5, 0.9)


def agreement(bench: Bench) -> Iterator[Deviation]:
    """Every state, every link, every choice and every probability of both models."""
    model = load_reference(bench.model)
    if model is not None:
        reference = Bench(model, bench.matrices)
        for comparison in (_states, _links, _swaps, _rounds):
            yield from comparison(bench, reference)


def _states(ours: Bench, theirs: Bench) -> Iterator[Deviation]:
    made = theirs.performance.made
    for place in sorted(ours.performance.made.keys() ^ made.keys()):
        yield math.inf, f"only one of them gave a state: {place}"
    for place, state in ours.performance.made.items():
        if place in made:
            one, other = ours.model.density_matrix(state), theirs.model.density_matrix(made[place])
            yield distance(one, other), place
            difference = ours.model.fidelity(state) - theirs.model.fidelity(made[place])
            yield abs(difference), f"F after {place}"


def _links(ours: Bench, theirs: Bench) -> Iterator[Deviation]:
    for hardware, length_km in product(LINKS, LENGTHS_KM):
        one, other = ours.model.link(hardware, length_km), theirs.model.link(hardware, length_km)
        place = f"link, {told(hardware)}, {length_km:g} km"
        yield abs(one.success_probability - other.success_probability), f"success_probability of {place}"
        times = [
            (compiled.attempt_period_s, compiled.stored_from_s, compiled.known_s, compiled.modes)
            for compiled in (one, other)
        ]
        yield verdict(times[0] == times[1]), f"times or modes of {place}"


def _swaps(ours: Bench, theirs: Bench) -> Iterator[Deviation]:
    for (one, other), node, u in product(pairwise(MIXED), NODES, _UNIFORMS):
        mine, its = (
            bench.model.swap(bench.state(one), bench.state(other), node, u) for bench in (ours, theirs)
        )
        same = (mine.success, mine.outcome) == (its.success, its.outcome)
        place = f"swap, {one} with {other}, u = {u:g}, {told(node)}"
        yield verdict(same), f"outcome {mine.outcome}, not {its.outcome}: {place}"
        if mine.success:
            yield abs(mine.probability - its.probability), f"probability of outcome {mine.outcome}: {place}"


def _rounds(ours: Bench, theirs: Bench) -> Iterator[Deviation]:
    for (one, other), protocol in product(pairwise(MIXED), PROTOCOLS):
        mine, its = (
            bench.model.distil(bench.state(one), bench.state(other), NOISY, LOSSY, protocol, 0.0)
            for bench in (ours, theirs)
        )
        place = f"success probability of distil, {one} by {other}, {protocol}"
        yield abs(mine.success_probability - its.success_probability), place
