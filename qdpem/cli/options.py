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

OUTPUT = Path("output")
"""The default directory of results."""
