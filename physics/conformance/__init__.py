"""The laws that any physics model must keep: run your own model through them with `check_model`.

Laws ask only for what holds of a model's own states, so that a simplification (say, Werner states) passes
them too, and of memories only for the rate of their errors, so that a model may say which errors these are.
A model whose attribute `reference` names a registered physics model claims to be equal to it, and is
compared with it on every operation; that one gets the model's parameters if it takes the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from physics.conformance import agreement, conduct, distillation, links, noise, states, storage, swaps
from physics.conformance.bench import Bench, Deviation, tried_states
from physics.interface import PhysicsModel

__all__ = ["AGREEMENT", "LAWS", "REFERENCE_TOLERANCE", "TOLERANCE", "Check", "check_model"]

TOLERANCE: Final = 1e-9
"""What a law may be missed by."""
REFERENCE_TOLERANCE: Final = 1e-12
"""What a model may differ from the reference it names by."""

Law: TypeAlias = Callable[[Bench], Iterator[Deviation]]

LAWS: Final[Mapping[str, Law]] = MappingProxyType(
    {
        "every operation is carried out": states.carried_out,
        "trace is 1": states.trace,
        "states are Hermitian and positive": states.positivity,
        "0 <= F <= 1 and F = <Phi+|rho|Phi+>": states.fidelities,
        "states survive as density matrices": states.density_matrices,
        "links are probabilities, and known once stored": links.sound,
        "links do what their hardware says": links.told_by_hardware,
        "links succeed less often the longer they are": links.fall_with_length,
        "ideal stations herald as photons interfere": links.stations,
        "storage is a semigroup in time and attempts": storage.semigroup,
        "storage leaves the other end alone": storage.own_end,
        "memories decay with time and counted attempts": storage.decay,
        "stored pairs first lose F at their memories' rates": storage.rates,
        "qubits relax to |0>": storage.ground,
        "perfect pairs swap to a perfect pair": swaps.perfect_pairs,
        "Werner pairs swap to F1 F2 + (1-F1)(1-F2)/3": swaps.werner_pairs,
        "swaps are associative": swaps.associativity,
        "drawn swaps are forced ones": swaps.draws,
        "outcomes are drawn by Born's rule": swaps.chances,
        "swaps say the probability of their outcome": swaps.probabilities,
        "noisy swaps of Werner pairs are their node's": noise.swaps,
        "Werner pairs distil as Bennett et al. say": distillation.werner_pairs,
        "every round of distillation raises F": distillation.rounds,
        "distillation succeeds with its probability": distillation.chances,
        "noisy rounds on Werner pairs are their nodes'": noise.rounds,
        "a round's noise stays at its own end": noise.own_end,
        "the ends are alike": conduct.symmetry,
        "the same call gives the same bits": conduct.determinism,
        "arguments are left as they were": conduct.untouched,
        "nonsense is refused": conduct.refusals,
    }
)
AGREEMENT: Final = "equals its reference"


@dataclass(frozen=True)
class Check:
    """One law: whether it held, the deviation (the worst; if broken, the first), and a sentence."""

    law: str
    passed: bool
    worst: float
    detail: str


def check_model(model: PhysicsModel, *, rng_seed: int = 0) -> tuple[Check, ...]:
    """Put `model` through every law; one Check per law. Random states are drawn from `rng_seed`.

    A law is tried until it is first broken, and the sentence says by how much and where. Nothing is raised
    for a model that breaks a law: an exception out of it is a broken law that says so.

    >>> from physics.pauli import PauliModel
    >>> all(check.passed for check in check_model(PauliModel()))
    True
    """
    bench = Bench(model, tried_states(np.random.default_rng(rng_seed)))
    checks = [_judge(law, rule, bench, TOLERANCE) for law, rule in LAWS.items()]
    reference = getattr(model, "reference", None)
    if reference is not None:
        law = f"{AGREEMENT} {reference!r}"
        checks.append(_judge(law, agreement.agreement, bench, REFERENCE_TOLERANCE))
    return tuple(checks)


def _judge(law: str, rule: Law, bench: Bench, tolerance: float) -> Check:
    worst, count = 0.0, 0
    try:
        for deviation, place in rule(bench):
            count += 1
            if not deviation <= tolerance:
                return Check(law, False, deviation, _sentence(law, deviation, place, tolerance))
            worst = max(worst, deviation)
    except Exception as error:  # a stranger's model may raise anything; that is a finding, not our failure
        place = f"{type(error).__name__} was raised after {count} comparisons: {error}"
        return Check(law, False, math.inf, _sentence(law, math.inf, place, tolerance))
    return Check(law, True, worst, f"{worst:.1e} in {count}")


def _sentence(law: str, deviation: float, place: str, tolerance: float) -> str:
    amount = "" if deviation == math.inf else f" by {deviation:.3g} ({tolerance:g} is allowed)"
    return f"the law {law!r} is broken{amount}: {place}"
