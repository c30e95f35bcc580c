"""Fingerprints of the code that a run executes and of the files that it reads.

A stored result is reused only while both are the same.
"""

from __future__ import annotations

from pathlib import Path

from qdpem import registry
from qdpem.provenance import source_digest, source_files
from qdpem.scenario.load import parameters_of
from qdpem.scenario.schema import Arm, Scenario

_AFTERWARDS = ("cli", "study")
"""Packages that no run executes: import contracts keep every part of a run from importing them."""


def code_digest(scenario: Scenario, arm: Arm | None = None) -> str:
    """Digest of the code that a run of `scenario` under a resolved `arm` executes: 32 hex digits.

    It covers all files of qdpem without its studies and commands, of `physics`, and of every package that
    provides the physics model, the topology, or the policy or forecaster of the arm. Raises UnknownNameError
    for a name that no package provides.
    """
    offered = [("physics", scenario.physics.model), ("topology", scenario.topology.kind)]
    if arm is not None:
        offered += [("policy", arm.policy or arm.name), ("forecaster", arm.forecaster or "none")]
    packages = {"qdpem", "physics", *(registry.package_of(kind, name) for kind, name in offered)}
    rooms = Path(__file__).parents[1]
    afterwards = tuple(rooms / name for name in _AFTERWARDS)
    files = [file for package in packages for file in source_files(package)]
    # A change in a study or a command leaves stored results valid.
    return source_digest([file for file in files if not any(map(file.is_relative_to, afterwards))])


def input_digest(scenario: Scenario) -> str:
    """Digest of the files that the topology of `scenario` is read from: 32 hex digits, "" without such files.

    A topology names them by `input_files` (`qdpem.network.generators.TopologyFactory`). Missing files are
    left out: building the network reports them.
    """
    factory = registry.load("topology", scenario.topology.kind)
    list_files = getattr(factory, "input_files", None)
    if list_files is None:
        return ""
    parameters = parameters_of(factory, scenario.topology.parameters, path="topology.parameters")
    files = [file for file in list_files(parameters) if file.is_file()]
    return source_digest(files) if files else ""
