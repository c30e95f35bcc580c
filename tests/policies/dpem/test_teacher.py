"""The rule that is imitated is `local-planned-stock`, and a clone of it learns to do the same."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdpem.metrics.metrics import measure
from qdpem.policies.dpem.agent import Dpem, DpemParameters
from qdpem.policies.dpem.networks import Kind, Weights, initial, stacked
from qdpem.policies.dpem.teacher import Teacher
from qdpem.policies.dpem.training.clone import clone_actor, expected_gain, fit_critic
from qdpem.policies.dpem.training.experience import Experience
from qdpem.policies.dpem.training.player import Player
from qdpem.policies.expected_delay import LocalPlannedStock, PlannedDelayParameters
from qdpem.policy.interface import Observation
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.rng import stream
from qdpem.scenario.schema import Arm, Scenario, Window
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import simulate
from tests.helpers.dpem import random_experience, random_weights, tiny_scenario

NODES = 9
SHARED = {
    name: getattr(DpemParameters(), name)
    for name in ("storage_fraction", "resource_weight", "unobserved_tokens")
} | {"max_orders": 99, "min_path_memories": 0, "max_path_backlog": 1e9}
"""Without limits to orders, which would leave few in observations that are drawn at random."""
RULE = Teacher(life_probability=1.1)
"""`local-planned-stock` alone: it does not look further ahead than its look-ahead."""


def rule(**changes: Any) -> PlannedDelayParameters:
    """The parameters with which `local-planned-stock` is the teacher."""
    teacher = RULE
    same = ("max_unloaded_delay", "max_loaded_delay", "stocking_probability")
    taught = {name: getattr(teacher, name) for name in same}
    return PlannedDelayParameters(**SHARED, **taught | {"separate_paths": False} | changes)


def taught(teacher: Teacher | None = None, *, nodes: int = NODES, **changes: Any) -> Dpem:
    weights: Weights = stacked(initial("actor", 0, "shared"), nodes=nodes)
    return Dpem(DpemParameters(**SHARED | changes), weights=weights, teacher=teacher or RULE)


def kinds(observations: Observation, row: int, prefix: str) -> set[tuple[Any, ...]]:
    columns = ("source", "destination", "target_fidelity", "pairs")
    return set(
        zip(*(getattr(observations, f"{prefix}_{name}")[row].tolist() for name in columns), strict=True)
    )


@pytest.mark.parametrize("pregeneration", ["link", "end-to-end", "virtual-link"])
def test_the_teacher_allocates_as_the_rule_on_a_first_observation(pregeneration: str) -> None:
    """Where no request is that of a peer: what has come is counted otherwise (`ExpectedNeeds`)."""
    context, seen = small_context(pregeneration=pregeneration), {"serve": 0, "stock": 0, "combined": 0}
    for call in range(10):
        observations = synthetic_observation(context, stream(call, "test/teacher"), stock=6)
        policies = (
            LocalPlannedStock(rule(max_source_backlog=99.0)),
            taught(max_source_backlog=99.0),
        )
        for policy in policies:
            policy.reset(context)
        first, second = (policy.act(observations).allocations for policy in policies)
        for row, site in enumerate(observations.site.tolist()):
            if kinds(observations, row, "peer") & kinds(observations, row, "request"):
                continue
            mine = [item for item in first if item.source == site]
            assert mine == [item for item in second if item.source == site]
            served = [item.request for item in mine if item.purpose == "serve"]
            seen["serve"] += len(served)
            seen["combined"] += len(served) - len(set(served))
            seen["stock"] += len(mine) - len(served)
    assert seen["serve"] > 50
    assert seen["combined"] > 0
    assert (seen["stock"] > 10) == (pregeneration != "link")


def grid(rate_hz: float, *, measured_s: float) -> Scenario:
    scenario = tiny_scenario(
        "topology.kind=grid",
        "topology.parameters={rows=3, columns=3, hop_km=10.0}",
        f"demand.rate_hz={rate_hz}",
    )
    return replace(scenario, window=Window(warm_up_s=0.0, measured_s=measured_s))


def test_without_stock_the_teacher_runs_as_the_rule_to_the_bit() -> None:
    pair = (
        simulate(
            grid(40.0, measured_s=4.0),
            Arm(name=policy.name, forecaster="constant", pregeneration="none"),
            seed=0,
            policy=policy,
        ).tables
        for policy in (LocalPlannedStock(rule()), taught())
    )
    first, second = pair
    assert len(first["allocations"]["allocation"]) > 100
    for table in ("allocations", "claims", "requests"):
        for name, column in first[table].items():
            np.testing.assert_array_equal(column, second[table][name], err_msg=f"{table}, {name}")


@pytest.mark.slow
def test_with_stock_the_teacher_delivers_as_the_rule() -> None:
    """Three seeds of 8 s, about 960 requests each; the pooled difference within 4.5 standard errors of two
    independent samples: false alarms below 1e-5, and fewer, as the samples share their demand."""
    delivered, count = [], 0
    for policy in (LocalPlannedStock(rule()), taught()):
        ratios = []
        for seed in range(3):
            arm = Arm(name=policy.name, forecaster="constant")
            tables = simulate(grid(40.0, measured_s=8.0), arm, seed=seed, policy=policy).tables
            assert (tables["allocations"]["request"] < 0).sum() > 20
            ratios.append(measure(tables, start_s=0.0, end_s=8.0)["delivery_ratio"])
            count += len(tables["requests"]["request"])
        delivered.append(float(np.mean(ratios)))
    ratio = float(np.mean(delivered))
    error = math.sqrt(2.0 * ratio * (1.0 - ratio) / (count / 2.0))
    assert abs(delivered[0] - delivered[1]) < 4.5 * error


def test_a_clone_agrees_with_a_rule_that_it_can_represent() -> None:
    """The teacher takes the option of the largest linear score; decisions held out are 10 %."""
    weights = {**initial("actor", 0, "shared"), **initial("critic", 0, "shared")}
    imitated = {}
    for kind in Kind:
        part = random_experience(kind, sites=np.zeros(3000, dtype=np.int64), key="linear")
        skip = stream(0, f"test/linear/{kind}").normal(size=part.features.shape[2])
        score = np.where(part.mask, part.features.astype(np.float64) @ skip, -np.inf)
        imitated[kind] = replace(part, teacher=score.argmax(axis=1))
    cloned, report = clone_actor(weights, imitated, seed=0, steps=600)
    assert all(report.agreement[kind] > 0.93 for kind in Kind), report.agreement
    # Only the actor has learned, and of kinds without decisions nothing has.
    assert all(np.array_equal(cloned[name], weights[name]) for name in weights if name.startswith("critic"))
    kept, empty = clone_actor(weights, {kind: Experience.empty(kind) for kind in Kind}, seed=0, steps=600)
    assert all(np.array_equal(kept[name], weights[name]) for name in weights)
    assert all(math.isnan(value) for value in empty.agreement.values())


@pytest.mark.slow
def test_a_clone_of_a_run_of_the_rule_agrees_with_it() -> None:
    scenario = tiny_scenario("training.episode_s=40", "demand.rate_hz=12")
    arm = resolve_arm(Arm(name="dpem", forecaster="ewma")).arm
    player = Player(scenario=scenario, arm=arm, seed=0, engine="serial", workers=1)
    actor = initial("actor", 0, "shared")
    played = player.play(stacked(actor, nodes=4), range(4), follows_teacher=True)
    _, report = clone_actor(actor, played.experience, seed=0, steps=1000)
    assert all(report.agreement[kind] > 0.95 for kind in (Kind.SERVE, Kind.PEER)), report.agreement


def test_critics_are_fitted_to_the_returns_of_options_taken() -> None:
    weights = {name: value[0] for name, value in random_weights(1).items()}
    part = random_experience(Kind.PEER, sites=np.zeros(400, dtype=np.int64), key="critic")
    skip = stream(0, "test/critic/skip").normal(size=part.features.shape[2])
    value = part.features.astype(np.float64) @ skip
    part = replace(part, gain=value[np.arange(400), part.option])
    fitted = fit_critic(weights, {Kind.PEER: part}, seed=0, steps=600)
    # Actors with heads of zeros are uniform, so V is the mean of Q over the allowed options.
    uniform = initial("actor", 0, "shared")
    expected = (value * part.mask).sum(axis=1) / part.mask.sum(axis=1)
    error = expected_gain(uniform, fitted, Kind.PEER, part) - expected
    assert float(np.std(error)) < 0.2 * float(np.std(expected))
    assert all(np.array_equal(fitted[name], weights[name]) for name in weights if "critic_peer" not in name)
