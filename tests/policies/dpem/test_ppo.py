"""PPO against its definitions: scalar loops, finite differences, gradient descent by hand, and a bandit."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdpem.policies.dpem.networks import (
    ACTOR,
    CRITIC,
    HEAD,
    Kind,
    Weights,
    initial,
    names,
    probabilities,
    sample,
    scores,
    stacked,
)
from qdpem.policies.dpem.training.experience import Experience
from qdpem.policies.dpem.training.ppo import PPOSettings, loss, ppo_update, typical_counts
from qdpem.rng import stream
from qdpem.scenario.words import Trainable
from tests.helpers.dpem import random_experience, random_weights

SETTINGS = PPOSettings(
    epochs=2,
    learning_rate=0.1,
    critic_learning_rate=1e-3,
    clip_range=0.2,
    entropy_coef=0.05,
    trainable=Trainable.ALL,
    counts=dict(zip(Kind, (3.0, 5.0, 2.0), strict=True)),
    advantage_scales=dict(zip(Kind, (0.5, 2.0, 1.0), strict=True)),
)
SITES = np.array([0, 2, 0, 1, 2, 2, 0, 2])
"""Of three nodes, with 3, 1 and 4 decisions."""


def experience(*, sites: np.ndarray = SITES) -> dict[Kind, Experience]:
    return {kind: random_experience(kind, sites=sites) for kind in Kind}


def batch_of(part: Experience, advantage: np.ndarray, nodes: int) -> dict[str, Any]:
    import torch

    padded, valid = part.by_node(nodes)
    tensors = {name: torch.tensor(padded[name]) for name in ("features", "mask", "option", "log_probability")}
    tensors["features"] = tensors["features"].double()
    # What a decision that is none says must not matter, as long as it can be computed.
    tensors["mask"][torch.tensor(~valid)] = True
    by_node = np.full(valid.shape, 7.0)
    for node in range(nodes):
        mine = part.site == node
        by_node[node, : mine.sum()] = advantage[mine]
    return {**tensors, "advantage": torch.tensor(by_node), "valid": torch.tensor(valid)}


def scalar_scores(weights: Weights, prefix: str, kind: Kind, node: int, rows: np.ndarray) -> list[float]:
    """skip . x + output . tanh(x hidden + bias) of each option, one number after the other."""
    hidden, bias, output, skip = (
        weights[f"{prefix}_{kind}_{part}"][node] for part in ("hidden", "bias", "output", "skip")
    )
    found = []
    for row in rows.tolist():
        score = sum(a * b for a, b in zip(row, skip.tolist(), strict=True))
        for unit in range(len(bias)):
            total = bias[unit] + sum(a * b for a, b in zip(row, hidden[:, unit].tolist(), strict=True))
            score += output[unit] * math.tanh(total)
        found.append(float(score))
    return found


def scalar_policy(weights: Weights, kind: Kind, part: Experience, row: int) -> dict[int, float]:
    """The probability of each allowed option of one decision."""
    score = scalar_scores(weights, "actor", kind, int(part.site[row]), part.features[row])
    weight = {option: math.exp(score[option]) for option in np.flatnonzero(part.mask[row]).tolist()}
    return {option: value / sum(weight.values()) for option, value in weight.items()}


def scalar_loss(weights: Weights, kind: Kind, part: Experience, advantage: np.ndarray, node: int) -> float:
    """The loss of one node by loops over its decisions and options."""
    total = 0.0
    for row in np.flatnonzero(part.site == node).tolist():
        policy = scalar_policy(weights, kind, part, row)
        rho = policy[int(part.option[row])] / math.exp(part.log_probability[row])
        clipped = min(max(rho, 1.0 - SETTINGS.clip_range), 1.0 + SETTINGS.clip_range)
        entropy = -sum(p * math.log(p) for p in policy.values())
        total -= min(rho * advantage[row], clipped * advantage[row]) + SETTINGS.entropy_coef * entropy
    return total / SETTINGS.counts[kind]


@pytest.mark.parametrize("kind", Kind)
def test_loss_equals_a_scalar_loop(kind: Kind) -> None:
    import torch

    weights, part = random_weights(3), experience()[kind]
    advantage = stream(0, "test/advantage").normal(size=len(part))
    tensors = {name: torch.tensor(value) for name, value in weights.items()}
    total, sums = loss(tensors, kind, batch_of(part, advantage, 3), SETTINGS)
    expected = [scalar_loss(weights, kind, part, advantage, node) for node in range(3)]
    assert total.numpy() == pytest.approx(expected, rel=1e-9)
    policies = [scalar_policy(weights, kind, part, row) for row in range(len(part))]
    rho = [policies[row][int(part.option[row])] for row in range(len(part))] / np.exp(part.log_probability)
    assert float(sums["entropy"]) == pytest.approx(
        -sum(p * math.log(p) for q in policies for p in q.values())
    )
    assert int(sums["clipped_fraction"]) == int((np.abs(rho - 1.0) > SETTINGS.clip_range).sum()) > 0
    assert float(sums["divergence"]) == pytest.approx(-np.log(rho).sum())


@pytest.mark.parametrize("kind", Kind)
def test_gradients_equal_finite_differences(kind: Kind) -> None:
    import torch

    weights, part = random_weights(3), experience()[kind]
    advantage = stream(0, "test/advantage").normal(size=len(part))
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    torch.autograd.backward(loss(tensors, kind, batch_of(part, advantage, 3), SETTINGS)[0].sum())
    generator, step = stream(0, "test/direction"), 1e-6
    for name in names("actor", [kind]):
        direction = generator.normal(size=weights[name].shape)
        ahead, behind = (
            sum(
                scalar_loss(
                    {**weights, name: weights[name] + sign * step * direction}, kind, part, advantage, node
                )
                for node in range(3)
            )
            for sign in (1.0, -1.0)
        )
        slope = float((tensors[name].grad.numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2.0 * step), rel=1e-5, abs=1e-7), name


def test_an_update_is_gradient_descent_on_advantages_over_the_nodes_own_critic() -> None:
    """One step of a small rate, against a difference quotient of the scalar loss along the step itself."""
    weights, made = random_weights(3), experience()
    settings = replace(SETTINGS, epochs=1, learning_rate=0.05)
    learned, _ = ppo_update(weights, made, settings)
    for node in range(3):
        step = {name: learned[name][node] - weights[name][node] for name in ACTOR}
        slope, scale = 0.0, 1e-5
        for kind, part in made.items():
            advantage = np.zeros(len(part))
            for row in np.flatnonzero(part.site == node).tolist():
                value = scalar_scores(weights, "critic", kind, node, part.features[row])
                policy = scalar_policy(weights, kind, part, row)
                baseline = sum(policy[option] * value[option] for option in policy)
                advantage[row] = (part.gain[row] - baseline) / settings.advantage_scales[kind]
            moved = []
            for sign in (1.0, -1.0):
                there = {name: weights[name].copy() for name in ACTOR}
                for name in ACTOR:
                    there[name][node] += sign * scale * step[name]
                moved.append(scalar_loss(there, kind, part, advantage, node))
            slope += (moved[0] - moved[1]) / (2.0 * scale)
        # Descent by w -= rate g: the slope of the loss along the step is -|step|^2 / rate.
        length = sum(float((value**2).sum()) for value in step.values())
        assert slope == pytest.approx(-length / settings.learning_rate, rel=1e-3)


def test_critics_learn_the_returns_of_the_options_taken() -> None:
    weights, made = random_weights(3), experience()
    settings = replace(SETTINGS, epochs=100, critic_learning_rate=3e-2, learning_rate=1e-6)
    learned, report = ppo_update(weights, made, settings)
    before, after = (
        sum(
            sum(
                (
                    scores(which, "critic", kind, part.site, part.features.astype(np.float64))[
                        np.arange(len(part)), part.option
                    ]
                    - part.gain
                )
                ** 2
            )
            for kind, part in made.items()
        )
        for which in (weights, learned)
    )
    assert report.value_loss == pytest.approx(before / sum(len(part) for part in made.values()), rel=1e-5)
    assert after < 0.1 * before


@pytest.mark.parametrize("trainable", Trainable)
def test_only_what_is_trainable_learns(trainable: Trainable) -> None:
    weights, settings = random_weights(3), replace(SETTINGS, trainable=trainable)
    learned, _ = ppo_update(weights, experience(), settings)
    for name in ACTOR:
        moved = not np.array_equal(learned[name], weights[name].astype(np.float32))
        assert moved == (trainable == "all" or name in names("actor", Kind, HEAD)), name


def test_a_node_learns_from_its_own_decisions_alone() -> None:
    weights, made = random_weights(3), experience()
    other = {}
    for kind, part in made.items():
        of_last = part.site == 2
        features = np.where(of_last[:, None, None], 0.5 * part.features, part.features)
        other[kind] = replace(part, features=features, gain=part.gain + 3.0 * of_last)
    one, two = (ppo_update(weights, item, SETTINGS)[0] for item in (made, other))
    for name in (*ACTOR, *CRITIC):
        assert np.array_equal(one[name][:2], two[name][:2]), name
        assert not np.array_equal(one[name][2], two[name][2]), name


def test_a_node_without_decisions_keeps_its_weights() -> None:
    weights = random_weights(4)
    learned, _ = ppo_update(weights, experience(), SETTINGS)
    for name in (*ACTOR, *CRITIC):
        assert np.array_equal(learned[name][3], weights[name][3].astype(np.float32)), name
    kept, report = ppo_update(weights, {kind: Experience.empty(kind) for kind in Kind}, SETTINGS)
    assert all(np.array_equal(kept[name], weights[name].astype(np.float32)) for name in kept)
    assert (report.entropy, report.divergence, report.value_loss) == (0.0, 0.0, 0.0)


def test_decisions_are_counted_per_node_and_round() -> None:
    made = experience()
    made[Kind.LINK] = Experience.empty(Kind.LINK)
    counts = typical_counts(made, nodes=2, share=0.5)
    assert counts == {Kind.SERVE: 2.0, Kind.PEER: 2.0, Kind.LINK: 1.0}


@given(st.lists(st.integers(0, 4), max_size=20))
def test_padding_puts_every_decision_in_its_nodes_row_in_order(sites: list[int]) -> None:
    part = random_experience(Kind.PEER, sites=np.array(sites, dtype=np.int64))
    padded, valid = part.by_node(5)
    rows = {node: [row for row, site in enumerate(sites) if site == node] for node in range(5)}
    assert valid.shape == (5, max(1, *(len(mine) for mine in rows.values())))
    assert valid.sum(axis=1).tolist() == [len(rows[node]) for node in range(5)]
    for item in fields(Experience):
        for node, mine in rows.items():
            whole = padded[item.name]
            assert np.array_equal(whole[node, : len(mine)], getattr(part, item.name)[mine]), item.name
            assert not whole[node, len(mine) :].any(), item.name


def test_ppo_solves_a_contextual_bandit() -> None:
    """The option with the largest of one feature pays 1, others 0: from chance to above .9.

    The first share of paid decisions is that of chance within 4.5 standard errors: false alarms below 1e-5.
    """
    nodes, size, kind = 2, 128, Kind.PEER
    weights = {
        **stacked(initial("actor", 0, "shared"), nodes=nodes),
        **stacked(initial("critic", 0, "shared"), nodes=nodes),
    }
    settings = replace(
        SETTINGS,
        epochs=4,
        learning_rate=1.0,
        critic_learning_rate=1e-2,
        entropy_coef=0.0,
        counts=dict.fromkeys(Kind, float(size)),
        advantage_scales=dict.fromkeys(Kind, 0.5),
    )
    site, paid = np.repeat(np.arange(nodes), size), []
    template = random_experience(kind, sites=site)
    every = np.ones_like(template.mask)
    for number in range(40):
        generator = stream(number, "test/bandit")
        features = generator.uniform(-1.0, 1.0, size=template.features.shape).astype(np.float32)
        probability = probabilities(scores(weights, "actor", kind, site, features.astype(np.float64)), every)
        option = sample(probability, generator.random(len(site)))
        gain = (option == features[:, :, 3].argmax(axis=1)).astype(np.float64)
        paid.append(gain.mean())
        taken = np.log(probability[np.arange(len(site)), option])
        part = replace(
            template, features=features, mask=every, option=option, log_probability=taken, gain=gain
        )
        weights, _ = ppo_update(weights, {kind: part}, settings)
    chance = 1.0 / every.shape[1]
    assert abs(paid[0] - chance) < 4.5 * math.sqrt(chance * (1.0 - chance) / len(site))
    assert paid[-1] > 0.9
