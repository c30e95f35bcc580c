"""Laws of swaps: perfect pairs, Werner pairs, associativity, and the outcomes that a uniform draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice, pairwise, product

import numpy as np

from physics.conformance.fixtures import (
    BELL,
    DEPOLARISING,
    LOSSY,
    MIXED,
    NODES,
    NOISY,
    OPTICAL,
    PERFECT,
    Deviation,
    ModelUnderTest,
    describe,
    outcome_weights,
    possible_outcomes,
    zero_if,
)
from physics.hardware import NodeHardware
from physics.qubits import states

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
# 2^-33 is about 1e-10, below the tolerance of the laws.
_HALVINGS = 33


def perfect_pairs(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Two Phi+ swap to a Phi+ whatever outcome is reported."""
    for node in (PERFECT, OPTICAL, _HALF_BOOSTED):
        for outcome in node.heralded_outcomes:
            swapped = tested.model.swap(tested.state(BELL), tested.state(BELL), node, 0.0, outcome)
            where = f"swap, {BELL} with {BELL}, outcome {outcome}, {describe(node)}"
            yield zero_if(swapped.success), f"a forced outcome failed: {where}"
            yield tested.gap(swapped.state, tested.state(BELL)), where


def werner_pairs(tested: ModelUnderTest) -> Iterator[Deviation]:
    """F = F1 F2 + (1-F1)(1-F2)/3 without noise (Duer et al. 1999, Phys. Rev. A 59, 169)."""
    model = tested.model
    for left_fidelity, right_fidelity in ((0.95, 0.8), (0.7, 0.6), (1.0, 0.9)):
        left = model.from_density_matrix(states.werner(left_fidelity))
        right = model.from_density_matrix(states.werner(right_fidelity))
        expected = left_fidelity * right_fidelity + (1.0 - left_fidelity) * (1.0 - right_fidelity) / 3.0
        for outcome in PERFECT.heralded_outcomes:
            fidelity = model.fidelity(model.swap(left, right, PERFECT, 0.0, outcome).state)
            pairs = f"Werner F = {left_fidelity} with {right_fidelity}"
            where = f"swap, {pairs}, outcome {outcome}, {describe(PERFECT)}"
            yield abs(fidelity - expected), f"F = {fidelity:.10g}, not {expected:.10g}: {where}"


def associativity(tested: ModelUnderTest) -> Iterator[Deviation]:
    """(a b) c = a (b c); a first correction by frame m turns the second outcome k into k xor m.

    Pauli frames compose by the exclusive or of their numbers.
    """
    swap = tested.model.swap
    for names in islice(zip(MIXED, MIXED[1:], MIXED[2:], strict=False), 3):
        a, b, c = (tested.state(name) for name in names)
        for m, k in product(range(4), range(4)):
            left_first = swap(swap(a, b, NOISY, 0.0, m).state, c, LOSSY, 0.0, k).state
            right_first = swap(a, swap(b, c, LOSSY, 0.0, m ^ k).state, NOISY, 0.0, m).state
            nodes = f"{describe(NOISY)} then {describe(LOSSY)}"
            where = f"swap, {', '.join(names)}, outcomes {m} and {k}, {nodes}"
            yield tested.gap(left_first, right_first), where


def draws(tested: ModelUnderTest) -> Iterator[Deviation]:
    """A drawn swap equals the forced swap of its outcome, and only heralded outcomes are drawn."""
    for (left_name, right_name), node in product(pairwise(MIXED), NODES):
        left, right = tested.state(left_name), tested.state(right_name)
        for u in np.linspace(0.0125, 0.9875, 40).tolist():
            drawn = tested.model.swap(left, right, node, u)
            where = f"swap, {left_name} with {right_name}, u = {u:g}, {describe(node)}"
            if not drawn.success:
                failure_is_marked = drawn.outcome == -1 and drawn.state is None
                yield (
                    zero_if(failure_is_marked),
                    f"a failed swap has outcome {drawn.outcome}, a state: {where}",
                )
                continue
            heralded = drawn.outcome in node.heralded_outcomes
            yield zero_if(heralded), f"outcome {drawn.outcome}, which is never heralded, was drawn: {where}"
            forced = tested.model.swap(left, right, node, 0.0, drawn.outcome)
            yield tested.gap(drawn.state, forced.state), f"outcome {drawn.outcome}, drawn and forced: {where}"


