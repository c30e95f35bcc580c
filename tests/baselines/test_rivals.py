"""Prices, max-weight, continuous generation: views made by hand, small networks with a known optimum."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdpem.baselines.continuous import ContinuousParameters, LocalContinuous
from qdpem.baselines.max_weight import CentralMaxWeight, LocalMaxWeight, MaxWeightParameters
from qdpem.baselines.prices import REPEATER, SOURCE, LocalPrices, PriceBook, PriceParameters
from qdpem.baselines.shelves import Shelves
from qdpem.events.metrics import DELIVERED
from qdpem.network.build import build_network, build_physics
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import (
    EMISSION_BACKLOG,
    FREE_MEMORIES,
    STATUS_WIDTH,
    TOKEN_BACKLOG,
    TOKENS,
    Allocation,
    Context,
    Views,
)
from qdpem.policy.synthetic import small_context, synthetic_views
from qdpem.policy.validation import validate
from qdpem.rng import stream
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import Run, simulate


def quiet(context: Context, *requests: tuple[int, int, float, float], **about: Any) -> Views:
    """An idle network at t = 10; row 0 waits for `requests` (source, destination, target, patience)."""
    views = synthetic_views(context, stream(5, "quiet"), waiting=max(len(requests), 1), **about)
    views.status[views.known >= 0] = 0.0
    views.status[:, :, FREE_MEMORIES], views.status[:, :, TOKENS] = 16.0, 1.0
    views.request_id[:], views.request_standing[:] = -1, 0
    views.stock_owner[:], views.stock_id[:], views.stock_ready[:] = -1, -1, -1
    views.peer_source[:] = -1
    for column, (source, destination, target, patience_s) in enumerate(requests):
        views.request_id[0, column] = 40 + column
        views.request_source[0, column], views.request_destination[0, column] = source, destination
        views.request_target_fidelity[0, column], views.request_pairs[0, column] = target, 1
        views.request_deadline_s[0, column] = views.time_s + patience_s
    return views


def decide(policy: Any, views: Views, context: Context) -> tuple[Allocation, ...]:
    policy.reset(context)
    decisions = policy.decide(views)
    validate(decisions, views, context, policy_name=policy.name)
    return tuple(decisions.allocations)


ARMS = [
    (LocalPrices, PriceParameters),
    (LocalMaxWeight, MaxWeightParameters),
    (CentralMaxWeight, MaxWeightParameters),
    (LocalContinuous, ContinuousParameters),
]


@pytest.mark.parametrize(("policy", "parameters"), ARMS)
@pytest.mark.parametrize("rights", ["serve", "elementary", "virtual"])
def test_conformance_with_every_right(policy: Any, parameters: Any, rights: Any) -> None:
    context = small_context(control=policy.control, rights=rights)
    checks = check_policy(lambda: policy(parameters()), context, calls=4)
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(("policy", "parameters"), ARMS)
def test_a_single_link_is_served_over_itself(policy: Any, parameters: Any) -> None:
    context = small_context(control=policy.control)
    rule = policy(parameters())
    rule.reset(context)
    (made,) = decide(rule, quiet(context, (0, 1, 0.7, 1.0), news_width=rule.news_width), context)
    assert (made.path, made.request, made.plan.rounds_per_link) == ((0, 1), 40, 0)


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        (PriceParameters, {"step_per_s": 0.0}),
        (PriceParameters, {"target_use": 1.1}),
        (PriceParameters, {"wait_share": 2.0}),
        (MaxWeightParameters, {"urgency_s": 0.0}),
        (MaxWeightParameters, {"least_chance": 1.0}),
        (MaxWeightParameters, {"wait_share": -1.0}),
        (ContinuousParameters, {"gain": 0.0}),
        (ContinuousParameters, {"least_fidelity": 0.2}),
        (ContinuousParameters, {"wait_share": 2.0}),
    ],
)
def test_parameters_out_of_range_are_answered(parameters: Any, wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        parameters(**wrong)


# Prices


def look(book: PriceBook, context: Context, time_s: float, **status: float) -> Any:
    """Node 0 looks at itself; every other node and its news are as nothing."""
    views = replace(quiet(context, news_width=2 * context.network.node_count), time_s=time_s)[0]
    columns = {"tokens": TOKENS, "swaps": TOKEN_BACKLOG, "pairs": EMISSION_BACKLOG}
    for name, value in status.items():
        views.status[0, 0, columns[name]] = value
    book.update(views)
    return book.own[0].copy()


def test_a_price_rises_with_backlog_and_falls_when_idle() -> None:
    context = small_context()
    network = context.network
    book = PriceBook(network, step_per_s=0.5, target_use=0.8, highest=10.0)
    rate_hz, job_s = network.repeater_rate_hz[0], network.pair_time_s[0]
    assert look(book, context, 1.0).tolist() == [0.0, 0.0]
    # One swap was made, two more wait; the source is taken to have had work half the time.
    first = look(book, context, 1.1, tokens=0.5, swaps=2.0, pairs=3.0)
    assert first[REPEATER] == pytest.approx(0.5 * ((1 + 2) / rate_hz - 0.8 * 0.1))
    assert first[SOURCE] == pytest.approx(0.5 * (3 * job_s + 0.5 * 0.1 - 0.8 * 0.1))
    later = look(book, context, 1.2, tokens=1.0, swaps=2.0, pairs=3.0)
    assert later[REPEATER] == pytest.approx(first[REPEATER] - 0.5 * 0.8 * 0.1)
    assert later[SOURCE] == pytest.approx(first[SOURCE] + 0.5 * (0.1 - 0.8 * 0.1))
    assert look(book, context, 60.0).tolist() == [0.0, 0.0]


def test_prices_travel_over_the_fewest_hops_and_round_the_silent() -> None:
    context = small_context()
    nodes = context.network.node_count
    book = PriceBook(context.network, step_per_s=1.0, target_use=0.9, highest=2.0)
    book.own[8] = (0.7, 0.3)
    news = np.zeros((nodes, 2 * nodes))
    for step in range(5):
        views = replace(quiet(context, news_width=2 * nodes), time_s=10.0)
        told = news[np.maximum(views.known, 0)]
        views.status[:, :, STATUS_WIDTH:] = told
        news = book.update(views)
        # Node 8 is four hops from node 0 and knows itself after one look.
        assert book.believed[0, 8].tolist() == ([0.7, 0.3] if step >= 4 else [0.0, 0.0])
    views.status[:, :, STATUS_WIDTH:] = 0.5
    views.status[0, 1, STATUS_WIDTH:] = 1.5
    book.update(views[0])
    assert (book.believed[0, 2] == 1.5).all()
    views.status[0, 1, :STATUS_WIDTH] = np.nan
    book.update(views[0])
    assert (book.believed[0, 2] == 0.5).all()


def test_a_request_goes_round_a_dear_repeater_and_waits_when_all_are() -> None:
    context = small_context()
    policy = LocalPrices(PriceParameters())
    views = quiet(context, (0, 8, 0.6, 2.0), news_width=18)
    (cheap,) = decide(policy, views, context)
    prices = views.status[0, :, STATUS_WIDTH:].reshape(-1, 9, 2)
    prices[:, cheap.path[2], REPEATER] = 0.9
    (round_it,) = decide(policy, views, context)
    assert cheap.path[2] not in round_it.path
    prices[:, :, REPEATER] = 1.5
    assert decide(policy, views, context) == ()


# Max-weight


@pytest.mark.parametrize("policy", [LocalMaxWeight, CentralMaxWeight])
def test_the_heavier_urgency_is_served_first(policy: Any) -> None:
    context = small_context(control=policy.control)
    rule = MaxWeightParameters(urgency_s=0.1)
    calm_first = quiet(context, (0, 6, 0.6, 9.0), (0, 2, 0.6, 1.0))
    assert [made.request for made in decide(policy(rule), calm_first, context)] == [41, 40]
    one_against_two = quiet(context, (0, 6, 0.6, 8.9), (0, 2, 0.6, 9.0), (0, 2, 0.6, 9.0))
    first = decide(policy(rule), one_against_two, context)[0]
    assert first.request == 41


def test_what_is_given_away_is_not_there_for_the_next() -> None:
    context = small_context(control="central")
    views = quiet(context, (0, 4, 0.6, 1.0), (0, 4, 0.6, 1.0))
    first, second = decide(CentralMaxWeight(MaxWeightParameters()), views, context)
    assert {first.path[1], second.path[1]} == {1, 3}
    # One token each at the two repeaters between, and the next one too late.
    hurried = quiet(context, *[(0, 4, 0.6, 0.2)] * 3)
    assert len(decide(CentralMaxWeight(MaxWeightParameters(least_chance=0.01)), hurried, context)) == 2


def test_a_request_waits_while_nothing_is_available() -> None:
    context = small_context()
    views = quiet(context, (0, 2, 0.6, 0.15))
    assert len(decide(LocalMaxWeight(MaxWeightParameters()), views, context)) == 1
    views.status[0, :, TOKENS] = 0.0
    assert decide(LocalMaxWeight(MaxWeightParameters()), views, context) == ()


def test_stock_serves_as_what_is_sure() -> None:
    context = small_context(rights="remote")
    views = quiet(context, (0, 8, 0.6, 0.01), stock=1)
    views.stock_id[0, 0], views.stock_owner[0, 0], views.stock_partner[0, 0] = 70, 0, 8
    views.stock_fidelity[0, 0], views.stock_ready[0, 0] = 0.8, 1
    (made,) = decide(LocalMaxWeight(MaxWeightParameters(link_base=0)), views, context)
    assert (made.path, made.purpose) == ((0, 8), "serve")


# Continuous generation


def shelves(context: Context, *, gain: float = 0.05) -> Shelves:
    quota = np.full(context.network.node_count, 4)
    return Shelves(context.network, gain=gain, back_off_s=1.0, quota=quota)


def test_probabilities_by_hand() -> None:
    kept = shelves(small_context())
    site = np.array([0])
    assert kept.chance[0].tolist() == pytest.approx([1 / 3, 1 / 3, 0.0, 0.0, 1 / 3])
    kept.learn(site, 0)
    kept.used[0, 1] = True
    kept.learn(site, 1)
    after = np.array([1 / 3, 1 / 3 + 0.05, 0.0, 0.0, 1 / 3]) / 1.05
    assert kept.chance[0] == pytest.approx(after)
    kept.learn(site, 1)
    assert kept.chance[0] == pytest.approx(after)
    kept.learn(site, 2)
    assert kept.chance[0] == pytest.approx((after + np.array([0, 0, 0, 0, 0.05])) / 1.05)
    kept.used[0, :2] = True
    before = kept.chance[0].copy()
    kept.learn(site, 3)
    assert kept.chance[0] == pytest.approx((before + np.array([0.05, 0.05, 0, 0, 0])) / 1.1)


def test_the_stationary_share_is_that_of_use() -> None:
    """With one neighbour of use in each period, E p <- (E p + gain q)/(1 + gain) has the fixed point q.

    The mean of p over n periods has a variance of at most q (1 - q)/n but for the start, which is left out
    (200 periods: 1.05^-200 < 1e-4). Bound: 4 standard deviations, false alarm 2e-4 over three shares.
    """
    kept = shelves(small_context())
    site, share, periods = 4, np.array([0.6, 0.3, 0.1, 0.0]), 20_000
    total = np.zeros(5)
    for period, place in enumerate(stream(3, "use").choice(4, size=periods + 200, p=share)):
        kept.used[site, place] = True
        kept.learn(np.array([site]), period)
        total += kept.chance[site] * (period >= 200)
    error = 4.0 * np.sqrt(share * (1 - share) / periods)
    assert (np.abs(total[:4] / periods - share)[:3] <= error[:3] + 1e-4).all()
    assert total[3:].max() / periods < 1e-3


def shelf_views(context: Context, time_s: float, ready: int, *, pair: int = 70, partner: int = 1) -> Views:
    """Node 0 has a pair with `partner` on its shelf (1), on order (0), or neither (-1)."""
    views = replace(quiet(context, stock=1, news_width=4), time_s=time_s)
    if ready >= 0:
        views.stock_id[0, 0] = pair if ready else -1
        views.stock_owner[0, 0], views.stock_partner[0, 0], views.stock_ready[0, 0] = 0, partner, ready
    return views[0]


@pytest.mark.parametrize(("gone_s", "of_use"), [(14.0, True), (15.0, False)])
def test_a_pair_gone_before_its_time_was_of_use(gone_s: float, of_use: bool) -> None:
    context = small_context(rights="elementary")
    kept = shelves(context)
    kept.ordered_until_s[0, 0] = 15.0
    for time_s, ready in ((10.0, 0), (10.1, 1), (13.9, 1), (gone_s, -1)):
        assert not kept.used.any()
        kept.look(shelf_views(context, time_s, ready))
    assert kept.used[0, 0] == of_use
    assert kept.used.sum() == of_use


def test_a_refused_order_is_not_repeated_at_once() -> None:
    context = small_context(rights="elementary")
    kept = shelves(context)
    kept.ordered_until_s[0, 0] = 15.0
    kept.look(shelf_views(context, 10.0, 0))
    assert not kept.may_order(0, 0, 10.0)
    kept.look(shelf_views(context, 10.1, -1))
    assert [kept.may_order(0, 0, time_s) for time_s in (10.1, 11.0, 11.2)] == [False, False, True]


def test_orders_follow_the_draws_quota_and_room() -> None:
    context = small_context(rights="elementary")
    views = quiet(context, stock=1, news_width=4)
    orders = decide(LocalContinuous(ContinuousParameters()), views, context)
    assert orders
    for order in orders:
        assert (order.purpose, len(order.path)) == ("stock", 2)
        assert order.expires_s > views.time_s
    # 9 nodes, each "none" with 1 / (degree + 1): some order and some do not.
    assert len(orders) < 9
    views.status[:, :, FREE_MEMORIES] = 3.0
    assert decide(LocalContinuous(ContinuousParameters()), views, context) == ()


def test_draws_go_on_from_a_saved_state() -> None:
    context = small_context(rights="elementary")

    def play(policy: LocalContinuous, epochs: range) -> list[Any]:
        views = quiet(context, stock=1, news_width=4)
        return [policy.decide(replace(views, time_s=0.1 * epoch)).allocations for epoch in epochs]

    first, second = (LocalContinuous(ContinuousParameters()) for _ in range(2))
    first.reset(context)
    play(first, range(100, 110))
    saved = first.state()
    second.reset(context)
    second.load_state(saved)
    expected = play(first, range(110, 130))
    assert play(second, range(110, 130)) == expected
    assert any(expected)


# Small networks with a known optimum


_SMALL = """
name = "small"
[topology]
kind = "file"
parameters = {{ path = "{path}" }}
[nodes]
source_rate_hz = 400.0
repeater_rate_hz = 5.0
memories = 64
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 60.0 }}
[links.hardware]
fresh_fidelity = 0.98
[demand]
rate_hz = {rate_hz}
weights = "matrix"
[[demand.classes]]
application = "teleportation"
share = 1.0
target_fidelity = 0.7
patience_s = 1.0
[window]
warm_up_s = 10
measured_s = 60
[forecasting]
history_s = 20
"""


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Run]:
    """Run an arm on links of 1 km with given demand and repeaters, 10 s of warm-up and 60 s."""

    def build(
        arm: str,
        links: str,
        demand: dict[str, dict[str, float]],
        *,
        rate_hz: float,
        repeaters: Sequence[float],
        parameters: dict[str, float] | None = None,
    ) -> Run:
        ends = [(int(pair[0]), int(pair[1])) for pair in links.split()]
        path = tmp_path / "small.json"
        named = [{"id": node, "name": f"n{node}"} for node in range(len(repeaters))]
        joined = [{"source": first, "target": second, "length_km": 1.0} for first, second in ends]
        path.write_text(json.dumps({"nodes": named, "edges": joined, "graph": {"demands": demand}}))
        scenario = parse_scenario(_SMALL.format(path=path, rate_hz=rate_hz))
        network = build_network(scenario, build_physics(scenario), seed=1)
        network = replace(network, repeater_rate_hz=np.array(repeaters, dtype=float))
        return simulate(scenario, Arm(name=arm, parameters=parameters or {}), seed=1, network=network)

    return build


def delivered(run: Run) -> dict[tuple[int, ...], float]:
    """Requests delivered per second in the window, by the inner nodes of the path that served them."""
    tables = run.tables
    assert tables is not None
    requests, steps, allocations = (tables[name] for name in ("requests", "path_steps", "allocations"))
    inner: dict[int, list[int]] = {}
    for allocation, position, node in zip(
        steps["allocation"].tolist(), steps["position"].tolist(), steps["node"].tolist(), strict=True
    ):
        inner.setdefault(allocation, []).append(node if position else -1)
    by_request = dict(zip(allocations["request"].tolist(), allocations["allocation"].tolist(), strict=True))
    found: dict[tuple[int, ...], float] = {}
    for request, end_s, outcome in zip(
        requests["request"].tolist(), requests["end_s"].tolist(), requests["outcome"].tolist(), strict=True
    ):
        if outcome == DELIVERED and end_s >= 10.0:
            key = tuple(inner[by_request[request]][1:-1])
            found[key] = found.get(key, 0.0) + 1.0 / 60.0
    return found


def test_two_flows_share_a_repeater_up_to_its_capacity(small: Callable[..., Run]) -> None:
    """Two flows of 6/s each through a repeater of 5/s: it is kept busy, but not let in for what it cannot do.

    Tokens come regularly: at most 5 x 60 + 1 in the window. Each request served is of either flow with
    chance 1/2: 4 standard deviations of some 300 coins are .12 (false alarm 6e-5). Minimum hops admits all.
    """
    demand = {"1": {"2": 1}, "3": {"4": 1}}
    runs = [
        small(arm, "01 02 03 04", demand, rate_hz=12.0, repeaters=[5, 0, 0, 0, 0])
        for arm in ("local-prices", "local-minhop")
    ]
    served = delivered(runs[0])
    assert set(served) == {(0,)}
    assert 0.95 * 5.0 <= served[0,] <= 5.0 + 1.0 / 60.0
    admitted, all_of_them = (int((run.tables["allocations"]["time_s"] >= 10.0).sum()) for run in runs)  # type: ignore[index]
    assert admitted < 0.7 * all_of_them
    requests = runs[0].tables["requests"]  # type: ignore[index]
    good = (requests["outcome"] == DELIVERED) & (requests["end_s"] >= 10.0)
    assert abs(np.isin(requests["source"][good], (1, 2)).mean() - 0.5) < 0.12


@pytest.mark.parametrize("arm", ["local-prices", "local-maxweight", "central-maxweight"])
def test_a_diamond_is_split_as_the_flow_optimum_splits_it(small: Callable[..., Run], arm: str) -> None:
    """12/s asked through repeaters of 6/s and 2/s: the LP serves 8/s, three quarters of it over the first."""
    served = delivered(small(arm, "01 13 02 23", {"0": {"3": 1}}, rate_hz=12.0, repeaters=[0, 6, 2, 0]))
    total = sum(served.values())
    assert 0.97 * 8.0 <= total <= 8.0 + 2.0 / 60.0
    assert abs(served[1,] / total - 0.75) < 0.02


def test_continuous_generation_favours_who_is_asked_for(small: Callable[..., Run]) -> None:
    """A star whose first leaf asks the second three times as often as the third, and never the fourth."""
    demand = {"1": {"2": 3, "3": 1}}
    run = small("local-continuous", "01 02 03 04", demand, rate_hz=4.0, repeaters=[20, 0, 0, 0, 0])
    allocations = run.tables["allocations"]  # type: ignore[index]
    orders = (allocations["purpose"] == 1) & (allocations["source"] == 0) & (allocations["time_s"] > 30.0)
    count = [int((allocations["destination"][orders] == leaf).sum()) for leaf in (1, 2, 3, 4)]
    assert count[0] > count[1] > count[2] > count[3]


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
