"""The expected fraction of coming steps inside bursts, against drawing their future anew, and its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdpem.demand.bursts import draw_bursts, draw_phases
from qdpem.demand.processes.burst_filter import expected_burst_fraction
from qdpem.scenario.schema import Bursts

CALENDAR = Bursts(regions=4, period_s=32.0, duration_s=8.0, jitter_s=2.0, peak=3.0)
MEMORYLESS = Bursts(timing="memoryless", regions=3, period_s=20.0, duration_s=5.0, peak=3.0)
CASCADING = replace(MEMORYLESS, timing="cascading", lag_s=3.0)
HORIZON = 8


def drawn(bursts: Bursts, *, seed: int, end_s: float = 400.0) -> tuple[np.ndarray, np.ndarray]:
    """All bursts around the run, and the phases."""
    phase_s = draw_phases(bursts, seed=seed)
    return draw_bursts(bursts, phase_s, start_s=-100.0, end_s=end_s + 100.0, seed=seed), phase_s


def expected(bursts: Bursts, spans_s, phase_s, now_s: float, *, step_s: float = 1.0) -> np.ndarray:
    edges_s = now_s + step_s * np.arange(HORIZON + 1)
    return expected_burst_fraction(bursts, spans_s, phase_s, now_s=now_s, edges_s=edges_s)


def realised(spans_s, now_s: float, *, regions: int, step_s: float = 1.0) -> np.ndarray:
    edges_s = now_s + step_s * np.arange(HORIZON + 1)
    covered = np.zeros((regions, HORIZON))
    for region, begin, end in spans_s.tolist():
        overlap_s = np.minimum(edges_s[1:], end) - np.maximum(edges_s[:-1], begin)
        covered[int(region)] += np.maximum(overlap_s, 0.0) / step_s
    return covered


def stray(p: np.ndarray, L: float, draws: int) -> np.ndarray:
    """Bernstein: a mean of n fractions of mean p strays this far either way with probability 2 exp(-L)."""
    return np.sqrt(2.0 * np.maximum(p * (1.0 - p), 0.0) * L / draws) + L / (3.0 * draws)


def futures(spans_s, phase_s: float, now_s: float, *, draws: int, generator) -> np.ndarray:
    """Fractions [draws, H] of coming steps inside bursts, those not yet begun drawn anew, but after now."""
    begun = spans_s[spans_s[:, 1] <= now_s, 1]
    k = np.arange(np.floor((now_s - 60.0) / 32.0), np.ceil((now_s + 60.0) / 32.0))
    edges = now_s + np.arange(HORIZON + 1)
    covered = np.zeros((draws, HORIZON + 1))
    for nominal in phase_s + k * CALENDAR.period_s:
        near = begun[np.abs(begun - nominal) < CALENDAR.period_s / 2]
        if len(near):
            start = np.full(draws, near[0])
        else:
            start = nominal + CALENDAR.jitter_s * generator.standard_normal(draws)
            while (start <= now_s).any():
                again = start <= now_s
                start[again] = nominal + CALENDAR.jitter_s * generator.standard_normal(again.sum())
        covered += np.clip(edges - start[:, None], 0.0, CALENDAR.duration_s)
    return np.diff(covered, axis=1)


def test_the_calendar_is_the_mean_over_all_ways_the_bursts_may_go_on() -> None:
    """Over all 320 bins the false alarm is below 0.001."""
    spans_s, phase_s = drawn(CALENDAR, seed=3)
    generator, draws, times = np.random.default_rng(4), 8_000, range(0, 40, 4)
    L, uncertain = np.log(2 * 4 * len(times) * HORIZON / 1e-3), 0
    for now in times:
        said = expected(CALENDAR, spans_s, phase_s, float(now))
        for region in range(4):
            own = spans_s[spans_s[:, 0] == region]
            came = futures(own, phase_s[region], float(now), draws=draws, generator=generator).mean(axis=0)
            assert (np.abs(came - said[region]) <= stray(said[region], L, draws)).all()
            uncertain += int((said[region] * (1.0 - said[region]) > 0.05).sum())
    assert uncertain > 25


def test_without_jitter_the_calendar_is_certain() -> None:
    bursts = replace(CALENDAR, jitter_s=0.0)
    spans_s, phase_s = drawn(bursts, seed=5)
    for now in (0.0, 0.5, 8.5, 50.0):
        made = expected(bursts, spans_s, phase_s, now, step_s=0.5)
        assert made == pytest.approx(realised(spans_s, now, regions=4, step_s=0.5), abs=1e-8)


def test_a_running_burst_does_not_show_that_the_next_will_join_it() -> None:
    bursts, phase_s = replace(CALENDAR, regions=1), np.zeros(1)
    alone, joined = np.array([[0.0, -1.0, 7.0]]), np.array([[0.0, -1.0, 14.0]])
    assert np.array_equal(expected(bursts, alone, phase_s, 2.0), expected(bursts, joined, phase_s, 2.0))
    assert (
        expected(bursts, joined, phase_s, 9.0)[0, :4] > expected(bursts, alone, phase_s, 9.0)[0, :4]
    ).all()


def switched(on: bool, *, draws: int, generator) -> np.ndarray:
    """Fractions [draws, H] of the steps to come in which a region that is `on` now is on, drawn anew."""
    covered, now_s, state = np.zeros((draws, HORIZON + 1)), np.zeros(draws), np.full(draws, on)
    while (now_s < HORIZON).any():
        mean_s = np.where(state, MEMORYLESS.duration_s, MEMORYLESS.period_s - MEMORYLESS.duration_s)
        next_s = now_s + generator.standard_exponential(draws) * mean_s
        covered += (
            np.clip(np.arange(HORIZON + 1), now_s[:, None], next_s[:, None]) - now_s[:, None]
        ) * state[:, None]
        now_s, state = next_s, ~state
    return np.diff(covered, axis=1)


def test_memoryless_bursts_are_the_mean_over_all_ways_to_go_on() -> None:
    """On and off now; over 2 x 8 bins the false alarm is below 0.001."""
    spans_s, phase_s = drawn(MEMORYLESS, seed=3)
    generator, draws, seen = np.random.default_rng(4), 20_000, set()
    for now in range(0, 200, 3):
        on = bool(((spans_s[:, 0] == 1) & (spans_s[:, 1] <= now) & (now < spans_s[:, 2])).any())
        if on in seen:
            continue
        seen.add(on)
        said = expected(MEMORYLESS, spans_s, phase_s, float(now))[1]
        came = switched(on, draws=draws, generator=generator).mean(axis=0)
        assert (np.abs(came - said) <= stray(said, np.log(2 * 2 * 8 / 1e-3), draws)).all()
    assert seen == {True, False}


@pytest.mark.parametrize("bursts", [CALENDAR, MEMORYLESS, CASCADING], ids=lambda bursts: bursts.timing)
def test_it_is_unbiased_and_does_not_see_what_has_not_begun(bursts: Bursts) -> None:
    """Mean of expectation minus truth over 40 seeds, |t| < 4.5: false alarm 6e-5. Whatever comes after now,
    and without a calendar when what is on will end, changes nothing."""
    gaps = []
    for seed in range(40):
        spans_s, phase_s = drawn(bursts, seed=seed)
        times = [float(now) for now in range(0, 380, 19)]
        made = [expected(bursts, spans_s, phase_s, now) for now in times]
        truth = [realised(spans_s, now, regions=bursts.regions) for now in times]
        gaps.append(np.mean(np.array(made) - np.array(truth)))
        later = spans_s.copy()
        hidden = later[:, 1:] > 190.0
        if bursts.timing == "calendar":
            # The end of a burst that has begun is known.
            hidden = np.repeat(hidden[:, :1], 2, axis=1)
        later[:, 1:] += 0.7 * hidden
        # Followers repeat the leader, so what region 0 did long ago is all that may tell.
        later[later[:, 0] > 0, 1:] += 0.7 if bursts.timing == "cascading" else 0.0
        assert np.array_equal(made[10], expected(bursts, later, phase_s, 190.0))
    assert abs(np.mean(gaps)) < 4.5 * np.std(gaps, ddof=1) / np.sqrt(len(gaps))


def test_a_cascade_knows_what_comes_within_the_lag() -> None:
    spans_s, phase_s = drawn(CASCADING, seed=5)
    for now in range(0, 380, 7):
        made = expected(CASCADING, spans_s, phase_s, float(now))
        truth = realised(spans_s, float(now), regions=3)
        for region, known in ((1, 3), (2, 6)):
            assert made[region, :known] == pytest.approx(truth[region, :known], abs=1e-9)
