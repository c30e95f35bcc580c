from __future__ import annotations

import numpy as np
import pytest

from qdpem.errors import QdpemError
from qdpem.forecasting.cell import CellStack, read_heads, run_cells
from qdpem.forecasting.checks.evaluation import score_forecaster
from qdpem.forecasting.features import fit_calendar, step_features
from qdpem.forecasting.gru import GruForecast
from qdpem.forecasting.simple import ConstantForecast, EwmaForecast
from qdpem.policy.interface import ForecastContext

torch = pytest.importorskip("torch")
QUICK = GruForecast.Parameters(epochs=4)


def random_weights(*, nodes, features, units, ahead, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "input": (nodes, features, 3 * units),
        "recurrent": (nodes, units, 3 * units),
        "input_bias": (nodes, 1, 3 * units),
        "recurrent_bias": (nodes, 1, 3 * units),
        "head": (nodes, units, ahead),
        "head_bias": (nodes, 1, ahead),
    }
    return {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}


def context_of(nodes, horizon=8):
    return ForecastContext(node_count=nodes, step_s=1.0, horizon_steps=horizon, seed=1)


def bursty_counts(*, seed, nodes, steps):
    """Counts with a clock of 16 steps at every node, means from 0.2 to 3."""
    generator = np.random.default_rng(seed)
    busy = (np.arange(steps)[:, None] + generator.integers(0, 16, nodes)) % 16 < 4
    return generator.poisson(np.linspace(0.2, 3.0, nodes) * np.where(busy, 3.0, 1.0 / 3.0))


def run_through(forecaster, counts):
    made = []
    for row in counts:
        forecaster.update(row)
        made.append(forecaster.forecast())
    return np.stack(made)


def fitted_gru(history, *, parameters=QUICK, horizon=8):
    gru = GruForecast(parameters)
    gru.reset(context_of(history.shape[1], horizon))
    gru.fit(history)
    return gru


def history_and_run(arrivals, *, steps):
    nodes = len(arrivals.region)
    history = arrivals.history.counts(
        nodes=nodes, start_s=-arrivals.history_s, step_s=1.0, steps=int(arrivals.history_s)
    )
    return history, arrivals.requests.counts(nodes=nodes, start_s=0.0, step_s=1.0, steps=steps)


def test_batched_cell_equals_one_torch_gru_per_node():
    nodes, features, units, steps, batch = 5, 4, 6, 30, 3
    weights = random_weights(nodes=nodes, features=features, units=units, ahead=2)
    given = torch.randn(steps, nodes, batch, features, dtype=torch.float64)
    start = torch.randn(nodes, batch, units, dtype=torch.float64)
    states, last = run_cells(weights, given, start)
    for node in range(nodes):
        reference = torch.nn.GRU(features, units, dtype=torch.float64)
        with torch.no_grad():
            reference.weight_ih_l0.copy_(weights["input"][node].T)
            reference.weight_hh_l0.copy_(weights["recurrent"][node].T)
            reference.bias_ih_l0.copy_(weights["input_bias"][node, 0])
            reference.bias_hh_l0.copy_(weights["recurrent_bias"][node, 0])
            expected, final = reference(given[:, node], start[node][None])
        assert torch.allclose(states[:, node], expected, rtol=0.0, atol=1e-6)
        assert torch.allclose(last[node], final[0], rtol=0.0, atol=1e-6)


def test_numpy_step_equals_torch_step():
    weights = random_weights(nodes=7, features=4, units=6, ahead=3, dtype=torch.float32)
    given = torch.randn(20, 7, 1, 4)
    states, _ = run_cells(weights, given, torch.zeros(7, 1, 6))
    said = read_heads(weights, states)
    cells = CellStack({name: value.numpy() for name, value in weights.items()})
    hidden = np.zeros((7, 6), dtype=np.float32)
    for step in range(20):
        hidden = cells.step(hidden, given[step, :, 0].numpy())
        assert hidden == pytest.approx(states[step, :, 0].numpy(), abs=2e-6)
        assert cells.read(hidden) == pytest.approx(said[step, :, 0].numpy(), rel=1e-5, abs=1e-6)


