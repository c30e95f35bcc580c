"""`qdpem list presets`: all hardware presets, or one of them as TOML to paste into a scenario."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from physics.presets.sourced import Preset, SourcedValue

_NUMBER = 16
_WIDTH = 110
_MIN_ROOM = 40
"""Columns of a value, of output to a file or pipe, and at least of a source."""


def preset_descriptions() -> list[tuple[str, str]]:
    """Name and description of every preset."""
    from physics.presets import preset, preset_names

    return [(name, preset(name).description) for name in preset_names()]


def show_presets() -> None:
    """Print every preset: each value with its unit, standing, source and note, then the achieved results."""
    from physics.presets import preset, preset_names
    from physics.presets.sourced import STANDINGS

    presets = [preset(name) for name in preset_names()]
    width = max(len(name) for each in presets for name, _ in _rows(each))
    for each in presets:
        typer.secho(each.name, bold=True, nl=False)
        typer.echo(f"  {each.description}")
        for name, quoted in _rows(each):
            number = f"{_readable(quoted.value)} {quoted.unit}".rstrip()
            typer.echo(_wrapped(f"  {name:<{width}}  {number:<{_NUMBER}}  ", quoted.origin))
        typer.echo()
    for standing, meaning in STANDINGS.items():
        typer.echo(f"{standing}: {meaning}")


def show_fragment(name: str) -> None:
    """Print the preset as `[nodes.hardware]` and `[links.hardware]`, every value with its source.

    Raises UnknownNameError with the nearest existing name.
    """
    from physics.presets import preset, preset_names
    from qdpem.errors import UnknownNameError

    if name not in preset_names():
        raise UnknownNameError("hardware preset", name, preset_names())
    typer.echo("\n".join(_fragment(preset(name))))


def _wrapped(start: str, text: str) -> str:
    """`text` after `start`, with its further lines indented below its first."""
    room = max(shutil.get_terminal_size((_WIDTH, 24)).columns - len(start), _MIN_ROOM)
    return start + textwrap.fill(text, room).replace("\n", "\n" + " " * len(start))


def _rows(preset: Preset) -> Iterator[tuple[str, SourcedValue]]:
    yield from ((f"nodes.hardware.{quoted.name}", quoted) for quoted in preset.node_values)
    yield from ((f"links.hardware.{quoted.name}", quoted) for quoted in preset.link_values)
    yield from ((f"achieved: {quoted.name}", quoted) for quoted in preset.results)


def _readable(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower()


def _fragment(preset: Preset) -> Iterator[str]:
    yield f"# {preset.name}: {preset.description}"
    yield "# `qdpem list presets` explains checked, reported, remembered and assumed."
    yield "# These tables replace [nodes.hardware] and [links.hardware] in a scenario."
    yield from _tables("nodes.hardware", _quotes(preset.node_values))
    yield ""
    yield from _tables("links.hardware", _quotes(preset.link_values))


def _quotes(values: Iterable[SourcedValue]) -> list[tuple[str, object, str]]:
    return [(one.name, one.value, one.origin) for one in values]


def _tables(table: str, rows: Iterable[tuple[str, object, str]]) -> Iterator[str]:
    """TOML of dotted names: those of the table itself first, then one subtable for each prefix."""
    parts: dict[str, list[str]] = {"": []}
    for name, value, origin in rows:
        part, _, key = name.rpartition(".")
        parts.setdefault(part, []).append(f"{key} = {_toml(value)}  # {origin}")
    for part, lines in parts.items():
        yield f"[{table}.{part}]" if part else f"[{table}]"
        yield from lines


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return repr(float(f"{value:.12g}"))
    return str(value).lower()
