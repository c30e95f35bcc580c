"""Arms that are `like` others: what they take over, what they keep, and what is refused."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from qdpem.errors import ScenarioError
from qdpem.scenario.load import load_scenario, parse_scenario, scenario_text
from qdpem.scenario.schema import Arm, Scenario

TEXT = """
name = "arms"
[topology]
kind = "line"
parameters = { nodes = 4, hop_km = 5.0 }
[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 6.0
hardware = { memory = { kind = "depolarising", depolarising_s = 10.0 } }
[demand]
rate_hz = 6.0
classes = [{ application = "computing", fraction = 1.0, target_fidelity = 0.7, patience_s = 0.5 }]
[study]
seeds = [1000]
"""
TUNED = (
    '{ name = "tuned", policy = "local-stock", control = "local", pregeneration = "link",'
    ' forecaster = "constant", parameters = { storage_fraction = 0.2, max_loaded_delay = 2.0 } }'
)


def arms(*entries: str) -> str:
    return TEXT + "arms = [\n" + ",\n".join(entries) + "\n]\n"


def arm(scenario: Scenario, name: str) -> Arm:
    assert scenario.study is not None
    return next(each for each in scenario.study.arms if each.name == name)


def faults(text: str) -> dict[str, str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    return {fault.path: fault.message for fault in caught.value.faults}


def test_an_arm_takes_all_but_the_name() -> None:
    scenario = parse_scenario(arms(TUNED, '{ name = "twin", like = "tuned" }'))
    first, twin = arm(scenario, "tuned"), arm(scenario, "twin")
    assert asdict(twin) == {**asdict(first), "name": "twin"}


def test_own_keys_come_first_and_parameters_are_merged() -> None:
    own = 'forecaster = "gru", parameters = { max_loaded_delay = 3.0, unobserved_tokens = 0.5 }'
    twin = arm(parse_scenario(arms(TUNED, f'{{ name = "twin", like = "tuned", {own} }}')), "twin")
    assert (twin.policy, twin.pregeneration, twin.forecaster) == ("local-stock", "link", "gru")
    assert twin.parameters == {"storage_fraction": 0.2, "max_loaded_delay": 3.0, "unobserved_tokens": 0.5}


def test_chains_may_lead_forwards_and_backwards() -> None:
    last = '{ name = "last", like = "middle", parameters = { storage_fraction = 0.4 } }'
    middle = '{ name = "middle", like = "tuned", pregeneration = "end-to-end" }'
    scenario = parse_scenario(arms(last, TUNED, middle))
    assert arm(scenario, "last").pregeneration == "end-to-end"
    assert arm(scenario, "last").parameters == {"storage_fraction": 0.4, "max_loaded_delay": 2.0}
    assert arm(scenario, "middle").parameters == {"storage_fraction": 0.2, "max_loaded_delay": 2.0}


def test_an_arm_without_policy_lends_the_policy_of_its_name() -> None:
    scenario = parse_scenario(arms('{ name = "local-stock" }', '{ name = "twin", like = "local-stock" }'))
    assert arm(scenario, "twin").policy == "local-stock"


def test_an_arm_called_like_its_policy_is_as_if_written_out() -> None:
    short = '{ name = "local-stock", like = "tuned", policy = "local-stock" }'
    long = TUNED.replace('"tuned", policy = "local-stock"', '"local-stock"')
    first, second = (parse_scenario(arms(TUNED, entry)) for entry in (short, long))
    assert scenario_text(first) == scenario_text(second)


def test_a_file_may_be_like_the_arms_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(arms(TUNED), encoding="utf-8")
    own = (
        'based_on = "base.toml"\nname = "own"\n[study]\narms = [\n'
        '{ name = "tuned", like = "tuned", forecaster = "ewma" },\n{ name = "twin", like = "tuned" }\n]\n'
    )
    (tmp_path / "own.toml").write_text(own, encoding="utf-8")
    scenario = load_scenario(tmp_path / "own.toml")
    assert arm(scenario, "tuned").forecaster == arm(scenario, "twin").forecaster == "ewma"
    assert arm(scenario, "tuned").parameters == {"storage_fraction": 0.2, "max_loaded_delay": 2.0}


def test_overrides_may_name_arms_of_the_file() -> None:
    override = 'study.arms=[{name="own", like="tuned", pregeneration="none"}]'
    scenario = parse_scenario(arms(TUNED), overrides=[override])
    assert arm(scenario, "own").parameters == {"storage_fraction": 0.2, "max_loaded_delay": 2.0}
    assert arm(scenario, "own").pregeneration == "none"


@pytest.mark.parametrize(
    ("entries", "path", "words"),
    [
        (['{ name = "a", like = "a" }'], "study.arms.0.like", ("'a'",)),
        ([TUNED, '{ name = "a", like = "tunde" }'], "study.arms.1.like", ("'tunde'", "'tuned'")),
        ([TUNED, '{ name = "a", like = 3 }'], "study.arms.1.like", ("3",)),
    ],
)
def test_what_is_no_other_arm_is_refused(entries: list[str], path: str, words: tuple[str, ...]) -> None:
    found = faults(arms(*entries))
    assert list(found) == [path]
    assert all(word in found[path] for word in words)


def test_each_arm_of_a_circle_is_refused() -> None:
    circle = ['{ name = "a", like = "b" }', '{ name = "b", like = "c" }', '{ name = "c", like = "a" }']
    found = faults(arms(TUNED, *circle, '{ name = "d", like = "tuned" }'))
    assert list(found) == [f"study.arms.{index}.like" for index in (1, 2, 3)]


def test_what_is_no_arm_at_all_is_left_to_the_schema() -> None:
    assert "study.arms.0" in faults(TEXT + "arms = [3]\n")
    assert "study.arms" in faults(TEXT + "arms = 3\n")
