"""Laws of swaps: perfect pairs, Werner pairs, order, and what a uniform draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice, pairwise, product

import numpy as np

from physics import states
from physics.conformance.bench import (
    BELL,
    DEPOLARISING,
    LOSSY,
    MIXED,
    NODES,
    NOISY,
    OPTICAL,
    PERFECT,
    Bench,
    Deviation,
    outcome_weights,
    possible_outcomes,
    told,
    verdict,
)
from physics.hardware import NodeHardware

_HALF_COMPLETE = NodeHardware(memory=DEPOLARISING, swap_success_probability=0.5)
_HALF_BOOSTED = NodeHardware(memory=DEPOLARISING, swap_success_probability=0.5, bell_measurement="boosted")
_WITHOUT_NOISE = (_HALF_COMPLETE, OPTICAL, _HALF_BOOSTED)
_DRAWN_PAIRS = (
    (BELL, "Werner F = 0.8"),
    ("Psi+", "Phi-"),
    ("random state 1", "random state 2"),
    ("|00>", "|00>"),
    ("|+>|0>", "|11>"),
)
_HALVINGS = 33


def perfect_pairs(bench: Bench) -> Iterator[Deviation]:
    """Two Phi+ become a Phi+, whatever outcome is reported."""
    for node in (PERFECT, OPTICAL, _HALF_BOOSTED):
        for outcome in node.heralded_outcomes:
            swapped = bench.model.swap(bench.state(BELL), bench.state(BELL), node, 0.0, outcome)
            place = f"swap, {BELL} with {BELL}, outcome {outcome}, {told(node)}"
            yield verdict(swapped.success), f"a forced outcome failed: {place}"
            yield bench.gap(swapped.state, bench.state(BELL)), place


def werner_pairs(bench: Bench) -> Iterator[Deviation]:
    """F = F1 F2 + (1-F1)(1-F2)/3 without noise (Duer et al. 1999, Phys. Rev. A 59, 169)."""
    model = bench.model
    for one, other in ((0.95, 0.8), (0.7, 0.6), (1.0, 0.9)):
        left, right = (model.from_density_matrix(states.werner(value)) for value in (one, other))
        expected = one * other + (1.0 - one) * (1.0 - other) / 3.0
        for outcome in PERFECT.heralded_outcomes:
            value = model.fidelity(model.swap(left, right, PERFECT, 0.0, outcome).state)
            place = f"swap, Werner F = {one} with {other}, outcome {outcome}, {told(PERFECT)}"
            yield abs(value - expected), f"F = {value:.10g}, not {expected:.10g}: {place}"


def associativity(bench: Bench) -> Iterator[Deviation]:
    """(a b) c = a (b c); a first correction by frame m turns the second outcome k into k xor m."""
    swap = bench.model.swap
    for names in islice(zip(MIXED, MIXED[1:], MIXED[2:], strict=False), 3):
        a, b, c = (bench.state(name) for name in names)
        for one, two in product(range(4), range(4)):
            early = swap(swap(a, b, NOISY, 0.0, one).state, c, LOSSY, 0.0, two).state
            late = swap(a, swap(b, c, LOSSY, 0.0, one ^ two).state, NOISY, 0.0, one).state
            place = f"swap, {', '.join(names)}, outcomes {one} and {two}, {told(NOISY)} then {told(LOSSY)}"
            yield bench.gap(early, late), place


def draws(bench: Bench) -> Iterator[Deviation]:
    """A drawn swap is the forced one of its outcome, and only heralded outcomes are drawn."""
    for (one, other), node in product(pairwise(MIXED), NODES):
        left, right = bench.state(one), bench.state(other)
        for u in np.linspace(0.0125, 0.9875, 40).tolist():
            drawn = bench.model.swap(left, right, node, u)
            place = f"swap, {one} with {other}, u = {u:g}, {told(node)}"
            if not drawn.success:
                right_failure = drawn.outcome == -1 and drawn.state is None
                yield verdict(right_failure), f"a failed swap has outcome {drawn.outcome}, a state: {place}"
                continue
            heralded = drawn.outcome in node.heralded_outcomes
            yield verdict(heralded), f"outcome {drawn.outcome}, which is never heralded, was drawn: {place}"
            forced = bench.model.swap(left, right, node, 0.0, drawn.outcome)
            yield bench.gap(drawn.state, forced.state), f"outcome {drawn.outcome}, drawn and forced: {place}"


def chances(bench: Bench) -> Iterator[Deviation]:
    """Each outcome's share of u is `swap_success_probability` times Born's rule, in rising order.

    What Born's rule gives 0 cannot be forced. With noise, all outcomes of a complete measurement share
    `swap_success_probability`.
    """
    for (one, other), node in product(_DRAWN_PAIRS, _WITHOUT_NOISE):
        place = f"swap, {one} with {other}, {told(node)}"
        weights = outcome_weights(bench.matrix(one), bench.matrix(other), node)
        expected = node.swap_success_probability * np.cumsum(weights)
        for outcome in range(4):
            seen = _end_of_share(_reported_up_to(bench, one, other, node, outcome))
            told_share = f"outcomes up to {outcome} reach to u = {seen:.9g}, not {expected[outcome]:.9g}"
            yield abs(seen - float(expected[outcome])), f"{told_share}: {place}"
        for outcome in set(range(4)) - set(possible_outcomes(bench.matrix(one), bench.matrix(other), node)):
            yield _forced(bench, one, other, node, outcome), f"outcome {outcome}, impossible, forced: {place}"
    for (one, other), node in product(pairwise(MIXED), (NOISY, LOSSY)):
        seen = _end_of_share(_reported_up_to(bench, one, other, node, 3))
        q = node.swap_success_probability
        place = f"swap, {one} with {other}, {told(node)}"
        yield abs(seen - q), f"succeeds up to u = {seen:.9g}, not {q:.9g}: {place}"


def probabilities(bench: Bench) -> Iterator[Deviation]:
    """What a swap says of its outcome: `swap_success_probability` times Born's rule, NaN when it failed.

    With noise, all outcomes of a complete measurement share `swap_success_probability`. Drawn or forced, an
    outcome is as probable.
    """
    swap = bench.model.swap
    for (one, other), node in product(_DRAWN_PAIRS, _WITHOUT_NOISE):
        weights = outcome_weights(bench.matrix(one), bench.matrix(other), node)
        for outcome in possible_outcomes(bench.matrix(one), bench.matrix(other), node):
            seen = swap(bench.state(one), bench.state(other), node, 0.0, outcome).probability
            expected = node.swap_success_probability * float(weights[outcome])
            place = f"swap, {one} with {other}, outcome {outcome}, {told(node)}"
            yield abs(seen - expected), f"probability {seen:.10g}, not {expected:.10g}: {place}"
    for (one, other), node in product(pairwise(MIXED), (NOISY, LOSSY)):
        place, left, right = f"swap, {one} with {other}, {told(node)}", bench.state(one), bench.state(other)
        forced = [swap(left, right, node, 0.0, outcome).probability for outcome in range(4)]
        q = node.swap_success_probability
        yield abs(sum(forced) - q), f"probabilities sum to {sum(forced):.10g}, not {q:.10g}: {place}"
        for u in (0.05, 0.2, 0.45, 0.7, 0.95):
            drawn = swap(left, right, node, u)
            if drawn.success:
                difference = abs(drawn.probability - forced[drawn.outcome])
                yield (
                    difference,
                    f"outcome {drawn.outcome}, drawn and forced, differs in probability: {place}",
                )
            else:
                said = f"a failed swap has probability {drawn.probability!r}, not NaN"
                yield verdict(math.isnan(drawn.probability)), f"{said}: {place}, u = {u:g}"


def _reported_up_to(
    bench: Bench, one: str, other: str, node: NodeHardware, outcome: int
) -> Callable[[float], bool]:
    left, right = bench.state(one), bench.state(other)

    def reported(u: float) -> bool:
        return 0 <= bench.model.swap(left, right, node, u).outcome <= outcome

    return reported


def _end_of_share(reported: Callable[[float], bool]) -> float:
    """Where on [0, 1] it stops being reported, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if reported(middle) else (low, middle)
    return 0.5 * (low + high)


def _forced(bench: Bench, one: str, other: str, node: NodeHardware, outcome: int) -> float:
    try:
        bench.model.swap(bench.state(one), bench.state(other), node, 0.0, outcome)
    except ValueError:
        return 0.0
    return math.inf
