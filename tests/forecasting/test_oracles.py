from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdpem.demand.bursts import draw_bursts
from qdpem.errors import QdpemError
from qdpem.forecasting.oracles import BayesFilterForecast, ClairvoyantForecast
from qdpem.policy.interface import ForecastContext
from qdpem.scenario.schema import Bursts

RATES_HZ = np.array([0.3, 1.0, 2.0, 0.0, 4.0])
MEMORYLESS = Bursts(timing="memoryless", regions=3, period_s=20.0, duration_s=5.0, peak=3.0)
CASCADING = replace(MEMORYLESS, timing="cascading", lag_s=3.0)


def context_of(arrivals, *, horizon=8, step_s=1.0):
    return ForecastContext(
        node_count=len(arrivals.region), step_s=step_s, horizon_steps=horizon, seed=1, truth=arrivals
    )


def forecast_at(factory, arrivals, steps, **given):
    oracle = factory()
    oracle.reset(context_of(arrivals, **given))
    oracle.fit(np.zeros((10, len(arrivals.region)), dtype=np.int64))
    for _ in range(steps):
        oracle.update(np.zeros(len(arrivals.region), dtype=np.int64))
    return oracle.forecast()


def simulated_fractions(arrivals, region, now_s, *, horizon, draws, generator):
    """Shares [draws, H] of coming steps inside bursts, those not yet begun drawn anew, but after now."""
    own = arrivals.bursts_s[arrivals.bursts_s[:, 0] == region]
    begun = own[own[:, 1] <= now_s, 1]
    k = np.arange(np.floor((now_s - 60.0) / arrivals.period_s), np.ceil((now_s + 60.0) / arrivals.period_s))
    edges = now_s + np.arange(horizon + 1)
    covered = np.zeros((draws, horizon + 1))
    for nominal in arrivals.phase_s[region] + k * arrivals.period_s:
        near = begun[np.abs(begun - nominal) < arrivals.period_s / 2]
        if len(near):
            start = np.full(draws, near[0])
        else:
            start = nominal + arrivals.jitter_s * generator.standard_normal(draws)
            while (start <= now_s).any():
                again = start <= now_s
                start[again] = nominal + arrivals.jitter_s * generator.standard_normal(again.sum())
        covered += np.clip(edges - start[:, None], 0.0, arrivals.duration_s)
    return np.diff(covered, axis=1)


def test_filter_is_the_mean_over_all_ways_the_bursts_may_go_on(make_arrivals):
    """Bernstein: a mean of n shares in [0, 1] of mean p strays beyond sqrt(2p(1-p)L/n) + L/3n, either way,
    with probability below 2 exp(-L); over all 640 bins the false alarm is below 0.001.
    """
    arrivals = make_arrivals(seed=3, rates_hz=np.ones(4), jitter_s=2.0)
    generator, draws, times = np.random.default_rng(4), 12_000, range(0, 40, 2)
    L = np.log(2 * 4 * len(times) * 8 / 1e-3)
    uncertain = 0
    for steps in times:
        made = forecast_at(BayesFilterForecast, arrivals, steps)
        for region in range(4):
            p = (made[region] - arrivals.low) / (arrivals.high - arrivals.low)
            drawn = simulated_fractions(
                arrivals, region, float(steps), horizon=8, draws=draws, generator=generator
            )
            variance = np.maximum(p * (1.0 - p), 0.0)
            stray = np.sqrt(2.0 * variance * L / draws) + L / (3.0 * draws)
            assert (np.abs(drawn.mean(axis=0) - p) <= stray).all()
            uncertain += int((variance > 0.05).sum())
    assert uncertain > 50


def test_filter_without_jitter_is_the_true_expectation(make_arrivals):
    arrivals = make_arrivals(seed=5, rates_hz=RATES_HZ, jitter_s=0.0)
    for steps in (0, 1, 17, 100):
        truth = arrivals.expected_counts(start_s=0.5 * steps, step_s=0.5, steps=6).T
        made = forecast_at(BayesFilterForecast, arrivals, steps, horizon=6, step_s=0.5)
        assert made == pytest.approx(truth, abs=1e-8)


