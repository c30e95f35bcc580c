"""Fitted weights on disk, by hash of what they were fitted to."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from qdpem.errors import QdpemError
from qdpem.forecasting.recurrent.cell import WEIGHTS
from qdpem.forecasting.recurrent.fitting import Weights
from qdpem.forecasting.recurrent.series import Series


def cached_fit(directory: str, series: Series, settings: str, fit: Callable[[], Weights]) -> Weights:
    """The weights that `fit` returns for this series and these settings, from the cache if they are there.

    `directory` "" stores none. Raises QdpemError for a directory that cannot be written.
    """
    if not directory:
        return fit()
    path = Path(directory) / f"gru-{_key(series, settings)}.npz"
    # A file that a killed run left half written, or another version wrote, is written again.
    broken = (OSError, KeyError, ValueError, zipfile.BadZipFile)
    with contextlib.suppress(*broken), path.open("rb") as raw, np.load(raw) as file:
        return {name: np.array(file[name], dtype=np.float32) for name in WEIGHTS}
    weights = fit()
    _write(path, weights)
    return weights


def _key(series: Series, settings: str) -> str:
    key = hashlib.blake2b(settings.encode(), digest_size=16)
    for item in fields(series):
        array = getattr(series, item.name)
        key.update(repr(array.shape).encode())
        key.update(np.ascontiguousarray(array).tobytes())
    return key.hexdigest()


def _write(path: Path, weights: Weights) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several workers may fit the same history. Each writes a file of its own and renames it, which is
        # atomic.
        partial = path.with_name(f"{path.stem}.{os.getpid()}.npz")
        np.savez(partial, allow_pickle=False, **weights)
        partial.replace(path)
    except OSError as error:
        raise QdpemError(f"the forecaster cache {path.parent} cannot be written: {error}") from error
