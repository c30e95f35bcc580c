"""Old keys, parameters, words and names are answered with the new ones, and every new one exists."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest

from qdpem import registry
from qdpem.errors import ScenarioError, UnknownNameError
from qdpem.scenario import words
from qdpem.scenario.faults.renamed import PARAMETERS, REGISTERED, SCENARIO_KEYS, WORDS
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Scenario
from qdpem.simulation.arms import find_arm
from tests.helpers.small_scenario import SMALL


def keys_of(kind: Any) -> set[str]:
    """The keys of a table and of all tables inside it."""
    keys = {item.name for item in fields(kind)}
    hints = list(get_type_hints(kind).values())
    while hints:
        hint = hints.pop()
        if is_dataclass(hint):
            keys |= keys_of(hint)
        else:
            hints.extend(get_args(hint))
    return keys


def parameters() -> set[str]:
    factories = [registry.load("policy", name) for name in registry.list_names("policy")]
    return {item.name for factory in factories for item in fields(factory.Parameters)}


def all_words() -> set[str]:
    lists = [kind for kind in vars(words).values() if isinstance(kind, type) and issubclass(kind, words.Word)]
    return {str(word) for kind in lists for word in kind}


def message(path: str, *overrides: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(SMALL, overrides=overrides)
    return next(fault.message for fault in caught.value.faults if fault.path == path)


@pytest.mark.parametrize(("old", "new"), SCENARIO_KEYS.items())
def test_every_new_key_exists(old: str, new: str) -> None:
    assert new in keys_of(Scenario) or old in keys_of(Scenario)


@pytest.mark.parametrize(("old", "new"), PARAMETERS.items())
def test_every_new_parameter_exists_and_no_old_one_does(old: str, new: str) -> None:
    assert new in parameters()
    assert old not in parameters()


@pytest.mark.parametrize(("old", "new"), WORDS.items())
def test_every_new_word_exists_and_no_old_one_does(old: str, new: str) -> None:
    assert new in all_words()
    assert old not in all_words()


@pytest.mark.parametrize(
    ("kind", "old", "new"), [(kind, *names) for kind, table in REGISTERED.items() for names in table.items()]
)
def test_every_new_name_is_registered_and_no_old_one_is(kind: str, old: str, new: str) -> None:
    assert new in registry.list_names(kind)
    assert old not in registry.list_names(kind)


@pytest.mark.parametrize(
    ("path", "override", "new"),
    [
        ("demand.load_share", "demand.load_share=0.5", "load_factor"),
        ("demand.near", "demand.near={peers=3}", "neighbourhood"),
        ("demand.classes.0.share", "demand.classes.0.share=0.5", "fraction"),
        ("nodes.foreign_stock_share", "nodes.foreign_stock_share=0.5", "remote_storage_quota"),
        ("training.clip_ratio", "training.clip_ratio=0.5", "clip_range"),
        (
            "study.arms.0.rights",
            'study={seeds=[1000], arms=[{name="dpem", rights="serve"}]}',
            "pregeneration",
        ),
        ("study.grid", 'study={seeds=[1000], arms=[{name="dpem"}], grid={}}', "sweep"),
        ("demand.arrivals", "demand.arrivals=once", "batch"),
        ("demand.weights", "demand.weights=near", "neighbourhood"),
        (
            "study.arms.0.pregeneration",
            'study={seeds=[1000], arms=[{name="dpem", pregeneration="virtual"}]}',
            "virtual-link",
        ),
        (
            "study.arms.0.policy",
            'study={seeds=[1000], arms=[{name="a", policy="local-prices"}]}',
            "local-price-based",
        ),
        (
            "study.arms.0.forecaster",
            'study={seeds=[1000], arms=[{name="dpem", forecaster="filter"}]}',
            "bayes-filter",
        ),
    ],
)
def test_what_is_old_is_answered_with_what_is_new(path: str, override: str, new: str) -> None:
    assert f"is now {new!r}" in message(path, override)


def test_an_old_arm_is_answered_with_the_new_one() -> None:
    with pytest.raises(UnknownNameError, match="'central-expected-delay'"):
        find_arm(parse_scenario(SMALL), "central-live")


def test_an_old_parameter_is_answered_with_the_new_one() -> None:
    from qdpem.scenario.faults.validation import parameters_of

    with pytest.raises(ScenarioError) as caught:
        parameters_of(registry.load("policy", "local-stock"), {"hope": 1.0, "peers": 3}, path="arm")
    assert {fault.path: fault.message for fault in caught.value.faults} == {
        "arm.hope": "is now 'max_unloaded_delay'",
        "arm.peers": "is now 'tracked_pairs'",
    }
