"""Proximal policy optimisation (Schulman et al. 2017) of N independent nodes, all in one batched step.

Every decision has a return of its own (`credit`), so a decision is one choice among options and not a joint
choice over all that a site decides. The advantage of a decision is its return minus V = sum over options of
pi x Q, where Q is the node's own critic: a baseline that does not depend on the option taken leaves the
gradient unbiased (Sutton and Barto 2018, section 13.4).

A client takes `epochs` steps of plain gradient descent over all its decisions. Plain, because the mean of the
clients' steps is then close to a step along the mean gradient, which the aggregator can take with Adam (Reddi
et al. 2021). Adam at each client would scale the noise of few decisions up to the size of a signal.

Letters in shapes: N nodes, B decisions of a node, O options, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdpem.policies.dpem.networks import HEAD, PARTS, Kind, Weights, names, torch_scores
from qdpem.policies.dpem.training.experience import Experience
from qdpem.scenario.words import Trainable

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """Hyperparameters of PPO.

    - `epochs`: steps over all decisions.
    - `learning_rate`: of gradient descent on the actor; `critic_learning_rate`: of Adam on the critics.
    - `clip_range`: c of the clipped ratio.
    - `entropy_coef`: weight of the entropy bonus.
    - `trainable`: which parts of the actor learn.
    - `counts`: decisions of each kind in a usual round of a node: sums over decisions are divided by it, so
      that a node with more experience weighs more.
    - `advantage_scales`: advantages of each kind are divided by it.
    """

    epochs: int
    learning_rate: float
    critic_learning_rate: float
    clip_range: float
    entropy_coef: float
    trainable: Trainable
    counts: Mapping[Kind, float]
    advantage_scales: Mapping[Kind, float]

    @property
    def trained(self) -> tuple[str, ...]:
        """The names of the actor's weights that learn."""
        return names("actor", Kind, HEAD if self.trainable == Trainable.HEAD else PARTS)


@dataclass(frozen=True, kw_only=True)
class PPOReport:
    """Figures of an update, as means over all decisions and kinds.

    `entropy` in nats and `clipped_fraction` are of the last step, `divergence` is the mean of log(old / new),
    an estimate of KL(old, new) in nats; `value_loss` is that of the critics before they learned.
    """

    entropy: float
    clipped_fraction: float
    divergence: float
    value_loss: float


