"""What a record says of its run, made ready to run again: its network, its arm, and the files of its arm."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

from qdpem import registry
from qdpem.errors import QdpemError, RecordError, ScenarioError, UnknownNameError
from qdpem.network.build import build_network, build_physics, equip_graph
from qdpem.network.graph import Network
from qdpem.records.reader import Record
from qdpem.records.recorded_map import recorded_graph
from qdpem.scenario.load import parameters_of
from qdpem.scenario.paths import is_path_key
from qdpem.simulation.arms import ResolvedArm, resolve_arm
from qdpem.simulation.fingerprint import code_digest

_PARAMETERS = "parameters"


def require_plugins(record: Record, kinds: Iterable[str]) -> None:
    """Raise RecordError if a plugin of one of these `kinds` that the run used is not installed."""
    names = {
        "physics": record.scenario.physics.model,
        "topology": record.scenario.topology.kind,
        "policy": record.arm.policy or record.arm.name,
        "forecaster": record.arm.forecaster or "none",
    }
    for kind in kinds:
        if names[kind] not in registry.list_names(kind):
            origin = record.provenance.get(f"{kind}_distribution") or "an unknown package"
            raise _refusal(record, f"its {kind} {names[kind]!r}, of {origin}, is not installed here")


def rebuilt_network(record: Record) -> Network:
    """The network of the run, with the topology drawn again, or as recorded where it was read from a file.

    Raises RecordError when this version cannot build it.
    """
    scenario = record.scenario
    try:
        physics = build_physics(scenario)
        factory = registry.load("topology", scenario.topology.kind)
        if not hasattr(factory, "input_files"):
            return build_network(scenario, physics, seed=record.seed)
        # The file may have changed or gone since; the record has the map that was read from it.
        return equip_graph(recorded_graph(record), scenario, physics, seed=record.seed)
    except RecordError:
        raise
    except QdpemError as error:
        raise _refusal(record, str(error)) from error


def rebuilt_arm(record: Record, *, directory: Path) -> ResolvedArm:
    """The arm of the run, which acts with the files that the record embeds; these are put in `directory`.

    Raises RecordError when this version cannot build it, or when a file has changed that the arm cannot be
    given another path for.
    """
    try:
        arm = resolve_arm(record.arm)
        own: dict[str, Path] = getattr(arm.build_policy(), "files", dict)()
        for name, path in arm.learned_files.items():
            if name in record.files and _digest(record.file(name)) != _digest_of(path):
                key = _parameter_of(arm, path) if name in own else None
                if key is None:
                    raise _refusal(record, _changed(name, path, record.file(name)))
                arm = _redirected(arm, key, _written(directory / name, record.file(name)))
    except ScenarioError as error:
        raise _refusal(record, f"its arm does not fit this version: {error}") from error
    return arm


def version_warning(record: Record) -> str:
    """A sentence if other code made the record than would run now, or if that is unknown; "" otherwise."""
    try:
        present = code_digest(record.scenario, record.arm)
    except UnknownNameError as error:
        return f"it is unknown whether the same code made the record: {error}"
    if record.provenance.get("code") == present:
        return ""
    version = record.provenance.get("qdpem_version") or "of an unknown version"
    commit = record.provenance.get("commit")
    origin = f"qdpem {version}" + (f" at commit {commit}" if commit else "")
    return (
        f"other code than this made the record ({origin}), or its plugins have changed: a difference may come"
        " from that"
    )


def _refusal(record: Record, reason: str) -> RecordError:
    return RecordError(f"{record.path} cannot be replayed: {reason}")


def _changed(name: str, path: Path, embedded: bytes) -> str:
    present = _digest_of(path)
    now = f"the SHA-256 digest {present[:12]}..." if present else "no file"
    return (
        f"its arm acted with a file {name} of the SHA-256 digest {_digest(embedded)[:12]}..., and at {path}"
        f" there is {now}"
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(path: Path) -> str:
    return _digest(path.read_bytes()) if path.is_file() else ""


def _parameter_of(arm: ResolvedArm, path: Path) -> str | None:
    """The parameter of the policy that names the file at `path`, or the only one that names any file."""
    if arm.parameters is None:
        return None
    keys = [each.name for each in fields(arm.parameters) if is_path_key(f"{_PARAMETERS}.{each.name}")]
    naming = [key for key in keys if str(getattr(arm.parameters, key)) == str(path)]
    return next(iter(naming), keys[0] if len(keys) == 1 else None)


def _redirected(arm: ResolvedArm, key: str, path: Path) -> ResolvedArm:
    """The arm with the parameter `key` set to `path`."""
    values = {**arm.arm.parameters, key: str(path)}
    parameters = parameters_of(arm.factory, values, path=f"arm {arm.name}.{_PARAMETERS}")
    return ResolvedArm(arm=replace(arm.arm, parameters=values), factory=arm.factory, parameters=parameters)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