@pytest.mark.slow
def test_filter_is_unbiased_over_a_long_run(make_arrivals):
    """Mean of forecast minus truth, 180 origins: |t| < 4.5 over 40 regions, false alarm 6e-5."""
    arrivals = make_arrivals(seed=6, rates_hz=np.ones(40), regions=40, history_s=64.0, end_s=1264.0)
    oracle = BayesFilterForecast()
    oracle.reset(context_of(arrivals, horizon=4))
    truth = arrivals.expected_counts(start_s=0.0, step_s=1.0, steps=1264)
    gaps = []
    for step in range(0, 1260, 7):
        oracle.load_state({"steps": np.array(step)})
        gaps.append(oracle.forecast() - truth[step : step + 4].T)
    per_region = np.mean(gaps, axis=(0, 2))
    assert abs(per_region.mean()) < 4.5 * per_region.std(ddof=1) / np.sqrt(40)


def test_filter_does_not_see_bursts_that_have_not_begun(make_arrivals):
    arrivals = make_arrivals(seed=7, rates_hz=RATES_HZ)
    for steps in (3, 20, 40):
        later = arrivals.bursts_s[:, 1] > steps
        moved = arrivals.bursts_s.copy()
        moved[later, 1:] += 0.7
        blind = replace(arrivals, bursts_s=moved, requests=arrivals.history)
        assert np.array_equal(
            forecast_at(BayesFilterForecast, arrivals, steps), forecast_at(BayesFilterForecast, blind, steps)
        )


def test_filter_does_not_see_that_a_running_burst_will_be_joined_by_the_next(make_arrivals):
    arrivals = make_arrivals(seed=7, rates_hz=np.ones(1), regions=1, history_s=1.0, end_s=40.0)
    alone = replace(arrivals, phase_s=np.zeros(1), bursts_s=np.array([[0.0, -1.0, 7.0]]))
    joined = replace(alone, bursts_s=np.array([[0.0, -1.0, 14.0]]))
    assert np.array_equal(
        forecast_at(BayesFilterForecast, alone, 2), forecast_at(BayesFilterForecast, joined, 2)
    )
    assert forecast_at(BayesFilterForecast, joined, 9)[0, 3] > forecast_at(BayesFilterForecast, alone, 9)[
        0, 3
    ] * (1.0 + 1e-9)


def test_filter_of_steady_demand_is_its_rate(make_arrivals):
    arrivals = make_arrivals(seed=8, rates_hz=RATES_HZ)
    steady = replace(
        arrivals,
        bursts_s=np.zeros((0, 3)),
        phase_s=np.zeros(0),
        period_s=0.0,
        duration_s=0.0,
        jitter_s=0.0,
        low=1.0,
        high=1.0,
        region=np.zeros(5, dtype=np.int64),
    )
    assert np.array_equal(
        forecast_at(BayesFilterForecast, steady, 3), np.repeat(RATES_HZ[:, None], 8, axis=1)
    )


def test_clairvoyant_is_exact(make_arrivals):
    arrivals = make_arrivals(seed=9, rates_hz=RATES_HZ, end_s=60.0)
    time_s, source = arrivals.requests.time_s, arrivals.requests.source
    for steps in (0, 11, 50, 80):
        made = forecast_at(ClairvoyantForecast, arrivals, steps, horizon=7, step_s=2.0)
        for node in range(5):
            for ahead in range(7):
                begin = 2.0 * (steps + ahead)
                inside = (source == node) & (time_s >= begin) & (time_s < begin + 2.0)
                assert made[node, ahead] == inside.sum()


@pytest.mark.parametrize("factory", [BayesFilterForecast, ClairvoyantForecast])
def test_an_oracle_needs_the_truth_and_keeps_its_clock(factory, make_arrivals):
    with pytest.raises(QdpemError, match="must be given the truth"):
        factory().reset(ForecastContext(node_count=2, step_s=1.0, horizon_steps=3, seed=1))
    arrivals = make_arrivals(seed=10, rates_hz=RATES_HZ, end_s=60.0)
    first, second = factory(), factory()
    for oracle in (first, second):
        oracle.reset(context_of(arrivals))
    for _ in range(13):
        first.update(np.zeros(5, dtype=np.int64))
    second.load_state(first.state())
    assert np.array_equal(first.forecast(), second.forecast())


