"""Fast sources: drawn only where someone asks, in windows that together are the same Poisson process."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qdpem.draws import emissions
from qdpem.draws.emissions import FAST_HZ, Emissions, WindowedEmissions, draw_emissions
from qdpem.events.words import ClaimKind, RequestOutcome
from qdpem.rng import stream
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate
from tests.helpers.small_scenario import SMALL

RATE_HZ, BEST, END_S = 4e6, 0.25, 0.05


@pytest.fixture(scope="module")
def listed() -> tuple[list[int], np.ndarray]:
    """The numbers and times of all emissions of the source, one after the other."""
    source = fast()
    index, numbers, times = source.first_after(0, -1.0), [], []
    while (time_s := source.time_s(index)) <= END_S:
        numbers.append(index)
        times.append(time_s)
        index = source.after(index)
    return numbers, np.array(times)


def fast(seed: int = 3) -> WindowedEmissions:
    return WindowedEmissions(seed, "source/a", rate_hz=RATE_HZ, best=BEST, end_s=END_S)


def test_only_a_fast_source_is_drawn_in_windows() -> None:
    def kind(rate_hz: float) -> type:
        return type(draw_emissions(seed=1, name="a", rate_hz=rate_hz, best=0.5, end_s=1.0))

    assert kind(2.0 * FAST_HZ) is Emissions
    assert kind(2.1 * FAST_HZ) is WindowedEmissions


def test_numbers_and_times_ascend(listed) -> None:
    numbers, times = listed
    assert (np.diff(numbers) > 0).all()
    assert (np.diff(times) >= 0.0).all()


def test_the_windows_make_a_poisson_process(listed) -> None:
    """50,000 expected: the count within 4.5 standard deviations, a false alarm in 10^5; gaps by a KS test."""
    _, times = listed
    mean = RATE_HZ * BEST * END_S
    assert abs(len(times) - mean) < 4.5 * mean**0.5
    assert stats.kstest(np.diff(times) * RATE_HZ * BEST, "expon").pvalue > 1e-5
    # Counts of windows of another length, which mix the ends of two windows: variance equal to the mean.
    counts = np.histogram(times, bins=487, range=(0.0, END_S))[0]
    index = counts.var(ddof=1) / counts.mean()
    assert abs(index - 1.0) < 4.5 * (2.0 / 486) ** 0.5


def test_successes_are_a_thinning(listed) -> None:
    numbers, _ = listed
    source, probability = fast(), BEST / 3.0
    found, index = [], source.next_success(0, probability)
    while index is not None and source.time_s(index) <= END_S:
        found.append(index)
        index = source.next_success(source.after(index), probability)
    assert set(found) <= set(numbers)
    assert abs(len(found) - len(numbers) / 3.0) < 4.5 * (len(numbers) * 2.0 / 9.0) ** 0.5


def test_what_is_asked_in_any_order_is_the_same(listed) -> None:
    numbers, times = listed
    for now_s in np.random.default_rng(0).uniform(0.0, END_S, 50).tolist() + times[[0, 1, 700]].tolist():
        source = fast()
        place = int(np.searchsorted(times, now_s, side="right"))
        found = source.first_after(0, now_s)
        assert found == numbers[place]
        assert source.time_s(found) == times[place]
        source.forget(found)
        assert source.time_s(found) == times[place]


def test_time_that_nobody_asks_about_costs_nothing() -> None:
    source = WindowedEmissions(1, "source/a", rate_hz=1e9, best=1.0, end_s=1e6)
    index = source.first_after(0, 123456.0)
    assert source.next_success(index, 0.5) is not None
    assert len(source._windows) <= 2


def test_the_end_is_an_end() -> None:
    source = fast()
    last = source.first_after(0, 2.0 * END_S)
    assert source.time_s(last) == float("inf")
    assert source.next_success(last, BEST) is None
    assert source.after(last) >= last


def test_a_run_draws_a_few_windows_for_each_claim(monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(emissions, "stream", lambda seed, key: drawn.append(key) or stream(seed, key))
    scenario = parse_scenario(
        SMALL, overrides=["nodes.source_rate_hz=1e8", "window.measured_s=4", "window.warm_up_s=0"]
    )
    run = simulate(scenario, Arm(name="local-minhop"), seed=5)
    claims = run.tables["claims"]
    emitted = int((claims["kind"] == ClaimKind.EMISSION.code).sum())
    assert (run.tables["requests"]["outcome"] == RequestOutcome.DELIVERED.code).mean() > 0.9
    # All windows of the run would be 4 s x 10^8 Hz x eta / 256 for each of three nodes, a million or so.
    assert 0 < len(drawn) < 20 * emitted
