from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdpem.demand.peers import PeerTable
from qdpem.errors import QdpemError
from qdpem.forecasting.checks.reference_demand import by_step
from qdpem.forecasting.oracles import BayesFilterForecast, ClairvoyantForecast
from tests.helpers.forecasting import bursting, context_of, same, walk

RATES_HZ = np.array([0.3, 1.0, 2.0, 0.0, 4.0])
ARRIVALS = bursting(seed=9, rates_hz=RATES_HZ, history_s=60.0, end_s=60.0)


def begun(factory, arrivals=ARRIVALS, *, horizon: int = 7):
    oracle = factory()
    table = PeerTable(nodes=len(RATES_HZ), max_peers=2)
    table.begin(arrivals.history)
    oracle.reset(context_of(len(RATES_HZ), 2, history_s=60.0, horizon=horizon, truth=arrivals))
    oracle.fit(arrivals.history, table.peers)
    return oracle, table


def test_the_filter_forecasts_what_the_truth_expects_at_its_clock() -> None:
    oracle, table = begun(BayesFilterForecast)
    made = walk(oracle, by_step(ARRIVALS.requests, step_s=1.0, steps=30), table)
    for step in (0, 11, 29):
        now_s = step + 1.0
        truth = ARRIVALS.expected(table.peers, now_s=now_s, edges_s=now_s + np.arange(8.0))
        assert np.array_equal(made.unscheduled[step], truth.unscheduled)
        assert np.array_equal(made.scheduled[step], truth.scheduled)
    assert np.ptp(made.mean[:, 4, 0, 0]) > 1.0


def test_the_filter_does_not_see_bursts_that_have_not_begun() -> None:
    (truth,), shown = ARRIVALS.processes, 0
    steps = by_step(ARRIVALS.requests, step_s=1.0, steps=40)
    for now in (3, 20, 40):
        spans = truth.bursts_s.copy()
        spans[spans[:, 1] > now, 1:] += 0.7
        blind = replace(ARRIVALS, processes=(replace(truth, bursts_s=spans),), requests=ARRIVALS.history)
        made = []
        for arrivals in (ARRIVALS, blind):
            oracle, table = begun(BayesFilterForecast, arrivals)
            walk(oracle, steps[:now], table)
            made.append(oracle.forecast())
        assert same(*made)
        # What has begun does show, while it lasts.
        spans[spans[:, 1] <= now, 1:] -= 0.7
        moved = replace(ARRIVALS, processes=(replace(truth, bursts_s=spans),))
        oracle, table = begun(BayesFilterForecast, moved)
        walk(oracle, steps[:now], table)
        shown += not same(made[0], oracle.forecast())
    assert shown


def test_the_clairvoyant_is_exact() -> None:
    oracle, table = begun(ClairvoyantForecast)
    time_s, source = ARRIVALS.requests.time_s, ARRIVALS.requests.source
    made = walk(oracle, by_step(ARRIVALS.requests, step_s=1.0, steps=80), table)
    # Beyond the end of the run nothing comes.
    for step in (0, 11, 50, 79):
        for node in range(len(RATES_HZ)):
            for ahead in range(7):
                begin = step + 1.0 + ahead
                inside = (source == node) & (time_s >= begin) & (time_s < begin + 1.0)
                assert made.scheduled[step, node, 0, ahead] == inside.sum()
    assert not made.unscheduled.any()
    assert made.scheduled[:50].sum() > 100


@pytest.mark.parametrize("factory", [BayesFilterForecast, ClairvoyantForecast])
def test_an_oracle_needs_the_truth_and_keeps_its_clock(factory) -> None:
    with pytest.raises(QdpemError, match="must be given the truth"):
        factory().reset(context_of(2, 2, history_s=10.0))
    first, table = begun(factory)
    second, _ = begun(factory)
    walk(first, by_step(ARRIVALS.requests, step_s=1.0, steps=13), table)
    assert not same(first.forecast(), second.forecast())
    second.load_state(first.state())
    assert same(first.forecast(), second.forecast())
