"""The public start: weights from which every node's recurrent unit begins, and the command that makes them.

    python -m qdpem.forecasting.pretrained

The command trains one unit on synthetic peers (`recurrent.synthetic`). No scenario is among them.
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError
from qdpem.forecasting.features.harmonics import fit_calendar
from qdpem.forecasting.features.peer_features import FEATURES, PeerFeatures
from qdpem.forecasting.recurrent.cell import TRUSTS, WEIGHTS
from qdpem.forecasting.recurrent.series import RecordedSteps, Series
from qdpem.forecasting.recurrent.synthetic import synthetic_times
from qdpem.forecasting.recurrent.training import series_tensors, windows
from qdpem.rng import stream

RELEASED = Path(__file__).parent / "released" / "gru_start.npz"
UNITS = 16
STEPS_AHEAD = 10
_SHAPES = {
    "input": (1, FEATURES, 3 * UNITS),
    "recurrent": (1, UNITS, 3 * UNITS),
    "input_bias": (1, 1, 3 * UNITS),
    "recurrent_bias": (1, 1, 3 * UNITS),
    "head": (1, UNITS, TRUSTS + STEPS_AHEAD),
    "head_bias": (1, 1, TRUSTS + STEPS_AHEAD),
}
_STEPS = 1200
_HISTORY = 800
_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """Settings of the pretraining: `peers` synthetic peers, read `epochs` times in batches of 256.

    The learning rate falls to 0 along a cosine.
    """

    seed: int = 20_000
    peers: int = 4096
    epochs: int = 12
    learning_rate: float = 4e-3


def load_pretrained(path: Path = RELEASED) -> dict[str, NDArray[np.float32]]:
    """The pretrained weights, each with a first axis of 1. Raises QdpemError for a file of another kind."""
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            weights = {name: file[name] for name in WEIGHTS}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise QdpemError(f"{path} does not hold pretrained weights of the GRU forecaster: {error}") from error
    shapes = {name: value.shape for name, value in weights.items()}
    if shapes != _SHAPES:
        raise QdpemError(f"{path} holds weights of shapes {shapes}; the GRU forecaster needs {_SHAPES}")
    return weights


def digest(weights: dict[str, NDArray[np.float32]]) -> str:
    """A BLAKE2b digest of the weights, 32 hexadecimal digits."""
    sums = hashlib.blake2b(digest_size=16)
    for name in WEIGHTS:
        sums.update(np.ascontiguousarray(weights[name]).tobytes())
    return sums.hexdigest()


def untrained(generator: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Uniform weights within 1/sqrt(units), the default of torch.nn.GRU, and a head near the mean rate."""
    bound = UNITS**-0.5
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in _SHAPES.items()}
    for name in ("input", "recurrent", "head"):
        weights[name] = generator.uniform(-bound, bound, _SHAPES[name]).astype(np.float32)
    # softplus(ln(e - 1)) = 1, so that the first forecast is about once the mean rate.
    weights["head_bias"][..., TRUSTS:] = np.float32(np.log(np.expm1(1.0)))
    return weights


def pretrain(
    settings: PretrainingSettings, *, on_epoch: Callable[[int, float], None] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Train the unit on synthetic peers. `on_epoch` is called with the epoch and its mean loss."""
    import torch

    generator = stream(settings.seed, "forecasting/start")
    initial = untrained(generator)
    batches = list(synthetic_series(generator, settings.peers))
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in initial.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs * len(batches))
    for epoch in range(settings.epochs):
        losses = []
        for index in generator.permutation(len(batches)).tolist():
            tensors = series_tensors(batches[index], groups=1)
            for loss, _ in windows(weights, tensors, torch.zeros(1, tensors.peers, UNITS)):
                optimiser.zero_grad()
                torch.autograd.backward(loss.sum())
                torch.nn.utils.clip_grad_norm_(weights.values(), 0.5)
                optimiser.step()
                losses.append(loss.item())
            schedule.step()
        if on_epoch is not None:
            on_epoch(epoch, float(np.mean(losses)))
    return {name: value.detach().numpy() for name, value in weights.items()}


def synthetic_series(generator: np.random.Generator, peers: int) -> Iterator[Series]:
    """Batches of 256 synthetic peers or what is left."""
    for first in range(0, peers, _BATCH):
        times = synthetic_times(generator, steps=_STEPS, peers=min(_BATCH, peers - first))
        yield series_of_times(times, steps=_STEPS, history=_HISTORY, horizon=STEPS_AHEAD)


def series_of_times(times: list[NDArray[np.float64]], *, steps: int, history: int, horizon: int) -> Series:
    """The series of M peers from the times of their requests in [0, steps), in steps.

    The calendar is fitted to the first `history` steps only: a unit must learn to rely on it beyond them.
    """
    peer = np.repeat(np.arange(len(times)), [len(each) for each in times])
    time = np.concatenate(times)
    order = np.argsort(time, kind="stable")
    peer, time = peer[order], time[order]
    counts = np.zeros((steps, len(times)), dtype=np.int64)
    np.add.at(counts, (time.astype(np.int64), peer), 1)
    features = PeerFeatures(len(times), horizon=horizon, calendar=fit_calendar(counts[:history]))
    edges = np.searchsorted(time, np.arange(steps + 1))
    recorded = RecordedSteps()
    # The calendar's step 0 is the step after the history.
    asked = [(peer[begin:end], time[begin:end] - history) for begin, end in pairwise(edges.tolist())]
    for now, inputs in zip(counts, features.advance_all(-history, asked), strict=True):
        recorded.add(inputs, now, features.known)
    return recorded.series()


def main() -> None:
    """Train the weights and write them to `RELEASED`, or to --out."""
    import torch

    default = PretrainingSettings()
    parser = argparse.ArgumentParser(prog="python -m qdpem.forecasting.pretrained", description=__doc__)
    parser.add_argument("--out", type=Path, default=RELEASED)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--peers", type=int, default=default.peers)
    parser.add_argument("--epochs", type=int, default=default.epochs)
    arguments = parser.parse_args()
    # One thread, so that sums have one order and the released weights can be reproduced.
    torch.set_num_threads(1)
    settings = PretrainingSettings(seed=arguments.seed, peers=arguments.peers, epochs=arguments.epochs)
    weights = pretrain(
        settings, on_epoch=lambda epoch, loss: print(f"epoch {epoch:3d}  loss {loss:.5f}", flush=True)
    )
    np.savez(arguments.out, allow_pickle=False, **weights)
    print(f"{arguments.out}: {sum(value.size for value in weights.values())} numbers, {digest(weights)}")


if __name__ == "__main__":
    main()
