"""`qdpem check`: is a scenario sound; does a physics model, a policy or a forecaster keep its rules?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, TypeAlias

import typer

from qdpem.cli.completion import complete_checked, complete_scenario
from qdpem.cli.console import console
from qdpem.cli.network import network_with_summary, print_summary
from qdpem.cli.options import Overrides, Oversize

HOLDS, BROKEN, DECLARED = "holds", "BROKEN", "declared"
_STYLES = {HOLDS: "green", BROKEN: "bold red", DECLARED: "yellow"}
Row: TypeAlias = tuple[str, str, str]
"""A rule, the verdict on it and the evidence, or the reason of a declaration."""


class Subject(StrEnum):
    """The kinds of things that can be checked."""

    FORECASTER = "forecaster"
    PHYSICS = "physics"
    POLICY = "policy"
    SCENARIO = "scenario"


def check(
    subject: Annotated[
        Subject, typer.Argument(metavar="WHAT", help="physics, policy, forecaster or scenario.")
    ],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A registered name, or a scenario.", autocompletion=complete_checked
        ),
    ],
    scenario: Annotated[
        str | None,
        typer.Argument(
            metavar="SCENARIO",
            help="For a forecaster: the scenario that it is scored on; a small one otherwise.",
            autocompletion=complete_scenario,
        ),
    ] = None,
    overrides: Overrides = None,
    oversize: Oversize = False,
) -> None:
    """Check a physics model, a policy, a forecaster or a scenario; exit 1 if something fails.

    A forecaster is also scored, beside four yardsticks. --set gives a physics model or a policy its
    parameters (--set bias=10), or overrides a key of a scenario.
    """
    from qdpem.errors import StudyError

    settings = overrides or []
    if scenario is not None and subject is not Subject.FORECASTER:
        raise StudyError(f"only a forecaster is checked on a scenario; {scenario} has nothing to do here")
    if subject is Subject.SCENARIO:
        _check_scenario(name, settings, oversize=oversize)
        return
    if subject is Subject.PHYSICS:
        rows = _check_physics(name, settings)
    elif subject is Subject.POLICY:
        rows = _check_policy(name, settings)
    else:
        rows = _check_forecaster(name)
    passed = _print(f"{subject.value} {name}", rows)
    if subject is Subject.PHYSICS:
        console().print("evidence: the largest deviation, and the number of comparisons", markup=False)
    if subject is Subject.FORECASTER:
        _score_forecaster(name, scenario, settings)
    if not passed:
        raise typer.Exit(1)


def _check_physics(name: str, overrides: Sequence[str]) -> list[Row]:
    from physics.conformance import check_model
    from physics.plugins.load import load_physics
    from qdpem.errors import Fault, ScenarioError, UnknownNameError
    from qdpem.registry import list_names
    from qdpem.scenario.load import apply_overrides

    names = list_names("physics")
    if name not in names:
        raise UnknownNameError("physics model", name, names)
    origin = f"the call for the physics model {name!r}"
    parameters: dict[str, object] = {}
    apply_overrides(parameters, overrides, origin=origin)
    try:
        model = load_physics(name, parameters)
    except (TypeError, ValueError) as error:
        raise ScenarioError([Fault("", str(error))], origin=origin) from error
    return [
        (
            result.law,
            DECLARED if result.declared else _verdict(result.passed),
            # The first column names the law already.
            result.declared or result.detail.removeprefix(f"the law {result.law!r} is "),
        )
        for result in check_model(model)
    ]


def _check_policy(name: str, overrides: Sequence[str]) -> list[Row]:
    from qdpem.policy.conformance import check_named_policy
    from qdpem.scenario.load import apply_overrides

    parameters: dict[str, object] = {}
    apply_overrides(parameters, overrides, origin=f"the call for the policy {name!r}")
    checks = check_named_policy(name, parameters)
    return [(check.rule, _verdict(check.passed), check.detail) for check in checks]


def _check_forecaster(name: str) -> list[Row]:
    from qdpem.forecasting.checks.conformance import check_named_forecaster

    return [(check.rule, _verdict(check.passed), check.detail) for check in check_named_forecaster(name)]


def _score_forecaster(name: str, word: str | None, overrides: Sequence[str]) -> None:
    """Print the rolling-origin scores on the demand of a scenario, or of `small_scenario`."""
    from qdpem.errors import StudyError
    from qdpem.forecasting.checks.evaluation import evaluate_forecaster, format_table
    from qdpem.forecasting.checks.reference_demand import small_scenario
    from qdpem.scenario.load import load_scenario

    if word is None and overrides:
        raise StudyError(f"--set {overrides[0]} overrides a key of a scenario, and none is given")
    scenario = small_scenario() if word is None else load_scenario(word, overrides)
    seed = scenario.study.seeds[0] if scenario.study else 0
    scores = evaluate_forecaster(name, scenario, seed=seed)
    clock = scenario.forecasting
    output = console()
    output.print(
        f"scores on {scenario.name} (seed {seed}, {scores[0].origins} origins,"
        f" {clock.horizon_steps} steps of {clock.step_s:g} s ahead), smallest CRPS first:",
        markup=False,
    )
    output.print(format_table(scores), markup=False)


def _check_scenario(name: str, overrides: Sequence[str], *, oversize: bool) -> None:
    """Load the scenario, build its network and print a summary. Faults of it and of its arms are raised."""
    from qdpem.scenario.load import load_scenario
    from qdpem.simulation.arms import resolve_arms

    scenario = load_scenario(name, overrides)
    if scenario.study:
        resolve_arms(scenario.study.arms, origin=f"the scenario {name!r}")
    seed = scenario.study.seeds[0] if scenario.study else 0
    _, summary = network_with_summary(scenario, seed=seed, oversize=oversize)
    output = console()
    output.print(f"{name} has no faults (network of seed {seed})", markup=False)
    print_summary(summary, console=output)


def _verdict(passed: bool) -> str:
    return HOLDS if passed else BROKEN


def _print(title: str, rows: Iterable[Row]) -> bool:
    """Print one line for each rule. Returns whether none is broken, except those declared so."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for heading in ("rule", "", "evidence"):
        table.add_column(heading)
    verdicts = []
    for rule, verdict, detail in rows:
        table.add_row(Text(rule), Text(verdict, style=_STYLES[verdict]), Text(detail))
        verdicts.append(verdict)
    console().print(table)
    if DECLARED in verdicts:
        count = verdicts.count(DECLARED)
        console().print(
            f"{DECLARED}: the model breaks {'this law' if count == 1 else f'these {count} laws'} by design,"
            " for the reason that it gives; neither counted as held nor as broken",
            markup=False,
        )
    return BROKEN not in verdicts
