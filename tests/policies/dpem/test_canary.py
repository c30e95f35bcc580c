"""The canary stays below the stated epsilon, and finds noise, clips and accounts that are missing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from qdpem.errors import StudyError
from qdpem.policies.dpem.training.federation import aggregate
from qdpem.policies.dpem.training.federation.canary import (
    CanaryAudit,
    audit_canary,
    epsilon_floor,
    highest_rate,
)
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget, noise_multiplier
from qdpem.scenario.schema import Training


def audited(**settings: Any) -> CanaryAudit:
    """Fixed seeds, so that a pass is a pass; false alarms at other seeds are 5 % or less."""
    training = Training(**{"epsilon": 3.0, "rounds": 3, **settings})
    return audit_canary(training, nodes=5, seed=1, trials=400)


def test_the_bounds_stay_below_what_is_stated_and_are_not_empty() -> None:
    found = audited()
    assert found.stated == pytest.approx(3.0)
    assert 0.5 * found.stated < found.gaussian_lower <= found.stated
    # Without an assumption on the mechanism, 200 tested trials in each world show less.
    assert 0.0 < found.lower <= found.stated
    assert found.passed


@pytest.mark.parametrize(
    "settings",
    [
        {"noise": "client", "aggregation": "coordinate-median"},
        {"participation": {"share": 0.4, "straggler_probability": 0.3}},
    ],
)
def test_it_passes_with_client_noise_and_with_partial_participation(settings: dict[str, Any]) -> None:
    found = audited(**settings)
    assert 0.0 < found.stated <= 3.0 + 1e-9
    assert found.passed


def test_it_fails_when_the_noise_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "noise_of", lambda source, shape, **_: np.zeros(shape))
    found = audited()
    assert min(found.lower, found.gaussian_lower) > found.stated
    assert not found.passed


def test_it_fails_when_updates_are_not_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "clip", lambda updates, *, norm: updates)
    assert not audited().passed


def test_it_finds_noise_that_was_set_for_one_round_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    z = noise_multiplier(epsilon=3.0, delta=1e-3, rounds=1)
    monkeypatch.setattr(PrivacyBudget, "noise_multiplier", property(lambda _: z))
    assert audited().gaussian_lower > 3.0


def test_limits_and_floors_equal_published_forms() -> None:
    interval = scipy.stats.binomtest(7, 90).proportion_ci(confidence_level=0.95, method="exact")
    assert highest_rate(7, 90, confidence=0.95) == pytest.approx(interval.high, rel=1e-9)
    assert highest_rate(90, 90, confidence=0.95) == 1.0
    # Randomised response of a fair coin keeps (ln 3, 0) exactly.
    assert epsilon_floor(0.25, 0.25, delta=0.0) == pytest.approx(math.log(3.0))
    assert epsilon_floor(1.0, 1.0, delta=1e-3) == 0.0


def test_a_canary_without_rounds_is_refused() -> None:
    with pytest.raises(StudyError, match="needs 2 trials or more, and a round"):
        audited(rounds=0)
