"""Scenarios: the typed description of a run, read from TOML."""

from __future__ import annotations

from qdpem.scenario.load import load_scenario, parse_scenario, scenario_hash, scenario_text
from qdpem.scenario.schema import Scenario

__all__ = ["Scenario", "load_scenario", "parse_scenario", "scenario_hash", "scenario_text"]
