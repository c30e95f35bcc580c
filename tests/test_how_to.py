"""The how-to pages: their signatures are those of the code, and the example keeps the rules of a policy."""

from __future__ import annotations

import inspect
import re
import runpy
from dataclasses import fields
from pathlib import Path

from physics import Plan
from qdpem import Allocation, Context, Decisions, Observation, check_policy
from qdpem.network.graph import Graph, Network
from qdpem.network.outages import Unavailable
from qdpem.network.path import Path as NodePath
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.synthetic import small_context
from qdpem.scenario.schema import ControlSettings, Forecasting

ROOT = Path(__file__).parents[1]
POLICY = (ROOT / "docs" / "how-to" / "policy.md").read_text(encoding="utf-8")


def described(heading: str) -> list[str]:
    """The first column of the table below a heading of the page, every name of it."""
    section = POLICY.split(f"### {heading}\n")[1].split("\n#")[0]
    firsts = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return re.findall(r"`(.*?)`", " ".join(firsts))


def signature(method: object) -> str:
    """A method as the page writes it: without self and without types."""
    given = inspect.signature(method)  # type: ignore[arg-type]
    bare = [item.replace(annotation=inspect.Parameter.empty) for item in given.parameters.values()][1:]
    shown = given.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    name = method.__name__  # type: ignore[attr-defined]
    return f"{name}{shown}".replace("=Unavailable(nodes=frozenset(), links=frozenset())", "=ALL_AVAILABLE")


def methods(owner: type) -> list[str]:
    public = [
        item for name, item in vars(owner).items() if not name.startswith("_") and inspect.isfunction(item)
    ]
    return [signature(item) for item in public]


def names(owner: type) -> set[str]:
    return {item.name for item in fields(owner)}


def test_every_field_of_an_observation_is_described():
    assert {name for name in described("Observation") if "(" not in name} == names(Observation)
    assert [name for name in described("Observation") if "(" in name] == methods(Observation)


def test_every_field_of_the_answer_is_described():
    assert set(described("Decisions")) == names(Decisions)
    assert set(described("Allocation")) == names(Allocation)
    assert {name for name in described("Plan") if "(" not in name} == names(Plan)
    assert set(described("A waiting request")) == names(PendingRequest) | set(methods(PendingRequest))


def test_everything_under_context_is_described():
    assert {name.split("(")[0] for name in described("Context")} == names(Context) | {"sites"}
    assert described("context.estimates") == methods(Estimates)
    assert {name for name in described("context.routes") if "(" in name} <= set(
        methods(Routes) + methods(NodePath) + methods(Unavailable)
    )
    assert set(methods(Routes)) <= set(described("context.routes"))
    assert set(described("context.control_settings")) == names(ControlSettings)
    assert set(described("context.forecasting")) == names(Forecasting)


def test_every_attribute_of_the_network_is_one():
    shown = described("context.network")
    of_graph = {name.removeprefix("graph.") for name in shown if name.startswith("graph.")}
    assert of_graph == names(Graph)
    assert {name for name in shown if "." not in name} <= names(Network) | set(dir(Network))
    assert names(Network) - {"graph"} <= set(shown)


def test_the_example_keeps_every_rule_of_a_policy():
    policy = runpy.run_path(str(ROOT / "examples" / "own_policy.py"))["RandomPath"]
    assert [check.detail for check in check_policy(policy, small_context()) if not check.passed] == []
