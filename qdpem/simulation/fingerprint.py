"""The code that a run executes and the files that it reads: fingerprints, and the packages of its parts.

A stored result is reused only while both fingerprints are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qdpem import registry
from qdpem.demand.traces.read import trace_files
from qdpem.provenance import source_digest, source_files
from qdpem.scenario.load import parameters_of
from qdpem.scenario.schema import Arm, Scenario, Trace

_AFTERWARDS = ("cli", "study")
"""Packages that no run executes: import contracts keep every part of a run from importing them."""


def distributions(scenario: Scenario, arms: Iterable[Arm]) -> dict[str, str]:
    """The packages, with versions, that offer each part of runs of `scenario` under resolved arms.

    Keys are "physics_distribution", "topology_distribution", "policy_distribution" and
    "forecaster_distribution". Where there are several packages, each is followed by the names that it offers:
    "mine 1.2 (my-policy), qdpem 0.1.0 (dpem)". Raises UnknownNameError for a name that no package provides.
    """
    names: dict[str, dict[str, list[str]]] = {}
    for kind, name in _offered(scenario, arms):
        origin = registry.distribution_of(kind, name) or registry.package_of(kind, name)
        names.setdefault(kind, {}).setdefault(origin, []).append(name)
    return {
        f"{kind}_distribution": ", ".join(
            origin if len(by_origin) == 1 else f"{origin} ({', '.join(own)})"
            for origin, own in sorted(by_origin.items())
        )
        for kind, by_origin in names.items()
    }


def _offered(scenario: Scenario, arms: Iterable[Arm]) -> list[tuple[str, str]]:
    """The kind and the name of every registered part of a run, each once."""
    offered = [("physics", scenario.physics.model), ("topology", scenario.topology.kind)]
    for arm in arms:
        offered += [("policy", arm.policy or arm.name), ("forecaster", arm.forecaster or "none")]
    return list(dict.fromkeys(offered))


def code_digest(scenario: Scenario, arm: Arm | None = None) -> str:
    """Digest of the code that a run of `scenario` under a resolved `arm` executes: 32 hex digits.

    It covers all files of qdpem without its studies and commands, of `physics`, and of every package that
    provides the physics model, the topology, or the policy or forecaster of the arm. Raises UnknownNameError
    for a name that no package provides.
    """
    offered = _offered(scenario, () if arm is None else (arm,))
    packages = {"qdpem", "physics", *(registry.package_of(kind, name) for kind, name in offered)}
    rooms = Path(__file__).parents[1]
    afterwards = tuple(rooms / name for name in _AFTERWARDS)
    files = [file for package in packages for file in source_files(package)]
    # A change in a study or a command leaves stored results valid.
    return source_digest([file for file in files if not any(map(file.is_relative_to, afterwards))])


def input_digest(scenario: Scenario) -> str:
    """Digest of the files that topology and traces are read from: 32 hex digits, "" without such files.

    A topology names them by `input_files` (`qdpem.network.generators.TopologyFactory`). Missing files are
    left out: building the network and the demand report them.
    """
    factory = registry.load("topology", scenario.topology.kind)
    list_files = getattr(factory, "input_files", None)
    files = [file for own in _trace_files(scenario).values() for file in own]
    if list_files is not None:
        parameters = parameters_of(factory, scenario.topology.parameters, path="topology.parameters")
        files += [file for file in list_files(parameters) if file.is_file()]
    return source_digest(files) if files else ""


def trace_digests(scenario: Scenario) -> str:
    """The digest of each trace of the demand, as "NAME DIGEST" with commas between; "" without traces.

    It is that of the contents of the trace's files, whatever their names.
    """
    return ", ".join(
        f"{name} {source_digest(files)}" for name, files in _trace_files(scenario).items() if files
    )


def _trace_files(scenario: Scenario) -> dict[str, list[Path]]:
    """The files of each trace of the demand that are there."""
    return {
        name: trace_files(Path(process.path))
        for name, process in scenario.demand.processes.items()
        if isinstance(process, Trace)
    }
