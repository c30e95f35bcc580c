"""The shuffled control: right levels, true swings, wrong times."""

from __future__ import annotations

import numpy as np
import pytest

from qdpem.demand.peers import PeerTable
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.forecasting.checks.reference_demand import by_step
from qdpem.forecasting.oracles import BayesFilterForecast
from qdpem.forecasting.shuffled import ShuffledBayesFilterForecast, ShuffledForecast
from tests.helpers.forecasting import bursting, context_of, same, walk

RATES_HZ = np.array([0.5, 1.0, 2.0, 0.0, 4.0, 3.0, 1.5, 2.5])
STEPS, PLACES = 300, 2
ASKED = RATES_HZ > 0.0
ARRIVALS = bursting(seed=3, rates_hz=RATES_HZ, end_s=float(STEPS))


def begun(forecaster, *, seed: int = 1) -> PeerTable:
    table = PeerTable(nodes=len(RATES_HZ), max_peers=PLACES)
    table.begin(ARRIVALS.history)
    forecaster.reset(context_of(len(RATES_HZ), PLACES, history_s=600.0, horizon=4, truth=ARRIVALS, seed=seed))
    forecaster.fit(ARRIVALS.history, table.peers)
    return table


def told(forecaster, *, steps: int = STEPS, **options) -> ExpectedDemand:
    """Forecasts after each step, [T, N, P, H]."""
    table = begun(forecaster, **options)
    return walk(forecaster, by_step(ARRIVALS.requests, step_s=1.0, steps=steps), table)


def test_levels_are_right_swings_are_true_and_times_are_wrong() -> None:
    """Steps drawn alike make the correlation with the truth that of two unrelated series, about
    N(0, 1/236) for each of 7 nodes: beyond 0.3 (4.6 sigma) once in 30,000."""
    true, shuffled = told(BayesFilterForecast()).mean, told(ShuffledBayesFilterForecast()).mean
    for node in np.flatnonzero(ASKED).tolist():
        right, wrong = true[64:, node, 0, 0], shuffled[64:, node, 0, 0]
        assert abs(np.corrcoef(right, wrong)[0, 1]) < 0.3
        assert wrong.mean() == pytest.approx(RATES_HZ[node], rel=0.25)
        # Bursts are three times the mean of every node alike.
        assert wrong.std() == pytest.approx(right.std(), rel=0.25)
    assert not shuffled[:, ~ASKED].any()
    # No node asks for a second peer.
    assert not shuffled[:, :, 1].any()


def test_a_forecast_asked_twice_is_the_same_and_another_seed_shuffles_otherwise() -> None:
    one, two = (told(ShuffledBayesFilterForecast(), steps=40) for _ in range(2))
    assert same(one, two)
    assert not same(one, told(ShuffledBayesFilterForecast(), steps=40, seed=2))
    forecaster = ShuffledBayesFilterForecast()
    begun(forecaster)
    assert same(forecaster.forecast(), forecaster.forecast())


def test_no_peer_keeps_its_own_forecast() -> None:
    """With one forecast so far, made at t = 0, each peer has another's, scaled to its own mean."""
    forecaster, oracle = ShuffledBayesFilterForecast(), BayesFilterForecast()
    begun(forecaster)
    peers = begun(oracle).peers
    mean = peers.counts(ARRIVALS.history, start_s=-600.0, step_s=1.0, steps=600).mean(axis=0)[:, 0]
    true, made = oracle.forecast().mean[:, 0], forecaster.forecast().mean[:, 0]
    shapes = {node: true[node] / mean[node] for node in np.flatnonzero(ASKED).tolist()}
    givers = []
    for node in shapes:
        matching = [other for other, shape in shapes.items() if np.allclose(made[node] / mean[node], shape)]
        givers += matching
        assert node not in matching
    # A cycle: each gives once.
    assert sorted(givers) == sorted(shapes)


def test_a_saved_state_goes_on_alike() -> None:
    steps = by_step(ARRIVALS.requests, step_s=1.0, steps=40)
    used, other = ShuffledBayesFilterForecast(), ShuffledBayesFilterForecast()
    table = begun(used)
    walk(used, steps[:20], table)
    begun(other)
    other.load_state(used.state())
    assert same(other.forecast(), used.forecast())
    assert same(walk(used, steps[20:], table), walk(other, steps[20:], table))


def test_the_shuffled_gru_is_no_oracle_and_names_the_files_it_acts_with() -> None:
    from qdpem.forecasting.gru import GruForecast

    shuffled, plain = ShuffledForecast(), GruForecast()
    assert not shuffled.oracle
    assert shuffled.placebo
    assert shuffled.files() == plain.files()
    assert list(plain.files()) == ["gru_start.npz"]
