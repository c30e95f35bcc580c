"""`qdpem check`: is a scenario sound, does a physics model or a policy keep the rules?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qdpem.cli.console import console
from qdpem.cli.options import Overrides


class Subject(StrEnum):
    """What can be checked."""

    PHYSICS = "physics"
    POLICY = "policy"
    SCENARIO = "scenario"


def check(
    subject: Annotated[Subject, typer.Argument(metavar="WHAT", help="physics, policy or scenario.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered name, or a scenario file.")],
    overrides: Overrides = None,
) -> None:
    """Check a physics model's laws, a policy's rules or a scenario file; exit 1 if something fails.

    --set gives a physics model its parameters (--set bias=10), or overrides a key of a scenario.
    """
    given = overrides or []
    if subject is Subject.SCENARIO:
        _check_scenario(Path(name), given)
        return
    rows = _check_physics(name, given) if subject is Subject.PHYSICS else _check_policy(name, given)
    held = _print(f"{subject.value} {name}", rows)
    if subject is Subject.PHYSICS:
        console().print("seen: the worst deviation, and in how many comparisons", markup=False)
    if not held:
        raise typer.Exit(1)


def _check_physics(name: str, overrides: Sequence[str]) -> list[tuple[str, bool, str]]:
    from physics.conformance import check_model
    from physics.plugins import load_physics
    from qdpem.errors import Fault, ScenarioError, UnknownNameError
    from qdpem.registry import list_names
    from qdpem.scenario.load import apply_overrides

    known = list_names("physics")
    if name not in known:
        raise UnknownNameError("physics model", name, known)
    origin = f"the call for the physics model {name!r}"
    parameters: dict[str, object] = {}
    apply_overrides(parameters, overrides, origin=origin)
    try:
        model = load_physics(name, parameters)
    except (TypeError, ValueError) as error:
        raise ScenarioError([Fault("", str(error))], origin=origin) from error
    # The law stands in the first column already.
    return [
        (one.law, one.passed, one.detail.removeprefix(f"the law {one.law!r} is "))
        for one in check_model(model)
    ]


def _check_policy(name: str, overrides: Sequence[str]) -> list[tuple[str, bool, str]]:
    from qdpem.errors import StudyError
    from qdpem.policy.conformance import check_named_policy

    if overrides:
        raise StudyError(f"a policy is checked as it is; --set {overrides[0]} has nothing to set")
    return [(one.rule, one.passed, one.detail) for one in check_named_policy(name)]


def _check_scenario(path: Path, overrides: Sequence[str]) -> None:
    """OfferedLoad it, build its network and say what it can do; the faults of these and of its arms are raised."""
    from qdpem.network.build import build_network, build_physics
    from qdpem.scenario.load import load_scenario
    from qdpem.simulation.arms import sound_arms
    from qdpem.study.analysis.network_summary import summarize_network

    scenario = load_scenario(path, overrides)
    if scenario.study:
        sound_arms(scenario.study.arms, origin=f"the scenario {str(path)!r}")
    physics = build_physics(scenario)
    seed = scenario.study.seeds[0] if scenario.study else 0
    network = build_network(scenario, physics, seed=seed)
    found = summarize_network(scenario, network=network, physics=physics, seed=seed)
    shown = console()
    shown.print(f"{path} is sound (network of seed {seed})", markup=False)
    shown.print(str(found), markup=False)
    for warning in found.warnings:
        shown.print(f"warning: {warning}", style="yellow", markup=False)


def _print(title: str, rows: Iterable[tuple[str, bool, str]]) -> bool:
    """Print what was checked; whether all of it held."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for heading in ("rule", "", "seen"):
        table.add_column(heading)
    held = True
    for rule, passed, detail in rows:
        verdict = Text("holds", style="green") if passed else Text("BROKEN", style="bold red")
        table.add_row(Text(rule), verdict, Text(detail))
        held = held and passed
    console().print(table)
    return held
