"""Arguments and options that several commands share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from qdpem.cli.completion import complete_arm, complete_scenario


def _note_hidden_files(context: typer.Context, scenario: str) -> str:
    """Say which scenario is meant where a file or folder has the name of a shipped one."""
    from qdpem.scenario.shipped import hidden_files

    # The shell completes words: nothing is run, and nothing may be printed.
    for path in () if context.resilient_parsing else hidden_files(scenario):
        typer.echo(
            f"note: {scenario} is the scenario that ships with qdpem; write ./{path} for the one in this"
            " directory",
            err=True,
        )
    return scenario


ScenarioWord: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A shipped scenario (`qdpem list scenarios`), or the path of a scenario file (TOML).",
        callback=_note_hidden_files,
        autocompletion=complete_scenario,
    ),
]
ArmName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--arm",
        metavar="NAME",
        help="An arm of the scenario, or a registered policy.",
        autocompletion=complete_arm,
    ),
]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, like window.measured_s=30. Repeatable."),
]
Workers: TypeAlias = Annotated[
    int | None, typer.Option("--workers", min=1, help="Tasks at a time; one per core by default.")
]
Fresh: TypeAlias = Annotated[bool, typer.Option("--fresh", help="Run finished tasks again.")]
Oversize: TypeAlias = Annotated[
    bool, typer.Option("--oversize", help="Begin even if the runs seem too large for this machine.")
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON line on stdout, all else on stderr.")
]

MAX_SEED = 2**63 - 1
"""The largest seed that a record holds. The schema, which is slow to import, has the same limit."""


_OUTPUT = Path("output")
_MAX_NAME = 100
"""Longer names of directories give way to a digest; file systems allow 255 bytes."""


def output_directory(scenario: str | Path, overrides: Sequence[str] | None) -> Path:
    """The default directory of results: output/<scenario>, with the overrides after its name.

    Other overrides give another directory, so that results do not replace each other. Keys of [study] other
    than its arms do not count, because a run does not depend on them. Overrides that are long, or that no
    file name can hold, are named by their digest.

    >>> output_directory("here/row.toml", ["window.measured_s=9", "nodes.memories = 4", "study.seeds=[1]"])
    PosixPath('output/row,nodes.memories=4,window.measured_s=9')
    """
    from qdpem.scenario.shipped import results_name

    stem = results_name(scenario)
    # The last of two overrides of one key is the one that counts.
    pairs = dict(_halves(override) for override in overrides or ())
    named = [
        f"{key}={value}"
        for key, value in sorted(pairs.items())
        if not key.startswith("study.") or key.startswith("study.arms")
    ]
    name = ",".join([stem, *named])
    if named and (len(name) > _MAX_NAME or not re.fullmatch(r"[\w.,=+\[\]-]+", name)):
        digest = hashlib.blake2b("\n".join(named).encode(), digest_size=5).hexdigest()
        name = f"{stem},{digest}"
    return _OUTPUT / name


def _halves(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.strip(), value.strip().strip("'\"")
