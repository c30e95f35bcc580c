"""Learning during a run: a step of gradient descent at a fixed cadence, on the last window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Ints
from qdpem.forecasting.features.peer_features import StepInputs
from qdpem.forecasting.recurrent.fitting import Weights, online_step
from qdpem.forecasting.recurrent.series import STRIDE, RecordedSteps
from qdpem.forecasting.recurrent.training import WINDOW


class OnlineLearning:
    """Records the steps of a run, and lets all groups learn once every `WINDOW` steps.

    A window is learned from when the steps ahead of its last scored step have come.

    Args:
        groups: units with weights of their own.
        learning_rate: step size of gradient descent.
    """

    def __init__(self, groups: int, *, learning_rate: float) -> None:
        self._rate = np.full(groups, learning_rate)
        self._recorded = RecordedSteps()
        self._hidden: list[NDArray[np.float32]] = []

    def learn(
        self, inputs: StepInputs, counts: Ints, known: Flags, hidden: NDArray[np.float32], weights: Weights
    ) -> Weights | None:
        """Record a step, before which the states were `hidden`; the new weights when it is time to learn."""
        # The states at the beginning of the window and of the next one are what is needed of them.
        if len(self._recorded) in (0, WINDOW):
            self._hidden.append(hidden)
        self._recorded.add(inputs, counts, known)
        horizon = inputs.schedules.shape[-1]
        if len(self._recorded) < WINDOW + -(-horizon // STRIDE) * STRIDE:
            return None
        moved, _ = online_step(self._recorded.series(), weights, self._hidden.pop(0), self._rate)
        self._recorded.forget(WINDOW)
        return moved

    def state(self) -> dict[str, NDArray[Any]]:
        """The recorded steps and states."""
        hidden = {f"hidden/{index}": array.copy() for index, array in enumerate(self._hidden)}
        return self._recorded.state() | hidden

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self._recorded.load_state(state)
        self._hidden = [
            np.array(state[f"hidden/{index}"]) for index in range(2) if f"hidden/{index}" in state
        ]
