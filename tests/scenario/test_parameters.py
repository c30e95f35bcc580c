from __future__ import annotations

from dataclasses import dataclass

import pytest

from qdpem.errors import ScenarioError
from qdpem.scenario.load import parameters_of
from qdpem.scenario.schema import Count


@dataclass(frozen=True, kw_only=True)
class StrangerParameters:
    """A plugin's parameters that say nothing of unknown keys."""

    depth: Count
    rate_hz: float = 1.0


class Stranger:
    Parameters = StrangerParameters


class Bare:
    pass


def test_parameters_are_typed_values() -> None:
    assert parameters_of(Stranger, {"depth": 3}, path="x") == StrangerParameters(depth=3, rate_hz=1.0)


def test_every_fault_stands_under_the_dotted_path() -> None:
    with pytest.raises(ScenarioError) as caught:
        parameters_of(Stranger, {"depth": 0, "rate": 2.0}, path="study.arms.0.parameters")
    found = {fault.path: fault.message for fault in caught.value.faults}
    assert found == {
        "study.arms.0.parameters.rate": "is not a known key; did you mean 'rate_hz'? known: depth, rate_hz",
        "study.arms.0.parameters.depth": "0 is not allowed; should be greater than or equal to 1",
    }


def test_a_factory_without_parameters_takes_none() -> None:
    assert parameters_of(Bare, {}, path="x") is None
    with pytest.raises(ScenarioError, match=r"x\.depth: is not a known key; it takes no parameters"):
        parameters_of(Bare, {"depth": 3}, path="x")
