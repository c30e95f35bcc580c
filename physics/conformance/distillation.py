"""Laws of distillation: Werner pairs round after round, and what a uniform decides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

from physics import states
from physics.conformance.bench import LOSSY, MIXED, NOISY, PERFECT, Bench, Deviation, told, verdict
from physics.interface import PROTOCOLS

_NEAR = 1e-6
"""How close to the success probability a `u` is tried."""


def werner_pairs(bench: Bench) -> Iterator[Deviation]:
    """p = F^2 + 2 F (1-F)/3 + 5 ((1-F)/3)^2 and F' = (F^2 + ((1-F)/3)^2)/p, without noise.

    Bennett et al. 1996, Phys. Rev. Lett. 76, 722; DEJMPS does the same to its first Werner pairs.
    """
    model = bench.model
    for protocol, fidelity in product(PROTOCOLS, (0.55, 0.7, 0.9, 1.0)):
        pair = model.from_density_matrix(states.werner(fidelity))
        rest = (1.0 - fidelity) / 3.0
        p = fidelity**2 + 2.0 * fidelity * rest + 5.0 * rest**2
        result = model.distil(pair, pair, PERFECT, PERFECT, protocol, 0.0)
        place = f"distil, two of Werner F = {fidelity}, {protocol}, {told(PERFECT)}"
        seen = result.success_probability
        yield abs(seen - p), f"success probability {seen:.10g}, not {p:.10g}: {place}"
        expected, value = (fidelity**2 + rest**2) / p, model.fidelity(result.state)
        yield abs(value - expected), f"F = {value:.10g}, not {expected:.10g}: {place}"


def rounds(bench: Bench) -> Iterator[Deviation]:
    """Each of three rounds on what the last one gave raises F; DEJMPS without its rotation would lower it."""
    model = bench.model
    for protocol, fidelity in product(PROTOCOLS, (0.6, 0.7, 0.9)):
        pair = model.from_density_matrix(states.werner(fidelity))
        for number in (1, 2, 3):
            better = model.distil(pair, pair, PERFECT, PERFECT, protocol, 0.0).state
            before, after = model.fidelity(pair), model.fidelity(better)
            place = f"round {number} of {protocol} from Werner F = {fidelity}, {told(PERFECT)}"
            yield verdict(after > before), f"F went from {before:.6g} to {after:.6g} in distil, {place}"
            pair = better


def chances(bench: Bench) -> Iterator[Deviation]:
    """It says its success probability whatever comes of it, and succeeds when u is below that."""
    model, ends = bench.model, ((PERFECT, PERFECT), (NOISY, LOSSY))
    for (one, other), protocol, (first, second) in product(pairwise(MIXED), PROTOCOLS, ends):
        kept, spent = bench.state(one), bench.state(other)
        place = f"distil, {one} by {other}, {protocol}, first {told(first)}, second {told(second)}"
        p = model.distil(kept, spent, first, second, protocol, 0.0).success_probability
        yield max(0.0, -p, p - 1.0), f"success probability {p!r}: {place}"
        for u, succeeds in ((p - _NEAR, True), (p + _NEAR, False)):
            result = model.distil(kept, spent, first, second, protocol, u)
            yield abs(result.success_probability - p), f"success probability depends on u: {place}"
            right = result.success == succeeds and (result.state is not None) == succeeds
            word = "succeeded" if result.success else "failed"
            yield verdict(right), f"p = {p:.9g}, but u = {u:.9g} {word}: {place}"
