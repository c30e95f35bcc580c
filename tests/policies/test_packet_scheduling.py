"""Packet scheduling: windows on links, and what becomes of a packet."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdpem.events.words import RequestOutcome
from qdpem.policies.packet_scheduling import CentralPacketScheduling, PacketSchedulingParameters
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import ORDERED_PAIRS, TOKENS, Context
from qdpem.policy.synthetic import small_context
from qdpem.simulation.run import Run
from tests.helpers.observations import act, idle_observation


@pytest.fixture
def context() -> Context:
    return small_context(control="central")


def scheduling(**parameters: Any) -> CentralPacketScheduling:
    return CentralPacketScheduling(PacketSchedulingParameters(**parameters))


def window_s(context: Context, *nodes: int, pairs: int = 1, probability: float = 0.4) -> float:
    """The window over a path, from its own formula and from the rates of the map."""
    network = context.network
    rates = [
        float(network.link_rate_hz[network.link_between[ends]]) / pairs for ends in itertools.pairwise(nodes)
    ]
    times = np.linspace(0.0, 20.0, 2_000_001)
    reached = np.prod([1.0 - np.exp(-rate * times) for rate in rates], axis=0) >= probability
    return float(times[reached.argmax()]) + 2.0 * float(network.distance_s[nodes[0], nodes[-1]])


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"success_probability": 1.0}, "success_probability is 1.0"),
        ({"slots_per_link": 0}, "slots_per_link is 0"),
        ({"storage_fraction": 2.0}, "storage_fraction is 2.0"),
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PacketSchedulingParameters(**wrong)


@pytest.mark.parametrize("slots", [1, 3])
def test_the_rules_of_policies_hold(context: Context, slots: int) -> None:
    checks = check_policy(lambda: scheduling(slots_per_link=slots), context, calls=10)
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("pairs", [1, 2])
def test_a_packet_is_admitted_if_its_window_ends_by_the_deadline_and_dropped_if_not(
    context: Context, pairs: int
) -> None:
    network = context.network
    # Nodes 0 and 1 are neighbours: their link is the fastest path between them.
    needed_s = window_s(context, 0, 1, pairs=pairs)
    needed_s += float(network.distance_s[network.median_node, 0]) + context.control_settings.service_time_s
    for patience_s, admitted in ((1.01 * needed_s, 1), (0.99 * needed_s, 0)):
        observations = idle_observation(context, (0, 1, 0.6, patience_s))
        observations.request_pairs[0, 0] = pairs
        made = act(scheduling(), observations, context)
        assert len(made) == admitted
        assert all((item.path, item.pairs, item.retry_low_fidelity) == ((0, 1), pairs, True) for item in made)


def test_a_window_counts_the_wait_for_tokens(context: Context) -> None:
    # Paths other than 0, 1, 2 have four hops.
    observations = idle_observation(context, (0, 2, 0.6, window_s(context, 0, 1, 2) + 0.05))
    assert len(act(scheduling(), observations, context)) == 1
    observations.status[0, :, TOKENS] = 0.0
    # At 5 tokens a second the next one is .2 s away.
    assert act(scheduling(), observations, context) == ()


def test_the_earliest_deadline_goes_first_and_later_ones_wait_for_a_slot(context: Context) -> None:
    """Three packets want one link that takes one at a time, and no way round has time."""
    policy = scheduling(slots_per_link=1)
    length_s = window_s(context, 0, 1)
    about = [(0, 1, 0.6, patience * length_s + 0.01) for patience in (3.5, 1.5, 2.5)]
    observations = idle_observation(context, *about)
    observations.status[0, :, ORDERED_PAIRS] = 1.0
    policy.reset(context)
    around = [item for item in policy.act(observations).allocations if item.path == (0, 1)]
    assert [item.request for item in around] == [41]
    later = replace(observations, time_s=observations.time_s + 1.001 * length_s + 0.002)
    later.request_id[0, 1] = -1
    assert [item.request for item in policy.act(later).allocations if item.path == (0, 1)] == [42]


def test_links_without_orders_are_free_before_their_windows_end(context: Context) -> None:
    policy = scheduling(slots_per_link=1)
    policy.reset(context)
    observations = idle_observation(context, (0, 1, 0.6, 2.0))
    assert len(policy.act(observations).allocations) == 1
    again = replace(observations, time_s=observations.time_s + 0.001)
    assert len(policy.act(again).allocations) == 1
    again.status[0, :, ORDERED_PAIRS] = 1.0
    paths = [item.path for item in policy.act(again).allocations]
    assert (0, 1) not in paths


def test_more_slots_let_more_packets_work_at_once(context: Context) -> None:
    length_s = window_s(context, 0, 1)
    about = [(0, 1, 0.6, 1.5 * length_s + 0.01)] * 3
    observations = idle_observation(context, *about)
    for slots in (1, 2, 3):
        made = act(scheduling(slots_per_link=slots), observations, context)
        assert sum(item.path == (0, 1) for item in made) == slots


def test_a_schedule_starts_no_packet_without_time_and_so_delivers_more_under_overload(
    small: Callable[..., Run],
) -> None:
    """Repeaters of 5/s, 24 requests/s over one to three of them: minimum hop starts all at once."""
    delivered = {}
    for name in ("central-fcfs", "central-edf"):
        run = small(
            name,
            "01 12 23 34",
            {"0": {"4": 1, "2": 1}, "1": {"3": 1}, "4": {"2": 1}},
            rate_hz=24.0,
            repeaters=[5.0] * 5,
            overrides=["window={warm_up_s=1,measured_s=15}"],
        )
        requests = run.tables["requests"]  # type: ignore[index]
        delivered[name] = float((requests["outcome"] == RequestOutcome.DELIVERED.code).mean())
    assert delivered["central-edf"] > 1.2 * delivered["central-fcfs"], delivered
