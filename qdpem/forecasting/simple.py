"""Forecasters with little or nothing to fit: none, constant, EWMA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.errors import QdpemError
from qdpem.forecasting.counts import CountForecaster, Counts

MIN_RATE = 1e-3
"""Expected counts below this are scored and fitted as this, so that no count is impossible."""

GRID = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Smoothing constants that a fit tries when none is set."""


class NoForecast(CountForecaster):
    """No forecast: NaN throughout."""

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """None."""

    name: ClassVar[str] = "none"

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()

    def begin(self) -> None:
        """Remember nothing."""

    def fit_counts(self, history: Counts) -> None:
        """Learn nothing."""

    def update_counts(self, counts: Counts) -> None:
        """Ignore the counts."""

    def means(self) -> Floats:
        """NaN."""
        return np.full(self.shape, np.nan)

    def state(self) -> dict[str, NDArray[Any]]:
        """Empty."""
        return {}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore nothing."""


class ConstantForecast(CountForecaster):
    """The long-run mean of each peer: all counts of the history and the run so far, over all their steps."""

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """None."""

    name: ClassVar[str] = "constant"

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()

    def begin(self) -> None:
        """Before any counts the mean is 0."""
        self._total = np.zeros(self.shape[:2], dtype=np.int64)
        self._steps = 0

    def fit_counts(self, history: Counts) -> None:
        """Sum the history."""
        self._total = history.sum(axis=0)
        self._steps = len(history)

    def update_counts(self, counts: Counts) -> None:
        """Add the counts."""
        self._total = self._total + counts
        self._steps += 1

    def means(self) -> Floats:
        """The mean, the same for all steps ahead."""
        mean = self._total / max(self._steps, 1)
        return np.repeat(mean[..., None], self.context.horizon_steps, axis=2)

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums so far."""
        return {"total": self._total.copy(), "steps": np.array(self._steps)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore saved sums."""
        self._total = np.array(state["total"], dtype=np.int64)
        self._steps = int(state["steps"])


class EwmaForecast(CountForecaster):
    """Exponentially weighted moving average: level <- level + a (count - level), constant over steps ahead.

    Each peer's a is the value of `GRID` with the minimum one-step Poisson deviance on the peer's own history,
    or `smoothing` for all peers when that is above 0. The level starts at the mean of the history, so that
    the first steps have no undue weight. After a fit on an empty history the level is 0 and a the first of
    `GRID`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """How fast the past fades."""

        smoothing: float = 0.0
        """Weight of the last step, above 0 and at most 1; 0 fits one per peer."""

    name: ClassVar[str] = "ewma"

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()
        if not 0.0 <= self.parameters.smoothing <= 1.0:
            raise QdpemError(
                f"smoothing = {self.parameters.smoothing:g} of the EWMA forecaster must lie in (0, 1],"
                " or be 0 to be fitted"
            )

    def begin(self) -> None:
        """Before any counts the level is 0."""
        self._level = np.zeros(self.shape[:2])
        self._smoothing = np.full(self.shape[:2], self.parameters.smoothing or GRID[0])

    def fit_counts(self, history: Counts) -> None:
        """Choose each peer's smoothing on its history and run through it."""
        if not len(history):
            self.begin()
            return
        grid = (self.parameters.smoothing,) if self.parameters.smoothing else GRID
        constants = np.array(grid)[:, None, None]
        level = np.repeat(history.mean(axis=0)[None], len(grid), axis=0)
        # The deviance up to a factor 2 and terms without the level: sum (level - count log level).
        deviance = np.zeros_like(level)
        for counts in history:
            safe = np.maximum(level, MIN_RATE)
            deviance += safe - counts * np.log(safe)
            # Scored before it moves: the deviance is that of a forecast one step ahead.
            level = level + constants * (counts - level)
        # argmin takes the first of equals: the smallest constant, which is the most stable.
        best = deviance.argmin(axis=0)
        self._smoothing = np.array(grid)[best]
        self._level = np.take_along_axis(level, best[None], axis=0)[0]

    def update_counts(self, counts: Counts) -> None:
        """Move each level towards the counts."""
        self._level = self._level + self._smoothing * (counts - self._level)

    def means(self) -> Floats:
        """The level, the same for all steps ahead."""
        return np.repeat(self._level[..., None], self.context.horizon_steps, axis=2)

    def state(self) -> dict[str, NDArray[Any]]:
        """Levels and smoothing constants."""
        return {"level": self._level.copy(), "smoothing": self._smoothing.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore saved levels and constants."""
        self._level = np.array(state["level"], dtype=np.float64)
        self._smoothing = np.array(state["smoothing"], dtype=np.float64)
