"""Past steps as a unit learns from them: features of every step, and what came after some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.forecasting.features.peer_features import StepInputs

STRIDE = 4
"""Every fourth step is scored: horizons of neighbours overlap, and say nearly the same."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """T steps of M peers.

    `features` float32 [T, M, F]. At the scored steps, O = T // STRIDE of them, the last of each `STRIDE`:
    `schedules` float16 [O, M, 9, H], `mean` float32 [O, M], `ahead` float32 [O, M, H], the counts that
    followed, and `weight` float32 [O, M]: 0 where a peer was not known, or the steps ahead are not complete.
    """

    features: NDArray[np.float32]
    schedules: NDArray[np.float16]
    mean: NDArray[np.float32]
    ahead: NDArray[np.float32]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.features)


class RecordedSteps:
    """Steps that are recorded one after the other, to become a series."""

    def __init__(self) -> None:
        self._features: list[NDArray[np.float32]] = []
        self._counts: list[Ints] = []
        self._scored: list[tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]]] = []

    def __len__(self) -> int:
        return len(self._features)

    def add(self, inputs: StepInputs, counts: Ints, known: Flags) -> None:
        """Record a step: its inputs, its counts [M], and which peers were known at its end."""
        self._features.append(inputs.features)
        self._counts.append(counts)
        if len(self) % STRIDE == 0:
            # Half precision: chances of starts are most of the memory of a fit.
            weight = (loss_weight(inputs.mean) * known).astype(np.float32)
            self._scored.append((inputs.schedules.astype(np.float16), inputs.mean.astype(np.float32), weight))

    def series(self) -> Series:
        """The recorded steps. There are `STRIDE` or more."""
        schedules, mean, weight = (np.stack(each) for each in zip(*self._scored, strict=True))
        counts, horizon = np.stack(self._counts), schedules.shape[-1]
        scored = np.arange(STRIDE - 1, len(self), STRIDE)
        padded = np.concatenate([counts[1:], np.zeros((horizon, counts.shape[1]), dtype=counts.dtype)])
        ahead = np.lib.stride_tricks.sliding_window_view(padded, horizon, axis=0)[scored]
        complete = (scored + horizon < len(counts))[:, None]
        return Series(
            features=np.stack(self._features),
            schedules=schedules,
            mean=mean,
            ahead=ahead.astype(np.float32),
            weight=np.asarray(weight * complete),
        )

    def forget(self, steps: int) -> None:
        """Drop the first `steps`, a multiple of `STRIDE`."""
        del self._features[:steps], self._counts[:steps], self._scored[: steps // STRIDE]

    def state(self) -> dict[str, NDArray[Any]]:
        """The recorded steps as arrays; none if there are none."""
        arrays: dict[str, NDArray[Any]] = {}
        if len(self):
            arrays |= {"features": np.stack(self._features), "counts": np.stack(self._counts)}
        if self._scored:
            columns = (np.stack(each) for each in zip(*self._scored, strict=True))
            arrays |= dict(zip(("schedules", "mean", "weight"), columns, strict=True))
        return arrays

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore recorded steps."""
        self._features, self._counts = (
            list(np.array(state.get(name, ()))) for name in ("features", "counts")
        )
        columns = (list(np.array(state.get(name, ()))) for name in ("schedules", "mean", "weight"))
        self._scored = list(zip(*columns, strict=True))


def loss_weight(mean: Floats) -> Floats:
    """Weight of a peer in the loss, so that busy peers do not outweigh quiet ones."""
    return np.asarray(1.0 / np.sqrt(mean + 0.003))
