"""The likelihood by which units are trained: of counts that are Bernoulli plus Poisson."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_CHANCE = 0.9999
_MIN_RATE = 1e-6


def negative_log_likelihood(scheduled: Tensor, unscheduled: Tensor, counts: Tensor) -> Tensor:
    """Of counts y = Bernoulli(p) + Poisson(lambda), up to log y!, which no forecast changes; torch tensors.

    P(y) = Poisson(y; lambda) (1 - p + p y / lambda), because Poisson(y - 1; lambda) = y / lambda Poisson(y).
    """
    import torch

    p, rate = scheduled.clamp(max=_LARGEST_CHANCE), unscheduled.clamp(min=_MIN_RATE)
    return rate - counts * torch.log(rate) - torch.log(1.0 - p + p * counts / rate)


def trusted_starts(trust: Tensor, schedules: Tensor) -> Tensor:
    """The trusted part of the schedules: [..., H] from [..., 9] and [..., 9, H]."""
    import torch

    return torch.matmul(trust.unsqueeze(-2), schedules).squeeze(-2)
