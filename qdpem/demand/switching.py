"""Processes without a calendar: on and off for exponential times, so that no change is predictable.

This is the two-state Markov process of the interrupted Poisson process (Kuczura 1973). It is stationary, with
the same law forwards and backwards. Keys of the random streams of the process NAME: `demand/switching/NAME`
(on or off at t = 0), `.../after` and `.../before` (durations of the states, outwards from t = 0).
"""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats
from qdpem.rng import stream

_BLOCK = 64


def on_spans(*, on_s: float, off_s: float, name: str, start_s: float, end_s: float, seed: int) -> Floats:
    """All on-spans that touch [start_s, end_s), float64 [B, 2], start and end, ascending.

    A longer range adds spans and moves none.

    Args:
        on_s: mean time on.
        off_s: mean time off.
        name: of the process, for the keys of its streams.
        start_s: start of the range, at most 0.
        end_s: end of the range, at least 0.
        seed: the traffic seed.
    """
    key = f"demand/switching/{name}"
    on = stream(seed, key).random() < on_s / (on_s + off_s)
    means_s = np.array([on_s, off_s])
    later_s = _switches(means_s, on, beyond_s=end_s, generator=stream(seed, f"{key}/after"))
    # Reversible in time: the past is drawn like the future, from t = 0 outwards, and then mirrored.
    earlier_s = -_switches(means_s, on, beyond_s=-start_s, generator=stream(seed, f"{key}/before"))[::-1]
    switch_s = np.concatenate([earlier_s, later_s])
    # States alternate, so the number of switches before t = 0 decides whether the first one switches on.
    first = 0 if on == (len(earlier_s) % 2 == 1) else 1
    switch_s = switch_s[first:]
    spans_s = switch_s[: len(switch_s) // 2 * 2].reshape(-1, 2)
    return np.asarray(spans_s[(spans_s[:, 0] < end_s) & (spans_s[:, 1] > start_s)])


def covered_s(spans_s: Floats, time_s: Floats) -> Floats:
    """Seconds of the spans [B, 2] before each time, float64 like `time_s` [T]."""
    begin_s, end_s = spans_s.T
    return np.asarray(np.clip(time_s[:, None] - begin_s, 0.0, end_s - begin_s).sum(axis=1))


def expected_on_s(spans_s: Floats, now_s: float, edges_s: Floats, *, on_s: float, off_s: float) -> Floats:
    """Expected seconds on in each step, float64 [H], for one who knows the state and the law at `now_s`.

    A process is on at x > t with probability c + (s - c) exp(-k (x - t)), where s is 1 if it is on at t and 0
    otherwise, c the fraction of time on, and k the sum of both switching rates.

    Args:
        spans_s: float64 [B, 2], the times on.
        now_s: present time t.
        edges_s: float64 [H + 1], of the steps; what lies before now is known.
        on_s: mean time on.
        off_s: mean time off.
    """
    begin_s, end_s = spans_s.T
    past = covered_s(spans_s, np.minimum(edges_s, now_s))
    ahead_s = np.maximum(edges_s - now_s, 0.0)
    on = bool(((begin_s <= now_s) & (now_s < end_s)).any())
    fraction = on_s / (on_s + off_s)
    rate_hz = 1.0 / on_s + 1.0 / off_s
    # expm1 keeps the digits for steps that are short against the switching time.
    coming = fraction * ahead_s - (on - fraction) * np.expm1(-rate_hz * ahead_s) / rate_hz
    return np.diff(past + coming)


def _switches(means_s: Floats, on: bool, *, beyond_s: float, generator: np.random.Generator) -> Floats:
    """Times of switches outwards from 0, the last two beyond `beyond_s`, so that its span is complete."""
    durations_s = np.zeros(0)
    while durations_s.sum() <= beyond_s:
        state = (np.arange(len(durations_s), len(durations_s) + _BLOCK) + (not on)) % 2
        # Always whole blocks: the k-th duration is the same for every range.
        block_s = generator.standard_exponential(_BLOCK) * means_s[state]
        durations_s = np.concatenate([durations_s, block_s])
    switch_s = np.cumsum(durations_s)
    return np.asarray(switch_s[: np.searchsorted(switch_s, beyond_s, side="right") + 2])
