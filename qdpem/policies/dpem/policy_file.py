"""Policy files: the shared actor of a training, what it was trained on, and what its privacy is."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import PolicyError
from qdpem.policies.dpem.networks import ACTOR, FEATURES, Kind, Weights, shape_of
from qdpem.strict_json import json_text

RELEASED = Path(__file__).parent / "released" / "dpem.npz"
FORMAT = "qdpem-policy-2"


def load_actor(policy_file: str) -> Weights:
    """The shared actor of a policy file, "" for the released one. Raises PolicyError for an invalid file."""
    path = Path(policy_file) if policy_file else RELEASED
    if not path.is_file():
        raise PolicyError(f"policy 'dpem' finds no policy file {path}; make one with `qdpem train SCENARIO`")
    arrays = _read(path)
    file_format = str(arrays.get("format", "none"))
    if file_format != FORMAT:
        raise PolicyError(f"{path} has format {file_format!r}; a policy file of this version has {FORMAT!r}")
    for kind in Kind:
        if tuple(arrays.get(f"features_{kind}", np.array([])).tolist()) != FEATURES[kind]:
            raise PolicyError(f"{path} was trained on other features than this version's; train it again")
    require_shapes(arrays, origin=str(path))
    return {name: arrays[name].astype(np.float64) for name in ACTOR}


def load_privacy(policy_file: str) -> tuple[float, float]:
    """Epsilon and delta that the training of a policy file spent; "" is the released one."""
    arrays = _read(Path(policy_file) if policy_file else RELEASED)
    epsilon, delta = arrays["privacy"].tolist()
    return float(epsilon), float(delta)


def save_actor(
    path: Path,
    actor: Weights,
    *,
    scenario: str,
    statement: str,
    privacy: tuple[float, float] = (np.inf, 0.0),
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write one shared actor as a policy file, whole or not at all. Equal weights give equal bytes.

    Args:
        path: of the file.
        actor: weights of one node.
        scenario: name of what it was trained on.
        statement: what its privacy is, in words.
        privacy: epsilon and delta that its training spent.
        provenance: figures of its training, which are kept as JSON.
    """
    # Single precision, as in training; it halves the file.
    arrays: dict[str, Any] = {name: actor[name].astype(np.float32) for name in ACTOR}
    partial = path.with_name(f".{path.stem}.partial.npz")
    arrays |= {f"features_{kind}": np.array(FEATURES[kind]) for kind in Kind}
    np.savez(
        partial,
        format=np.array(FORMAT),
        scenario=np.array(scenario),
        statement=np.array(statement),
        privacy=np.array(privacy),
        provenance=np.array(json_text(dict(provenance or {}))),
        **arrays,
    )
    os.replace(partial, path)


def require_shapes(actor: Mapping[str, NDArray[Any]], *, origin: str) -> None:
    """Raise PolicyError unless every array of an actor is there, with its shape."""
    for name in ACTOR:
        shape = actor[name].shape if name in actor else None
        if shape != shape_of(name):
            raise PolicyError(f"{origin} has {name} of shape {shape}; it must be {shape_of(name)}")


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # NpzFile, not np.load: the latter takes a file that is no zip for a pickle and reports only that.
        with path.open("rb") as raw, np.lib.npyio.NpzFile(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PolicyError(f"{path} is not a policy file (.npz): {error}") from error
