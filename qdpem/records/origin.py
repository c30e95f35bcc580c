"""What a record says of itself before its run: scenario, arm, seed, versions, machine and code."""

from __future__ import annotations

from typing import Any

from qdpem.provenance import provenance
from qdpem.records.schema import SCHEMA_VERSION, TITLE
from qdpem.scenario.load import scenario_hash, scenario_text
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.fingerprint import code_digest, distributions, input_digest, trace_digests
from qdpem.strict_json import json_text


def record_attributes(scenario: Scenario, arm: Arm, seed: int) -> dict[str, Any]:
    """The attributes of the file: scenario, arm and seed."""
    return {
        "title": TITLE,
        "schema_version": SCHEMA_VERSION,
        "scenario": scenario_text(scenario),
        "scenario_name": scenario.name,
        "scenario_hash": scenario_hash(scenario),
        "seed": seed,
        "physics": scenario.physics.model,
        "physics_parameters": json_text(scenario.physics.parameters),
        "level": str(scenario.record.level),
        "arm": arm.name,
        "policy": arm.policy or arm.name,
        "control": str(arm.control or ""),
        "pregeneration": str(arm.pregeneration or ""),
        "forecaster": arm.forecaster or "",
        "arm_parameters": json_text(arm.parameters),
    }


def record_provenance(scenario: Scenario, arm: Arm) -> dict[str, Any]:
    """The attributes of /provenance, before the run."""
    return provenance(scenario_hash=scenario_hash(scenario)) | {
        "code": code_digest(scenario, arm),
        "inputs": input_digest(scenario),
        "traces": trace_digests(scenario),
        **distributions(scenario, (arm,)),
        "written_until_s": 0.0,
    }
