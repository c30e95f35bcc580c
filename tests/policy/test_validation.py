"""Each rule of `validate`, broken once, and a legal decision that passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from physics.plans import Plan
from qdpem.errors import PolicyError
from qdpem.policy.interface import CONTROLLER, Allocation, Context, Decisions, Observation
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.policy.validation import validate
from qdpem.rng import stream


def views_with_one_request(context: Context, **changes: Any) -> Observation:
    """All sites asked; the first row (node 0, or the controller) has request 7 from 0 to 2."""
    observations = synthetic_observation(context, stream(1, "validation"), waiting=1, time_s=10.0)
    columns = {
        "request_id": 7,
        "request_source": 0,
        "request_destination": 2,
        "request_target_fidelity": 0.7,
        "request_pairs": 2,
        "request_deadline_s": 11.0,
        "request_repeat_until_deadline": 0,
    }
    for name, value in columns.items():
        getattr(observations, name)[0, 0] = value
    if observations.stock_id.size:
        observations.stock_id[0, 0], observations.stock_owner[0, :], observations.stock_partner[0, :] = (
            99,
            0,
            8,
        )
        observations.stock_ready[0, :] = 1
    return replace(observations, **changes)


LEGAL = Allocation(
    source=0, destination=2, target_fidelity=0.7, path=(0, 1, 2), expires_s=11.0, pairs=2, request=7
)
STOCK = Allocation(
    source=0, destination=2, target_fidelity=0.7, path=(0, 1, 2), expires_s=60.0, purpose="stock"
)


def said(*allocations: Allocation, pregeneration: str = "end-to-end", control: str = "local") -> None:
    context = small_context(control=control, pregeneration=pregeneration)  # type: ignore[arg-type]
    observations = views_with_one_request(context)
    validate(Decisions(allocations=allocations), observations, context, policy_name="a-policy")


def test_legal_decisions_pass() -> None:
    said(LEGAL, STOCK)
    said(LEGAL, pregeneration="none")
    said(LEGAL, STOCK, control="central")
    said(replace(LEGAL, pairs=1), replace(LEGAL, pairs=1, path=(0, 3, 4, 5, 2)))
    said(replace(STOCK, destination=1, path=(0, 1)), pregeneration="link")
    said(replace(LEGAL, path=(0, 8, 5, 2)), pregeneration="virtual-link")


def test_a_whole_path_over_stock_serves_between_its_ends() -> None:
    context = small_context(pregeneration="end-to-end")
    observations = views_with_one_request(context)
    observations.request_destination[0, 0] = 8
    direct = replace(LEGAL, destination=8, path=(0, 8))
    validate(Decisions(allocations=(direct,)), observations, context, policy_name="a-policy")
    observations.stock_ready[0, :] = 0
    with pytest.raises(PolicyError, match="ready stocked pair"):
        validate(Decisions(allocations=(direct,)), observations, context, policy_name="a-policy")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"path": (1, 2)}, "begin at the source"),
        ({"path": (0, 1)}, "end at the destination"),
        ({"path": (0,)}, "begin at the source"),
        ({"path": (0, 1, 4, 1, 2)}, "no node twice"),
        ({"path": (0, 9, 2)}, "nodes are 0 to 8"),
        ({"path": (0, 5, 2)}, "only a whole path"),
        ({"path": (0, 2)}, "ready stocked pair"),
        ({"purpose": "keep"}, "purpose is one of"),
        ({"plan": Plan(rounds_per_link=3)}, "rounds_per_link is 0 to 2"),
        ({"plan": Plan(rounds_per_link=(0, 3))}, "rounds_per_link is 0 to 2"),
        ({"plan": Plan(rounds_per_link=(1, 0, 1))}, "one number for each of 2 steps"),
        ({"plan": Plan(end_rounds=2)}, "end_rounds is 0 to 1"),
        ({"pairs": 0}, "1 or more"),
        ({"pairs": 3}, "asks for 2 pairs"),
        ({"expires_s": 10.0}, "later than now"),
        ({"expires_s": float("inf")}, "finite"),
        ({"expires_s": float("nan")}, "finite"),
        ({"expires_s": 11.5}, "by the deadline"),
        ({"target_fidelity": 0.69}, "at least the request's 0.7"),
        ({"target_fidelity": 1.2}, "at most 1"),
        ({"request": 8}, "waits at its site"),
        ({"request": -1}, "waits at its site"),
        ({"destination": 4, "path": (0, 1, 4)}, "from 0 to 2"),
    ],
)
def test_each_broken_rule_of_serving_is_named(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(PolicyError, match=rule) as caught:
        said(replace(LEGAL, **changes))
    assert "'a-policy' at 10 s" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "pregeneration", "rule"),
    [
        ({}, "none", "allows no stock"),
        ({}, "link", "neighbours only"),
        ({"request": 7}, "end-to-end", "for no request"),
        ({"destination": 8, "path": (0, 8)}, "end-to-end", "made over links"),
        ({"path": (0, 8, 5, 2)}, "end-to-end", "only a whole path"),
        ({"path": (0, 5, 2)}, "link", "each step must be a link"),
    ],
)
def test_each_broken_rule_of_stocking_is_named(
    changes: dict[str, Any], pregeneration: str, rule: str
) -> None:
    with pytest.raises(PolicyError, match=rule):
        said(replace(STOCK, **changes), pregeneration=pregeneration)


def test_a_stocked_pair_is_not_distilled_again() -> None:
    """One number for all links says nothing of it; one for each step must be 0 there."""
    context = small_context(pregeneration="virtual-link")
    observations = views_with_one_request(context)
    observations.request_destination[0, 0] = 7
    allowed = replace(LEGAL, destination=7, path=(0, 8, 7))
    for plan in (Plan(rounds_per_link=1), Plan(rounds_per_link=(0, 1))):
        legal = Decisions(allocations=(replace(allowed, plan=plan),))
        validate(legal, observations, context, policy_name="a-policy")
    wrong = Decisions(allocations=(replace(allowed, plan=Plan(rounds_per_link=(1, 1))),))
    with pytest.raises(PolicyError, match=r"step \(0, 8\) is a stocked pair, which takes no rounds"):
        validate(wrong, observations, context, policy_name="a-policy")


def test_two_allocations_may_not_ask_more_than_the_request() -> None:
    with pytest.raises(PolicyError, match="allocations of 4 pairs"):
        said(LEGAL, LEGAL)


def test_a_site_decides_for_itself_and_only_when_asked() -> None:
    context = small_context()
    observations = views_with_one_request(context)
    with pytest.raises(PolicyError, match="a site of the observation"):
        validate(Decisions(allocations=(LEGAL,)), observations[3], context, policy_name="a-policy")
    central = small_context(control="central")
    other = replace(views_with_one_request(central), site=np.array([0]))
    with pytest.raises(PolicyError, match="only the controller"):
        validate(Decisions(allocations=(LEGAL,)), other, central, policy_name="a-policy")
    assert synthetic_observation(central, stream(1, "x")).site.tolist() == [CONTROLLER]


def test_inner_nodes_need_a_repeater() -> None:
    context = small_context()
    rates = context.network.repeater_rate_hz.copy()
    rates[1] = 0.0
    context = replace(context, network=replace(context.network, repeater_rate_hz=rates))
    with pytest.raises(PolicyError, match="through node 1"):
        validate(
            Decisions(allocations=(LEGAL,)), views_with_one_request(context), context, policy_name="a-policy"
        )


def test_drops_news_and_vectors() -> None:
    context = small_context(pregeneration="end-to-end")
    observations = views_with_one_request(context)
    validate(
        Decisions(discards=(99,), messages=np.zeros((9, 2)), info={"value": np.zeros(9)}),
        observations, context, policy_name="a-policy",
    )  # fmt: skip
    for wrong, rule in (
        (Decisions(discards=(12345,)), "must name a pair"),
        (Decisions(discards=(-1,)), "must name a pair"),
        (Decisions(messages=np.zeros((8, 2))), "messages must be"),
        (Decisions(info={"value": np.zeros(8)}), "first axis"),
        (Decisions(info={"value": np.float64(1.0)}), "first axis"),  # type: ignore[dict-item]
    ):
        with pytest.raises(PolicyError, match=rule):
            validate(wrong, observations, context, policy_name="a-policy")
