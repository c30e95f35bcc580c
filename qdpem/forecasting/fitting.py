"""Each node's own fit of its recurrent unit, from the shared start, on its own history alone.

Nothing is drawn at random, and no number of one node enters another's: gradients are clipped, the best
weights kept and the mix chosen node by node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdpem.forecasting.cell import WEIGHTS, CellStack, read_heads, run_cells
from qdpem.forecasting.features import MIN_MEAN, Calendar, fit_calendar, step_features

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]

SEGMENTS = 4
_WINDOW = 40
_CLIP_NORM = 0.5
_HELD_OUT = 0.2
_SHARES = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """What a fit leaves: weights and hidden state [N, H] at t = 0, and each node's mean and calendar.

    `fraction` [N] is the weight of the unit against the node's mean rate in its forecast, in [0, 1].
    """

    weights: Weights
    hidden: NDArray[np.float32]
    fraction: Floats
    mean: Floats
    calendar: Calendar


def widen_start(start: Mapping[str, NDArray[np.float32]], *, nodes: int, horizon: int) -> Weights:
    """One copy of the start per node, its head cut to `horizon` steps ahead, or its last step repeated."""
    columns = np.minimum(np.arange(horizon), start["head"].shape[-1] - 1)
    given = dict(start) | {name: start[name][..., columns] for name in ("head", "head_bias")}
    return {name: np.repeat(given[name], nodes, axis=0) for name in WEIGHTS}


def fit_nodes(
    history: NDArray[np.int64],
    start: Mapping[str, NDArray[np.float32]],
    *,
    horizon: int,
    epochs: int,
    learning_rate: float,
    use_calendar: bool,
) -> Fitted:
    """Fit every node on its column of `history` int64 [T, N], step T - 1 ending at t = 0.

    The last fifth is held out: it chooses each node's best epoch (the start itself is epoch 0) and its
    share against the mean. A history too short to hold out a useful fifth gives share 0.
    """
    steps, nodes = history.shape
    weights = widen_start(start, nodes=nodes, horizon=horizon)
    fraction = np.zeros(nodes)
    split = int(steps * (1.0 - _HELD_OUT))
    if split - horizon >= SEGMENTS * horizon and steps - split > 2 * horizon:
        with _one_thread():
            fitting = _Fitting(history, weights, split=split, horizon=horizon, use_calendar=use_calendar)
            weights, fraction = fitting.run(epochs, learning_rate)
    mean = np.maximum(history.mean(axis=0), MIN_MEAN) if steps else np.full(nodes, MIN_MEAN)
    calendar = _calendar(history, use_calendar)
    features = step_features(history, mean, calendar, first_step=-steps)
    cells = CellStack(weights)
    hidden = np.zeros((nodes, cells.units), dtype=np.float32)
    for row in features:
        hidden = cells.step(hidden, row)
    return Fitted(weights=weights, hidden=hidden, fraction=fraction, mean=mean, calendar=calendar)


def _calendar(counts: NDArray[np.int64], wanted: bool) -> Calendar:
    """The calendar of `counts`, its step 0 being the one after the last row."""
    steps, nodes = counts.shape
    if not wanted or not steps:
        return Calendar.none(nodes)
    found = fit_calendar(counts)
    return replace(found, offset_turns=(found.offset_turns + steps * found.turns_per_step) % 1.0)


class _Fitting:
    """One fit: the features and counts ahead as tensors, and each node's best weights so far.

    Letters: S segments side by side, L steps of a segment, A steps ahead.
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

        # the mean and calendar of the training part alone, so that the held-out part is foreseen as the
        # run will be
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
        self._first = self._last - SEGMENTS * self._length
        self._scored = horizon - 1

    def run(self, epochs: int, learning_rate: float) -> tuple[Weights, Floats]:
        """Train; each node's best weights and share."""
        import torch

        best = {name: value.detach().clone() for name, value in self._weights.items()}
        hidden = self._warm()
        minimum = self._held_out_loss(hidden[:, -1:])
        hidden = self._shifted(hidden)
        optimiser = torch.optim.Adam(self._weights.values(), lr=learning_rate)
        for _ in range(epochs):
            ends = self._epoch(optimiser, hidden)
            loss = self._held_out_loss(ends[:, -1:])
            better = loss < minimum
            minimum = torch.where(better, loss, minimum)
            for name, value in self._weights.items():
                best[name][better] = value.detach()[better]
            hidden = self._shifted(ends)
        with torch.no_grad():
            for name, value in self._weights.items():
                value.copy_(best[name])
        return {name: value.numpy() for name, value in best.items()}, self._fraction()

    def _segments(self, rows: Tensor) -> Tensor:
        """[L, N, S, ...] from [T, N, 1, ...]: the training part cut into segments that follow each other."""
        used = rows[self._first : self._last, :, 0]
        cut = used.reshape(SEGMENTS, self._length, *used.shape[1:])
        return cut.permute(1, 2, 0, *range(3, cut.dim())).contiguous()

    def _shifted(self, ends: Tensor) -> Tensor:
        """Where each segment starts: where the one before it ended; the first from rest."""
        import torch

        return torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], dim=1)

    def _warm(self) -> Tensor:
        """Hidden states [N, S, H] at the ends of the segments under the start's weights."""
        import torch

        nodes, units = self._weights["recurrent"].shape[:2]
        with torch.no_grad():
            used = self._features[self._first : self._last]
            states, _ = run_cells(self._weights, used, torch.zeros(nodes, 1, units))
        return states[self._length - 1 :: self._length, :, 0].permute(1, 0, 2).contiguous()

    def _epoch(self, optimiser: Any, hidden: Tensor) -> Tensor:
        """One pass of truncated back-propagation, hidden states kept from window to window."""
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
        """Each node's mean Poisson loss [N] in excess of its mean rate, over the root of that rate."""
        import torch

        ahead = read_heads(self._weights, states)
        loss = (ahead - 1.0) * self._rate - counts * torch.log(ahead)
        return (loss * self._rate.rsqrt()).mean(dim=(0, 2, 3))

    def _clip(self) -> None:
        """Bound the norm of each node's gradient by itself."""
        import torch

        squares = [value.grad.square().sum(dim=(1, 2)) for value in self._weights.values()]  # type: ignore[union-attr]
        factor = (_CLIP_NORM / torch.stack(squares).sum(dim=0).sqrt().clamp_min(1e-12)).clamp_max(1.0)
        for value in self._weights.values():
            value.grad.mul_(factor[:, None, None])  # type: ignore[union-attr]

    def _held_out(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """States after the held-out steps, and the counts that came, from the state [N, 1, H] at `_last`."""
        import torch

        rows = slice(self._last, len(self._ahead))
        with torch.no_grad():
            states, _ = run_cells(self._weights, self._features[rows], hidden)
        return states[self._scored :], self._ahead[rows][self._scored :]

    def _held_out_loss(self, hidden: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            return self._loss(*self._held_out(hidden))

    def _fraction(self) -> Floats:
        """The mix with the mean rate that had the least held-out Poisson loss; ties go to the mean."""
        import torch

        with torch.no_grad():
            states, counts = self._held_out(self._warm()[:, -1:])
            ahead = read_heads(self._weights, states).double()
        losses = []
        for fraction in _SHARES:
            mixed = fraction * ahead + (1.0 - fraction)
            loss = mixed * self._rate - counts * torch.log(mixed)
            losses.append(loss.mean(dim=(0, 2, 3)).numpy())
        return np.asarray(_SHARES[np.argmin(losses, axis=0)])


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread inside: on shared cores two were seen to be many times slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
