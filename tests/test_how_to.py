"""The how-to pages: their signatures are those of the code, and the example keeps the rules of a policy."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

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
    assert set(described("A pending request")) == names(PendingRequest) | set(methods(PendingRequest))


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


@pytest.mark.slow
def test_the_example_keeps_every_rule_of_a_policy():
    policy = runpy.run_path(str(ROOT / "examples" / "own_policy.py"))["RandomPath"]
    assert [check.detail for check in check_policy(policy, small_context()) if not check.passed] == []


def test_the_page_shows_the_example_whole():
    code = (ROOT / "examples" / "own_policy.py").read_text(encoding="utf-8")
    assert code[code.index("class RandomPath:") : code.index("\n\n\ndef main")] in POLICY


SHORT = ("window.warm_up_s=2", "window.measured_s=8")


PRINTING = ("cluster", "policy", "forecaster", "physics-plugin", "read-records", "analyse-study")
"""Pages whose Python runs here, with what it prints; test_code_blocks runs that of all others."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTING)
def test_python_of_a_page_prints_what_it_shows(name, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from qdpem.cli.app import app

    monkeypatch.chdir(tmp_path)
    for shared in ("examples", "scenarios"):
        (tmp_path / shared).symlink_to(ROOT / shared)
    if name == "read-records":
        overrides = [word for override in SHORT for word in ("--set", override)]
        words = ["run", "scenarios/quickstart.toml", "--arm", "local-stock", "--seed", "1", *overrides]
        assert CliRunner().invoke(app, [*words, "--out", "one.h5"]).exit_code == 0
    text = (ROOT / "docs" / "how-to" / f"{name}.md").read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": name}
    blocks = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.DOTALL)
    assert blocks
    for block, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, name, "exec", dont_inherit=True), namespace)
        assert printed.getvalue().rstrip() == shown.rstrip(), block


@pytest.mark.parametrize("name", ["tutorial/first_study", "how-to/analyse_a_record"])
def test_a_notebook_is_kept_without_outputs(name):
    """`make docs` runs it, and an error in a cell ends the build."""
    cells = json.loads((ROOT / "docs" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] for cell in code)


def test_the_map_of_the_page_loads():
    from qdpem.network.build import build_network, build_physics
    from qdpem.scenario.load import parse_scenario

    text = (ROOT / "docs" / "how-to" / "own-map.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    scenario = parse_scenario(block.replace("map.json", str(ROOT / "docs/how-to/map.json")))
    network = build_network(scenario, build_physics(scenario), seed=0)
    assert network.graph.node_names == ("west", "middle", "east", "north")
    assert network.graph.length_km[3] == pytest.approx(23.2, abs=0.1)  # from the positions
