"""The fit of each group's unit, from the public start, on the group's own history; and its online learning.

Nothing is drawn at random. No number of one group enters another's fit: gradients are clipped and the best
weights kept for each group by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.forecasting.recurrent.adam import AdamOptimiser
from qdpem.forecasting.recurrent.cell import TRUSTS, WEIGHTS, run_cells
from qdpem.forecasting.recurrent.series import STRIDE, Series
from qdpem.forecasting.recurrent.training import (
    WINDOW,
    SeriesTensors,
    series_tensors,
    windows,
)
from qdpem.parallel import one_thread

if TYPE_CHECKING:
    from torch import Tensor

Weights: TypeAlias = dict[str, NDArray[np.float32]]

_CLIP_NORM = 0.5
_HELD_OUT = 0.2


def copy_to_groups(start: Mapping[str, NDArray[np.float32]], *, groups: int, horizon: int) -> Weights:
    """One copy of the public start per group, with a head of `horizon` steps ahead.

    A longer head is cut; a shorter one repeats its last step.
    """
    ahead = np.minimum(np.arange(horizon), start["head"].shape[-1] - TRUSTS - 1)
    columns = np.concatenate([np.arange(TRUSTS), TRUSTS + ahead])
    resized = dict(start) | {name: start[name][..., columns] for name in ("head", "head_bias")}
    return {name: np.repeat(resized[name], groups, axis=0) for name in WEIGHTS}


def fit_groups(series: Series, weights: Weights, *, epochs: int, learning_rate: float) -> Weights:
    """The weights of every group after a fit on its own peers.

    The last fifth of the series is held out. It chooses each group's best epoch; epoch 0 is `weights`, so
    that a group whom no epoch helps keeps them. A series too short to hold out a window changes nothing.

    Args:
        series: of M peers, M / G of each group in their order.
        weights: of G groups.
        epochs: passes over the series.
        learning_rate: of Adam (Kingma and Ba 2015).
    """
    import torch

    split = int(len(series) * (1.0 - _HELD_OUT)) // STRIDE * STRIDE
    if len(series) - split < WINDOW or not epochs:
        return weights
    with one_thread():
        tensors = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
        groups = len(weights["head"])
        training = series_tensors(_without_overlap(series, split), groups=groups, last=split)
        held_out = series_tensors(series, groups=groups, first=split)
        best = {name: value.detach().clone() for name, value in tensors.items()}
        smallest = _held_out_loss(tensors, training, held_out)
        optimiser = AdamOptimiser(tensors.values(), learning_rate=learning_rate)
        for _ in range(epochs):
            _epoch(tensors, training, optimiser)
            loss = _held_out_loss(tensors, training, held_out)
            better = loss < smallest
            smallest = torch.where(better, loss, smallest)
            for name, value in tensors.items():
                best[name][better] = value.detach()[better]
    return {name: value.numpy() for name, value in best.items()}


def online_step(
    series: Series, weights: Weights, hidden: NDArray[np.float32], learning_rate: Floats
) -> tuple[Weights, Floats]:
    """One step of gradient descent on the scored steps of a window, and the loss before it [G].

    Args:
        series: the window, and the steps that complete what came after it.
        weights: of G groups; they are left as they are.
        hidden: states [G, B, U] at the beginning of the window.
        learning_rate: of each group, float64 [G].
    """
    import torch

    with one_thread():
        tensors = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
        window = series_tensors(series, groups=len(hidden), last=WINDOW)
        loss, _ = next(windows(tensors, window, torch.tensor(hidden)))
        torch.autograd.backward(loss.sum())
        _clip(tensors)
        rate = torch.tensor(learning_rate, dtype=torch.float32)[:, None, None]
        moved = {name: (value - rate * _gradient(value)).detach().numpy() for name, value in tensors.items()}
    return moved, loss.detach().numpy().astype(np.float64)


def _without_overlap(series: Series, split: int) -> Series:
    """The series without the scored steps whose steps ahead reach past `split`."""
    weight = series.weight.copy()
    last = (split - series.ahead.shape[-1]) // STRIDE
    weight[max(last, 0) : split // STRIDE] = 0.0
    return replace(series, weight=weight)


def _no_states(tensors: Mapping[str, Tensor], series: SeriesTensors) -> Tensor:
    import torch

    groups, units = tensors["recurrent"].shape[:2]
    return torch.zeros(groups, series.peers, units)


def _epoch(tensors: Mapping[str, Tensor], training: SeriesTensors, optimiser: AdamOptimiser) -> None:
    """One pass of truncated back-propagation through time."""
    import torch

    for loss, _ in windows(tensors, training, _no_states(tensors, training)):
        for value in tensors.values():
            value.grad = None
        torch.autograd.backward(loss.sum())
        _clip(tensors)
        optimiser.step()


def _held_out_loss(tensors: Mapping[str, Tensor], training: SeriesTensors, held_out: SeriesTensors) -> Tensor:
    """Mean loss [G] of the held-out part, from states that have run through the training part."""
    import torch

    with torch.no_grad():
        _, hidden = run_cells(tensors, training.features, _no_states(tensors, training))
        losses = [loss for loss, _ in windows(tensors, held_out, hidden)]
    return torch.stack(losses).mean(dim=0)


def _clip(tensors: Mapping[str, Tensor]) -> None:
    """Scale each group's gradient down to norm `_CLIP_NORM`, without regard to the other groups."""
    import torch

    squares = [_gradient(value).square().sum(dim=(1, 2)) for value in tensors.values()]
    factor = (_CLIP_NORM / torch.stack(squares).sum(dim=0).sqrt().clamp_min(1e-12)).clamp_max(1.0)
    for value in tensors.values():
        _gradient(value).mul_(factor[:, None, None])


def _gradient(value: Tensor) -> Tensor:
    """The gradient that a backward pass left; every weight has one, because the loss needs them all."""
    assert value.grad is not None
    return value.grad
