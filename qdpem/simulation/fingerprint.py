"""Fingerprint of the code that a run executes; a stored result is reused only while it is the same."""

from __future__ import annotations

from pathlib import Path

from qdpem import registry
from qdpem.provenance import source_digest, source_files
from qdpem.scenario.schema import Arm, Scenario

_AFTERWARDS = ("cli", "study")
"""Packages that no run executes: import contracts keep every part of a run from importing them."""


def code_digest(scenario: Scenario, arm: Arm | None = None) -> str:
    """Digest of the source that a run of `scenario` under a resolved `arm` executes: 32 hex digits.

    It covers qdpem without its studies and commands, `physics`, and every package that provides the physics
    model, the topology, or the policy or forecaster of the arm. Raises UnknownNameError for a name that no
    package provides.
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
