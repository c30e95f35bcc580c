"""What a unit sees of a peer, against a direct computation from the list of its requests."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from qdpem.forecasting.features.harmonics import Calendar, fit_calendar
from qdpem.forecasting.features.peer_features import FEATURES, PeerFeatures
from qdpem.forecasting.features.schedule import SCHEDULES, WIDENINGS, schedules
from qdpem.forecasting.features.starts import REMEMBERED, RegularStarts, find_starts

STEPS, PEERS, HORIZON = 150, 4, 6


def times_of(seed: int) -> list[np.ndarray]:
    """A timetable, random requests, one request, and none."""
    generator = np.random.default_rng(seed)
    regular = np.arange(3.0, STEPS, 11.0) + 0.3 * generator.standard_normal(14)
    return [regular, np.sort(generator.uniform(0, STEPS, 40)), np.array([70.2]), np.zeros(0)]


def advanced(times: list[np.ndarray], *, steps: int = STEPS):
    """The inputs of every step."""
    features = PeerFeatures(len(times), horizon=HORIZON, calendar=Calendar.none(len(times)))
    made = []
    for step in range(steps):
        now = [(peer, time) for peer, own in enumerate(times) for time in own if step <= time < step + 1]
        now.sort(key=lambda each: each[1])
        peer = np.array([each[0] for each in now], dtype=np.int64)
        made.append(features.advance(step, peer, np.array([each[1] for each in now])))
    return features, made


@pytest.mark.parametrize("step", [20, 69, 70, 149])
def test_features_of_counts_by_hand(step: int) -> None:
    times = times_of(1)
    _, made = advanced(times)
    for peer, own in enumerate(times):
        seen, got = own[own < step + 1], made[step].features[peer]
        assert got.shape == (FEATURES,)
        if not len(seen):
            assert not got.any()
            continue
        count = int((np.floor(seen) == step).sum())
        mean = (len(seen) + 0.3) / (step + 1 + 60.0)
        assert made[step].mean[peer] == pytest.approx(mean)
        assert got[0] == pytest.approx((count - mean) / (1.0 + mean), rel=1e-5)
        assert got[1] == pytest.approx(0.5 * np.log(mean), rel=1e-5)
        for column, smoothing in ((2, 0.25), (3, 0.06), (4, 0.015)):
            first = int(seen[0])
            first_count = (np.floor(seen) == first).sum()
            level = max(smoothing * first_count, first_count / (first + 1))
            for each in range(first + 1, step + 1):
                level += smoothing * ((np.floor(seen) == each).sum() - level)
            expected = np.log((level + 0.1 * mean) / (1.1 * mean))
            assert got[column] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert got[5] == pytest.approx(np.log1p((step + 1 - seen[-1]) * mean), rel=1e-5)
        assert got[6] == pytest.approx(0.25 * np.log1p(len(seen)), rel=1e-5)
        gaps = np.diff(seen[-REMEMBERED:])
        variation = np.log(gaps.std(ddof=1) / gaps.mean()) if len(gaps) > 2 else 0.0
        assert got[7] == pytest.approx(variation, rel=1e-4, abs=1e-5)
        assert got[8] == 1.0


def test_a_peer_is_seen_alike_whoever_stands_beside_it() -> None:
    times = times_of(2)
    _, together = advanced(times)
    for peer, own in enumerate(times):
        _, alone = advanced([own])
        for step in range(0, STEPS, 7):
            assert np.array_equal(alone[step].features[0], together[step].features[peer])
            assert np.array_equal(alone[step].schedules[0], together[step].schedules[peer])


def test_many_steps_at_once_are_seen_as_one_by_one() -> None:
    times = times_of(4)
    expected, made = advanced(times)
    together = PeerFeatures(PEERS, horizon=HORIZON, calendar=Calendar.none(PEERS))
    peer, time = np.repeat(np.arange(PEERS), [len(own) for own in times]), np.concatenate(times)
    order = np.argsort(time)
    edges = np.searchsorted(time[order], np.arange(STEPS + 1)).tolist()
    asked = [(peer[order][a:b], time[order][a:b]) for a, b in pairwise(edges)]
    for step, inputs in enumerate(together.advance_all(0, asked)):
        for one, other in zip(inputs, made[step], strict=True):
            assert np.array_equal(one, other)
        assert together.known.tolist() == [len(own) > 0 and own[0] < step + 1 for own in times]
    state = together.state()
    assert all(np.array_equal(own, state[name], equal_nan=True) for name, own in expected.state().items())


def test_a_saved_state_goes_on_alike() -> None:
    times = times_of(3)
    first, _ = advanced(times, steps=80)
    second = PeerFeatures(PEERS, horizon=HORIZON, calendar=Calendar.none(PEERS))
    second.load_state(first.state())
    rows, time = np.array([0, 1, 1]), np.array([80.2, 80.4, 80.9])
    for one, other in zip(first.advance(80, rows, time), second.advance(80, rows, time), strict=True):
        assert np.array_equal(one, other)


def found_in(*times: np.ndarray) -> RegularStarts:
    table = np.full((len(times), REMEMBERED), np.nan)
    for row, own in zip(table, times, strict=True):
        row[REMEMBERED - len(own) :] = own
    return find_starts(table)


def test_exact_starts_are_found_with_their_period() -> None:
    found = found_in(5.0 + 13.0 * np.arange(20))
    assert found.seen.tolist() == [20.0]
    assert found.left_out.tolist() == [0.0]
    assert found.period[0] == pytest.approx([13.0] * 3, rel=1e-4)
    assert found.last[0] == pytest.approx([5.0 + 13.0 * 19] * 3, abs=1e-3)
    assert found.kept[0] == pytest.approx(21.0 / 21.1)


def test_skipped_starts_and_others_between_do_not_hide_the_period() -> None:
    starts = 5.0 + 13.0 * np.delete(np.arange(20), [4, 9, 10])
    others = np.array([11.0, 60.5, 100.2, 177.0])
    found = found_in(np.sort(np.concatenate([starts, others])))
    assert found.period[0] == pytest.approx([13.0] * 3, rel=1e-3)
    assert found.seen[0] == len(starts)
    assert found.left_out[0] == pytest.approx(4 / 21)
    # Sixteen of nineteen links' periods were kept, with the prior of 2 of 2.1.
    assert found.kept[0] == pytest.approx(18.0 / 21.1)


def test_the_spread_is_that_of_the_next_start() -> None:
    """Mean squared standardised error of the next start over the timetables, of 1,500, whose starts are all
    in the chain; jitter 0.4 of a period of 15. It is 1 but for the choice of chains, here within a quarter;
    the standard error is 0.04."""
    generator = np.random.default_rng(4)
    starts = 15.0 * np.arange(21) + 0.4 * generator.standard_normal((1500, 21))
    found = found_in(*starts[:, :20])
    right = found.seen == 20.0
    assert right.mean() > 0.8
    error = starts[right, 20] - found.last[right, 0] - found.period[right, 0]
    assert np.mean((error / found.spread[right, 0]) ** 2) == pytest.approx(1.0, abs=0.25)


def test_random_times_have_little_evidence_of_a_period() -> None:
    generator = np.random.default_rng(5)
    random = found_in(*np.sort(generator.uniform(0, 300, (200, 20)), axis=1))
    regular = found_in(*(15.0 * np.arange(20) + 0.5 * generator.standard_normal((200, 20))))
    assert np.quantile(random.evidence, 0.99) < np.quantile(regular.evidence, 0.01)


def test_schedules_are_the_chances_of_a_normal_start_that_has_not_come() -> None:
    one = np.ones(1)
    starts = RegularStarts(
        seen=9.0 * one,
        kept=0.9 * one,
        left_out=0.0 * one,
        evidence=one,
        last=np.array([[0.0, 0.0, 0.0]]),
        period=np.array([[50.0, 50.0, 50.0]]),
        spread=np.array([[2.0, 3.0, 1.0]]),
    )
    made = schedules(starts, now=48.0, horizon=HORIZON).reshape(3, len(WIDENINGS), HORIZON)
    edges = 48.0 + np.arange(HORIZON + 1)
    for way, spread in enumerate((2.0, 3.0, 1.0)):
        for index, widening in enumerate(WIDENINGS):
            below = stats.norm.cdf(edges, 50.0, spread * widening)
            expected = 0.9 * np.diff(below) / (1.0 - 0.9 * below[0])
            assert made[way, index] == pytest.approx(expected, abs=1e-6)
    none = schedules(RegularStarts.none(2), now=48.0, horizon=HORIZON)
    assert none.shape == (2, SCHEDULES, HORIZON)
    assert not none.any()


def test_the_calendar_finds_the_period_and_the_middle_of_the_busy_part() -> None:
    busy = (np.arange(600) - 5) % 30 < 6
    counts = np.random.default_rng(11).poisson(np.where(busy, 2.0, 0.25)[:, None] * [1.0, 0.4])
    found = fit_calendar(counts)
    assert 1.0 / found.turns_per_step == pytest.approx(30.0, rel=5e-3)
    # Busy steps 5 to 10 of 30: the middle is at 7.5.
    middle = (found.offset_turns + 7.5 * found.turns_per_step + 0.5) % 1.0 - 0.5
    assert middle == pytest.approx(0.0, abs=0.06)


def test_a_calendar_of_steady_demand_is_rarely_found() -> None:
    """2,000 steady peers at a false alarm of 1/1,000 each: more than 12 has probability 2e-7."""
    means = np.random.default_rng(12).uniform(0.2, 4.0, 2000)
    found = fit_calendar(np.random.default_rng(13).poisson(means, (400, 2000)))
    assert (found.turns_per_step > 0.0).sum() <= 12
    assert not found.harmonics(np.arange(3))[:, found.turns_per_step == 0.0].any()
