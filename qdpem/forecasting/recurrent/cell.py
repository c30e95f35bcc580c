"""Gated recurrent units, stacked: trained in torch, run in NumPy.

Each of G groups has its own unit with its own weights, so every array has a first axis G. A group is a node,
and its rows are the node's peers; a pooled unit has one group for all. The equations are those of Cho et al.
(2014) in the form of torch.nn.GRU, with the gates in its order r, z, n:

    r = sigmoid(W_r x + b_r + U_r h + c_r)        n = tanh(W_n x + b_n + r * (U_n h + c_n))
    z = sigmoid(W_z x + b_z + U_z h + c_z)        h' = (1 - z) n + z h

The head V h' + d says how far to trust each schedule, by a softmax over the schedules and none of them, and
multiples of the mean rate, by a softplus, one for each step ahead. Weights of one group never meet values of
another: each group is its own product inside the batched one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from qdpem.arrays import Floats
from qdpem.forecasting.features.schedule import SCHEDULES

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = ("input", "recurrent", "input_bias", "recurrent_bias", "head", "head_bias")
"""Arrays of a stack: [G, F, 3U], [G, U, 3U], [G, 1, 3U], [G, 1, 3U], [G, U, O], [G, 1, O], where F are
features of a step, U hidden units and O = TRUSTS + steps ahead."""

TRUSTS = SCHEDULES + 1
"""Columns of the head before those of the rates: one for each schedule, and one for none of them."""


def run_cells(weights: Mapping[str, Tensor], features: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """All hidden states [T, G, B, U] and the last one [G, B, U], in torch.

    `features` is [T, G, B, F], with the B peers of each group side by side, and `hidden` is [G, B, U]. Time
    is the first axis because slicing one step out of the middle of an array costs several times the step
    itself.
    """
    import torch

    steps, groups, batch, width = features.shape
    units = hidden.shape[-1]
    flat = features.permute(1, 0, 2, 3).reshape(groups, steps * batch, width)
    # The input part of the gates does not depend on the state: one product covers all steps.
    from_inputs = torch.baddbmm(weights["input_bias"], flat, weights["input"])
    by_step = from_inputs.reshape(groups, steps, batch, 3 * units).permute(1, 0, 2, 3).contiguous()
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


def read_heads(weights: Mapping[str, Tensor], states: Tensor) -> tuple[Tensor, Tensor]:
    """Trust in each schedule [T, G, B, 9] and multiples of the mean rate [T, G, B, A], in torch."""
    import torch

    steps, groups, batch, units = states.shape
    flat = states.permute(1, 0, 2, 3).reshape(groups, steps * batch, units)
    raw = torch.baddbmm(weights["head_bias"], flat, weights["head"])
    raw = raw.reshape(groups, steps, batch, -1).permute(1, 0, 2, 3)
    trust = torch.softmax(raw[..., :TRUSTS], dim=-1)[..., :SCHEDULES]
    return trust, torch.nn.functional.softplus(raw[..., TRUSTS:])


class CellStack:
    """The same units in NumPy, one step at a time."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._w = {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in WEIGHTS}
        self.units = self._w["recurrent"].shape[1]

    def step(self, hidden: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next hidden state [G, B, U] from the last one and this step's features [G, B, F]."""
        w, units = self._w, self.units
        from_input = np.matmul(features, w["input"]) + w["input_bias"]
        from_hidden = np.matmul(hidden, w["recurrent"]) + w["recurrent_bias"]
        # sigmoid(x) = (1 + tanh(x/2))/2, which cannot overflow.
        gates = 0.5 + 0.5 * np.tanh(0.5 * (from_input[..., : 2 * units] + from_hidden[..., : 2 * units]))
        reset, update = gates[..., :units], gates[..., units:]
        candidate = np.tanh(from_input[..., 2 * units :] + reset * from_hidden[..., 2 * units :])
        return np.asarray(candidate + update * (hidden - candidate))

    def read(self, hidden: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Trust in each schedule [G, B, 9] and multiples of the mean rate [G, B, A]."""
        raw = np.asarray(np.matmul(hidden, self._w["head"]) + self._w["head_bias"], dtype=np.float64)
        trust = softmax(raw[..., :TRUSTS], axis=-1)[..., :SCHEDULES]
        # logaddexp(0, x) is softplus without overflow.
        return trust, np.asarray(np.logaddexp(0.0, raw[..., TRUSTS:]))
