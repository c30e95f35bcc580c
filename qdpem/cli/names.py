"""`qdpem list`: the names that scenarios and commands may use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SCENARIOS = Path("scenarios")
_KINDS = {
    "policies": "policy",
    "forecasters": "forecaster",
    "physics": "physics",
    "topologies": "topology",
    "scenarios": "",
}


def list_command(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help=f"One of {', '.join(_KINDS)}; all when not given."),
    ] = None,
) -> None:
    """List policies, forecasters, physics models, topologies and the scenario files here."""
    from qdpem.errors import UnknownNameError

    if kind is not None and kind not in _KINDS:
        raise UnknownNameError("kind of name", kind, _KINDS)
    for heading in [kind] if kind else _KINDS:
        if kind is None:
            typer.secho(heading, bold=True)
        rows = _scenarios() if heading == "scenarios" else _registered(_KINDS[heading], told=kind is not None)
        width = max((len(name) for name, _ in rows), default=0)
        for name, told in rows:
            indent = "  " if kind is None else ""
            typer.echo(f"{indent}{name:<{width}}  {told}".rstrip())


def _registered(kind: str, *, told: bool) -> list[tuple[str, str]]:
    """Names, and when `told` what each is: its factory's first line, which means importing it."""
    from qdpem.registry import list_names

    return [(name, _first_line(kind, name) if told else "") for name in list_names(kind)]


def _first_line(kind: str, name: str) -> str:
    from qdpem.errors import QdpemError
    from qdpem.registry import load

    try:
        text = load(kind, name).__doc__ or ""
    except QdpemError as error:
        return f"({error})"
    return text.strip().partition("\n")[0]


def _scenarios() -> list[tuple[str, str]]:
    return [(str(path), _description(path)) for path in sorted(SCENARIOS.glob("**/*.toml"))]


def _description(path: Path) -> str:
    import tomllib

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return f"(cannot be read: {error})"
    return str(found.get("description", ""))
