"""Tests that price-based, max-weight and continuous policies have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qdpem.policies.continuous_generation import ContinuousGenerationParameters, LocalContinuousGeneration
from qdpem.policies.max_weight import CentralMaxWeight, LocalMaxWeight, MaxWeightParameters
from qdpem.policies.price_based import LocalPriceBased, PriceParameters
from qdpem.policy.conformance import check_policy
from qdpem.policy.synthetic import small_context
from qdpem.simulation.run import Run
from tests.helpers.delivered_paths import delivered_hz_by_path
from tests.helpers.observations import act, idle_observation

ARMS = [
    (LocalPriceBased, PriceParameters),
    (LocalMaxWeight, MaxWeightParameters),
    (CentralMaxWeight, MaxWeightParameters),
    (LocalContinuousGeneration, ContinuousGenerationParameters),
]


@pytest.mark.mostly_slow
@pytest.mark.parametrize(("policy", "parameters"), ARMS)
@pytest.mark.parametrize("pregeneration", ["none", "link", "virtual-link"])
def test_conformance_with_every_pregeneration(policy: Any, parameters: Any, pregeneration: Any) -> None:
    context = small_context(control=policy.control, pregeneration=pregeneration)
    checks = check_policy(lambda: policy(parameters()), context, calls=4)
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(("policy", "parameters"), ARMS)
def test_a_single_link_is_served_over_itself(policy: Any, parameters: Any) -> None:
    context = small_context(control=policy.control)
    instance = policy(parameters())
    instance.reset(context)
    (allocation,) = act(
        instance, idle_observation(context, (0, 1, 0.7, 1.0), message_width=instance.message_width), context
    )
    assert (allocation.path, allocation.request, allocation.plan.rounds_per_link) == ((0, 1), 40, 0)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["local-price-based", "local-maxweight", "central-maxweight"])
def test_a_diamond_is_split_as_the_flow_optimum_splits_it(small: Callable[..., Run], arm: str) -> None:
    """12/s requested through repeaters of 6/s and 2/s: the LP serves 8/s, three quarters over the first."""
    served = delivered_hz_by_path(
        small(arm, "01 13 02 23", {"0": {"3": 1}}, rate_hz=12.0, repeaters=[0, 6, 2, 0])
    )
    total = sum(served.values())
    assert 0.97 * 8.0 <= total <= 8.0 + 2.0 / 60.0
    assert abs(served[1,] / total - 0.75) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "parameters"), ARMS)
def test_the_same_run_twice(small: Callable[..., Run], policy: Any, parameters: Any) -> None:
    first, second = (
        small(policy.name, "01 13 02 23", {"0": {"3": 1}}, rate_hz=6.0, repeaters=[0, 6, 2, 0]).tables
        for _ in range(2)
    )
    assert first is not None
    assert second is not None
    for name, columns in first.items():
        for column, values in columns.items():
            assert values.tobytes() == second[name][column].tobytes(), (name, column)
