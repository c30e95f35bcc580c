"""Max-weight under both controls: who goes first, and what is left for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qdpem.policies.max_weight import CentralMaxWeight, LocalMaxWeight, MaxWeightParameters
from qdpem.policy.interface import EMISSION_BACKLOG, TOKENS
from qdpem.policy.synthetic import small_context
from tests.helpers.observations import act, quiet_views


@pytest.mark.parametrize(
    "wrong",
    [
        {"half_weight_slack_s": 0.0},
        {"min_success_probability": 1.0},
        {"storage_fraction": -1.0},
        {"availability_horizon_s": -1.0},
    ],
)
def test_parameters_out_of_range_are_answered(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        MaxWeightParameters(**wrong)


@pytest.mark.parametrize("policy", [LocalMaxWeight, CentralMaxWeight])
def test_the_heavier_urgency_is_served_first(policy: Any) -> None:
    context = small_context(control=policy.control)
    rule = MaxWeightParameters(half_weight_slack_s=0.1)
    calm_first = quiet_views(context, (0, 6, 0.6, 9.0), (0, 2, 0.6, 1.0))
    assert [made.request for made in act(policy(rule), calm_first, context)] == [41, 40]
    one_against_two = quiet_views(context, (0, 6, 0.6, 8.9), (0, 2, 0.6, 9.0), (0, 2, 0.6, 9.0))
    first = act(policy(rule), one_against_two, context)[0]
    assert first.request == 41


def test_what_is_given_away_is_not_there_for_the_next() -> None:
    context = small_context(control="central")
    observations = quiet_views(context, (0, 4, 0.6, 1.0), (0, 4, 0.6, 1.0))
    first, second = act(CentralMaxWeight(MaxWeightParameters()), observations, context)
    assert {first.path[1], second.path[1]} == {1, 3}
    # One token each at the two repeaters between, and the next one too late.
    hurried = quiet_views(context, *[(0, 4, 0.6, 0.2)] * 3)
    assert (
        len(act(CentralMaxWeight(MaxWeightParameters(min_success_probability=0.01)), hurried, context)) == 2
    )


def test_a_request_waits_while_nothing_is_available() -> None:
    context = small_context()
    observations = quiet_views(context, (0, 2, 0.6, 0.15))
    assert len(act(LocalMaxWeight(MaxWeightParameters()), observations, context)) == 1
    observations.status[0, :, TOKENS] = 0.0
    assert act(LocalMaxWeight(MaxWeightParameters()), observations, context) == ()


def test_of_two_that_want_one_token_the_heavier_goes_and_the_other_waits() -> None:
    """From 0 to 2 by the fewest hops there is one repeater, and a token lies there for one of them."""
    context = small_context(control="central")
    rule = MaxWeightParameters(availability_horizon_s=0.0)
    observations = quiet_views(context, (0, 2, 0.6, 9.0), (0, 2, 0.6, 1.0))
    assert [made.request for made in act(CentralMaxWeight(rule), observations, context)][:1] == [41]
    for node in range(9):
        observations.status[0, node, TOKENS] = float(node == 1)
    assert [made.request for made in act(CentralMaxWeight(rule), observations, context)] == [41]
    patient = MaxWeightParameters(availability_horizon_s=3.0)
    assert len(act(CentralMaxWeight(patient), observations, context)) == 2


def test_a_path_is_available_while_one_source_of_each_link_is_soon_done() -> None:
    context = small_context(control="central")
    observations = quiet_views(context, (0, 1, 0.6, 1e4))
    observations.status[0, 0, EMISSION_BACKLOG] = 1e3
    rule = MaxWeightParameters(availability_horizon_s=0.01)
    assert len(act(CentralMaxWeight(rule), observations, context)) == 1
    observations.status[0, :, EMISSION_BACKLOG] = 1e3
    assert act(CentralMaxWeight(rule), observations, context) == ()
    # A source that makes nothing is not free, however idle.
    observations.status[0, 0, EMISSION_BACKLOG] = 0.0
    assert len(act(CentralMaxWeight(rule), observations, context)) == 1
    silent = context.network.source_rate_hz.copy()
    silent[0] = 0.0
    dark = replace(context, network=replace(context.network, source_rate_hz=silent))
    assert act(CentralMaxWeight(rule), observations, dark) == ()
    assert (
        len(act(CentralMaxWeight(MaxWeightParameters(availability_horizon_s=1e4)), observations, context))
        == 1
    )


def test_stock_serves_as_what_is_sure() -> None:
    context = small_context(pregeneration="end-to-end")
    observations = quiet_views(context, (0, 8, 0.6, 0.01), stock=1)
    observations.stock_id[0, 0], observations.stock_owner[0, 0], observations.stock_partner[0, 0] = 70, 0, 8
    observations.stock_fidelity[0, 0], observations.stock_ready[0, 0] = 0.8, 1
    (made,) = act(LocalMaxWeight(MaxWeightParameters(link_base_stock_level=0)), observations, context)
    assert (made.path, made.purpose) == ((0, 8), "serve")
