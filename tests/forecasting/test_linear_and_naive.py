"""Forecasters in closed form: their forecasts equal the formulas, computed here by another way."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from qdpem.demand.peers import Peers, PeerTable
from qdpem.demand.requests import Requests
from qdpem.errors import QdpemError
from qdpem.forecasting.linear.normal_equations import NormalEquations, choose_penalty, solve
from qdpem.forecasting.linear.regressors import REGRESSORS
from qdpem.forecasting.naive import LastValueForecast, SeasonalNaiveForecast, seasons
from qdpem.forecasting.ridge import RidgeForecast
from qdpem.policy.forecaster import ForecastContext

CONTEXT = ForecastContext(node_count=2, max_peers=3, step_s=0.5, horizon_steps=8, history_s=60.0, seed=1)


def drawn_counts(seed: int, steps: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(1.5, size=(steps, 2, 3))


def test_last_value_is_the_count_of_the_last_step_at_every_step_ahead() -> None:
    history, counts = drawn_counts(1, 120), drawn_counts(2, 5)
    naive = LastValueForecast()
    naive.reset(CONTEXT)
    naive.fit_counts(history)
    assert np.array_equal(naive.forecast().mean, np.repeat(history[-1][..., None], 8, axis=2))
    for row in counts:
        naive.update_counts(row)
        assert np.array_equal(naive.forecast().mean, np.repeat(row[..., None], 8, axis=2))


@pytest.mark.parametrize("season", [1, 3, 8, 11])
def test_seasonal_naive_repeats_the_last_season(season) -> None:
    history, counts = drawn_counts(3, 120), drawn_counts(4, 30)
    naive = SeasonalNaiveForecast(SeasonalNaiveForecast.Parameters(season_s=season * 0.5))
    naive.reset(CONTEXT)
    naive.fit_counts(history)
    past = history
    for row in counts:
        naive.update_counts(row)
        past = np.concatenate([past, row[None]])
        repeated = np.concatenate([past[-season:]] * 8)[:8]
        assert np.array_equal(naive.forecast().mean, np.moveaxis(repeated, 0, -1))


def test_a_season_longer_than_the_history_repeats_zeros_until_it_has_come() -> None:
    naive = SeasonalNaiveForecast(SeasonalNaiveForecast.Parameters(season_s=100.0))
    naive.reset(CONTEXT)
    naive.fit_counts(drawn_counts(5, 120))
    assert not naive.forecast().mean.any()
    for _ in range(80):
        naive.update_counts(np.zeros((2, 3), dtype=np.int64))
    # 200 steps after the first one, which counts from here on.
    assert np.array_equal(naive.forecast().mean[..., 0], drawn_counts(5, 120)[0])


def test_the_season_is_the_period_of_bursts_or_the_mean_interarrival_time() -> None:
    generator = np.random.default_rng(6)
    steps = np.arange(1200)
    bursts = generator.poisson(np.where(steps % 40 < 6, 1.5, 0.05))
    rare = np.zeros(1200, dtype=np.int64)
    rare[[100, 900]] = 1
    found = seasons(np.stack([bursts, rare, np.zeros_like(rare)], axis=1))
    assert found[0] == pytest.approx(40, abs=1)
    assert found[1:].tolist() == [600, 1]


def test_a_season_that_is_no_time_is_refused() -> None:
    for season_s in (-1.0, float("nan"), float("inf")):
        with pytest.raises(QdpemError, match="season_s"):
            SeasonalNaiveForecast(SeasonalNaiveForecast.Parameters(season_s=season_s))


NODES, PEERS, HORIZON, STEPS = 2, 3, 4, 60


@pytest.fixture(scope="module")
def regression():
    """Regressors of each step, means, the counts after it, and their normal equations."""
    generator = np.random.default_rng(7)
    seen = generator.standard_normal((STEPS, NODES * PEERS, HORIZON, REGRESSORS))
    mean = generator.uniform(0.1, 2.0, (STEPS, NODES * PEERS))
    mean[:, 5] = 0.0
    counts = generator.poisson(1.0, (STEPS, NODES * PEERS))
    equations = NormalEquations(NODES, HORIZON)
    for step in range(STEPS):
        equations.add(counts[step])
        equations.remember(seen[step], mean[step])
    return seen, mean, counts, equations


def test_the_weights_minimise_the_penalised_weighted_squares(regression) -> None:
    seen, mean, counts, equations = regression
    penalty = np.array([0.3, 2.0])
    weights = solve(equations.gram, equations.moment, penalty)
    for node in range(NODES):
        for ahead in range(HORIZON):
            # A row for every step and known peer, scaled to unit variance, and rows for the penalty.
            own = [peer for peer in range(node * PEERS, node * PEERS + PEERS) if mean[0, peer] > 0.0]
            made = np.arange(STEPS - ahead - 1)
            scale = 1.0 / np.sqrt(mean[made][:, own])
            x = (seen[made][:, own, ahead] * scale[..., None]).reshape(-1, REGRESSORS)
            y = ((counts[made + ahead + 1][:, own] - mean[made][:, own]) * scale).reshape(-1)
            ridge = np.diag(np.sqrt(penalty[node] * (x**2).sum(axis=0)))
            rows, targets = np.concatenate([x, ridge]), np.concatenate([y, np.zeros(REGRESSORS)])
            expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
            assert weights[node, ahead] == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_the_penalty_follows_the_held_out_part(regression) -> None:
    *_, equations = regression
    held_out = NormalEquations(NODES, HORIZON)
    held_out.gram = equations.gram.copy()
    # At node 0 the held-out part repeats the training part; at node 1 it says the opposite.
    held_out.moment = equations.moment * np.array([1.0, -1.0])[:, None, None]
    assert choose_penalty(equations, held_out, (0.01, 1.0, 100.0)).tolist() == [0.01, 100.0]


def test_ridge_tends_to_the_mean_under_a_large_penalty_and_foresees_a_timetable(make_requests) -> None:
    context = ForecastContext(node_count=1, max_peers=2, step_s=1.0, horizon_steps=6, history_s=400.0, seed=1)
    # Every 20 s a request, and others at random times to another node.
    random_s = np.sort(np.random.default_rng(8).uniform(-400.0, 60.0, 200))
    requests, peers = make_requests(np.arange(-390.5, 60.0, 20.0), random_s)
    history = requests.between(-400.0, 0.0)
    means, forecasts = [], []
    for penalty in (1e9, 0.0):
        ridge = RidgeForecast(RidgeForecast.Parameters(penalty=penalty))
        ridge.reset(context)
        ridge.fit(history, peers)
        made = [ridge.forecast().mean]
        for step in range(30):
            ridge.update(requests.between(step, step + 1.0), peers)
            made.append(ridge.forecast().mean)
        (means if penalty else forecasts).extend(made)
    assert np.array(means)[:, 0, 1] == pytest.approx(1 / 20, rel=0.2)
    assert np.array(means)[:, 0, 0] == pytest.approx(200 / 460, rel=0.2)
    ahead = np.array(forecasts)[:, 0, 1]
    assert (ahead >= 0.0).all()
    # Requests of the timetable come in steps 9 and 29; the forecast k is made at the beginning of step k.
    assert min(ahead[9, 0], ahead[6, 3], ahead[29, 0]) > 0.7
    assert max(ahead[0, 0], ahead[15, 3], ahead[10, 0]) < 0.15


@pytest.fixture
def make_requests():
    """Requests of node 0 to nodes 1 and 2 at the given times, and the peers that list them."""

    def make(*times_s: np.ndarray) -> tuple[Requests, Peers]:
        time_s = np.concatenate(times_s)
        destination = np.repeat(np.arange(1, len(times_s) + 1), [len(each) for each in times_s])
        order = np.argsort(time_s)
        whole = np.ones(len(time_s), dtype=np.int64)
        columns = {item.name: whole for item in fields(Requests)}
        columns |= {"time_s": time_s[order], "destination": destination[order], "source": 0 * whole}
        columns |= {"target_fidelity": 0.7 * whole, "deadline_s": time_s[order] + 1.0}
        requests = Requests(**columns)
        table = PeerTable(nodes=1, max_peers=2)
        table.begin(requests)
        return requests, table.peers

    return make


def test_a_penalty_that_is_no_weight_is_refused() -> None:
    with pytest.raises(QdpemError, match="penalty"):
        RidgeForecast(RidgeForecast.Parameters(penalty=-1.0))