def test_a_node_sees_nothing_of_the_others():
    """All other nodes' history and counts changed, node 3's forecasts are the same to the bit."""
    history, counts = bursty_counts(seed=1, nodes=8, steps=240), bursty_counts(seed=2, nodes=8, steps=30)
    others = np.arange(8) != 3
    changed_history, changed_counts = history.copy(), counts.copy()
    changed_history[:, others] = np.random.default_rng(3).poisson(9.0, (240, 7))
    changed_counts[:, others] = 0
    first = run_through(fitted_gru(history), counts)
    second = run_through(fitted_gru(changed_history), changed_counts)
    assert np.array_equal(first[:, 3], second[:, 3])
    assert not np.isclose(first[:, others], second[:, others]).all(axis=(0, 2)).any()


def test_two_fits_are_the_same_to_the_bit():
    history, counts = bursty_counts(seed=4, nodes=5, steps=200), bursty_counts(seed=5, nodes=5, steps=20)
    assert np.array_equal(run_through(fitted_gru(history), counts), run_through(fitted_gru(history), counts))


def test_fitting_moves_the_weights_and_leaves_the_threads_alone():
    history = bursty_counts(seed=4, nodes=5, steps=200)
    threads = torch.get_num_threads()
    plain = fitted_gru(history, parameters=GruForecast.Parameters(epochs=0)).state()
    moved = fitted_gru(history, parameters=GruForecast.Parameters(epochs=6)).state()
    assert torch.get_num_threads() == threads
    assert any(not np.array_equal(plain["recurrent"][node], moved["recurrent"][node]) for node in range(5))


@pytest.mark.slow
def test_it_leads_the_bursts_where_others_follow(make_arrivals):
    """Quasi-periodic regional bursts, 12 nodes of 0.5 to 4 requests per step, 300 steps after the fit."""
    arrivals = make_arrivals(seed=21, rates_hz=np.linspace(0.5, 4.0, 12))
    history, counts = history_and_run(arrivals, steps=300)
    scores = {
        factory.name: score_forecaster(factory(), counts, history=history, context=context_of(12))
        for factory in (ConstantForecast, EwmaForecast, GruForecast)
    }
    assert scores["gru"].deviance < 0.75 * scores["constant"].deviance
    assert scores["gru"].deviance < 0.75 * scores["ewma"].deviance
    assert scores["gru"].wape < min(scores["constant"].wape, scores["ewma"].wape)


@pytest.mark.slow
def test_it_learns_the_bursts_on_its_own_without_its_calendar(make_arrivals):
    """The start knows no clock but the calendar; the fit finds the return of bursts in the counts."""
    arrivals = make_arrivals(seed=22, rates_hz=np.linspace(1.0, 4.0, 8))
    history, counts = history_and_run(arrivals, steps=300)
    plain = GruForecast(GruForecast.Parameters(calendar=False))
    made = score_forecaster(plain, counts, history=history, context=context_of(8)).deviance
    constant = score_forecaster(ConstantForecast(), counts, history=history, context=context_of(8)).deviance
    assert made < 0.65 * constant


@pytest.mark.slow
def test_steady_demand_teaches_it_nothing(make_arrivals):
    """Under stationary Poisson demand nothing beats the mean; the GRU is within 2 % of it."""
    arrivals = make_arrivals(seed=23, rates_hz=np.geomspace(0.05, 4.0, 20), peak=1.0)
    history, counts = history_and_run(arrivals, steps=300)
    gru, constant = (
        score_forecaster(factory(), counts, history=history, context=context_of(20)).deviance
        for factory in (GruForecast, ConstantForecast)
    )
    assert constant * 0.98 < gru < constant * 1.02


