"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

ScenarioFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="SCENARIO", help="The scenario file (TOML).")
]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, like window.measured_s=30; repeatable."),
]
Workers: TypeAlias = Annotated[
    int | None, typer.Option("--workers", min=1, help="Tasks at a time; all cores when not given.")
]
Fresh: TypeAlias = Annotated[bool, typer.Option("--fresh", help="Do finished tasks again.")]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON line on stdout; the rest goes to stderr.")
]

OUTPUT = Path("output")
"""Where results go unless told otherwise."""
