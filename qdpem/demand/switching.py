"""Bursts without a calendar: alternately on and off for exponential times, so that no burst is predictable.

This is the two-state Markov process of the interrupted Poisson process (Kuczura 1973). It is stationary, with
the same law forwards and backwards. Keys of the random streams of the process NAME: `demand/switching/NAME`
(on or off at t = 0), `.../after` and `.../before` (durations of the states, outwards from t = 0).
"""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats
from qdpem.rng import stream
from qdpem.scenario.schema import Bursts

_BLOCK = 64


def on_spans(bursts: Bursts, *, name: str, start_s: float, end_s: float, seed: int) -> Floats:
    """All on-spans that touch [start_s, end_s), float64 [B, 2], start and end, ascending.

    The mean time on is `duration_s`, the mean time off the rest of `period_s`. A longer range adds spans and
    moves none.

    Args:
        bursts: the settings.
        name: of the process, for the keys of its streams.
        start_s: start of the range, at most 0.
        end_s: end of the range, at least 0.
        seed: the traffic seed.
    """
    key = f"demand/switching/{name}"
    on = stream(seed, key).random() < bursts.duration_s / bursts.period_s
    later_s = _switches(bursts, on, beyond_s=end_s, generator=stream(seed, f"{key}/after"))
    # Reversible in time: the past is drawn like the future, from t = 0 outwards, and then mirrored.
    earlier_s = -_switches(bursts, on, beyond_s=-start_s, generator=stream(seed, f"{key}/before"))[::-1]
    switch_s = np.concatenate([earlier_s, later_s])
    # States alternate, so the number of switches before t = 0 decides whether the first one switches on.
    first = 0 if on == (len(earlier_s) % 2 == 1) else 1
    switch_s = switch_s[first:]
    spans_s = switch_s[: len(switch_s) // 2 * 2].reshape(-1, 2)
    return np.asarray(spans_s[(spans_s[:, 0] < end_s) & (spans_s[:, 1] > start_s)])


def _switches(bursts: Bursts, on: bool, *, beyond_s: float, generator: np.random.Generator) -> Floats:
    """Times of switches outwards from 0, the last two beyond `beyond_s`, so that its span is complete."""
    means_s = np.array([bursts.duration_s, bursts.period_s - bursts.duration_s])
    durations_s = np.zeros(0)
    while durations_s.sum() <= beyond_s:
        state = (np.arange(len(durations_s), len(durations_s) + _BLOCK) + (not on)) % 2
        # Always whole blocks: the k-th duration is the same for every range.
        block_s = generator.standard_exponential(_BLOCK) * means_s[state]
        durations_s = np.concatenate([durations_s, block_s])
    switch_s = np.cumsum(durations_s)
    return np.asarray(switch_s[: np.searchsorted(switch_s, beyond_s, side="right") + 2])
