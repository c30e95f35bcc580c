"""Laws of noisy nodes: the gate and readout fidelities that act are the hardware's, each at its own end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Final

import numpy as np

from physics import states
from physics.conformance.bench import (
    BOOSTED,
    DEPOLARISING,
    LOSSY,
    MIXED,
    NOISY,
    PERFECT,
    Bench,
    Deviation,
    distance,
    end_state,
    told,
    verdict,
)
from physics.hardware import NodeHardware
from physics.interface import PROTOCOLS

_BLIND: Final = NodeHardware(memory=DEPOLARISING, readout_fidelity=0.8)
_COARSE: Final = NodeHardware(memory=DEPOLARISING, gate_fidelity=0.6)
_MIXING: Final = NodeHardware(memory=DEPOLARISING, gate_fidelity=0.0)
_FIDELITIES: Final = ((0.95, 0.8), (0.7, 0.6), (1.0, 1.0))
_MIXED_QUBIT: Final = 0.5 * np.eye(2)
_BIASED = 1e-3
"""How far from mixed an end must be without noise to be looked at with noise elsewhere."""
_LEAST_BIAS = 1e-6


def swaps(bench: Bench) -> Iterator[Deviation]:
    """F = (1-W)/4 + W m^2 with W = g w1 w2: a gate that fails mixes, a wrong reading corrects wrongly.

    Duer et al. 1999, Phys. Rev. A 59, 169, for the kind of noise and Werner pairs w = (4F-1)/3.
    """
    model = bench.model
    for (one, other), node in product(_FIDELITIES, (NOISY, LOSSY, BOOSTED, _BLIND, _COARSE)):
        left, right = (model.from_density_matrix(states.werner(value)) for value in (one, other))
        weight = node.gate_fidelity * (4.0 * one - 1.0) * (4.0 * other - 1.0) / 9.0
        expected = 0.25 * (1.0 - weight) + weight * node.readout_fidelity**2
        for outcome in node.heralded_outcomes:
            value = model.fidelity(model.swap(left, right, node, 0.0, outcome).state)
            place = f"swap, Werner F = {one} with {other}, outcome {outcome}, {told(node)}"
            yield abs(value - expected), f"F = {value:.10g}, not {expected:.10g}: {place}"


def rounds(bench: Bench) -> Iterator[Deviation]:
    """Both gates work with G = g1 g2, else the kept pair is mixed and reports agree half of the time.

    Both reports are right or both wrong with R = m1 m2 + (1-m1)(1-m2): Duer and Briegel 2007, Rep. Prog.
    Phys. 70, 1381, here for unequal pairs and ends.
    """
    ends = ((NOISY, NOISY), (NOISY, LOSSY), (_BLIND, _COARSE), (PERFECT, _BLIND), (_COARSE, PERFECT))
    model = bench.model
    for (one, other), (first, second), protocol in product(_FIDELITIES, ends, PROTOCOLS):
        kept, spent = (model.from_density_matrix(states.werner(value)) for value in (one, other))
        result = model.distil(kept, spent, first, second, protocol, 0.0)
        p, fidelity = _round(one, other, first, second)
        place = f"distil, Werner F = {one} by {other}, {protocol}, first {told(first)}, second {told(second)}"
        seen, value = result.success_probability, model.fidelity(result.state)
        yield abs(seen - p), f"success probability {seen:.10g}, not {p:.10g}: {place}"
        yield abs(value - fidelity), f"F = {value:.10g}, not {fidelity:.10g}: {place}"


def _round(one: float, other: float, first: NodeHardware, second: NodeHardware) -> tuple[float, float]:
    """p and F' of a round on Werner pairs; a kept Phi+ has the weight `right` when true readings agree."""
    gates = first.gate_fidelity * second.gate_fidelity
    m1, m2 = first.readout_fidelity, second.readout_fidelity
    heard = m1 * m2 + (1.0 - m1) * (1.0 - m2)
    a, b = (1.0 - one) / 3.0, (1.0 - other) / 3.0
    agree = one * other + one * b + a * other + 5.0 * a * b
    right, wrong = one * other + a * b, one * b + a * b
    p = gates * (heard * agree + (1.0 - heard) * (1.0 - agree)) + 0.5 * (1.0 - gates)
    return p, (gates * (heard * right + (1.0 - heard) * wrong) + 0.125 * (1.0 - gates)) / p


def own_end(bench: Bench) -> Iterator[Deviation]:
    """A gate that only mixes, at one end, mixes that end's qubit; the other keeps what bias it has.

    BBPSSW leaves no bias at all, and a model whose pairs have none has nothing to show at the other end.
    """
    model = bench.model
    for (one, other), end in product(pairwise(MIXED[2:]), (0, 1)):
        kept, spent = bench.state(one), bench.state(other)
        first, second = (_MIXING, PERFECT) if end == 0 else (PERFECT, _MIXING)
        quiet, noisy = (
            model.density_matrix(model.distil(kept, spent, *ends, "dejmps", 0.0).state)
            for ends in ((PERFECT, PERFECT), (first, second))
        )
        place = f"distil, {one} by {other}, dejmps, first {told(first)}, second {told(second)}"
        mixed = distance(end_state(noisy, end=end), _MIXED_QUBIT)
        yield mixed, f"the {('first', 'second')[end]} end, of the mixing gate, is not mixed: {place}"
        if distance(end_state(quiet, end=1 - end), _MIXED_QUBIT) > _BIASED:
            bias = distance(end_state(noisy, end=1 - end), _MIXED_QUBIT)
            lost = f"the {('second', 'first')[end]} end, of the perfect gate, is mixed: {place}"
            yield verdict(bias > _LEAST_BIAS), lost
