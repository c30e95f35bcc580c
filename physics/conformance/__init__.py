"""Laws that every physics model must keep: `check_model` runs your own model through them.

The laws concern the model's own states, so a simplification such as Werner states passes too. Of memories
they check only the rate of errors, so a model may choose the kind of error. A model whose attribute
`reference` names a registered physics model claims to equal it and is compared with it on every operation.
The reference gets those of the model's parameters that it takes itself.

A sound model may break a law by design. It declares so in an attribute `broken_by_design`, a mapping from the
law to the reason: `broken_by_design = {"the ends are alike": "node a's memory is the better one"}`. Agreement
with a named reference cannot be declared away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from physics.conformance.fixtures import Deviation, ModelUnderTest, trial_states
from physics.conformance.laws import (
    agreement,
    batches,
    conduct,
    distillation,
    links,
    noise,
    states,
    storage,
    swaps,
)
from physics.errors import nearest
from physics.interface import PhysicsModel

__all__ = ["AGREEMENT", "LAWS", "REFERENCE_TOLERANCE", "TOLERANCE", "Check", "check_model"]

TOLERANCE: Final = 1e-9
"""The deviation from a law that is allowed."""
REFERENCE_TOLERANCE: Final = 1e-12
"""The difference from its reference that a model is allowed."""

Law: TypeAlias = Callable[[ModelUnderTest], Iterator[Deviation]]

LAWS: Final[Mapping[str, Law]] = MappingProxyType(
    {
        "every operation is carried out": states.completion,
        "trace is 1": states.trace,
        "states are Hermitian and positive": states.positivity,
        "0 <= F <= 1 and F = <Phi+|rho|Phi+>": states.fidelities,
        "states survive as density matrices": states.density_matrices,
        "links have sound probabilities and times": links.validity,
        "links match their hardware": links.match_hardware,
        "links succeed less often the longer they are": links.fall_with_length,
        "ideal stations herald as photons interfere": links.stations,
        "storage is a semigroup in time and attempts": storage.semigroup,
        "storage leaves the other end alone": storage.own_end,
        "memories decay with time and counted attempts": storage.decay,
        "stored pairs first lose F at their memories' rates": storage.rates,
        "qubits relax to |0>": storage.ground,
        "batches equal single operations": batches.single_operations,
        "perfect pairs swap to a perfect pair": swaps.perfect_pairs,
        "Werner pairs swap to F1 F2 + (1-F1)(1-F2)/3": swaps.werner_pairs,
        "swaps are associative": swaps.associativity,
        "drawn swaps are forced ones": swaps.draws,
        "outcomes are drawn by Born's rule": swaps.born_rule,
        "swaps report the probability of their outcome": swaps.reported_probabilities,
        "noisy swaps of Werner pairs have their node's noise": noise.swaps,
        "Werner pairs distil as in Bennett et al. 1996": distillation.werner_pairs,
        "every round of distillation raises F": distillation.rounds,
        "distillation succeeds with its probability": distillation.success_probabilities,
        "noisy rounds on Werner pairs have their nodes' noise": noise.rounds,
        "a round's noise stays at its own end": noise.own_end,
        "the ends are alike": conduct.symmetry,
        "the same call gives the same bits": conduct.determinism,
        "arguments are left as they were": conduct.arguments,
        "nonsense is refused": conduct.refusals,
    }
)
AGREEMENT: Final = "equals its reference"


@dataclass(frozen=True)
class Check:
    """One law: whether it held, the deviation and a sentence.

    `worst` is the largest deviation, or the first one above the tolerance if the law is broken. `declared` is
    the model's reason why it breaks the law by design; "" if it declares none, or if the law holds.
    """

    law: str
    passed: bool
    worst: float
    detail: str
    declared: str = ""


def check_model(model: PhysicsModel, *, rng_seed: int = 0) -> tuple[Check, ...]:
    """Check `model` against every law; one `Check` a law. Random states are drawn from `rng_seed`.

    A law is tried until it is first broken, and `detail` names the deviation and the case. An exception that
    the model raises counts as a broken law; nothing is raised here. A law of `model.broken_by_design` that
    is broken comes with the model's reason as `declared`. A declaration that names no law, or gives no
    reason, is a `Check` of its own, which fails.

    >>> from physics.models.pauli import PauliModel
    >>> all(check.passed for check in check_model(PauliModel()))
    True
    """
    tested = ModelUnderTest(model, trial_states(np.random.default_rng(rng_seed)))
    declared: Mapping[str, str] = getattr(model, "broken_by_design", {})
    checks = [_judge(law, rule, tested, TOLERANCE) for law, rule in LAWS.items()]
    checks = [_with_reason(check, declared.get(check.law, "")) for check in checks]
    checks += [_wrong_declaration(law) for law, reason in declared.items() if law not in LAWS or not reason]
    reference = getattr(model, "reference", None)
    if reference is not None:
        law = f"{AGREEMENT} {reference!r}"
        checks.append(_judge(law, agreement.agreement, tested, REFERENCE_TOLERANCE))
    return tuple(checks)


def _judge(law: str, rule: Law, tested: ModelUnderTest, tolerance: float) -> Check:
    worst, count = 0.0, 0
    try:
        for deviation, where in rule(tested):
            count += 1
            # Negated, so that NaN breaks the law.
            if not deviation <= tolerance:
                return Check(law, False, deviation, _sentence(law, deviation, where, tolerance))
            worst = max(worst, deviation)
    except Exception as error:  # a plugin may raise anything; that is a finding, not our failure
        where = f"{type(error).__name__} was raised after {count} comparisons: {error}"
        return Check(law, False, math.inf, _sentence(law, math.inf, where, tolerance))
    return Check(law, True, worst, f"{worst:.1e} in {count}")


def _with_reason(check: Check, reason: str) -> Check:
    if not reason:
        return check
    if check.passed:
        return replace(check, detail=f"{check.detail}; declared as broken by design, yet it holds")
    return replace(check, declared=reason)


def _wrong_declaration(law: str) -> Check:
    suggestion = nearest(law, LAWS)
    wrong = (
        "it gives no reason"
        if law in LAWS
        else f"no law has this name; did you mean {suggestion!r}?"
        if suggestion
        else "no law has this name"
    )
    return Check(f"the declaration {law!r}", False, math.inf, f"broken_by_design has {law!r}: {wrong}")


def _sentence(law: str, deviation: float, where: str, tolerance: float) -> str:
    amount = "" if deviation == math.inf else f" by {deviation:.3g} ({tolerance:g} is allowed)"
    return f"the law {law!r} is broken{amount}: {where}"
