"""Forecasters that repeat what was: the last step, or the steps of one season before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.errors import QdpemError
from qdpem.forecasting.counts import CountForecaster, Counts
from qdpem.forecasting.features.harmonics import fit_calendar


class LastValueForecast(CountForecaster):
    """The counts of the last step, for all steps ahead: the naive forecast of time series."""

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """None."""

    name: ClassVar[str] = "last-value"

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()

    def begin(self) -> None:
        """Before any counts the last ones are 0."""
        self._last = np.zeros(self.shape[:2], dtype=np.int64)

    def fit_counts(self, history: Counts) -> None:
        """Keep the last step of the history."""
        self.begin()
        if len(history):
            self._last = history[-1].copy()

    def update_counts(self, counts: Counts) -> None:
        """Keep the counts."""
        self._last = counts.copy()

    def means(self) -> Floats:
        """The last counts, the same for all steps ahead."""
        return np.repeat(self._last[..., None].astype(np.float64), self.context.horizon_steps, axis=2)

    def state(self) -> dict[str, NDArray[Any]]:
        """The last counts."""
        return {"last": self._last.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore saved counts."""
        self._last = np.array(state["last"], dtype=np.int64)


class SeasonalNaiveForecast(CountForecaster):
    """The counts of one season before: the seasonal naive forecast (Hyndman and Athanasopoulos 2021, 5.2).

    The season of a peer is the period of its counts in the history where a test finds one
    (`features.harmonics`), else its mean interarrival time, else one step; `season_s` sets one for all peers.
    It is rounded to whole steps. Steps further ahead than a season repeat the last whole one. Counts before
    the history are 0.
    """

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """How long a season is."""

        season_s: float = 0.0
        """Length of a season; 0 finds one for each peer."""

    name: ClassVar[str] = "seasonal-naive"

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()
        if not 0.0 <= self.parameters.season_s < np.inf:
            raise QdpemError(
                f"season_s = {self.parameters.season_s:g} of the seasonal naive forecaster must be a time"
                " above 0, or 0 to be found"
            )

    def begin(self) -> None:
        """Before any counts the past is 0 and a season one step, or the one that is set."""
        season_s = self.parameters.season_s
        season = max(1, round(season_s / self.context.step_s))
        # No found season is longer than the history.
        kept = season if season_s else max(1, self.context.history_steps)
        self._season = np.full(self.shape[:2], season, dtype=np.int64)
        # A ring: step t stands in row t modulo its length.
        self._past = np.zeros((kept, *self.shape[:2]), dtype=np.int64)
        self._step = 0

    def fit_counts(self, history: Counts) -> None:
        """Find the seasons, and remember the counts of the longest one there can be."""
        self.begin()
        if len(history) and not self.parameters.season_s:
            found = seasons(history.reshape(len(history), -1)).reshape(self.shape[:2])
            self._season = np.minimum(found, len(self._past))
        for counts in history[-len(self._past) :]:
            self.update_counts(counts)

    def update_counts(self, counts: Counts) -> None:
        """Remember the counts instead of the oldest ones."""
        self._past[self._step % len(self._past)] = counts
        self._step += 1

    def means(self) -> Floats:
        """The counts of one season before each step ahead, or of as many seasons as lead to the past."""
        ahead = np.arange(self.context.horizon_steps)
        season = self._season[..., None]
        before = self._step + ahead - season * (ahead // season + 1)
        node, peer = np.indices(self.shape[:2])[..., None]
        return np.asarray(self._past[before % len(self._past), node, peer], dtype=np.float64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Seasons, counts and clock."""
        return {"season": self._season.copy(), "past": self._past.copy(), "step": np.array(self._step)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore saved counts and seasons."""
        self._season, self._past = (np.array(state[name], dtype=np.int64) for name in ("season", "past"))
        self._step = int(state["step"])


def seasons(counts: Counts) -> Ints:
    """The season of each peer in steps, int64 [M], from its counts [T, M]; 1 for a peer without requests."""
    turns = fit_calendar(counts).turns_per_step
    total = counts.sum(axis=0)
    interarrival = len(counts) / np.maximum(total, 1)
    found = np.where(turns > 0.0, 1.0 / np.where(turns > 0.0, turns, 1.0), interarrival)
    return np.where(total > 0, np.maximum(np.rint(found), 1.0), 1.0).astype(np.int64)
