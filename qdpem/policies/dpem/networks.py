"""The scoring networks of `dpem`, one for each kind of decision, and the critics of every node.

A decision offers options, and a row of features describes each. The actor of its kind gives every option a
score, with the same weights for every option; the policy is the softmax over the allowed ones. A critic of
the same form estimates the return of each option, and never leaves its node. Both are

    score(x) = skip . x + output . tanh(x hidden + bias),

so that a linear rule is within reach at once. Weights of N nodes are stacked along a first axis.

Acting uses NumPy and sums in a fixed order, without BLAS, so that a row's result does not depend on the other
rows of the batch. Letters in shapes: N nodes, M decisions, O options, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.policies.dpem.feature_names import LINK_FEATURES, PEER_FEATURES, SERVE_FEATURES
from qdpem.rng import stream

if TYPE_CHECKING:
    import torch

HIDDEN = 16


class Kind(StrEnum):
    """What a decision is about: a pending request, the stock for a peer, or the stock of a link."""

    SERVE = "serve"
    PEER = "peer"
    LINK = "link"


FEATURES: Mapping[Kind, tuple[str, ...]] = {
    Kind.SERVE: SERVE_FEATURES,
    Kind.PEER: PEER_FEATURES,
    Kind.LINK: LINK_FEATURES,
}

PARTS = ("hidden", "bias", "output", "skip")
HEAD = ("output", "skip")
"""The parts of a network that are linear in its score."""

Weights = dict[str, Floats]
"""Name -> array [N, *shape], or [*shape] for one node."""


def names(prefix: str, kinds: Iterable[Kind] = Kind, parts: Iterable[str] = PARTS) -> tuple[str, ...]:
    """The names of weights: prefix, kind and part, such as "actor_serve_hidden"."""
    return tuple(f"{prefix}_{kind}_{part}" for kind in kinds for part in parts)


def shape_of(name: str) -> tuple[int, ...]:
    """The shape of one node's array of this name.

    >>> shape_of("actor_serve_bias")
    (16,)
    """
    _, kind, part = name.split("_")
    width = len(FEATURES[Kind(kind)])
    return {"hidden": (width, HIDDEN), "bias": (HIDDEN,), "output": (HIDDEN,), "skip": (width,)}[part]


ACTOR = names("actor")
CRITIC = names("critic")
ACTOR_SIZE = sum(int(np.prod(shape_of(name))) for name in ACTOR)


def initial(prefix: str, seed: int, key: str) -> Weights:
    """One node's networks of all kinds: orthogonal hidden weights of gain 1, and heads of zeros.

    A policy with these weights is uniform over the allowed options.
    """
    weights: Weights = {}
    for kind in Kind:
        generator = stream(seed, f"learning/{prefix}/{kind}/{key}")
        for part in PARTS:
            name = f"{prefix}_{kind}_{part}"
            weights[name] = np.zeros(shape_of(name))
            if part == "hidden":
                weights[name] = orthogonal(shape_of(name), generator=generator)
    return weights


def orthogonal(shape: tuple[int, ...], *, generator: np.random.Generator) -> Floats:
    """A random matrix with orthonormal columns, or rows if there are fewer (Saxe et al. 2014)."""
    rows, columns = shape
    draw = generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(draw)
    # QR fixes signs by convention. This makes the draw uniform over all orthogonal matrices (Mezzadri 2007).
    q = q * np.sign(np.diagonal(r))
    matrix: Floats = q if rows >= columns else q.T
    return matrix


def stacked(weights: Mapping[str, Floats], *, nodes: int) -> Weights:
    """One node's weights as N equal copies, which are views of the same memory."""
    return {name: np.broadcast_to(value, (nodes, *value.shape)) for name, value in weights.items()}


def flatten(weights: Mapping[str, Floats], parts: Iterable[str]) -> Floats:
    """The named weights of N nodes as one row each, float64 [N, P]."""
    return np.concatenate([weights[name].reshape(len(weights[name]), -1) for name in parts], axis=1)


def unflatten(row: Floats, parts: Iterable[str]) -> Weights:
    """The named weights of one node from its row."""
    weights: Weights = {}
    start = 0
    for name in parts:
        size = int(np.prod(shape_of(name)))
        weights[name] = row[start : start + size].reshape(shape_of(name))
        start += size
    return weights


def scores(weights: Mapping[str, Floats], prefix: str, kind: Kind, node: Ints, features: Floats) -> Floats:
    """Scores [M, O] of options [M, O, F]; the network of node[m] scores row m."""
    hidden, bias, output, skip = (weights[f"{prefix}_{kind}_{part}"][node][:, None] for part in PARTS)
    total = bias + features[..., 0, None] * hidden[..., 0, :]
    score = features[..., 0] * skip[..., 0]
    for column in range(1, features.shape[-1]):
        # A loop in place of BLAS, whose order of summation depends on the shape of the batch.
        total += features[..., column, None] * hidden[..., column, :]
        score += features[..., column] * skip[..., column]
    # Of the exact functions, tanh of NumPy gives the same bits for a number whatever its neighbours are.
    active = np.tanh(total)
    for column in range(HIDDEN):
        score += active[..., column] * output[..., column]
    return np.asarray(score)


def probabilities(score: Floats, mask: Flags) -> Floats:
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
    """The first option whose cumulative probability exceeds u, elementwise."""
    passed = np.cumsum(probability, axis=-1) > u[..., None]
    # The sum may round to less than u: then no option passes, and the last possible one is taken.
    last = probability.shape[-1] - 1 - (probability[..., ::-1] > 0.0).argmax(axis=-1)
    return np.asarray(np.where(passed.any(axis=-1), passed.argmax(axis=-1), last), dtype=np.int64)


def torch_scores(
    weights: Mapping[str, torch.Tensor], prefix: str, kind: Kind, features: torch.Tensor
) -> torch.Tensor:
    """Scores [N, B, O] of features [N, B, O, F], differentiable: all nodes in one batched product."""
    import torch

    hidden, bias, output, skip = (weights[f"{prefix}_{kind}_{part}"] for part in PARTS)
    nodes, *shape, width = features.shape
    flat = features.reshape(nodes, -1, width)
    active = torch.tanh(torch.baddbmm(bias[:, None], flat, hidden))
    score = torch.bmm(active, output[:, :, None]) + torch.bmm(flat, skip[:, :, None])
    return score.reshape(nodes, *shape)
