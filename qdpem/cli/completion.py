"""Shell completion: the words that an argument can take, found without loading anything that computes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer


def complete_scenario(incomplete: str) -> list[str]:
    """Names of shipped scenarios, then folders and TOML files, that begin with `incomplete`."""
    from qdpem.scenario.shipped import shipped_names

    return [name for name in shipped_names() if name.startswith(incomplete)] + list(_paths(incomplete))


def complete_arm(context: typer.Context, incomplete: str) -> list[str]:
    """Arms of the scenario on the command line, then registered policies, that begin with `incomplete`."""
    from qdpem.registry import list_names

    arms = _arms(context.params.get("scenario") or _scenario_typed())
    names = [*arms, *(name for name in list_names("policy") if name not in arms)]
    return [name for name in names if name.startswith(incomplete)]


def complete_checked(context: typer.Context, incomplete: str) -> list[str]:
    """What `qdpem check` can check of the kind on the command line."""
    from qdpem.registry import KINDS, list_names

    kind = str(context.params.get("subject") or "")
    if kind not in KINDS:
        return complete_scenario(incomplete)
    return [name for name in list_names(kind) if name.startswith(incomplete)]


def _scenario_typed() -> str | None:
    """The scenario among the words typed so far, which the shell hands over in the environment.

    An option that still lacks its value ends the parsing before the arguments: the context has none of them.
    """
    from qdpem.scenario.shipped import scenario_file

    typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    words = (word for word in typed.split()[2:] if not word.startswith("-"))
    return next((word for word in words if scenario_file(word).is_file()), None)


def _arms(scenario: str | None) -> list[str]:
    from qdpem.errors import QdpemError
    from qdpem.scenario.arm_inheritance import arms_of
    from qdpem.scenario.inheritance import read_values
    from qdpem.scenario.shipped import scenario_file

    if scenario is None:
        return []
    try:
        arms = arms_of(read_values(scenario_file(scenario), origin=scenario))
    # A scenario with a fault has no arms to offer; the command itself will state the fault.
    except QdpemError:
        return []
    return [str(arm["name"]) for arm in arms if isinstance(arm, dict) and "name" in arm]


def _paths(incomplete: str) -> Iterator[str]:
    folder, _, start = incomplete.rpartition("/")
    where = Path(f"{folder}/") if "/" in incomplete else Path()
    prefix = f"{folder}/" if "/" in incomplete else ""
    # An unreadable or missing folder offers nothing.
    for path in sorted(where.iterdir()) if where.is_dir() else ():
        if path.name.startswith(start) and not path.name.startswith("."):
            if path.is_dir():
                yield f"{prefix}{path.name}/"
            elif path.suffix == ".toml":
                yield prefix + path.name
