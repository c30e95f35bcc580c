"""The fit of each node's recurrent unit, from the shared pretrained weights, on the node's own history.

A fit draws nothing at random. No number of one node enters another's fit: gradients are clipped, the best
weights saved and the mix chosen for each node by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.forecasting.cell import WEIGHTS, CellStack, read_heads, run_cells
from qdpem.forecasting.features import MIN_MEAN, Calendar, fit_calendar, step_features

if TYPE_CHECKING:
    from torch import Tensor

Weights = dict[str, NDArray[np.float32]]

SEGMENTS = 4
_WINDOW = 40
_CLIP_NORM = 0.5
_HELD_OUT = 0.2
_MIX_WEIGHTS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedUnits:
    """The result of a fit: weights, the hidden state [N, H] at t = 0, and each node's mean and calendar.

    `unit_weight` [N] in [0, 1] is the weight of the unit in the node's forecast; the node's mean rate has the
    rest.
    """

    weights: Weights
    hidden: NDArray[np.float32]
    unit_weight: Floats
    mean: Floats
    calendar: Calendar


def copy_to_nodes(pretrained: Mapping[str, NDArray[np.float32]], *, nodes: int, horizon: int) -> Weights:
    """One copy of the pretrained weights per node, with a head of `horizon` steps ahead.

    A longer pretrained head is cut; a shorter one repeats its last step.
    """
    columns = np.minimum(np.arange(horizon), pretrained["head"].shape[-1] - 1)
    resized = dict(pretrained) | {name: pretrained[name][..., columns] for name in ("head", "head_bias")}
    return {name: np.repeat(resized[name], nodes, axis=0) for name in WEIGHTS}


def fit_nodes(
    history: NDArray[np.int64],
    pretrained: Mapping[str, NDArray[np.float32]],
    *,
    horizon: int,
    epochs: int,
    learning_rate: float,
    use_calendar: bool,
) -> FittedUnits:
    """Fit every node on its own column of `history`.

    The last fifth of the history is held out. It chooses each node's best epoch, where epoch 0 is the
    pretrained weights, and its `unit_weight`. A history too short to hold out a useful fifth gives
    `unit_weight` 0.

    Args:
        history: counts int64 [T, N]; step T - 1 ends at t = 0.
        pretrained: weights of one unit, each with a first axis of 1.
        horizon: steps ahead that a forecast covers.
        epochs: passes over the history; 0 leaves the pretrained weights as they are.
        learning_rate: of Adam (Kingma and Ba 2015).
        use_calendar: whether a unit sees the node's own period.
    """
    steps, nodes = history.shape
    weights = copy_to_nodes(pretrained, nodes=nodes, horizon=horizon)
    unit_weight = np.zeros(nodes)
    split = int(steps * (1.0 - _HELD_OUT))
    if split - horizon >= SEGMENTS * horizon and steps - split > 2 * horizon:
        with _one_thread():
            fitting = _Fitting(history, weights, split=split, horizon=horizon, use_calendar=use_calendar)
            weights, unit_weight = fitting.run(epochs, learning_rate)
    mean = np.maximum(history.mean(axis=0), MIN_MEAN) if steps else np.full(nodes, MIN_MEAN)
    calendar = _calendar(history, use_calendar)
    features = step_features(history, mean, calendar, first_step=-steps)
    cells = CellStack(weights)
    hidden = np.zeros((nodes, cells.units), dtype=np.float32)
    for row in features:
        hidden = cells.step(hidden, row)
    return FittedUnits(weights=weights, hidden=hidden, unit_weight=unit_weight, mean=mean, calendar=calendar)


def _calendar(counts: NDArray[np.int64], wanted: bool) -> Calendar:
    """The calendar of `counts`, moved so that its step 0 is the step after the last row."""
    steps, nodes = counts.shape
    if not wanted or not steps:
        return Calendar.none(nodes)
    calendar = fit_calendar(counts)
    offset_turns = (calendar.offset_turns + steps * calendar.turns_per_step) % 1.0
    return replace(calendar, offset_turns=offset_turns)


class _Fitting:
    """One fit: the features and counts ahead as tensors, and each node's best weights so far.

    Letters in shapes: N nodes, T steps, S segments side by side, L steps of a segment, A steps ahead, F
    features, H hidden units.

    Args:
        history: counts int64 [T, N].
        weights: the initial weights of every node.
        split: the first held-out step.
        horizon: steps ahead that a forecast covers.
        use_calendar: whether a unit sees the node's own period.
    """

    def __init__(
        self,
        history: NDArray[np.int64],
        weights: Weights,
        *,
        split: int,
        horizon: int,
        use_calendar: bool,
    ) -> None:
        import torch

        # The mean and calendar come from the training part only: in a run, too, the steps that are forecast
        # have no part in them.
        self._mean = np.maximum(history[:split].mean(axis=0), MIN_MEAN)
        calendar = _calendar(history[:split], use_calendar)
        features = step_features(history, self._mean, calendar, first_step=-split)
        ahead = np.lib.stride_tricks.sliding_window_view(history[1:], horizon, axis=0)
        self._features = torch.tensor(features)[:, :, None]
        self._ahead = torch.tensor(ahead.astype(np.float32))[:, :, None]
        self._rate = torch.tensor(self._mean, dtype=torch.float32)[None, :, None, None]
        self._weights = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
        self._last = split - horizon
        self._length = self._last // SEGMENTS
        # The remainder is cut off at the old end: the most recent steps matter most.
        self._first = self._last - SEGMENTS * self._length
        # Forecasts of the first horizon - 1 rows still reach into the training part: they are not scored.
        self._scored = horizon - 1

    def run(self, epochs: int, learning_rate: float) -> tuple[Weights, Floats]:
        """Train; return each node's best weights and its `unit_weight` [N]."""
        import torch

        best = {name: value.detach().clone() for name, value in self._weights.items()}
        hidden = self._warm()
        minimum = self._held_out_loss(hidden[:, -1:])
        hidden = self._shifted(hidden)
        optimiser = torch.optim.Adam(self._weights.values(), lr=learning_rate)
        for _ in range(epochs):
            ends = self._epoch(optimiser, hidden)
            loss = self._held_out_loss(ends[:, -1:])
            # Early stopping for each node by itself: a node that no epoch helps keeps the pretrained weights.
            better = loss < minimum
            minimum = torch.where(better, loss, minimum)
            for name, value in self._weights.items():
                best[name][better] = value.detach()[better]
            hidden = self._shifted(ends)
        with torch.no_grad():
            for name, value in self._weights.items():
                value.copy_(best[name])
        return {name: value.numpy() for name, value in best.items()}, self._best_mix()

    def _segments(self, rows: Tensor) -> Tensor:
        """[L, N, S, ...] from [T, N, 1, ...]: the training part, cut into S consecutive segments.

        The segments train side by side, as one batch.
        """
        used = rows[self._first : self._last, :, 0]
        cut = used.reshape(SEGMENTS, self._length, *used.shape[1:])
        return cut.permute(1, 2, 0, *range(3, cut.dim())).contiguous()

    def _shifted(self, ends: Tensor) -> Tensor:
        """Initial hidden states of the segments: the end of the segment before, zeros for the first."""
        import torch

        return torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], dim=1)

    def _warm(self) -> Tensor:
        """Hidden states [N, S, H] at the ends of the segments under the present weights."""
        import torch

        nodes, units = self._weights["recurrent"].shape[:2]
        with torch.no_grad():
            used = self._features[self._first : self._last]
            states, _ = run_cells(self._weights, used, torch.zeros(nodes, 1, units))
        return states[self._length - 1 :: self._length, :, 0].permute(1, 0, 2).contiguous()

    def _epoch(self, optimiser: Any, hidden: Tensor) -> Tensor:
        """One epoch of truncated back-propagation through time; returns the last states [N, S, H].

        Hidden states pass from window to window, gradients do not (Williams and Peng 1990).
        """
        import torch

        features, counts = self._segments(self._features), self._segments(self._ahead)
        for begin in range(0, self._length, _WINDOW):
            window = slice(begin, begin + _WINDOW)
            states, hidden = run_cells(self._weights, features[window], hidden.detach())
            loss = self._loss(states, counts[window]).sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            self._clip()
            optimiser.step()
        return hidden.detach()

    def _loss(self, states: Tensor, counts: Tensor) -> Tensor:
        """Each node's mean Poisson loss [N] less the loss of its mean rate, over the root of that rate.

        With m the mean rate, a the forecast over m, and y the count: ((a - 1) m - y ln a) / sqrt(m).
        """
        import torch

        ahead = read_heads(self._weights, states)
        loss = (ahead - 1.0) * self._rate - counts * torch.log(ahead)
        # The root of the rate balances busy and quiet nodes, as in the pretraining.
        return (loss * self._rate.rsqrt()).mean(dim=(0, 2, 3))

    def _clip(self) -> None:
        """Scale each node's gradient down to norm `_CLIP_NORM`, without regard to the other nodes."""
        import torch

        squares = [value.grad.square().sum(dim=(1, 2)) for value in self._weights.values()]  # type: ignore[union-attr]
        factor = (_CLIP_NORM / torch.stack(squares).sum(dim=0).sqrt().clamp_min(1e-12)).clamp_max(1.0)
        for value in self._weights.values():
            value.grad.mul_(factor[:, None, None])  # type: ignore[union-attr]

    def _held_out(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states over the held-out steps from `hidden` [N, 1, H] at `_last`, and the counts ahead."""
        import torch

        rows = slice(self._last, len(self._ahead))
        with torch.no_grad():
            states, _ = run_cells(self._weights, self._features[rows], hidden)
        return states[self._scored :], self._ahead[rows][self._scored :]

    def _held_out_loss(self, hidden: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            return self._loss(*self._held_out(hidden))

    def _best_mix(self) -> Floats:
        """The `unit_weight` [N] of minimum held-out Poisson loss; a tie goes to the mean rate."""
        import torch

        with torch.no_grad():
            states, counts = self._held_out(self._warm()[:, -1:])
            ahead = read_heads(self._weights, states).double()
        losses = []
        for unit_weight in _MIX_WEIGHTS:
            mixed = unit_weight * ahead + (1.0 - unit_weight)
            loss = mixed * self._rate - counts * torch.log(mixed)
            losses.append(loss.mean(dim=(0, 2, 3)).numpy())
        return np.asarray(_MIX_WEIGHTS[np.argmin(losses, axis=0)])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Restrict torch to one thread inside: with shared cores, two were measured to be many times slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