def loss(
    weights: Mapping[str, torch.Tensor],
    kind: Kind,
    batch: Mapping[str, torch.Tensor],
    settings: PPOSettings,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Each node's loss [N] for one kind of decision, to be minimised, and sums over its decisions.

    The loss is -min(rho A, clip(rho, 1 - c, 1 + c) A) - w_H H with rho = pi / pi_old (Schulman et al. 2017,
    equations 7 and 9), summed over decisions and divided by their usual number.
    """
    import torch

    score = torch_scores(weights, "actor", kind, batch["features"]).masked_fill(~batch["mask"], -1e9)
    log_pi = torch.log_softmax(score, dim=2)
    log_rho = log_pi.gather(2, batch["option"][..., None])[..., 0] - batch["log_probability"]
    rho = torch.exp(log_rho)
    clipped = rho.clamp(1.0 - settings.clip_range, 1.0 + settings.clip_range)
    gain = torch.minimum(rho * batch["advantage"], clipped * batch["advantage"])
    entropy = -(log_pi.exp() * log_pi * batch["mask"]).sum(dim=2)
    valid = batch["valid"]
    total = -((gain + settings.entropy_coef * entropy) * valid).sum(dim=1) / settings.counts[kind]
    parts = {
        "entropy": (entropy * valid).sum(),
        "clipped_fraction": ((rho != clipped) * valid).sum(),
        "divergence": (-log_rho * valid).sum(),
    }
    return total, {name: value.detach() for name, value in parts.items()}


def ppo_update(
    weights: Weights, experience: Mapping[Kind, Experience], settings: PPOSettings
) -> tuple[Weights, PPOReport]:
    """New weights of every node from its own decisions only; `weights` [N, ...] is not changed.

    No node's data touches another's weights: losses of different nodes share none, and both optimisers work
    elementwise on the stacked weights.
    """
    import torch

    nodes = len(next(iter(weights.values())))
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in weights.items()}
    batches = {kind: _batch(part, nodes) for kind, part in experience.items() if len(part)}
    value_loss = _learn_values(tensors, batches, settings)
    trained = [tensors[name].requires_grad_() for name in settings.trained]
    optimiser = torch.optim.SGD(trained, lr=settings.learning_rate)
    sums: dict[str, float] = {}
    for _ in range(settings.epochs if batches else 0):
        optimiser.zero_grad()
        sums = dict.fromkeys(("entropy", "clipped_fraction", "divergence"), 0.0)
        for kind, batch in batches.items():
            total, parts = loss(tensors, kind, batch, settings)
            # The losses of different nodes share no weights, so the sum's gradient is each node's own.
            torch.autograd.backward(total.sum())
            sums = {name: sums[name] + float(parts[name]) for name in sums}
        optimiser.step()
    count = max(sum(len(part) for part in experience.values()), 1)
    learned = {name: value.detach().numpy().astype(np.float64) for name, value in tensors.items()}
    means = {name: value / count for name, value in sums.items()}
    return learned, PPOReport(
        entropy=means.get("entropy", 0.0),
        clipped_fraction=means.get("clipped_fraction", 0.0),
        divergence=means.get("divergence", 0.0),
        value_loss=value_loss / count,
    )


def _batch(part: Experience, nodes: int) -> dict[str, torch.Tensor]:
    import torch

    padded, valid = part.by_node(nodes)
    tensors = {name: torch.from_numpy(padded[name]) for name in ("features", "mask", "option")}
    for name in ("log_probability", "gain"):
        tensors[name] = torch.from_numpy(padded[name].astype(np.float32))
    tensors["valid"] = torch.from_numpy(valid)
    # A padded row allows its first option, so that its softmax is a number.
    tensors["mask"][~tensors["valid"]] = False
    tensors["mask"][..., 0] |= ~tensors["valid"]
    return tensors


def _learn_values(
    tensors: dict[str, torch.Tensor], batches: Mapping[Kind, dict[str, torch.Tensor]], settings: PPOSettings
) -> float:
    """Put the advantages of all decisions into `batches`, then let the critics learn their returns.

    In this order, because a critic that has seen a return would explain it away. Returns the summed squared
    error before the critics learned.
    """
    import torch

    error_sum = 0.0
    for kind, batch in batches.items():
        with torch.no_grad():
            score = torch_scores(tensors, "actor", kind, batch["features"]).masked_fill(~batch["mask"], -1e9)
            value = torch_scores(tensors, "critic", kind, batch["features"])
            baseline = (torch.softmax(score, dim=2) * value).sum(dim=2)
            batch["advantage"] = (batch["gain"] - baseline) / settings.advantage_scales[kind]
    critics = [tensors[name].requires_grad_() for name in names("critic", batches)]
    if not critics:
        return error_sum
    optimiser = torch.optim.Adam(critics, lr=settings.critic_learning_rate)
    for epoch in range(settings.epochs):
        optimiser.zero_grad()
        for kind, batch in batches.items():
            value = torch_scores(tensors, "critic", kind, batch["features"])
            taken = value.gather(2, batch["option"][..., None])[..., 0]
            error = ((taken - batch["gain"]) ** 2 * batch["valid"]).sum()
            torch.autograd.backward(error / settings.counts[kind])
            error_sum += float(error.detach()) if epoch == 0 else 0.0
        optimiser.step()
    return error_sum


def typical_counts(experience: Mapping[Kind, Experience], *, nodes: int, share: float) -> dict[Kind, float]:
    """Decisions of each kind that a node makes in a round, at least 1, from those of all nodes in public
    episodes. `share`: episodes of a round over these episodes.
    """
    return {kind: max(len(part) * share / nodes, 1.0) for kind, part in experience.items()}
