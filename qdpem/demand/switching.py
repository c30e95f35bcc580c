"""Bursts without a calendar: on and off by turns, each for an exponential time, so that none can be foreseen.

The two-state Markov process of the interrupted Poisson process (Kuczura 1973), stationary at any time and the
same law forwards and backwards. Keys of its random streams, for what is called NAME: `demand/switching/NAME`
(on or off at t = 0), `.../after` and `.../before` (how long each turn lasts, outwards from t = 0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdpem.rng import stream
from qdpem.scenario.schema import Bursts

_BLOCK = 64


def on_spans(bursts: Bursts, *, name: str, start_s: float, end_s: float, seed: int) -> NDArray[np.float64]:
    """When it is on: all spans that touch [start_s, end_s), float64 [B, 2], start and end, ascending.

    On lasts `duration_s` on average, off the rest of `period_s`. `start_s` is at most 0, `end_s` at least 0.
    A longer span adds spans and moves none.
    """
    key = f"demand/switching/{name}"
    on = stream(seed, key).random() < bursts.duration_s / bursts.period_s
    later_s = _switches(bursts, on, beyond_s=end_s, generator=stream(seed, f"{key}/after"))
    earlier_s = -_switches(bursts, on, beyond_s=-start_s, generator=stream(seed, f"{key}/before"))[::-1]
    switch_s = np.concatenate([earlier_s, later_s])
    # The first switch begins a span if it leads to what is on just before t = 0, counted back in turns.
    first = 0 if on == (len(earlier_s) % 2 == 1) else 1
    switch_s = switch_s[first:]
    spans_s = switch_s[: len(switch_s) // 2 * 2].reshape(-1, 2)
    return np.asarray(spans_s[(spans_s[:, 0] < end_s) & (spans_s[:, 1] > start_s)])


def _switches(
    bursts: Bursts, on: bool, *, beyond_s: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Times of switches outwards from 0, the last two beyond `beyond_s`, so that the span there is whole."""
    means_s = np.array([bursts.duration_s, bursts.period_s - bursts.duration_s])
    turns_s = np.zeros(0)
    while turns_s.sum() <= beyond_s:
        place = (np.arange(len(turns_s), len(turns_s) + _BLOCK) + (not on)) % 2
        turns_s = np.concatenate([turns_s, generator.standard_exponential(_BLOCK) * means_s[place]])
    switch_s = np.cumsum(turns_s)
    return np.asarray(switch_s[: np.searchsorted(switch_s, beyond_s, side="right") + 2])
