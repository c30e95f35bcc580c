"""Back-propagation through windows of a series, for all groups at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdpem.forecasting.recurrent.cell import read_heads, run_cells
from qdpem.forecasting.recurrent.likelihood import negative_log_likelihood, trusted_starts
from qdpem.forecasting.recurrent.series import STRIDE, Series

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 48
"""Steps through which gradients pass; hidden states pass on, gradients do not (Williams and Peng 1990)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesTensors:
    """A `Series` in torch: features [T, G, B, F], and [O, G, B, ...] at the scored steps."""

    features: Tensor
    schedules: Tensor
    mean: Tensor
    ahead: Tensor
    weight: Tensor

    @property
    def peers(self) -> int:
        """Peers of a group."""
        return int(self.features.shape[2])


def series_tensors(series: Series, *, groups: int, first: int = 0, last: int | None = None) -> SeriesTensors:
    """The steps `first` ... `last` - 1 of a series, which begin and end with a multiple of `STRIDE`."""
    import torch

    steps, scored = slice(first, last), slice(first // STRIDE, None if last is None else last // STRIDE)

    def grouped(values: NDArray[Any]) -> Tensor:
        array = np.ascontiguousarray(values).reshape(len(values), groups, -1, *values.shape[2:])
        return torch.from_numpy(array)

    return SeriesTensors(
        features=grouped(series.features[steps]),
        schedules=grouped(series.schedules[scored]),
        mean=grouped(series.mean[scored]),
        ahead=grouped(series.ahead[scored]),
        weight=grouped(series.weight[scored]),
    )


def windows(
    weights: Mapping[str, Tensor], tensors: SeriesTensors, hidden: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Mean loss [G] of each window under the weights of the moment, and the hidden states after it."""
    for begin in range(0, len(tensors.features) - STRIDE + 1, WINDOW):
        states, last = run_cells(weights, tensors.features[begin : begin + WINDOW], hidden.detach())
        scored = slice(begin // STRIDE, (begin + WINDOW) // STRIDE)
        yield _loss(weights, states[STRIDE - 1 :: STRIDE], tensors, scored), last
        hidden = last


def _loss(weights: Mapping[str, Tensor], states: Tensor, tensors: SeriesTensors, scored: slice) -> Tensor:
    """Mean negative log-likelihood of each group [G] at the scored steps of a window."""
    trust, multiples = read_heads(weights, states)
    scheduled = trusted_starts(trust, tensors.schedules[scored].float())
    rate = multiples * tensors.mean[scored].unsqueeze(-1)
    ahead = tensors.ahead[scored]
    # Less the loss of the mean rate, so that numbers stay small.
    plain = negative_log_likelihood(0.0 * rate, tensors.mean[scored].unsqueeze(-1).expand_as(rate), ahead)
    loss = negative_log_likelihood(scheduled, rate, ahead) - plain
    each = loss.mean(dim=-1) * tensors.weight[scored]
    return each.mean(dim=(0, 2))
