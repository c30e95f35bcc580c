"""Gated recurrent units of all nodes, stacked: trained in torch, run in NumPy.

Each of N nodes has its own unit with its own weights, so every array has a first axis N. The equations are
those of Cho et al. (2014) in the form of torch.nn.GRU, with the gates in its order r, z, n:

    r = sigmoid(W_r x + b_r + U_r h + c_r)        n = tanh(W_n x + b_n + r * (U_n h + c_n))
    z = sigmoid(W_z x + b_z + U_z h + c_z)        h' = (1 - z) n + z h

The head is softplus(V h' + d), one number per step ahead. Weights of one node never meet values of another:
each node is its own product inside the batched one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
from qdpem.arrays import Floats

WEIGHTS = ("input", "recurrent", "input_bias", "recurrent_bias", "head", "head_bias")
"""Arrays of a stack: [N, F, 3H], [N, H, 3H], [N, 1, 3H], [N, 1, 3H], [N, H, A], [N, 1, A], where F are
features of a step, H hidden units and A steps ahead."""


def run_cells(weights: Mapping[str, Tensor], features: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """All hidden states [T, N, B, H] and the last one [N, B, H], in torch.

    `features` is [T, N, B, F], with B windows of each node side by side, and `hidden` is [N, B, H]. Time is
    the first axis because slicing one step out of the middle of an array costs several times the step itself.
    """
    import torch

    steps, nodes, batch, width = features.shape
    units = hidden.shape[-1]
    flat = features.permute(1, 0, 2, 3).reshape(nodes, steps * batch, width)
    # The input part of the gates does not depend on the state: one product covers all steps.
    from_inputs = torch.baddbmm(weights["input_bias"], flat, weights["input"])
    by_step = from_inputs.reshape(nodes, steps, batch, 3 * units).permute(1, 0, 2, 3).contiguous()
    states = []
    for from_input in by_step.unbind(0):
        from_hidden = torch.baddbmm(weights["recurrent_bias"], hidden, weights["recurrent"])
        gates = torch.sigmoid(from_input[..., : 2 * units] + from_hidden[..., : 2 * units])
        reset, update = gates[..., :units], gates[..., units:]
        candidate = torch.tanh(from_input[..., 2 * units :] + reset * from_hidden[..., 2 * units :])
        # (1 - z) n + z h with one product less.
        hidden = candidate + update * (hidden - candidate)
        states.append(hidden)
    return torch.stack(states), hidden


def read_heads(weights: Mapping[str, Tensor], states: Tensor) -> Tensor:
    """Positive multiples of the mean rate, [T, N, B, A], from hidden states [T, N, B, H], in torch."""
    import torch

    steps, nodes, batch, units = states.shape
    flat = states.permute(1, 0, 2, 3).reshape(nodes, steps * batch, units)
    raw = torch.baddbmm(weights["head_bias"], flat, weights["head"])
    return torch.nn.functional.softplus(raw).reshape(nodes, steps, batch, -1).permute(1, 0, 2, 3)


class CellStack:
    """The same units in NumPy, one step at a time. A step of 100 nodes takes a fifth of a millisecond."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._w = {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in WEIGHTS}
        self.units = self._w["recurrent"].shape[1]

    def step(self, hidden: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next hidden state [N, H] from the last one and this step's features [N, F]."""
        w, units = self._w, self.units
        from_input = np.matmul(features[:, None, :], w["input"])[:, 0] + w["input_bias"][:, 0]
        from_hidden = np.matmul(hidden[:, None, :], w["recurrent"])[:, 0] + w["recurrent_bias"][:, 0]
        # sigmoid(x) = (1 + tanh(x/2))/2, which cannot overflow.
        gates = 0.5 + 0.5 * np.tanh(0.5 * (from_input[:, : 2 * units] + from_hidden[:, : 2 * units]))
        reset, update = gates[:, :units], gates[:, units:]
        candidate = np.tanh(from_input[:, 2 * units :] + reset * from_hidden[:, 2 * units :])
        return np.asarray(candidate + update * (hidden - candidate))

    def read(self, hidden: NDArray[np.float32]) -> Floats:
        """Positive multiples of the mean rate [N, A] for the coming steps."""
        raw = np.matmul(hidden[:, None, :], self._w["head"])[:, 0] + self._w["head_bias"][:, 0]
        # logaddexp(0, x) is softplus without overflow.
        return np.asarray(np.logaddexp(0.0, raw.astype(np.float64)))
