"""The actor and the local critic of every node, stacked along a first axis of N nodes.

- Actor: features -> 16 tanh units -> 1 score, with the same weights for every option. The policy is a masked
  softmax over each slot's scores. The output has no bias because a softmax cancels it.
- Critic: site features -> 16 tanh units -> 1 value, in units of normalised return. It never leaves its node.

Acting uses NumPy and sums in a fixed order, without BLAS, so that a row's result does not depend on the other
rows of the batch. Training uses torch, with all nodes in one batched product.
Letters in shapes: N nodes, S sites, M slots in use, B decisions, O options, F features, G site features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.policies.dpem.features import FEATURES, SITE_FEATURES
from qdpem.rng import stream

if TYPE_CHECKING:
    import torch

HIDDEN = 16
ACTOR = ("actor_hidden", "actor_bias", "actor_output")
CRITIC = ("critic_hidden", "critic_bias", "critic_output", "critic_offset")
SHAPES: dict[str, tuple[int, ...]] = {
    "actor_hidden": (len(FEATURES), HIDDEN),
    "actor_bias": (HIDDEN,),
    "actor_output": (HIDDEN,),
    "critic_hidden": (len(SITE_FEATURES), HIDDEN),
    "critic_bias": (HIDDEN,),
    "critic_output": (HIDDEN,),
    "critic_offset": (),
}

Weights = dict[str, Floats]
"""Name -> array [N, *SHAPES[name]], or [*SHAPES[name]] for one node."""

ACTOR_SIZE = sum(int(np.prod(SHAPES[name])) for name in ACTOR)


def initial_actor(seed: int) -> Weights:
    """One node's actor: orthogonal weights with gain sqrt(2), and 0.01 in the output (Engstrom et al. 2020).

    The small output weights make the first policy nearly uniform over the allowed options. This is detail 2
    of "The 37 implementation details of PPO" (Huang et al. 2022).
    """
    generator = stream(seed, "learning/actor")
    return {
        "actor_hidden": orthogonal(SHAPES["actor_hidden"], gain=np.sqrt(2.0), generator=generator),
        "actor_bias": np.zeros(HIDDEN),
        "actor_output": orthogonal((HIDDEN, 1), gain=0.01, generator=generator)[:, 0],
    }


def initial_critics(seed: int, *, nodes: int) -> Weights:
    """Every node's own critic [N, ...], each drawn from its own stream; the gain of the output is 1."""
    critics = []
    for node in range(nodes):
        generator = stream(seed, f"learning/critic/{node}")
        critics.append(
            {
                "critic_hidden": orthogonal(SHAPES["critic_hidden"], gain=np.sqrt(2.0), generator=generator),
                "critic_bias": np.zeros(HIDDEN),
                "critic_output": orthogonal((HIDDEN, 1), gain=1.0, generator=generator)[:, 0],
                "critic_offset": np.zeros(()),
            }
        )
    return {name: np.stack([critic[name] for critic in critics]) for name in CRITIC}


def orthogonal(shape: tuple[int, ...], *, gain: float, generator: np.random.Generator) -> Floats:
    """A random matrix times `gain`, with orthonormal columns, or rows if fewer (Saxe et al. 2014)."""
    rows, columns = shape
    draw = generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(draw)
    # QR fixes signs by convention. This makes the draw uniform over all orthogonal matrices (Mezzadri 2007).
    q = q * np.sign(np.diagonal(r))
    matrix: Floats = gain * (q if rows >= columns else q.T)
    return matrix


def stacked(weights: Mapping[str, Floats], *, nodes: int) -> Weights:
    """One node's weights as N equal copies, which are views of the same memory."""
    return {name: np.broadcast_to(value, (nodes, *value.shape)) for name, value in weights.items()}


