"""The JSON schema of `qdpem schema` takes what qdpem takes, and refuses wrong keys and values."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from qdpem.cli.app import app
from qdpem.registry import list_names, load
from qdpem.scenario.json_schema import field_docstrings, scenario_json_schema
from qdpem.scenario.load import apply_overrides, load_scenario, scenario_text
from qdpem.scenario.overrides import without_none
from qdpem.strict_json import json_value

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FILES = sorted(SCENARIOS.glob("**/*.toml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = scenario_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def quickstart(*overrides: str) -> dict[str, Any]:
    values = tomllib.loads((SCENARIOS / "quickstart.toml").read_text(encoding="utf-8"))
    apply_overrides(values, overrides, origin="the scenario")
    return values


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid(validator, path: Path) -> None:
    validator.validate(tomllib.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_merged_scenario_with_all_defaults_is_valid(validator, path: Path) -> None:
    validator.validate(without_none(json_value(scenario_text(load_scenario(path)))))


@pytest.mark.parametrize(
    "override",
    [
        "nodes.memory=4",  # A key that does not exist.
        "nodes.crowd=0.5",
        "nodes.swap_order=random",
        "nodes.remote_storage_quota=1.5",
        "nodes.repeater_burst=0.5",
        "demand.classes.0.target_fidelity=0.5",
        "demand.bursts.peak=",  # Valid: it has a default.
        "links.hardware.kind=triple-click",
        "topology.kind=torus",
        "topology.parameters.nodes=5",  # Not a parameter of topohub.
        "physics.model=classical",
        "study.arms.0.parameters.crowd=1",
        "study.arms.0.policy=local-magic",
        "study.seeds=[]",
        "nodes.hardware.memory=",  # Required.
        "name=",
    ],
)
def test_a_wrong_value_is_refused(validator, override: str) -> None:
    assert validator.is_valid(quickstart(override)) == (override == "demand.bursts.peak=")


def test_only_a_file_based_on_another_may_leave_out_required_keys(validator) -> None:
    assert not validator.is_valid({"name": "part", "nodes": {"memories": 4}})
    assert validator.is_valid({"name": "part", "based_on": "whole.toml", "nodes": {"memories": 4}})
    assert not validator.is_valid({"based_on": "whole.toml", "nodes": {"memoires": 4}})
    # A list replaces the other file's, so that its items are complete.
    assert not validator.is_valid({"based_on": "whole.toml", "demand": {"classes": [{"fraction": 1.0}]}})


@pytest.mark.parametrize(
    ("arm", "valid"),
    [
        ({"name": "local-minhop", "parameters": {"storage_fraction": 0.3}}, True),
        ({"name": "local-minhop", "parameters": {"base_stock_level": 2}}, False),
        ({"name": "mine", "policy": "local-minhop", "parameters": {"base_stock_level": 2}}, False),
        ({"name": "mine", "policy": "local-stock", "parameters": {"base_stock_level": 2}}, True),
        ({"name": "local-stock", "parameters": {"base_stock_level": "many"}}, False),
        # The policy of an arm that is like another is not known here.
        ({"name": "local-minhop", "like": "local-stock", "parameters": {"base_stock_level": 2}}, True),
    ],
)
def test_parameters_are_those_of_the_policy(validator, arm: dict[str, Any], valid: bool) -> None:
    assert validator.is_valid(quickstart() | {"study": {"arms": [arm], "seeds": [1000]}}) == valid


def test_every_key_has_a_description() -> None:
    schema = scenario_json_schema()
    tables = {"": schema} | schema["$defs"]
    missing = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, each in table.get("properties", {}).items()
        if not each.get("description")
    ]
    assert not missing


def test_docstrings_of_bases_count() -> None:
    described = field_docstrings(load("policy", "local-stock").Parameters)
    assert {"max_unloaded_delay", "base_stock_level"} <= set(described)


def test_the_command_prints_the_schema() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed == json.loads(json.dumps(scenario_json_schema()))
    assert set(list_names("policy")) <= set(printed["$defs"]["Arm"]["properties"]["policy"]["enum"])
