"""What a linear forecast sees of each peer: counts of the past, calendar and regular starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.forecasting.features.harmonics import HARMONICS, Calendar
from qdpem.forecasting.features.peer_features import PeerFeatures, StepInputs, StepRequests
from qdpem.forecasting.features.schedule import SCHEDULES

LAGS = 4
"""Last steps whose counts are seen one by one."""

_SMOOTHING = np.array([0.25, 0.06, 0.015])

REGRESSORS = LAGS + len(_SMOOTHING) + 2 * HARMONICS + SCHEDULES
"""Regressors of a peer and a step ahead (`Regressors.advance`)."""


class Regressors:
    """Regressors of M peers, one step after the other; times in steps, t = 0 at the end of the history.

    Args:
        peers: M.
        horizon: H, steps ahead.
        calendar: of each peer; step 0 begins at t = 0.
    """

    def __init__(self, peers: int, *, horizon: int, calendar: Calendar) -> None:
        self._horizon = horizon
        self._starts = PeerFeatures(peers, horizon=horizon, calendar=calendar)
        self._calendar = calendar
        self._lags = np.zeros((peers, LAGS))
        self._levels = np.zeros((peers, len(_SMOOTHING)))

    def advance(self, step: int, peer: Ints, time: Floats, counts: Ints) -> tuple[Floats, Floats]:
        """Take in the requests of `step`; the regressors [M, H, K] of the next H steps, and the means [M].

        They are, beside the mean: the last counts and moving averages minus the mean; the harmonics of the
        calendar at the step ahead times mean and strength; the chances of regular starts in it. A peer
        without a request has 0 everywhere.
        """
        return self._of_step(step, self._starts.advance(step, peer, time), counts)

    def advance_all(
        self, first_step: int, asked: Sequence[StepRequests], counts: Ints
    ) -> Iterator[tuple[Floats, Floats]]:
        """Those of consecutive steps with counts [T, M], the same to the bit, in less time."""
        for index, inputs in enumerate(self._starts.advance_all(first_step, asked)):
            yield self._of_step(first_step + index, inputs, counts[index])

    def _of_step(self, step: int, inputs: StepInputs, counts: Ints) -> tuple[Floats, Floats]:
        """The regressors after a step that the features of starts have taken in."""
        known = self._starts.known
        mean = np.where(known, inputs.mean, 0.0)
        self._lags = np.column_stack([counts, self._lags[:, :-1]])
        self._levels = self._levels + _SMOOTHING * (counts[:, None] - self._levels)
        past = np.concatenate([self._lags, self._levels], axis=1) - mean[:, None]
        waves = self._waves(step + 1 + np.arange(self._horizon)) * mean[:, None, None]
        ahead = np.moveaxis(inputs.schedules.astype(np.float64), 1, 2)
        still = np.repeat(past[:, None], self._horizon, axis=1)
        return np.concatenate([still, waves, ahead], axis=2) * known[:, None, None], mean

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is remembered."""
        calendar = {f"calendar/{name}": array.copy() for name, array in vars(self._calendar).items()}
        starts = {f"starts/{name}": array for name, array in self._starts.state().items()}
        return {"lags": self._lags.copy(), "levels": self._levels.copy()} | calendar | starts

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""

        def part(name: str) -> dict[str, NDArray[Any]]:
            own = {key: array for key, array in state.items() if key.startswith(name)}
            return {key.removeprefix(name): np.array(array) for key, array in own.items()}

        self._lags, self._levels = np.array(state["lags"]), np.array(state["levels"])
        self._calendar = Calendar(**part("calendar/"))
        self._starts.load_state(part("starts/"))

    def _waves(self, steps: Ints) -> Floats:
        """The harmonics at `steps` times the strength of the calendar, [M, H, 6]."""
        waves = np.moveaxis(self._calendar.harmonics(steps), 0, 1)
        return np.asarray(waves * self._calendar.strength[:, None, None], dtype=np.float64)
