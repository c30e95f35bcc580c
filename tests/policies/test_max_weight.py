"""Max-weight scheduling under both controls: order of service and remaining resources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qdpem.policies.max_weight import CentralMaxWeight, LocalMaxWeight, MaxWeightParameters
from qdpem.policy.interface import EMISSION_BACKLOG, TOKENS
from qdpem.policy.synthetic import small_context
from tests.helpers.observations import act, idle_observation


@pytest.mark.parametrize(
    "wrong",
    [
        {"half_weight_slack_s": 0.0},
        {"min_success_probability": 1.0},
        {"storage_fraction": -1.0},
        {"availability_horizon_s": -1.0},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        MaxWeightParameters(**wrong)


@pytest.mark.parametrize("policy", [LocalMaxWeight, CentralMaxWeight])
def test_the_more_urgent_queue_is_served_first(policy: Any) -> None:
    context = small_context(control=policy.control)
    parameters = MaxWeightParameters(half_weight_slack_s=0.1)
    calm_first = idle_observation(context, (0, 6, 0.6, 9.0), (0, 2, 0.6, 1.0))
    assert [allocation.request for allocation in act(policy(parameters), calm_first, context)] == [41, 40]
    one_against_two = idle_observation(context, (0, 6, 0.6, 8.9), (0, 2, 0.6, 9.0), (0, 2, 0.6, 9.0))
    first = act(policy(parameters), one_against_two, context)[0]
    assert first.request == 41


def test_allocated_resources_are_not_available_to_the_next_request() -> None:
    context = small_context(control="central")
    observations = idle_observation(context, (0, 4, 0.6, 1.0), (0, 4, 0.6, 1.0))
    first, second = act(CentralMaxWeight(MaxWeightParameters()), observations, context)
    assert {first.path[1], second.path[1]} == {1, 3}
    # The two repeaters between have one token each, and the next tokens come too late.
    hurried = idle_observation(context, *[(0, 4, 0.6, 0.2)] * 3)
    assert (
        len(act(CentralMaxWeight(MaxWeightParameters(min_success_probability=0.01)), hurried, context)) == 2
    )


def test_a_request_waits_while_nothing_is_available() -> None:
    context = small_context()
    observations = idle_observation(context, (0, 2, 0.6, 0.15))
    assert len(act(LocalMaxWeight(MaxWeightParameters()), observations, context)) == 1
    observations.status[0, :, TOKENS] = 0.0
    assert act(LocalMaxWeight(MaxWeightParameters()), observations, context) == ()


def test_the_heavier_of_two_queues_gets_the_only_token() -> None:
    """The shortest path from 0 to 2 has one repeater, with a token for one of the two queues."""
    context = small_context(control="central")
    parameters = MaxWeightParameters(availability_horizon_s=0.0)
    observations = idle_observation(context, (0, 2, 0.6, 9.0), (0, 2, 0.6, 1.0))
    assert [allocation.request for allocation in act(CentralMaxWeight(parameters), observations, context)][
        :1
    ] == [41]
    for node in range(9):
        observations.status[0, node, TOKENS] = float(node == 1)
    assert [
        allocation.request for allocation in act(CentralMaxWeight(parameters), observations, context)
    ] == [41]
    patient = MaxWeightParameters(availability_horizon_s=3.0)
    assert len(act(CentralMaxWeight(patient), observations, context)) == 2


def test_a_path_is_available_while_each_link_has_a_free_source() -> None:
    context = small_context(control="central")
    observations = idle_observation(context, (0, 1, 0.6, 1e4))
    observations.status[0, 0, EMISSION_BACKLOG] = 1e3
    parameters = MaxWeightParameters(availability_horizon_s=0.01)
    assert len(act(CentralMaxWeight(parameters), observations, context)) == 1
    observations.status[0, :, EMISSION_BACKLOG] = 1e3
    assert act(CentralMaxWeight(parameters), observations, context) == ()
    # A source without a rate is not free, even if it is idle.
    observations.status[0, 0, EMISSION_BACKLOG] = 0.0
    assert len(act(CentralMaxWeight(parameters), observations, context)) == 1
    silent = context.network.source_rate_hz.copy()
    silent[0] = 0.0
    dark = replace(context, network=replace(context.network, source_rate_hz=silent))
    assert act(CentralMaxWeight(parameters), observations, dark) == ()
    assert (
        len(act(CentralMaxWeight(MaxWeightParameters(availability_horizon_s=1e4)), observations, context))
        == 1
    )


def test_stock_counts_as_certain_delivery() -> None:
    context = small_context(pregeneration="end-to-end")
    observations = idle_observation(context, (0, 8, 0.6, 0.01), stock=1)
    observations.stock_id[0, 0], observations.stock_owner[0, 0], observations.stock_partner[0, 0] = 70, 0, 8
    observations.stock_fidelity[0, 0], observations.stock_ready[0, 0] = 0.8, 1
    (allocation,) = act(LocalMaxWeight(MaxWeightParameters(link_base_stock_level=0)), observations, context)
    assert (allocation.path, allocation.purpose) == ((0, 8), "serve")
