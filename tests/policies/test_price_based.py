"""Prices of repeaters and sources: their updates, their messages, and the requests they turn away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdpem.events.words import RequestOutcome
from qdpem.policies.price_based import LocalPriceBased, PriceParameters
from qdpem.policies.pricing.price_table import REPEATER, SOURCE, PriceTable
from qdpem.policy.interface import EMISSION_BACKLOG, STATUS_WIDTH, TOKEN_BACKLOG, TOKENS, Context
from qdpem.policy.synthetic import small_context
from qdpem.simulation.run import Run
from tests.helpers.delivered_paths import delivered_hz_by_path
from tests.helpers.observations import act, idle_observation


@pytest.mark.parametrize(
    "wrong", [{"step_size": 0.0}, {"target_utilization": 1.1}, {"storage_fraction": 2.0}]
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        PriceParameters(**wrong)


def own_price(table: PriceTable, context: Context, time_s: float, **status: float) -> Any:
    """Update the table from node 0's observation of itself; all other nodes are idle and send zeros."""
    observations = replace(
        idle_observation(context, message_width=2 * context.network.node_count), time_s=time_s
    )[0]
    columns = {"tokens": TOKENS, "swaps": TOKEN_BACKLOG, "pairs": EMISSION_BACKLOG}
    for name, value in status.items():
        observations.status[0, 0, columns[name]] = value
    table.update(observations)
    return table.own[0].copy()


def test_a_price_rises_with_backlog_and_falls_when_idle() -> None:
    context = small_context()
    network = context.network
    table = PriceTable(network, step_size=0.5, target_utilization=0.8, max_node_price=10.0)
    rate_hz, job_s = network.repeater_rate_hz[0], network.pair_time_s[0]
    assert own_price(table, context, 1.0).tolist() == [0.0, 0.0]
    # One swap was made and two more wait; the source is assumed busy half the time.
    first = own_price(table, context, 1.1, tokens=0.5, swaps=2.0, pairs=3.0)
    assert first[REPEATER] == pytest.approx(0.5 * ((1 + 2) / rate_hz - 0.8 * 0.1))
    assert first[SOURCE] == pytest.approx(0.5 * (3 * job_s + 0.5 * 0.1 - 0.8 * 0.1))
    later = own_price(table, context, 1.2, tokens=1.0, swaps=2.0, pairs=3.0)
    assert later[REPEATER] == pytest.approx(first[REPEATER] - 0.5 * 0.8 * 0.1)
    assert later[SOURCE] == pytest.approx(first[SOURCE] + 0.5 * (0.1 - 0.8 * 0.1))
    assert own_price(table, context, 60.0).tolist() == [0.0, 0.0]


def test_prices_travel_over_fewest_hops_and_around_unavailable_nodes() -> None:
    context = small_context()
    nodes = context.network.node_count
    table = PriceTable(context.network, step_size=1.0, target_utilization=0.9, max_node_price=2.0)
    table.own[8] = (0.7, 0.3)
    messages = np.zeros((nodes, 2 * nodes))
    for step in range(5):
        observations = replace(idle_observation(context, message_width=2 * nodes), time_s=10.0)
        received = messages[np.maximum(observations.observed_node, 0)]
        observations.status[:, :, STATUS_WIDTH:] = received
        messages = table.update(observations)
        # Node 8 is four hops from node 0, and knows its own prices after one update.
        assert table.believed[0, 8].tolist() == ([0.7, 0.3] if step >= 4 else [0.0, 0.0])
    observations.status[:, :, STATUS_WIDTH:] = 0.5
    observations.status[0, 1, STATUS_WIDTH:] = 1.5
    table.update(observations[0])
    assert (table.believed[0, 2] == 1.5).all()
    observations.status[0, 1, :STATUS_WIDTH] = np.nan
    table.update(observations[0])
    assert (table.believed[0, 2] == 0.5).all()


def test_a_request_avoids_an_expensive_repeater_and_waits_when_all_are() -> None:
    context = small_context()
    policy = LocalPriceBased(PriceParameters())
    observations = idle_observation(context, (0, 8, 0.6, 2.0), message_width=18)
    (cheap,) = act(policy, observations, context)
    prices = observations.status[0, :, STATUS_WIDTH:].reshape(-1, 9, 2)
    prices[:, cheap.path[2], REPEATER] = 0.9
    (round_it,) = act(policy, observations, context)
    assert cheap.path[2] not in round_it.path
    prices[:, :, REPEATER] = 1.5
    assert act(policy, observations, context) == ()


@pytest.mark.slow
def test_two_flows_share_a_repeater_up_to_its_capacity(small: Callable[..., Run]) -> None:
    """Two flows of 6/s each through a repeater of 5/s: it stays busy, and the excess is not admitted.

    Tokens are periodic: at most 5 x 60 + 1 in the window. Each delivered request is of either flow with
    probability 1/2: 4 standard deviations of some 300 draws are .12 (false alarm 6e-5). Minimum hop admits
    all.
    """
    demand = {"1": {"2": 1}, "3": {"4": 1}}
    runs = [
        small(arm, "01 02 03 04", demand, rate_hz=12.0, repeaters=[5, 0, 0, 0, 0])
        for arm in ("local-price-based", "local-minhop")
    ]
    served = delivered_hz_by_path(runs[0])
    assert set(served) == {(0,)}
    assert 0.95 * 5.0 <= served[0,] <= 5.0 + 1.0 / 60.0
    admitted, all_of_them = (int((run.tables["allocations"]["time_s"] >= 10.0).sum()) for run in runs)  # type: ignore[index]
    assert admitted < 0.7 * all_of_them
    requests = runs[0].tables["requests"]  # type: ignore[index]
    good = (requests["outcome"] == RequestOutcome.DELIVERED.code) & (requests["end_s"] >= 10.0)
    assert abs(np.isin(requests["source"][good], (1, 2)).mean() - 0.5) < 0.12
