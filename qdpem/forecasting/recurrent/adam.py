"""Adam without the optimisers of torch, whose first use imports its compiler: a second of every process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Adam:
    """Steps of Adam (Kingma and Ba 2015) with its usual constants, as `torch.optim.Adam` makes them.

    Args:
        parameters: tensors that steps change in place, by the gradients that a backward pass left.
        learning_rate: step size.
    """

    def __init__(self, parameters: Iterable[Tensor], *, learning_rate: float) -> None:
        import torch

        self._parameters, self._learning_rate = list(parameters), learning_rate
        self._means = [torch.zeros_like(value) for value in self._parameters]
        self._squares = [torch.zeros_like(value) for value in self._parameters]
        self._steps = [torch.tensor(0.0) for _ in self._parameters]

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        import torch
        from torch.optim.adam import adam

        moved = [index for index, value in enumerate(self._parameters) if value.grad is not None]
        with torch.no_grad():
            adam(
                [self._parameters[index] for index in moved],
                [value.grad for value in self._parameters if value.grad is not None],
                [self._means[index] for index in moved],
                [self._squares[index] for index in moved],
                [],
                [self._steps[index] for index in moved],
                foreach=False,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._learning_rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )
