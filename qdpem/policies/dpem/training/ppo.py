"""Proximal policy optimisation (Schulman et al. 2017) of N independent nodes, all in one batched step.

A site decides at irregular times t_k, so its decisions form a semi-Markov decision process (Sutton, Precup
and Singh 1999): V(s_k) = E[r_k + gamma_k V(s_{k+1})] with gamma_k = exp(-(t_{k+1} - t_k) / tau). Here r_k is
the sum of the rewards between t_k and t_{k+1}, each discounted from t_k to its own time. Advantages are
generalised advantage estimates (Schulman et al. 2016) with that gamma_k. A decision is one option per slot,
and its log-probability is the sum over slots. The end of an episode is a truncation: the value of the last
decision stands for all later rewards.

"Detail n" in comments refers to "The 37 implementation details of PPO" (Huang et al. 2022).
Letters in shapes: N nodes, B decisions, O options, F features, G site features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.policies.dpem.actor_critic import ACTOR, CRITIC, Weights, torch_scores, torch_values
from qdpem.rng import stream

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """Hyperparameters of PPO.

    - `epochs`: passes over the batch.
    - `minibatch`: decisions per node in one gradient step.
    - `learning_rate`: of Adam.
    - `clip_range`: c of the clipped ratio.
    - `entropy_coef`, `value_weight`: weights of the entropy bonus and of the value loss.
    - `gradient_norm`: bound on the norm of each node's gradient, for actor and critic separately.
    """

    epochs: int = 4
    minibatch: int = 64
    learning_rate: float = 3e-3
    clip_range: float = 0.2
    entropy_coef: float = 0.01
    value_weight: float = 0.5
    gradient_norm: float = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """B decisions of each of N nodes, padded where `valid` is False.

    - `features`: float32 [N, B, SLOTS, O, F].
    - `mask`: bool [N, B, SLOTS, O]; `option`: int64 [N, B, SLOTS].
    - `site_features`: float32 [N, B, G].
    - `log_probability`: float64 [N, B], of the decision under the policy that made it.
    - `advantage`: float64 [N, B].
    - `target`: float64 [N, B], the return in normalised units.
    - `valid`: bool [N, B].
    """

    features: NDArray[np.float32]
    mask: NDArray[np.bool_]
    option: NDArray[np.int64]
    site_features: NDArray[np.float32]
    log_probability: Floats
    advantage: Floats
    target: Floats
    valid: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class PPOReport:
    """Figures of the last minibatch of an update, as means over the nodes with decisions.

    `entropy` is per slot, in nats; `clipped_fraction` counts decisions whose ratio was clipped.
    """

    entropy: float
    clipped_fraction: float
    value_loss: float


def generalised_advantage(
    reward: Floats, value: Floats, discount: Floats, *, last_value: float, gae_lambda: float
) -> Floats:
    """Generalised advantage estimates GAE(lambda) of one sequence of K decisions, float64 [K].

    Args:
        reward: r_k, float64 [K].
        value: V_k, float64 [K].
        discount: gamma_k, float64 [K].
        last_value: V_K, the value of the decision after the sequence.
        gae_lambda: lambda, 0 for one-step advantages and 1 for returns minus values.

    delta_k = r_k + gamma_k V_{k+1} - V_k with V_K = last_value; A_k = delta_k + gamma_k lambda A_{k+1}.

    >>> generalised_advantage(np.array([1.0]), np.array([0.5]), np.array([0.5]), last_value=2.0,
    ...                       gae_lambda=0.9)
    array([1.5])
    """
    following = np.append(value[1:], last_value)
    delta = reward + discount * following - value
    advantage = np.zeros(len(reward))
    running = 0.0
    # Backwards, because each advantage contains the discounted later ones.
    for k in range(len(reward) - 1, -1, -1):
        running = delta[k] + discount[k] * gae_lambda * running
        advantage[k] = running
    return advantage


def normalise(advantage: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Advantages [N, B] with mean 0 and deviation 1 over each node's valid decisions, 0 elsewhere."""
    # Over the whole batch of a node, where detail 7 takes each minibatch: a node has few decisions.
    count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    mean = (advantage * valid).sum(axis=1, keepdims=True) / count
    centred = (advantage - mean) * valid
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    # 1e-8 as in common implementations: a node with equal advantages gets 0 and not NaN.
    normal: Floats = centred / (deviation + 1e-8)
    return normal


def loss(
    weights: Mapping[str, torch.Tensor], batch: Mapping[str, torch.Tensor], settings: PPOSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Each node's loss [N], to be minimised, and its entropy, clipped fraction and value loss, [N] each.

    The loss is -min(rho A, clip(rho, 1 - c, 1 + c) A) - w_H H + w_V (V - target)^2 with rho = pi / pi_old
    (Schulman et al. 2017, equations 7 and 9) and H the entropy per slot in use. Each term is a mean over the
    node's own valid decisions.
    """
    import torch

    mask, valid = batch["mask"], batch["valid"]
    used = mask.any(dim=3)
    # -1e9 and not -inf: a slot without an option would become NaN. Masked options get probability 0 in single
    # precision and therefore no gradient (Huang and Ontanon 2022).
    score = torch_scores(weights, batch["features"]).masked_fill(~mask, -1e9)
    log_pi = torch.log_softmax(score, dim=3)
    chosen = log_pi.gather(3, batch["option"][..., None])[..., 0]
    rho = torch.exp((chosen * used).sum(dim=2) - batch["log_probability"])
    advantage = batch["advantage"]
    clipped = rho.clamp(1.0 - settings.clip_range, 1.0 + settings.clip_range)
    gain = torch.minimum(rho * advantage, clipped * advantage)
    entropy = -(log_pi.exp() * log_pi * mask).sum(dim=3)
    # Per slot in use, so that the bonus does not grow with the number of pending requests.
    slots = used.sum(dim=2).clamp(min=1)
    entropy = (entropy * used).sum(dim=2) / slots
    # No clipping of the value loss (detail 9), which Andrychowicz et al. (2021) found to hurt.
    error = (torch_values(weights, batch["site_features"]) - batch["target"]) ** 2

    def mean(amount: torch.Tensor) -> torch.Tensor:
        return (amount * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)

    parts = {
        "entropy": mean(entropy),
        "clipped_fraction": mean((rho != clipped).to(rho.dtype)),
        "value_loss": mean(error),
    }
    total = -mean(gain) - settings.entropy_coef * parts["entropy"] + settings.value_weight * mean(error)
    return total, parts


def ppo_update(
    weights: Weights, batch: Batch, settings: PPOSettings, *, seed: int, key: str
) -> tuple[Weights, PPOReport]:
    """New weights of every node from its own decisions only; `weights` is not changed.

    No node's data touches another's weights: Adam works elementwise on the stacked weights, and gradients are
    clipped for each node separately, actor and critic apart.

    Args:
        weights: actor and critic of every node, [N, ...].
        batch: the decisions to learn from.
        settings: hyperparameters.
        seed: root seed of the training.
        key: name of the stream that shuffles the minibatches.
    """
    import torch

    parameters = {
        name: torch.tensor(weights[name], dtype=torch.float32, requires_grad=True)
        for name in (*ACTOR, *CRITIC)
    }
    # Adam starts anew in each round: the aggregator has replaced the actors that its moments would belong to.
    # Epsilon 1e-5 is detail 3.
    optimiser = torch.optim.Adam(parameters.values(), lr=settings.learning_rate, eps=1e-5)
    tensors = _tensors(batch)
    generator = stream(seed, key)
    size = batch.valid.shape[1]
    parts: dict[str, torch.Tensor] = {}
    for _ in range(settings.epochs):
        order = _shuffled(batch.valid, generator)
        for start in range(0, size, settings.minibatch):
            part = torch.from_numpy(order[:, start : start + settings.minibatch])
            rows = torch.arange(len(order))[:, None]
            total, parts = loss(
                parameters, {name: value[rows, part] for name, value in tensors.items()}, settings
            )
            optimiser.zero_grad()
            # The losses of different nodes share no weights, so the sum's gradient is each node's own.
            torch.autograd.backward(total.sum())
            _clip_gradients(parameters, norm=settings.gradient_norm)
            optimiser.step()
    learned = {name: value.detach().numpy().astype(np.float64) for name, value in parameters.items()}
    return learned, _report(parts, batch.valid)


def _shuffled(valid: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.int64]:
    """A random order of each node's decisions, int64 [N, B], with valid ones spread evenly over minibatches.

    Rank k of n valid decisions sorts at (k + 1/2) / n, and padding likewise. Otherwise the last minibatches
    of a node with few decisions would hold only padding.
    """
    nodes, size = valid.shape
    position = np.where(valid, generator.random((nodes, size)), 0.0)
    for node in range(nodes):
        mine = np.flatnonzero(valid[node])
        ranked = mine[np.argsort(position[node, mine])]
        position[node] = 2.0
        position[node, ranked] = (np.arange(len(ranked)) + 0.5) / max(len(ranked), 1)
        rest = np.flatnonzero(~valid[node])
        position[node, rest] = (np.arange(len(rest)) + 0.5) / max(len(rest), 1)
    return np.argsort(position, axis=1, kind="stable")


def _tensors(batch: Batch) -> dict[str, torch.Tensor]:
    import torch

    floats = {
        name: torch.tensor(getattr(batch, name), dtype=torch.float32)
        for name in ("features", "site_features", "log_probability", "target", "valid")
    }
    advantage = normalise(batch.advantage, batch.valid)
    return {
        **floats,
        "advantage": torch.tensor(advantage, dtype=torch.float32),
        "mask": torch.from_numpy(batch.mask),
        "option": torch.from_numpy(batch.option),
    }


def _clip_gradients(parameters: Mapping[str, torch.Tensor], *, norm: float) -> None:
    """Scale each node's actor gradient, and its critic gradient, down to `norm` (detail 11, per node)."""
    import torch

    for names in (ACTOR, CRITIC):
        gradients = [
            gradient for gradient in (parameters[name].grad for name in names) if gradient is not None
        ]
        square = torch.stack(
            [(gradient**2).reshape(len(gradient), -1).sum(dim=1) for gradient in gradients]
        ).sum(dim=0)
        # 1e-12 avoids a division by 0 at nodes without decisions.
        factor = (norm / (square.sqrt() + 1e-12)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.reshape(-1, *[1] * (gradient.dim() - 1)))


def _report(parts: Mapping[str, torch.Tensor], valid: NDArray[np.bool_]) -> PPOReport:
    learned = valid.any(axis=1)
    if not parts or not learned.any():
        return PPOReport(entropy=0.0, clipped_fraction=0.0, value_loss=0.0)
    means = {name: float(value.detach().numpy()[learned].mean()) for name, value in parts.items()}
    return PPOReport(**means)
