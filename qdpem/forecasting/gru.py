"""A recurrent forecaster: one gated recurrent unit per node, its own weights, its own history."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.errors import QdpemError
from qdpem.extras import require_packages
from qdpem.forecasting.cell import WEIGHTS, CellStack
from qdpem.forecasting.counts import CountForecaster, Counts
from qdpem.forecasting.features import Calendar, step_features
from qdpem.forecasting.fitting import FittedUnits, fit_nodes
from qdpem.forecasting.pretrained import RELEASED, digest, load_pretrained


class GruForecast(CountForecaster):
    """Expected counts of the next H steps from one local GRU per node.

    A unit sees its node's count, mean and calendar (`features`) and forecasts multiples of the mean. Every
    node starts from the same pretrained weights and fits its own copy on its own history. A node whose unit
    does not beat its mean rate on the held-out part forecasts the mean rate. Fitting uses torch, forecasting
    NumPy.
    """

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """How each node fits."""

        epochs: int = 40
        """Passes over the history; 0 leaves the pretrained weights and fits `unit_weight` only."""
        learning_rate: float = 1e-3
        """Step size of Adam."""
        calendar: bool = True
        """Whether a unit sees the node's own period."""
        cache: str = ""
        """Directory for fitted weights, by hash of history and parameters; "" stores none."""

    name: ClassVar[str] = "gru"
    _hidden: NDArray[np.float32]

    def __init__(self, parameters: Parameters | None = None) -> None:
        require_packages(["torch"], extra="learning", user=f"the forecaster {self.name!r}")
        self.parameters = parameters or self.Parameters()
        if self.parameters.epochs < 0 or not self.parameters.learning_rate > 0.0:
            raise QdpemError(
                f"epochs = {self.parameters.epochs} must be 0 or more and learning_rate ="
                f" {self.parameters.learning_rate:g} above 0 in the GRU forecaster"
            )

    def begin(self) -> None:
        """Until `fit` or `load_state` the forecast is that of an empty history."""
        self.fit_counts(np.zeros((0, *self.shape[:2]), dtype=np.int64))

    def fit_counts(self, history: Counts) -> None:
        """Fit every peer on its column of history, or read the fit from the cache."""
        nodes, peers, _ = self.shape
        history = np.ascontiguousarray(history.reshape(len(history), nodes * peers), dtype=np.int64)
        self._set_fit(self._cached(history) if len(history) else self._fit(history))
        self._total = history.sum(axis=0).astype(np.float64)
        self._counted = len(history)
        self._step = 0

    def update_counts(self, counts: Counts) -> None:
        """Take in the counts [N, P] of the step that just ended."""
        fitted, counts = self._fitted, counts.ravel()
        row = step_features(counts[None], fitted.mean, fitted.calendar, first_step=self._step)[0]
        self._hidden = self._cells.step(self._hidden, row)
        self._total = self._total + counts
        self._counted += 1
        self._step += 1

    def means(self) -> Floats:
        """Expected counts of the next steps, float64 [N, P, H]."""
        plain = self._total / max(self._counted, 1)
        unit_weight = self._fitted.unit_weight
        recurrent = self._cells.read(self._hidden) * (unit_weight * self._fitted.mean)[:, None]
        both = np.asarray(recurrent + ((1.0 - unit_weight) * plain)[:, None])
        # A place without any request so far holds no peer, or one about which nothing is known.
        return np.asarray((both * (self._total > 0.0)[:, None]).reshape(self.shape))

    @property
    def unit_weight(self) -> Floats:
        """The weight of each node's unit against its mean rate, float64 [N] in [0, 1]."""
        return self._fitted.unit_weight.copy()

    def files(self) -> dict[str, Path]:
        """The file of pretrained weights, which every record of a run embeds."""
        return {"gru_start.npz": RELEASED}

    def state(self) -> dict[str, NDArray[Any]]:
        """Weights, hidden states, means, calendars and the clock."""
        arrays = _arrays(replace(self._fitted, hidden=self._hidden))
        return {name: value.copy() for name, value in arrays.items()} | {
            "total": self._total.copy(),
            "counted": np.array(self._counted),
            "step": np.array(self._step),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state. Raises QdpemError unless its horizon is the run's."""
        self._set_fit(_fitted(state))
        self._total = np.array(state["total"], dtype=np.float64)
        self._counted, self._step = int(state["counted"]), int(state["step"])

    def _set_fit(self, fitted: FittedUnits) -> None:
        steps_ahead = fitted.weights["head"].shape[-1]
        if steps_ahead != self.context.horizon_steps:
            raise QdpemError(
                f"this GRU state looks {steps_ahead} steps ahead, but horizon_steps ="
                f" {self.context.horizon_steps}"
            )
        self._fitted, self._cells = fitted, CellStack(fitted.weights)
        self._hidden = fitted.hidden

    def _fit(self, history: NDArray[np.int64]) -> FittedUnits:
        return fit_nodes(
            history,
            load_pretrained(),
            horizon=self.context.horizon_steps,
            epochs=self.parameters.epochs,
            learning_rate=self.parameters.learning_rate,
            use_calendar=self.parameters.calendar,
        )

    def _cached(self, history: NDArray[np.int64]) -> FittedUnits:
        """The fit of this history, from the cache if there is one."""
        if not self.parameters.cache:
            return self._fit(history)
        path = Path(self.parameters.cache) / f"gru-{self._key(history)}.npz"
        # A file that a killed run left half written, or another version wrote, is written again.
        broken = (OSError, KeyError, ValueError, zipfile.BadZipFile)
        with contextlib.suppress(*broken), path.open("rb") as raw, np.load(raw) as file:
            return _fitted(file)
        fitted = self._fit(history)
        self._write(path, fitted)
        return fitted

    def _key(self, history: NDArray[np.int64]) -> str:
        p = self.parameters
        settings = (history.shape, self.context.horizon_steps, p.epochs, p.learning_rate, p.calendar)
        key = hashlib.blake2b(repr(settings).encode(), digest_size=16)
        # Other pretrained weights give another fit, so they are part of the key.
        key.update(digest(load_pretrained()).encode())
        key.update(history.tobytes())
        return key.hexdigest()

    def _write(self, path: Path, fitted: FittedUnits) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Several workers may fit the same history. Each writes a file of its own and renames it, which
            # is atomic.
            partial = path.with_name(f"{path.stem}.{os.getpid()}.npz")
            np.savez(partial, allow_pickle=False, **_arrays(fitted))
            partial.replace(path)
        except OSError as error:
            raise QdpemError(f"the forecaster cache {path.parent} cannot be written: {error}") from error


_CALENDAR_FIELDS = tuple(item.name for item in fields(Calendar))


def _arrays(fitted: FittedUnits) -> dict[str, NDArray[Any]]:
    """A fit as named arrays."""
    plain = {"hidden": fitted.hidden, "unit_weight": fitted.unit_weight, "mean": fitted.mean}
    calendar = {name: getattr(fitted.calendar, name) for name in _CALENDAR_FIELDS}
    return {**fitted.weights, **plain, **calendar}


def _fitted(arrays: Mapping[str, NDArray[Any]]) -> FittedUnits:
    """A fit from named arrays, copied."""
    return FittedUnits(
        weights={name: np.array(arrays[name], dtype=np.float32) for name in WEIGHTS},
        hidden=np.array(arrays["hidden"], dtype=np.float32),
        unit_weight=np.array(arrays["unit_weight"], dtype=np.float64),
        mean=np.array(arrays["mean"], dtype=np.float64),
        calendar=Calendar(**{name: np.array(arrays[name], dtype=np.float64) for name in _CALENDAR_FIELDS}),
    )
