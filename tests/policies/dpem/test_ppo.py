"""PPO against its definitions: direct sums, scalar loops, finite differences, and a problem it must solve."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdpem.policies.dpem.actor_critic import (
    ACTOR,
    CRITIC,
    Weights,
    initial_actor,
    initial_critics,
    probabilities,
    sample,
    scores,
    stacked,
    values,
)
from qdpem.policies.dpem.features import FEATURES, OPTIONS, SITE_FEATURES
from qdpem.policies.dpem.slots import SLOTS
from qdpem.policies.dpem.training.ppo import (
    Batch,
    PPOSettings,
    generalised_advantage,
    loss,
    normalise,
    ppo_update,
)
from qdpem.rng import stream

SETTINGS = PPOSettings(epochs=2, minibatch=4)


def random_weights(nodes: int) -> Weights:
    weights = {**stacked(initial_actor(0), nodes=nodes), **initial_critics(0, nodes=nodes)}
    generator = stream(0, "test/weights")
    return {name: value + 0.3 * generator.normal(size=value.shape) for name, value in weights.items()}


def random_batch(nodes: int = 3, size: int = 6, *, key: str = "batch") -> Batch:
    """Decisions drawn uniformly from random masks, a quarter of them padding."""
    generator = stream(0, f"test/{key}")
    mask = generator.random((nodes, size, SLOTS, OPTIONS)) < 0.6
    mask[..., 0] = True
    mask &= (generator.random((nodes, size, SLOTS, 1)) < 0.6) & mask[..., 1:].any(axis=-1, keepdims=True)
    chosen = np.where(mask, generator.random(mask.shape), -1.0).argmax(axis=-1)
    return Batch(
        features=generator.normal(size=(*mask.shape, len(FEATURES))).astype(np.float32),
        mask=mask,
        option=chosen.astype(np.int64),
        site_features=generator.normal(size=(nodes, size, len(SITE_FEATURES))).astype(np.float32),
        log_probability=-generator.random((nodes, size)) * 5.0,
        advantage=generator.normal(size=(nodes, size)),
        target=generator.normal(size=(nodes, size)),
        valid=generator.random((nodes, size)) < 0.75,
    )


def as_tensors(weights: Weights, batch: Batch) -> tuple[dict[str, Any], dict[str, Any]]:
    import torch

    tensors = {name: torch.tensor(getattr(batch, name)) for name in vars(batch)}
    tensors = {
        name: value.double() if value.is_floating_point() else value for name, value in tensors.items()
    }
    tensors["valid"] = tensors["valid"].double()
    parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in weights.items()}
    return parameters, tensors


def scalar_loss(weights: Weights, batch: Batch, settings: PPOSettings, node: int) -> float:
    """The loss of one node by loops over its decisions, slots and options."""
    total, count = 0.0, 0
    one = np.array([node])
    for k in np.flatnonzero(batch.valid[node]).tolist():
        log_probability, entropy, used = 0.0, 0.0, 0
        for slot in range(SLOTS):
            mask = batch.mask[node, k, slot]
            if not mask.any():
                continue
            score = scores(weights, one, batch.features[node, k, slot][None])[0]
            top = [math.exp(score[option]) for option in range(OPTIONS) if mask[option]]
            fraction = [weight / sum(top) for weight in top]
            log_probability += score[batch.option[node, k, slot]] - math.log(sum(top))
            entropy -= sum(p * math.log(p) for p in fraction)
            used += 1
        rho = math.exp(log_probability - batch.log_probability[node, k])
        advantage = batch.advantage[node, k]
        clipped = min(max(rho, 1 - settings.clip_range), 1 + settings.clip_range)
        value = float(values(weights, one, batch.site_features[node, k][None])[0])
        total -= min(rho * advantage, clipped * advantage)
        total -= settings.entropy_coef * entropy / max(used, 1)
        total += settings.value_weight * (value - batch.target[node, k]) ** 2
        count += 1
    return total / max(count, 1)


def test_loss_equals_a_scalar_loop() -> None:
    weights, batch = random_weights(3), random_batch()
    total, _ = loss(*as_tensors(weights, batch), SETTINGS)
    expected = [scalar_loss(weights, batch, SETTINGS, node) for node in range(3)]
    assert total.numpy() == pytest.approx(expected, rel=1e-9)


def test_gradients_equal_finite_differences() -> None:
    weights, batch = random_weights(2), random_batch(2, 3, key="gradient")
    parameters, tensors = as_tensors(weights, batch)
    for value in parameters.values():
        value.requires_grad_(True)
    loss(parameters, tensors, SETTINGS)[0].sum().backward()
    generator, step = stream(0, "test/direction"), 1e-6
    for name in (*ACTOR, *CRITIC):
        direction = generator.normal(size=weights[name].shape)
        ahead, behind = (
            sum(
                scalar_loss({**weights, name: weights[name] + sign * step * direction}, batch, SETTINGS, node)
                for node in range(2)
            )
            for sign in (1.0, -1.0)
        )
        slope = float((parameters[name].grad.numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-5, abs=1e-7), name


@given(st.integers(1, 12), st.floats(0.0, 1.0), st.integers(0, 10_000))
def test_advantages_equal_their_definition_summed_directly(length: int, gae_lambda: float, draw: int) -> None:
    """A_k = sum_l (prod_{i<l} gamma_{k+i} lambda) delta_{k+l}, delta_k = r_k + gamma_k V_{k+1} - V_k."""
    generator = stream(draw, "test/gae")
    reward, value = generator.normal(size=(2, length))
    discount = generator.random(length)
    last = float(generator.normal())
    following = [*value[1:], last]
    expected = []
    for k in range(length):
        total, factor = 0.0, 1.0
        for i in range(k, length):
            total += factor * (reward[i] + discount[i] * following[i] - value[i])
            factor *= discount[i] * gae_lambda
        expected.append(total)
    found = generalised_advantage(reward, value, discount, last_value=last, gae_lambda=gae_lambda)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_with_full_traces_advantage_plus_value_is_the_discounted_return() -> None:
    reward, value, discount = np.array([1.0, 0.0, 2.0]), np.array([5.0, -1.0, 3.0]), np.array([0.9, 0.5, 0.8])
    found = generalised_advantage(reward, value, discount, last_value=10.0, gae_lambda=1.0) + value
    last = 2.0 + 0.8 * 10.0
    assert found == pytest.approx([1.0 + 0.9 * (0.5 * last), 0.5 * last, last])


def test_normalised_advantages_have_mean_0_and_deviation_1_per_node() -> None:
    batch = random_batch(4, 40)
    normal = normalise(batch.advantage, batch.valid)
    for node in range(4):
        mine = normal[node, batch.valid[node]]
        assert mine.mean() == pytest.approx(0.0, abs=1e-12)
        assert mine.std() == pytest.approx(1.0, rel=1e-6)
    assert not normal[~batch.valid].any()
    assert not normalise(np.ones((1, 3)), np.zeros((1, 3), dtype=bool)).any()


def test_a_node_learns_from_its_own_decisions_alone() -> None:
    weights, batch = random_weights(3), random_batch(3, 8)
    other = replace(batch, advantage=batch.advantage.copy(), features=batch.features.copy())
    other.advantage[2] += 1.0 + np.arange(8.0)
    other.features[2] *= 0.5
    one, _ = ppo_update(weights, batch, SETTINGS, seed=0, key="test")
    two, _ = ppo_update(weights, other, SETTINGS, seed=0, key="test")
    for name in (*ACTOR, *CRITIC):
        assert np.array_equal(one[name][:2], two[name][:2]), name
    assert not np.array_equal(one["actor_output"][2], two["actor_output"][2])


def test_a_node_without_decisions_reports_a_zero_update() -> None:
    weights, batch = random_weights(2), random_batch(2, 5)
    batch.valid[1] = False
    learned, _ = ppo_update(weights, batch, SETTINGS, seed=0, key="test")
    for name in ACTOR:
        assert np.array_equal(learned[name][1], weights[name][1].astype(np.float32)), name
        assert not np.array_equal(learned[name][0], weights[name][0].astype(np.float32)), name


@pytest.mark.slow
def test_ppo_solves_a_contextual_bandit() -> None:
    """The option with the largest of one feature pays 1, others 0: from chance (1/OPTIONS) to above 0.85."""
    nodes, size = 2, 256
    weights = {**stacked(initial_actor(0), nodes=nodes), **initial_critics(0, nodes=nodes)}
    node = np.repeat(np.arange(nodes), size)
    paid = []
    for number in range(25):
        generator = stream(number, "test/bandit")
        features = np.zeros((nodes * size, SLOTS, OPTIONS, len(FEATURES)), dtype=np.float32)
        features[:, 0] = generator.uniform(-1.0, 1.0, size=(nodes * size, OPTIONS, len(FEATURES)))
        mask = np.zeros((nodes * size, SLOTS, OPTIONS), dtype=bool)
        mask[:, 0] = True
        probability = probabilities(scores(weights, node, features[:, 0]), mask[:, 0])
        chosen = sample(probability, generator.random(nodes * size))
        reward = (chosen == features[:, 0, :, 3].argmax(axis=1)).astype(np.float64)
        paid.append(reward.mean())
        option = np.zeros((nodes * size, SLOTS), dtype=np.int64)
        option[:, 0] = chosen
        shape = (nodes, size)
        batch = Batch(
            features=features.reshape(*shape, *features.shape[1:]),
            mask=mask.reshape(*shape, *mask.shape[1:]),
            option=option.reshape(*shape, SLOTS),
            site_features=np.zeros((*shape, len(SITE_FEATURES)), dtype=np.float32),
            log_probability=np.log(probability[np.arange(len(chosen)), chosen]).reshape(shape),
            advantage=reward.reshape(shape),
            target=reward.reshape(shape),
            valid=np.ones(shape, dtype=bool),
        )
        weights, _ = ppo_update(
            weights, batch, PPOSettings(learning_rate=1e-2, minibatch=64), seed=0, key=str(number)
        )
    assert abs(paid[0] - 1.0 / OPTIONS) < 4.5 * math.sqrt(0.25 / (nodes * size))
    assert paid[-1] > 0.85