def born_rule(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Each outcome takes `swap_success_probability` times its Born probability of u, in rising order.

    An outcome of Born probability 0 cannot be forced. With noise, the outcomes of a complete measurement
    together take `swap_success_probability`.
    """
    for (left_name, right_name), node in product(_DRAWN_PAIRS, _WITHOUT_NOISE):
        where = f"swap, {left_name} with {right_name}, {describe(node)}"
        matrices = tested.matrix(left_name), tested.matrix(right_name)
        expected = node.swap_success_probability * np.cumsum(outcome_weights(*matrices, node))
        for outcome in range(4):
            seen = _reported_until(_reported_up_to(tested, left_name, right_name, node, outcome))
            reach = f"outcomes up to {outcome} reach to u = {seen:.9g}, not {expected[outcome]:.9g}"
            yield abs(seen - float(expected[outcome])), f"{reach}: {where}"
        for outcome in set(range(4)) - set(possible_outcomes(*matrices, node)):
            deviation = _forced(tested, left_name, right_name, node, outcome)
            yield deviation, f"outcome {outcome}, impossible, forced: {where}"
    for (left_name, right_name), node in product(pairwise(MIXED), (NOISY, LOSSY)):
        seen = _reported_until(_reported_up_to(tested, left_name, right_name, node, 3))
        q = node.swap_success_probability
        where = f"swap, {left_name} with {right_name}, {describe(node)}"
        yield abs(seen - q), f"succeeds up to u = {seen:.9g}, not {q:.9g}: {where}"


def reported_probabilities(tested: ModelUnderTest) -> Iterator[Deviation]:
    """A swap reports `swap_success_probability` times its outcome's Born probability, NaN when it failed.

    With noise, the outcomes of a complete measurement together have `swap_success_probability`. An outcome
    has the same probability drawn as forced.
    """
    swap = tested.model.swap
    for (left_name, right_name), node in product(_DRAWN_PAIRS, _WITHOUT_NOISE):
        weights = outcome_weights(tested.matrix(left_name), tested.matrix(right_name), node)
        for outcome in possible_outcomes(tested.matrix(left_name), tested.matrix(right_name), node):
            seen = swap(tested.state(left_name), tested.state(right_name), node, 0.0, outcome).probability
            expected = node.swap_success_probability * float(weights[outcome])
            where = f"swap, {left_name} with {right_name}, outcome {outcome}, {describe(node)}"
            yield abs(seen - expected), f"probability {seen:.10g}, not {expected:.10g}: {where}"
    for (left_name, right_name), node in product(pairwise(MIXED), (NOISY, LOSSY)):
        where = f"swap, {left_name} with {right_name}, {describe(node)}"
        left, right = tested.state(left_name), tested.state(right_name)
        forced = [swap(left, right, node, 0.0, outcome).probability for outcome in range(4)]
        q = node.swap_success_probability
        yield abs(sum(forced) - q), f"probabilities sum to {sum(forced):.10g}, not {q:.10g}: {where}"
        for u in (0.05, 0.2, 0.45, 0.7, 0.95):
            drawn = swap(left, right, node, u)
            if drawn.success:
                difference = abs(drawn.probability - forced[drawn.outcome])
                yield (
                    difference,
                    f"outcome {drawn.outcome}, drawn and forced, differs in probability: {where}",
                )
            else:
                failed = f"a failed swap has probability {drawn.probability!r}, not NaN"
                yield zero_if(math.isnan(drawn.probability)), f"{failed}: {where}, u = {u:g}"


def _reported_up_to(
    tested: ModelUnderTest, left_name: str, right_name: str, node: NodeHardware, outcome: int
) -> Callable[[float], bool]:
    left, right = tested.state(left_name), tested.state(right_name)

    def reported(u: float) -> bool:
        return 0 <= tested.model.swap(left, right, node, u).outcome <= outcome

    return reported


def _reported_until(reported: Callable[[float], bool]) -> float:
    """The u on [0, 1] above which `reported` no longer holds, by bisection."""
    # Outcomes occupy u in rising order, so `reported` changes only once.
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if reported(middle) else (low, middle)
    return 0.5 * (low + high)


def _forced(
    tested: ModelUnderTest, left_name: str, right_name: str, node: NodeHardware, outcome: int
) -> float:
    """0 when the model refuses to force `outcome`."""
    try:
        tested.model.swap(tested.state(left_name), tested.state(right_name), node, 0.0, outcome)
    except ValueError:
        return 0.0
    return math.inf
