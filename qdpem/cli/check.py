"""`qdpem check`: the faults of a scenario, the laws of a physics model, the rules of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qdpem.cli.console import console
from qdpem.cli.options import Overrides


class Subject(StrEnum):
    """The kinds of things that can be checked."""

    PHYSICS = "physics"
    POLICY = "policy"
    SCENARIO = "scenario"


def check(
    subject: Annotated[Subject, typer.Argument(metavar="KIND", help="physics, policy or scenario.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered name, or a scenario file.")],
    overrides: Overrides = None,
) -> None:
    """Check the laws of a physics model, the rules of a policy, or a scenario file. Exit 1 if one fails.

    --set sets a parameter of a physics model (--set bias=10) or overrides a key of a scenario.
    """
    settings = overrides or []
    if subject is Subject.SCENARIO:
        _check_scenario(Path(name), settings)
        return
    rows = _check_physics(name, settings) if subject is Subject.PHYSICS else _check_policy(name, settings)
    passed = _print(f"{subject.value} {name}", rows)
    if subject is Subject.PHYSICS:
        console().print("result: the largest deviation and the number of comparisons", markup=False)
    if not passed:
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
    # The first column has the name of the law already.
    return [
        (check.law, check.passed, check.detail.removeprefix(f"the law {check.law!r} is "))
        for check in check_model(model)
    ]


def _check_policy(name: str, overrides: Sequence[str]) -> list[tuple[str, bool, str]]:
    from qdpem.errors import StudyError
    from qdpem.policy.conformance import check_named_policy

    if overrides:
        raise StudyError(f"a policy is checked with its defaults; --set {overrides[0]} sets nothing")
    return [(check.rule, check.passed, check.detail) for check in check_named_policy(name)]


def _check_scenario(path: Path, overrides: Sequence[str]) -> None:
    """Load a scenario, resolve its arms, build its network and print a summary. Raises the faults of each."""
    from qdpem.network.build import build_network, build_physics
    from qdpem.scenario.load import load_scenario
    from qdpem.simulation.arms import resolve_arms
    from qdpem.study.analysis.network_summary import summarize_network

    scenario = load_scenario(path, overrides)
    if scenario.study:
        resolve_arms(scenario.study.arms, origin=f"the scenario {str(path)!r}")
    physics = build_physics(scenario)
    seed = scenario.study.seeds[0] if scenario.study else 0
    network = build_network(scenario, physics, seed=seed)
    summary = summarize_network(scenario, network=network, physics=physics, seed=seed)
    terminal = console()
    terminal.print(f"{path} has no faults (network of seed {seed})", markup=False)
    terminal.print(str(summary), markup=False)
    for warning in summary.warnings:
        terminal.print(f"warning: {warning}", style="yellow", markup=False)


def _print(title: str, rows: Iterable[tuple[str, bool, str]]) -> bool:
    """Print a table of checks; whether all passed."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for heading in ("rule", "", "result"):
        table.add_column(heading)
    all_passed = True
    for rule, passed, detail in rows:
        verdict = Text("holds", style="green") if passed else Text("BROKEN", style="bold red")
        table.add_row(Text(rule), verdict, Text(detail))
        all_passed = all_passed and passed
    console().print(table)
    return all_passed
