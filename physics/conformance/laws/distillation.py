"""Laws of distillation: Werner pairs over several rounds, and success decided by a uniform."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

from physics.conformance.fixtures import (
    LOSSY,
    MIXED,
    NOISY,
    PERFECT,
    Deviation,
    ModelUnderTest,
    describe,
    zero_if,
)
from physics.interface import PROTOCOLS
from physics.qubits import states

_NEAR = 1e-6
"""The distance from the success probability at which `u` is tried."""


def werner_pairs(tested: ModelUnderTest) -> Iterator[Deviation]:
    """p = F^2 + 2 F (1-F)/3 + 5 ((1-F)/3)^2 and F' = (F^2 + ((1-F)/3)^2)/p, without noise.

    Bennett et al. 1996, Phys. Rev. Lett. 76, 722. DEJMPS gives the same in its first round on Werner pairs.
    """
    model = tested.model
    for protocol, fidelity in product(PROTOCOLS, (0.55, 0.7, 0.9, 1.0)):
        pair = model.from_density_matrix(states.werner(fidelity))
        rest = (1.0 - fidelity) / 3.0
        p = fidelity**2 + 2.0 * fidelity * rest + 5.0 * rest**2
        result = model.distil(pair, pair, PERFECT, PERFECT, protocol, 0.0)
        where = f"distil, two of Werner F = {fidelity}, {protocol}, {describe(PERFECT)}"
        seen = result.success_probability
        yield abs(seen - p), f"success probability {seen:.10g}, not {p:.10g}: {where}"
        expected, value = (fidelity**2 + rest**2) / p, model.fidelity(result.state)
        yield abs(value - expected), f"F = {value:.10g}, not {expected:.10g}: {where}"


def rounds(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Each of three successive rounds raises F. DEJMPS without its rotation would lower it."""
    model = tested.model
    for protocol, fidelity in product(PROTOCOLS, (0.6, 0.7, 0.9)):
        pair = model.from_density_matrix(states.werner(fidelity))
        for number in (1, 2, 3):
            distilled = model.distil(pair, pair, PERFECT, PERFECT, protocol, 0.0).state
            before, after = model.fidelity(pair), model.fidelity(distilled)
            where = f"round {number} of {protocol} from Werner F = {fidelity}, {describe(PERFECT)}"
            yield zero_if(after > before), f"F went from {before:.6g} to {after:.6g} in distil, {where}"
            # The next round takes two pairs like the one just distilled.
            pair = distilled


def success_probabilities(tested: ModelUnderTest) -> Iterator[Deviation]:
    """A round reports its success probability p for every u, and succeeds when u < p."""
    model, ends = tested.model, ((PERFECT, PERFECT), (NOISY, LOSSY))
    for (kept_name, spent_name), protocol, (first, second) in product(pairwise(MIXED), PROTOCOLS, ends):
        kept, spent = tested.state(kept_name), tested.state(spent_name)
        nodes = f"first {describe(first)}, second {describe(second)}"
        where = f"distil, {kept_name} by {spent_name}, {protocol}, {nodes}"
        p = model.distil(kept, spent, first, second, protocol, 0.0).success_probability
        yield max(0.0, -p, p - 1.0), f"success probability {p!r}: {where}"
        for u, succeeds in ((p - _NEAR, True), (p + _NEAR, False)):
            result = model.distil(kept, spent, first, second, protocol, u)
            yield abs(result.success_probability - p), f"success probability depends on u: {where}"
            consistent = result.success == succeeds and (result.state is not None) == succeeds
            word = "succeeded" if result.success else "failed"
            yield zero_if(consistent), f"p = {p:.9g}, but u = {u:.9g} {word}: {where}"
