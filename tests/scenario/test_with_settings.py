"""A scenario with other values for some keys, as sweeps and the variants of a training have them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qdpem.errors import ScenarioError
from qdpem.policies.dpem.training.episode import variant_of
from qdpem.scenario.load import load_scenario
from qdpem.scenario.schema import Arm, TrainingVariant
from qdpem.scenario.sweep import with_settings
from qdpem.simulation.arms import resolve_arm
from tests.helpers.dpem import tiny_scenario

ARM = resolve_arm(Arm(name="dpem", forecaster="ewma")).arm


def test_settings_change_their_keys_and_no_others() -> None:
    tiny = tiny_scenario()
    changed = with_settings(
        tiny, {"demand.rate_hz": 2.5, "topology.parameters.nodes": 6}, name="other", origin="a test"
    )
    assert (changed.name, changed.demand.rate_hz, changed.topology.parameters["nodes"]) == ("other", 2.5, 6)
    back = replace(
        changed,
        name=tiny.name,
        demand=replace(changed.demand, rate_hz=tiny.demand.rate_hz),
        topology=replace(changed.topology, parameters=tiny.topology.parameters),
    )
    assert back == tiny
    assert with_settings(tiny, {}, name=tiny.name, origin="a test") == tiny


@pytest.mark.parametrize(
    ("key", "value"), [("demand.rate", 2.0), ("demand.rate_hz", -1.0), ("nodes.memories", "many")]
)
def test_a_wrong_key_or_value_is_named_with_where_it_comes_from(key: str, value: object) -> None:
    with pytest.raises(ScenarioError) as caught:
        with_settings(tiny_scenario(), {key: value}, name="other", origin="the variants of tiny")
    assert "the variants of tiny" in str(caught.value)
    assert key in str(caught.value)


def test_a_variant_has_its_own_demand_forecaster_and_rule_and_the_settings_of_the_training() -> None:
    tiny = tiny_scenario()
    variant = TrainingVariant(set={"demand.rate_hz": 2.5}, stocking_probability=0.6, link_level=2)
    scenario, arm, teacher = variant_of(tiny, ARM, variant)
    assert (scenario.demand.rate_hz, scenario.training) == (2.5, tiny.training)
    assert (scenario.window.warm_up_s, scenario.window.measured_s) == (0.0, tiny.training.episode_s)
    assert (arm.forecaster, teacher.stocking_probability, teacher.link_level) == ("ewma", 0.6, 2)
    shipped, arm, _ = variant_of(tiny, ARM, TrainingVariant(scenario="quickstart", forecaster="constant"))
    assert shipped.demand == load_scenario("quickstart").demand
    assert (shipped.training, shipped.study, arm.forecaster) == (tiny.training, None, "constant")
    with pytest.raises(ScenarioError, match="rate_khz"):
        variant_of(tiny, ARM, TrainingVariant(set={"demand.rate_khz": 1.0}))
