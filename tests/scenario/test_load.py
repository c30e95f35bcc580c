"""Scenarios as they are read: types, overrides, text and hash."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.hardware import DepolarisingMemory, RelaxingMemory
from qdpem.scenario.load import (
    load_scenario,
    parse_scenario,
    scenario_from_text,
    scenario_hash,
    scenario_text,
)
from qdpem.scenario.schema import Bursts, Scenario, Uniform
from tests.helpers.small_scenario import SMALL

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.toml"


def test_a_small_scenario_is_read_with_its_types() -> None:
    scenario = parse_scenario(SMALL)
    assert scenario.nodes.source_rate_hz == 50.0
    assert isinstance(scenario.nodes.source_rate_hz, float)
    assert scenario.nodes.repeater_rate_hz == Uniform(low=2.0, high=10.0)
    assert scenario.nodes.hardware.memory == DepolarisingMemory(depolarising_s=math.inf)
    assert scenario.links.hardware.fibre.fixed_loss_db == 2.6
    assert scenario.window.end_s == 360.0


def test_overrides_set_any_key() -> None:
    scenario = parse_scenario(
        SMALL,
        overrides=[
            "nodes.memories=4",
            "demand.classes.0.target_fidelity = 0.6",
            "demand.bursts.peak=2",
            "name=other",
            "nodes.hardware.memory={kind='relaxing',relaxation_s=1.0,dephasing_s=1.5}",
            "topology.parameters.nodes=5",
        ],
    )
    assert scenario.nodes.memories == 4
    assert scenario.demand.classes[0].target_fidelity == 0.6
    assert scenario.demand.bursts == Bursts(peak=2.0)
    assert scenario.name == "other"
    assert scenario.nodes.hardware.memory == RelaxingMemory(relaxation_s=1.0, dephasing_s=1.5)
    assert scenario.topology.parameters["nodes"] == 5


def test_quickstart_is_a_fair_study() -> None:
    scenario = load_scenario(QUICKSTART)
    assert scenario.study is not None
    assert {arm.name for arm in scenario.study.arms} >= {
        "central-fcfs",
        "central-expected-delay",
        "local-minhop",
        "dpem",
    }
    assert len(scenario.study.seeds) >= 5


def test_text_and_hash_ignore_order_and_comments_and_see_every_value() -> None:
    tables = tomllib.loads(SMALL)
    assert list(tables) == ["name", "topology", "nodes", "demand"]
    head, *sections = SMALL.split("\n[")
    shuffled = "# a comment\n" + head + "".join("\n[" + part for part in reversed(sections))
    first, second = parse_scenario(SMALL), parse_scenario(shuffled)
    assert scenario_text(first) == scenario_text(second)
    assert scenario_hash(first) == scenario_hash(second)
    assert len(scenario_hash(first)) == 16
    changed = parse_scenario(SMALL, overrides=["window.warm_up_s=61"])
    assert scenario_hash(changed) != scenario_hash(first)


positive = st.floats(min_value=1e-6, max_value=1e6)


@settings(max_examples=50, deadline=None)
@given(
    rate=positive,
    scale=positive,
    memory=st.one_of(
        st.builds(DepolarisingMemory, depolarising_s=positive | st.just(math.inf)),
        positive.map(lambda value: RelaxingMemory(relaxation_s=value, dephasing_s=2.0 * value)),
    ),
    seed=st.none() | st.integers(0, 2**60),
    words=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_text_read_back_is_the_same_scenario(
    rate: float, scale: float, memory: Any, seed: int | None, words: str
) -> None:
    base = load_scenario(QUICKSTART)
    scenario: Scenario = replace(
        base,
        description=words,
        topology_seed=seed,
        topology=replace(base.topology, length_scale=scale),
        demand=replace(base.demand, rate_hz=rate),
        nodes=replace(base.nodes, hardware=replace(base.nodes.hardware, memory=memory)),
    )
    assert scenario_from_text(scenario_text(scenario)) == scenario


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ("modes=2", "source"),
        ("pair_probability=0.5", "midpoint-source"),
        ("visibility=0.9", "double-click"),
        ("bright_population=0.1", "single-click"),
        ("success_probability=0.5,attempt_period_s=1e-3", "direct"),
    ],
)
def test_a_link_without_kind_is_the_first_that_has_all_its_keys(keys: str, kind: str) -> None:
    assert parse_scenario(SMALL, overrides=[f"links.hardware={{{keys}}}"]).links.hardware.kind == kind
