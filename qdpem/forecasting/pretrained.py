"""The pretrained weights from which every node's recurrent unit is fitted, and the command that makes them.

    python -m qdpem.forecasting.pretrained

The command trains one unit on synthetic series: bursts of varied period, length, height and jitter, bursts
without a period, and steady demand, at mean counts from 0.03 to 6 per step. No scenario is among them.
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError
from qdpem.forecasting.cell import WEIGHTS, read_heads, run_cells
from qdpem.forecasting.features import FEATURES, MIN_MEAN, fit_calendar, step_features
from qdpem.rng import stream

if TYPE_CHECKING:
    from torch import Tensor

RELEASED = Path(__file__).parent / "released" / "gru_start.npz"
UNITS = 16
STEPS_AHEAD = 10
_SHAPES = {
    "input": (1, FEATURES, 3 * UNITS),
    "recurrent": (1, UNITS, 3 * UNITS),
    "input_bias": (1, 1, 3 * UNITS),
    "recurrent_bias": (1, 1, 3 * UNITS),
    "head": (1, UNITS, STEPS_AHEAD),
    "head_bias": (1, 1, STEPS_AHEAD),
}
_HISTORY = 400
_STEPS = 576
_WINDOW = 48


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """Settings of the pretraining: `batches` of `series` synthetic series; the learning rate falls to 0."""

    seed: int = 20_000
    batches: int = 1200
    series: int = 256
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


def synthetic_counts(generator: np.random.Generator, *, steps: int, series: int) -> NDArray[np.int64]:
    """Counts int64 [steps, series]: 60 % of the series burst periodically, 25 % without period, 15 % not."""
    mean = np.exp(generator.uniform(np.log(0.03), np.log(6.0), series))
    fraction = generator.uniform(0.1, 0.4, series)
    peak = 1.0 + generator.uniform(0.3, 1.0, series) * (1.0 / fraction - 1.0)
    low = (1.0 - peak * fraction) / (1.0 - fraction)
    kind = generator.choice(3, p=(0.6, 0.25, 0.15), size=series)
    inside = np.empty((steps, series))
    for index in range(series):
        # Log-uniform: no octave of periods is preferred.
        period = np.exp(generator.uniform(np.log(10.0), np.log(80.0)))
        jitter = generator.uniform(0.0, 0.06) * period if kind[index] == 0 else None
        inside[:, index] = _covered_fraction(generator, period, fraction[index] * period, jitter, steps)
    factor = np.where(kind == 2, 1.0, low + (peak - low) * inside)
    return generator.poisson(mean * factor).astype(np.int64)


def _covered_fraction(
    generator: np.random.Generator, period: float, length: float, jitter: float | None, steps: int
) -> NDArray[np.float64]:
    """The fraction of each step inside bursts, float64 [steps].

    Args:
        generator: source of the draws.
        period: mean time from one burst to the next, in steps.
        length: mean length of a burst, in steps.
        jitter: standard deviation of a periodic burst's start, in steps; None for bursts without a period.
        steps: length of the series.
    """
    count = int(steps / period) + 3
    if jitter is None:
        quiet = generator.exponential(period - length, 2 * count)
        lengths = generator.exponential(length, 2 * count)
        begin = np.cumsum(quiet) + np.concatenate([[0.0], np.cumsum(lengths)[:-1]]) - 2.0 * period
    else:
        clock = (np.arange(count) - generator.uniform(0.0, 1.0) - 1.0) * period
        begin = np.sort(clock + jitter * generator.standard_normal(count))
        lengths = np.full(count, length)
    edges = np.arange(steps + 1)[:, None]
    covered = np.clip(edges - begin, 0.0, lengths).sum(axis=1)
    # Overlapping bursts count once, as in the demand of scenarios.
    return np.asarray(np.minimum(np.diff(covered), 1.0))


def untrained(generator: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Uniform weights within 1/sqrt(units), the default of torch.nn.GRU, and a head near the mean rate."""
    bound = UNITS**-0.5
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in _SHAPES.items()}
    for name in ("input", "recurrent", "head"):
        weights[name] = generator.uniform(-bound, bound, _SHAPES[name]).astype(np.float32)
    # softplus(ln(e - 1)) = 1, so that the first forecast is about once the mean rate.
    weights["head_bias"] += np.float32(np.log(np.expm1(1.0)))
    return weights


def pretrain(
    settings: PretrainingSettings, *, on_batch: Callable[[int, float], None] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Train the unit on synthetic series; the learning rate falls to 0 along a cosine.

    `on_batch` is called with the batch and its mean Poisson loss less the loss of the mean rate.
    The loss of a series is its negative Poisson log-likelihood over all steps ahead, divided by the square
    root of its mean, so that busy series do not outweigh quiet ones.
    """
    import torch

    generator = stream(settings.seed, "forecasting/start")
    initial = untrained(generator)
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in initial.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.batches)
    for batch in range(settings.batches):
        hidden = torch.zeros(1, settings.series, UNITS)
        losses = []
        for features, counts, mean in _windows(generator, settings.series):
            states, hidden = run_cells(weights, features, hidden.detach())
            ahead = read_heads(weights, states)
            loss = ((ahead - 1.0) * mean - counts * torch.log(ahead)).mul(mean.rsqrt()).mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(weights.values(), 0.5)
            optimiser.step()
            losses.append(loss.item())
        schedule.step()
        if on_batch is not None:
            on_batch(batch, float(np.mean(losses)))
    return {name: value.detach().numpy() for name, value in weights.items()}


def _windows(generator: np.random.Generator, series: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Torch windows of one batch: features [W, 1, B, F], counts ahead [W, 1, B, A], means [1, 1, B, 1]."""
    import torch

    counts = synthetic_counts(generator, steps=_STEPS + STEPS_AHEAD, series=series)
    # Mean and calendar come from the first part only: a unit must learn to rely on them beyond it.
    mean = np.maximum(counts[:_HISTORY].mean(axis=0), MIN_MEAN)
    features = step_features(counts, mean, fit_calendar(counts[:_HISTORY]), first_step=0)
    ahead = np.lib.stride_tricks.sliding_window_view(counts[1:], STEPS_AHEAD, axis=0)
    means = torch.tensor(mean, dtype=torch.float32)[None, None, :, None]
    for start in range(0, _STEPS, _WINDOW):
        rows = slice(start, start + _WINDOW)
        yield (
            torch.tensor(features[rows])[:, None],
            torch.tensor(ahead[rows].astype(np.float32))[:, None],
            means,
        )


def main() -> None:
    """Train the weights and write them to `RELEASED`, or to --out."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m qdpem.forecasting.pretrained", description=__doc__)
    parser.add_argument("--out", type=Path, default=RELEASED)
    parser.add_argument("--seed", type=int, default=PretrainingSettings.seed)
    parser.add_argument("--batches", type=int, default=PretrainingSettings.batches)
    arguments = parser.parse_args()
    # One thread, so that sums have one order and the released weights can be reproduced.
    torch.set_num_threads(1)

    def report(batch: int, loss: float) -> None:
        if batch % 25 == 0 or batch == arguments.batches - 1:
            print(f"batch {batch:4d}  loss over the mean rate {loss:+.4f}", flush=True)

    weights = pretrain(PretrainingSettings(seed=arguments.seed, batches=arguments.batches), on_batch=report)
    np.savez(arguments.out, allow_pickle=False, **weights)
    print(f"{arguments.out}: {sum(value.size for value in weights.values())} numbers, {digest(weights)}")


if __name__ == "__main__":
    main()
