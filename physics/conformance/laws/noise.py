"""Laws of noisy nodes: each end has the gate and readout fidelities of its own hardware."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Final

import numpy as np

from physics.conformance.fixtures import (
    BOOSTED,
    DEPOLARISING,
    LOSSY,
    MIXED,
    NOISY,
    PERFECT,
    Deviation,
    ModelUnderTest,
    describe,
    distance,
    end_state,
    zero_if,
)
from physics.hardware import NodeHardware
from physics.interface import PROTOCOLS
from physics.qubits import states

_BLIND: Final = NodeHardware(memory=DEPOLARISING, readout_fidelity=0.8)
_COARSE: Final = NodeHardware(memory=DEPOLARISING, gate_fidelity=0.6)
_MIXING: Final = NodeHardware(memory=DEPOLARISING, gate_fidelity=0.0)
_FIDELITIES: Final = ((0.95, 0.8), (0.7, 0.6), (1.0, 1.0))
_MIXED_QUBIT: Final = 0.5 * np.eye(2)
_BIASED = 1e-3
"""The distance from mixed that an end needs without noise for the law to ask about it."""
_MIN_BIAS = 1e-6


def swaps(tested: ModelUnderTest) -> Iterator[Deviation]:
    """F = (1-W)/4 + W m^2 with W = g w1 w2 and w = (4F-1)/3, on Werner pairs.

    A failing gate depolarises, and a wrong reading leads to a wrong correction. Duer et al. 1999, Phys. Rev.
    A 59, 169, for this kind of noise.
    """
    model = tested.model
    for (left_fidelity, right_fidelity), node in product(
        _FIDELITIES, (NOISY, LOSSY, BOOSTED, _BLIND, _COARSE)
    ):
        left = model.from_density_matrix(states.werner(left_fidelity))
        right = model.from_density_matrix(states.werner(right_fidelity))
        # Written out: a law that took the package's own weight could not find a mistake in it.
        weight = node.gate_fidelity * (4.0 * left_fidelity - 1.0) * (4.0 * right_fidelity - 1.0) / 9.0
        expected = 0.25 * (1.0 - weight) + weight * node.readout_fidelity**2
        for outcome in node.heralded_outcomes:
            value = model.fidelity(model.swap(left, right, node, 0.0, outcome).state)
            pairs = f"Werner F = {left_fidelity} with {right_fidelity}"
            where = f"swap, {pairs}, outcome {outcome}, {describe(node)}"
            yield abs(value - expected), f"F = {value:.10g}, not {expected:.10g}: {where}"


def rounds(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Rounds on Werner pairs have the success probability and F of noisy gates and readouts.

    Both gates work with probability G = g1 g2; otherwise the kept pair is mixed and the reports agree half of
    the time. The reports are both right or both wrong with probability R = m1 m2 + (1-m1)(1-m2). Duer and
    Briegel 2007, Rep. Prog. Phys. 70, 1381, here for unequal pairs and ends.
    """
    ends = ((NOISY, NOISY), (NOISY, LOSSY), (_BLIND, _COARSE), (PERFECT, _BLIND), (_COARSE, PERFECT))
    model = tested.model
    for (kept_fidelity, spent_fidelity), (first, second), protocol in product(_FIDELITIES, ends, PROTOCOLS):
        kept = model.from_density_matrix(states.werner(kept_fidelity))
        spent = model.from_density_matrix(states.werner(spent_fidelity))
        result = model.distil(kept, spent, first, second, protocol, 0.0)
        p, fidelity = _round(kept_fidelity, spent_fidelity, first, second)
        nodes = f"first {describe(first)}, second {describe(second)}"
        where = f"distil, Werner F = {kept_fidelity} by {spent_fidelity}, {protocol}, {nodes}"
        seen, value = result.success_probability, model.fidelity(result.state)
        yield abs(seen - p), f"success probability {seen:.10g}, not {p:.10g}: {where}"
        yield abs(value - fidelity), f"F = {value:.10g}, not {fidelity:.10g}: {where}"


def _round(kept: float, spent: float, first: NodeHardware, second: NodeHardware) -> tuple[float, float]:
    """p and F' of a round on Werner pairs of fidelities `kept` and `spent`."""
    gates = first.gate_fidelity * second.gate_fidelity
    m1, m2 = first.readout_fidelity, second.readout_fidelity
    # The probability that the reports agree exactly when the true readings do.
    consistent = m1 * m2 + (1.0 - m1) * (1.0 - m2)
    a, b = (1.0 - kept) / 3.0, (1.0 - spent) / 3.0
    agree = kept * spent + kept * b + a * spent + 5.0 * a * b
    # The parts with a kept Phi+, when the true readings agree and when they differ.
    phi_agree, phi_differ = kept * spent + a * b, kept * b + a * b
    p = gates * (consistent * agree + (1.0 - consistent) * (1.0 - agree)) + 0.5 * (1.0 - gates)
    return p, (gates * (consistent * phi_agree + (1.0 - consistent) * phi_differ) + 0.125 * (1.0 - gates)) / p


def own_end(tested: ModelUnderTest) -> Iterator[Deviation]:
    """A fully depolarising gate at one end mixes that end's qubit; the other end keeps its bias.

    The law uses DEJMPS, since BBPSSW leaves no bias. A model whose pairs have no bias is asked about the
    first half only.
    """
    model = tested.model
    for (kept_name, spent_name), end in product(pairwise(MIXED[2:]), (0, 1)):
        kept, spent = tested.state(kept_name), tested.state(spent_name)
        first, second = (_MIXING, PERFECT) if end == 0 else (PERFECT, _MIXING)
        quiet, noisy = (
            model.density_matrix(model.distil(kept, spent, *ends, "dejmps", 0.0).state)
            for ends in ((PERFECT, PERFECT), (first, second))
        )
        nodes = f"first {describe(first)}, second {describe(second)}"
        where = f"distil, {kept_name} by {spent_name}, dejmps, {nodes}"
        mixed = distance(end_state(noisy, end=end), _MIXED_QUBIT)
        yield mixed, f"the {('first', 'second')[end]} end, of the mixing gate, is not mixed: {where}"
        if distance(end_state(quiet, end=1 - end), _MIXED_QUBIT) > _BIASED:
            bias = distance(end_state(noisy, end=1 - end), _MIXED_QUBIT)
            lost = f"the {('second', 'first')[end]} end, of the perfect gate, is mixed: {where}"
            yield zero_if(bias > _MIN_BIAS), lost