def flatten_actors(weights: Mapping[str, Floats]) -> Floats:
    """The actors of N nodes as one row of P = ACTOR_SIZE numbers each, float64 [N, P]."""
    return np.concatenate([weights[name].reshape(len(weights[name]), -1) for name in ACTOR], axis=1)


def unflatten_actor(row: Floats) -> Weights:
    """The actor of one node from its row of ACTOR_SIZE numbers."""
    sizes = [int(np.prod(SHAPES[name])) for name in ACTOR]
    parts = np.split(row, np.cumsum(sizes)[:-1])
    return {name: part.reshape(SHAPES[name]) for name, part in zip(ACTOR, parts, strict=True)}


def _layer(inputs: Floats, kernel: Floats, bias: Floats) -> Floats:
    """tanh(bias + sum_f inputs[..., f] kernel[..., f, :]), summed in the order of f in every row."""
    total = bias + inputs[..., 0, None] * kernel[..., 0, :]
    for column in range(1, inputs.shape[-1]):
        # A loop in place of BLAS, whose order of summation depends on the shape of the batch.
        total += inputs[..., column, None] * kernel[..., column, :]
    return np.tanh(total)


def _head(hidden: Floats, output: Floats) -> Floats:
    total = hidden[..., 0] * output[..., 0]
    for column in range(1, hidden.shape[-1]):
        total = total + hidden[..., column] * output[..., column]
    return total


def scores(weights: Mapping[str, Floats], node: NDArray[np.int64], features: NDArray[Any]) -> Floats:
    """Scores [M, O] of options [M, O, F]; the actor of node[m] scores row m."""
    kernel, bias, output = (weights[name][node][:, None] for name in ACTOR)
    return _head(_layer(features.astype(np.float64), kernel, bias), output)


def values(weights: Mapping[str, Floats], node: NDArray[np.int64], features: NDArray[Any]) -> Floats:
    """Normalised values [S] of site features [S, G]; the critic of node[s] values row s."""
    kernel, bias, output, offset = (weights[name][node] for name in CRITIC)
    return _head(_layer(features.astype(np.float64), kernel, bias), output) + offset


def probabilities(score: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Masked softmax over the last axis; zeros where no option is allowed."""
    masked = np.where(mask, score, -np.inf)
    # Subtracting the maximum cannot overflow; a row without an allowed option has no finite maximum.
    top = np.where(mask.any(axis=-1, keepdims=True), masked.max(axis=-1, keepdims=True), 0.0)
    weight = np.exp(masked - top)
    total = weight[..., 0].copy()
    for column in range(1, weight.shape[-1]):
        total += weight[..., column]
    probability: Floats = weight / np.where(total > 0.0, total, 1.0)[..., None]
    return probability


def sample(probability: Floats, u: Floats) -> NDArray[np.int64]:
    """The first option whose cumulative probability exceeds u, elementwise; 0 if none does."""
    passed = np.cumsum(probability, axis=-1) > u[..., None]
    # The sum may round to less than u: then no option passes, and 0 is always allowed.
    return np.where(passed.any(axis=-1), passed.argmax(axis=-1), 0).astype(np.int64)


def torch_scores(weights: Mapping[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """Scores [N, B, SLOTS, O] of features [N, B, SLOTS, O, F], differentiable."""
    import torch

    nodes, *shape, width = features.shape
    hidden = torch.tanh(
        torch.baddbmm(
            weights["actor_bias"][:, None], features.reshape(nodes, -1, width), weights["actor_hidden"]
        )
    )
    return torch.bmm(hidden, weights["actor_output"][:, :, None]).reshape(nodes, *shape)


def torch_values(weights: Mapping[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """Normalised values [N, B] of site features [N, B, G], differentiable."""
    import torch

    hidden = torch.tanh(torch.baddbmm(weights["critic_bias"][:, None], features, weights["critic_hidden"]))
    return (
        torch.bmm(hidden, weights["critic_output"][:, :, None])[:, :, 0] + weights["critic_offset"][:, None]
    )
