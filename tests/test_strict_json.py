"""JSON that every reader accepts, and that reads back equal."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdpem.scenario.load import parse_scenario, scenario_from_text, scenario_text
from qdpem.strict_json import json_text, json_value
from tests.helpers.small_scenario import SMALL

_TEXT = st.text(max_size=8) | st.sampled_from(["inf", "-inf", "nan", "'inf", "''nan", "Infinity", "NaN"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is no JSON")


@given(_VALUES)
def test_every_value_reads_back_equal_and_the_text_is_strict(value: object) -> None:
    text = json_text(value)
    json.loads(text, parse_constant=refuse)
    assert json_value(text) == value


def test_nan_reads_back_as_nan() -> None:
    assert math.isnan(json_value(json_text({"x": math.nan}))["x"])
    with pytest.raises(ValueError):
        json_value("[NaN]")
    with pytest.raises(TypeError):
        json_text({1, 2})


def test_a_scenario_with_an_infinite_number_is_strict_json_and_reads_back_equal() -> None:
    scenario = parse_scenario(SMALL)
    assert math.isinf(scenario.nodes.hardware.memory.depolarising_s)
    text = scenario_text(scenario)
    json.loads(text, parse_constant=refuse)
    assert scenario_from_text(text) == scenario