def test_a_saved_state_goes_on_as_the_first_would():
    history, counts = bursty_counts(seed=6, nodes=4, steps=200), bursty_counts(seed=7, nodes=4, steps=30)
    first = fitted_gru(history)
    run_through(first, counts[:10])
    saved = first.state()
    expected = run_through(first, counts[10:])
    second = GruForecast()
    second.reset(context_of(4))
    second.load_state(saved)
    assert np.array_equal(run_through(second, counts[10:]), expected)
    other = GruForecast()
    other.reset(context_of(4, horizon=5))
    with pytest.raises(QdpemError, match="looks 8 steps ahead"):
        other.load_state(saved)


def test_the_cache_gives_back_the_fit_and_survives_a_torn_file(tmp_path):
    history = bursty_counts(seed=8, nodes=3, steps=200)
    parameters = GruForecast.Parameters(epochs=2, cache=str(tmp_path / "kept"))
    first = fitted_gru(history, parameters=parameters).forecast()
    (kept,) = (tmp_path / "kept").iterdir()
    assert np.array_equal(fitted_gru(history, parameters=parameters).forecast(), first)
    with np.load(kept) as file:
        marked = dict(file) | {"mean": np.full(3, 7.0)}
    np.savez(kept, **marked)
    read = fitted_gru(history, parameters=parameters)
    assert read.state()["mean"].tolist() == [7.0] * 3
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(fitted_gru(history, parameters=parameters).forecast(), first)
    fitted_gru(history + 1, parameters=parameters)
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize("horizon", [1, 5, 13])
def test_any_horizon(horizon):
    history = bursty_counts(seed=9, nodes=3, steps=300)
    made = fitted_gru(history, horizon=horizon).forecast()
    assert made.shape == (3, horizon)
    assert (made > 0.0).all()


@pytest.mark.parametrize("steps", [0, 1, 20, 120])
def test_short_and_empty_histories_and_silent_nodes_give_finite_forecasts(steps):
    history = bursty_counts(seed=10, nodes=3, steps=max(steps, 1))[:steps]
    history[:, 0] = 0
    gru = fitted_gru(history)
    made = run_through(gru, np.array([[0, 1, 50]] * 5))
    assert np.isfinite(made).all()
    assert (made >= 0.0).all()
    if steps < 100:
        assert gru.unit_weight.tolist() == [0.0] * 3


def test_calendar_finds_the_period_and_the_middle_of_the_busy_part():
    steps = np.arange(600)
    busy = (steps - 5) % 30 < 6
    counts = np.random.default_rng(11).poisson(np.where(busy, 2.0, 0.25)[:, None] * [1.0, 0.4])
    found = fit_calendar(counts)
    assert 1.0 / found.turns_per_step == pytest.approx(30.0, rel=5e-3)
    # busy steps 5 to 10 of 30: the middle is at 7.5
    middle = (found.offset_turns + 7.5 * found.turns_per_step + 0.5) % 1.0 - 0.5
    assert middle == pytest.approx(0.0, abs=0.06)


def test_calendar_of_steady_demand_is_rarely_found():
    """2,000 steady nodes at a false alarm of 1/1,000 each: more than 12 has probability 2e-7."""
    means = np.random.default_rng(12).uniform(0.2, 4.0, 2000)
    counts = np.random.default_rng(13).poisson(means, (400, 2000))
    found = fit_calendar(counts)
    assert (found.turns_per_step > 0.0).sum() <= 12
    assert not found.harmonics(np.arange(3))[:, found.turns_per_step == 0.0].any()


def test_features_of_a_stretch_are_those_of_its_steps():
    counts = bursty_counts(seed=14, nodes=3, steps=60)
    calendar, mean = fit_calendar(np.tile(counts, (4, 1))), counts.mean(axis=0)
    whole = step_features(counts, mean, calendar, first_step=-20)
    for step in (0, 31, 59):
        one = step_features(counts[step : step + 1], mean, calendar, first_step=step - 20)
        assert np.array_equal(one[0], whole[step])


@pytest.mark.parametrize("bad", [{"epochs": -1}, {"learning_rate": 0.0}])
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(QdpemError, match="must be 0 or more"):
        GruForecast(GruForecast.Parameters(**bad))
