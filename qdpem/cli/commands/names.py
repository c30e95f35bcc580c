"""`qdpem list`: the names that scenarios and commands can use."""

from __future__ import annotations

from typing import Annotated

import typer

from qdpem.cli.commands.presets import preset_descriptions, show_fragment, show_presets

_KINDS = {
    "policies": "policy",
    "forecasters": "forecaster",
    "physics": "physics",
    "topologies": "topology",
    "presets": "",
    "scenarios": "",
}


def list_command(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help=f"One of {', '.join(_KINDS)}; all by default."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A hardware preset, printed as TOML to paste into a scenario."),
    ] = None,
) -> None:
    """List policies, forecasters, physics models, topologies, hardware presets and shipped scenarios."""
    from qdpem.errors import QdpemError, UnknownNameError

    if kind is not None and kind not in _KINDS:
        raise UnknownNameError("kind of name", kind, _KINDS)
    if name is not None and kind != "presets":
        raise QdpemError(f"only presets can be shown one by one; use `qdpem list {kind}` without {name!r}")
    if kind == "presets":
        show_fragment(name) if name is not None else show_presets()
        return
    for heading in [kind] if kind else _KINDS:
        if kind is None:
            typer.secho(heading, bold=True)
        rows = _rows(heading, described=kind is not None)
        width = max((len(name) for name, _ in rows), default=0)
        for name, description in rows:
            indent = "  " if kind is None else ""
            typer.echo(f"{indent}{name:<{width}}  {description}".rstrip())


def _rows(heading: str, *, described: bool) -> list[tuple[str, str]]:
    if heading == "presets":
        return preset_descriptions()
    return _scenarios() if heading == "scenarios" else _registered(_KINDS[heading], described=described)


def _registered(kind: str, *, described: bool) -> list[tuple[str, str]]:
    """Names; if `described`, each with the first line of its factory's docstring, which imports it."""
    from qdpem.registry import list_names

    return [(name, _first_line(kind, name) if described else "") for name in list_names(kind)]


def _first_line(kind: str, name: str) -> str:
    from qdpem.errors import QdpemError
    from qdpem.registry import load

    try:
        text = load(kind, name).__doc__ or ""
    except QdpemError as error:
        return f"({error})"
    return text.strip().partition("\n")[0]


def _scenarios() -> list[tuple[str, str]]:
    from qdpem.scenario.shipped import description_of, shipped_names

    return [(name, description_of(name)) for name in shipped_names()]