def switching_arrivals(make_arrivals, bursts, *, seed, end_s=400.0):
    """Arrivals whose bursts have no calendar; three regions of a node each, rate 1/s."""
    plain = make_arrivals(seed=seed, rates_hz=np.ones(3), regions=3, end_s=end_s)
    spans = draw_bursts(bursts, np.zeros(0), start_s=-60.0, end_s=end_s + 30.0, seed=seed)
    return replace(
        plain,
        region=np.arange(3),
        bursts_s=spans,
        phase_s=np.zeros(0),
        period_s=bursts.period_s,
        duration_s=bursts.duration_s,
        timing=bursts.timing,
        lag_s=bursts.lag_s or 0.0,
    )


def switched_fractions(on, *, horizon, draws, generator):
    """Shares [draws, H] of the steps to come in which a process that is `on` now is on, drawn anew."""
    covered, now_s, on = np.zeros((draws, horizon + 1)), np.zeros(draws), np.full(draws, on)
    while (now_s < horizon).any():
        next_s = now_s + generator.standard_exponential(draws) * np.where(
            on, MEMORYLESS.duration_s, MEMORYLESS.period_s - MEMORYLESS.duration_s
        )
        turn = np.clip(np.arange(horizon + 1), now_s[:, None], next_s[:, None]) - now_s[:, None]
        covered += turn * on[:, None]
        now_s, on = next_s, ~on
    return np.diff(covered, axis=1)


def test_filter_of_memoryless_bursts_is_the_mean_over_all_ways_to_go_on(make_arrivals):
    """Bernstein, as for the calendar: false alarm below 0.001 over 2 x 8 bins, on and off now."""
    arrivals = switching_arrivals(make_arrivals, MEMORYLESS, seed=3)
    generator, draws = np.random.default_rng(4), 20_000
    L = np.log(2 * 2 * 8 / 1e-3)
    seen = set()
    for steps in range(0, 200, 3):
        now = (arrivals.bursts_s[:, 1] <= steps) & (steps < arrivals.bursts_s[:, 2])
        on = bool((now & (arrivals.bursts_s[:, 0] == 1)).any())
        if on in seen:
            continue
        seen.add(on)
        p = (forecast_at(BayesFilterForecast, arrivals, steps)[1] - arrivals.low) / (
            arrivals.high - arrivals.low
        )
        drawn = switched_fractions(on, horizon=8, draws=draws, generator=generator)
        stray = np.sqrt(2.0 * p * (1.0 - p) * L / draws) + L / (3.0 * draws)
        assert (np.abs(drawn.mean(axis=0) - p) <= stray).all()
    assert seen == {True, False}


@pytest.mark.parametrize("bursts", [MEMORYLESS, CASCADING])
def test_filter_without_a_calendar_is_unbiased_and_does_not_see_what_has_not_begun(make_arrivals, bursts):
    """Mean of forecast minus truth over 40 seeds, |t| < 4.5: false alarm 6e-5. Whatever comes after now, and
    when what is on will end, changes nothing."""
    gaps = []
    for seed in range(40):
        arrivals = switching_arrivals(make_arrivals, bursts, seed=seed)
        truth = arrivals.expected_counts(start_s=0.0, step_s=1.0, steps=400)
        made = [forecast_at(BayesFilterForecast, arrivals, steps) for steps in range(0, 380, 19)]
        gaps.append(np.mean([one - truth[19 * k : 19 * k + 8].T for k, one in enumerate(made)]))
        later = arrivals.bursts_s.copy()
        later[:, 1:] += 0.7 * (later[:, 1:] > 190.0)
        # Followers repeat the leader, so what region 0 did long ago is all that may tell.
        later[later[:, 0] > 0, 1:] += 0.7 if bursts.timing == "cascading" else 0.0
        blind = replace(arrivals, bursts_s=later, requests=arrivals.history)
        assert np.array_equal(made[10], forecast_at(BayesFilterForecast, blind, 190))
    assert abs(np.mean(gaps)) < 4.5 * np.std(gaps, ddof=1) / np.sqrt(len(gaps))


def test_filter_of_a_cascade_knows_what_comes_within_the_lag(make_arrivals):
    arrivals = switching_arrivals(make_arrivals, CASCADING, seed=5)
    truth = arrivals.expected_counts(start_s=0.0, step_s=1.0, steps=400)
    for steps in range(0, 380, 7):
        made = forecast_at(BayesFilterForecast, arrivals, steps)
        for region, known in ((1, 3), (2, 6)):
            assert made[region, :known] == pytest.approx(truth[steps : steps + known, region], abs=1e-9)
