"""Behaviour cloning: networks that imitate a rule, and critics that value the clone's decisions.

Both are fitted to episodes on public seeds, whose demand belongs to nobody, so they cost no privacy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdpem.arrays import Floats
from qdpem.policies.dpem.networks import PARTS, Kind, Weights, names, torch_scores
from qdpem.policies.dpem.training.experience import Experience
from qdpem.rng import stream

if TYPE_CHECKING:
    import torch

_MINIBATCH = 1024
_LEARNING_RATE = 5e-3
_LABEL_SMOOTHING = 0.02
"""Share of the imitated choice that is spread over all allowed options, so that the clone explores."""


@dataclass(frozen=True, kw_only=True)
class CloneReport:
    """Of each kind: share of held-out decisions in which the clone's first choice is the rule's."""

    agreement: Mapping[Kind, float]


def clone_actor(
    weights: Weights, experience: Mapping[Kind, Experience], *, seed: int, steps: int
) -> tuple[Weights, CloneReport]:
    """One node's actor, fitted to the teacher's options by cross-entropy in `steps` steps.

    Every tenth decision is held out.
    """
    cloned, agreement = dict(weights), {}
    for kind, all_of_kind in experience.items():
        # A choice with one allowed option teaches nothing.
        part = all_of_kind.where(all_of_kind.mask.sum(axis=1) > 1)
        if not len(part):
            agreement[kind] = float("nan")
            continue
        held_out = np.arange(len(part)) % 10 == 9
        fitted = _fit(weights, "actor", kind, part.where(~held_out), seed=seed, steps=steps)
        cloned |= fitted
        agreement[kind] = _agreement(fitted, kind, part.where(held_out))
    return cloned, CloneReport(agreement=agreement)


def fit_critic(weights: Weights, experience: Mapping[Kind, Experience], *, seed: int, steps: int) -> Weights:
    """One node's critics, fitted to the returns of the options that were taken in `steps` steps."""
    fitted = dict(weights)
    for kind, part in experience.items():
        if len(part):
            fitted |= _fit(weights, "critic", kind, part, seed=seed, steps=steps)
    return fitted


def advantage_scales(
    actor: Weights, critic: Weights, experience: Mapping[Kind, Experience]
) -> dict[Kind, float]:
    """Standard deviation of the advantages of each kind over public episodes, at least 1e-3."""
    scales = {}
    for kind, part in experience.items():
        gains = part.gain - expected_gain(actor, critic, kind, part)
        scales[kind] = max(float(np.std(gains)), 1e-3) if len(part) else 1.0
    return scales


def expected_gain(actor: Weights, critic: Weights, kind: Kind, part: Experience) -> Floats:
    """V = sum over options of pi x Q for each decision, float64 [M], with one node's weights."""
    import torch

    features = torch.from_numpy(part.features)[None]
    mask = torch.from_numpy(part.mask)[None]
    with torch.no_grad():
        score = torch_scores(_tensors(actor, "actor", kind), "actor", kind, features)
        value = torch_scores(_tensors(critic, "critic", kind), "critic", kind, features)
        pi = torch.softmax(score.masked_fill(~mask, -1e9), dim=2)
        return np.asarray((pi * value).sum(dim=2)[0].numpy(), dtype=np.float64)


def _fit(weights: Weights, prefix: str, kind: Kind, part: Experience, *, seed: int, steps: int) -> Weights:
    """Minimise the loss of one network by Adam, with a learning rate that falls to 0."""
    import torch

    parameters = {
        name: value.clone().requires_grad_() for name, value in _tensors(weights, prefix, kind).items()
    }
    features, mask = torch.from_numpy(part.features), torch.from_numpy(part.mask)
    taken = torch.from_numpy(part.teacher if prefix == "actor" else part.option)
    gain = torch.from_numpy(part.gain.astype(np.float32))
    optimiser = torch.optim.Adam(parameters.values(), lr=_LEARNING_RATE)
    generator = stream(seed, f"learning/{prefix}/{kind}/fit")
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        rows = torch.from_numpy(generator.integers(len(part), size=min(_MINIBATCH, len(part))))
        score = torch_scores(parameters, prefix, kind, features[rows][None])[0]
        if prefix == "actor":
            loss = _cross_entropy(score, mask[rows], taken[rows])
        else:
            value = score.gather(1, taken[rows][:, None])[:, 0]
            loss = ((value - gain[rows]) ** 2).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return {name: value.detach().numpy()[0].astype(np.float64) for name, value in parameters.items()}


def _cross_entropy(score: torch.Tensor, mask: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with smoothed labels over the allowed options."""
    import torch

    log_pi = torch.log_softmax(score.masked_fill(~mask, -1e9), dim=1)
    chosen = log_pi.gather(1, taken[:, None])[:, 0]
    spread = (log_pi * mask).sum(dim=1) / mask.sum(dim=1)
    return -((1.0 - _LABEL_SMOOTHING) * chosen + _LABEL_SMOOTHING * spread).mean()


def _agreement(weights: Weights, kind: Kind, part: Experience) -> float:
    import torch

    if not len(part):
        return float("nan")
    with torch.no_grad():
        features = torch.from_numpy(part.features)[None]
        score = torch_scores(_tensors(weights, "actor", kind), "actor", kind, features)[0].numpy()
    return float((np.where(part.mask, score, -np.inf).argmax(axis=1) == part.teacher).mean())


def _tensors(weights: Weights, prefix: str, kind: Kind) -> dict[str, torch.Tensor]:
    """One node's network of a kind, with a first axis of length 1."""
    import torch

    return {
        name: torch.tensor(weights[name], dtype=torch.float32)[None] for name in names(prefix, [kind], PARTS)
    }
