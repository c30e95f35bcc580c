"""The shuffled control: right levels, true swings, wrong times."""

from __future__ import annotations

import numpy as np
import pytest

from qdpem.forecasting.oracles import BayesFilterForecast
from qdpem.forecasting.shuffled import ShuffledBayesFilterForecast, ShuffledForecast
from qdpem.policy.interface import ForecastContext

RATES_HZ = np.array([0.5, 1.0, 2.0, 0.0, 4.0, 3.0, 1.5, 2.5])
STEPS = 300


@pytest.fixture(scope="module")
def arrivals(make_arrivals):
    return make_arrivals(seed=3, rates_hz=RATES_HZ, end_s=float(STEPS))


def counted(arrivals, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    nodes = len(RATES_HZ)
    history = arrivals.history.counts(nodes=nodes, start_s=-600.0, step_s=1.0, steps=600)
    return history, arrivals.requests.counts(nodes=nodes, start_s=0.0, step_s=1.0, steps=steps)


def begun(forecaster, arrivals, *, seed: int = 1):
    forecaster.reset(
        ForecastContext(node_count=len(RATES_HZ), step_s=1.0, horizon_steps=4, seed=seed, truth=arrivals)
    )
    forecaster.fit(counted(arrivals)[0])
    return forecaster


def told(forecaster, arrivals, **options) -> np.ndarray:
    """Forecasts after each step, [T, N, H]."""
    begun(forecaster, arrivals, **options)
    made = []
    for counts in counted(arrivals)[1]:
        forecaster.update(counts)
        made.append(forecaster.forecast())
    return np.array(made)


def test_levels_are_right_swings_are_true_and_times_are_wrong(arrivals) -> None:
    """Steps drawn alike make the correlation with the truth that of two unrelated series, about
    N(0, 1/236) for each of 7 nodes: beyond 0.3 (4.6 sigma) once in 30,000."""
    true, shuffled = told(BayesFilterForecast(), arrivals), told(ShuffledBayesFilterForecast(), arrivals)
    late, asked = slice(64, None), RATES_HZ > 0.0
    for node in np.flatnonzero(asked).tolist():
        right, wrong = true[late, node, 0], shuffled[late, node, 0]
        assert abs(np.corrcoef(right, wrong)[0, 1]) < 0.3
        assert wrong.mean() == pytest.approx(RATES_HZ[node], rel=0.25)
        # Bursts are three times the mean of every node alike.
        assert wrong.std() == pytest.approx(right.std(), rel=0.25)
    assert (shuffled[:, ~asked] == 0.0).all()


def test_a_forecast_asked_twice_is_the_same_and_another_seed_shuffles_otherwise(arrivals) -> None:
    one, two = told(ShuffledBayesFilterForecast(), arrivals), told(ShuffledBayesFilterForecast(), arrivals)
    np.testing.assert_array_equal(one, two)
    assert (told(ShuffledBayesFilterForecast(), arrivals, seed=2) != one).any()
    forecaster = begun(ShuffledBayesFilterForecast(), arrivals)
    np.testing.assert_array_equal(forecaster.forecast(), forecaster.forecast())


def test_no_node_keeps_its_own_forecast(arrivals) -> None:
    """With one forecast so far, made at t = 0, each node has another's, scaled to its own mean."""
    forecaster = begun(ShuffledBayesFilterForecast(), arrivals)
    true = begun(BayesFilterForecast(), arrivals).forecast()
    mean = counted(arrivals)[0].mean(axis=0)
    shapes = {node: true[node] / mean[node] for node in range(len(RATES_HZ)) if mean[node] > 0.0}
    for node in shapes:
        own = forecaster.forecast()[node] / mean[node]
        flat = np.ones_like(own)
        others = [shape for other, shape in shapes.items() if other != node]
        assert any(np.allclose(own, shape, rtol=1e-12) for shape in [flat, *others])


def test_a_saved_state_goes_on_alike(arrivals) -> None:
    used = begun(ShuffledBayesFilterForecast(), arrivals)
    counts = counted(arrivals, 40)[1]
    for row in counts[:20]:
        used.update(row)
    other = begun(ShuffledBayesFilterForecast(), arrivals)
    other.load_state(used.state())
    np.testing.assert_array_equal(other.forecast(), used.forecast())
    for row in counts[20:]:
        used.update(row)
        other.update(row)
    np.testing.assert_array_equal(other.forecast(), used.forecast())


def test_the_shuffled_gru_is_no_oracle_and_names_the_files_it_acts_with() -> None:
    from qdpem.forecasting.gru import GruForecast

    shuffled, plain = ShuffledForecast(), GruForecast()
    assert not shuffled.oracle
    assert shuffled.files() == getattr(plain, "files", dict)()
