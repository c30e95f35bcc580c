"""`qdpem schema`: the JSON schema of a scenario file."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON schema of a scenario file, for editors that complete and check TOML."""
    from qdpem.scenario.json_schema import scenario_json_schema

    typer.echo(json.dumps(scenario_json_schema(), indent=2, allow_nan=False))
