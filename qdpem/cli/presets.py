"""`qdpem list presets`: hardware presets, and one of them as TOML to paste into a scenario."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, get_type_hints

import typer

if TYPE_CHECKING:
    from physics.hardware import LinkHardware, SourceLink
    from physics.presets.quoted import Preset, Quoted

_NEAR_KM, _FAR_KM = 0.0, 1.0
"""Where a stand-in has the success probability of the link it stands for."""
_RATE_KM = 10.0


def descriptions() -> list[tuple[str, str]]:
    """Name and description of every preset."""
    from physics.presets import preset, preset_names

    return [(name, preset(name).description) for name in preset_names()]


def show_presets() -> None:
    """Print every preset: each value with its unit, standing, source and note, then what was achieved."""
    from physics.presets import preset, preset_names
    from physics.presets.quoted import STANDINGS

    shown = [preset(name) for name in preset_names()]
    width = max(len(name) for one in shown for name, _ in _rows(one))
    for one in shown:
        typer.secho(one.name, bold=True, nl=False)
        typer.echo(f"  {one.description}")
        for name, quoted in _rows(one):
            number = f"{_readable(quoted.value)} {quoted.unit}".rstrip()
            typer.echo(f"  {name:<{width}}  {number:<16}  {quoted.origin}")
        typer.echo()
    for standing, meaning in STANDINGS.items():
        typer.echo(f"{standing}: {meaning}")


def show_fragment(name: str) -> None:
    """Print the preset as `[nodes.hardware]` and `[links.hardware]`, every value with its source.

    Raises UnknownNameError, with the nearest right name, for one that no preset has.
    """
    from physics.presets import preset, preset_names
    from qdpem.errors import UnknownNameError

    if name not in preset_names():
        raise UnknownNameError("hardware preset", name, preset_names())
    typer.echo("\n".join(_fragment(preset(name))))


def _rows(preset: Preset) -> Iterator[tuple[str, Quoted]]:
    yield from ((f"nodes.hardware.{quoted.name}", quoted) for quoted in preset.node_values)
    yield from ((f"links.hardware.{quoted.name}", quoted) for quoted in preset.link_values)
    yield from ((f"achieved: {quoted.name}", quoted) for quoted in preset.results)


def _readable(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower()


def _fragment(preset: Preset) -> Iterator[str]:
    from qdpem.scenario.schema import Links

    yield f"# {preset.name}: {preset.description}"
    yield "# What checked, reported, remembered and assumed mean is told by: qdpem list presets"
    yield from _tables("nodes.hardware", _quotes(preset.node_values))
    yield ""
    own = list(_tables("links.hardware", _quotes(preset.link_values)))
    if isinstance(preset.link, get_type_hints(Links)["hardware"]):
        yield from own
        return
    yield f"# A {preset.link.kind} link is not simulated in networks yet. Its values:"
    yield from (f"# {line}".rstrip() for line in own)
    yield ""
    yield from _stand_in_lines(preset.link)


def _quotes(values: Iterable[Quoted]) -> list[tuple[str, object, str]]:
    return [(one.name, one.value, one.origin) for one in values]


def _tables(table: str, rows: Iterable[tuple[str, object, str]]) -> Iterator[str]:
    """TOML of dotted names: those of the table itself first, then one table for each part of it."""
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


def _stand_in_lines(link: LinkHardware) -> Iterator[str]:
    """A source link in place of one that networks do not simulate, and how often that one tries."""
    from physics.plugins import load_physics

    stand_in, made = _stand_in(link), load_physics("pauli").link(link, _RATE_KM)
    near_and_far = f"at {_NEAR_KM:g} and {_FAR_KM:g} km"
    yield f"# In its place a source link, as likely to succeed {near_and_far}, and as good when born,"
    yield f"# in a Werner state. For nodes.source_rate_hz: at {_RATE_KM:g} km the {link.kind}"
    yield f"# link tries {made.modes / made.attempt_period_s:.6g} times per second, all its modes together."
    rows = {
        "kind": stand_in.kind,
        "efficiency": stand_in.efficiency,
        "fresh_fidelity": stand_in.fresh_fidelity,
        "fibre.fixed_loss_db": stand_in.fibre.fixed_loss_db,
        "fibre.loss_db_per_km": stand_in.fibre.loss_db_per_km,
    }
    origin = f"computed from the {link.kind} link"
    yield from _tables("links.hardware", [(name, value, origin) for name, value in rows.items()])


def _stand_in(link: LinkHardware) -> SourceLink:
    """The source link with the success probability of `link` at two lengths and its fidelity at the first."""
    import math

    from physics.hardware import Fibre, SourceLink
    from physics.plugins import load_physics

    model = load_physics("pauli")
    near, far = (model.link(link, length_km) for length_km in (_NEAR_KM, _FAR_KM))
    loss_db = 10.0 * math.log10(near.success_probability / far.success_probability)
    return SourceLink(
        fibre=Fibre(fixed_loss_db=0.0, loss_db_per_km=_digits(loss_db / (_FAR_KM - _NEAR_KM))),
        efficiency=_digits(near.success_probability),
        fresh_fidelity=_digits(model.fidelity(near.fresh)),
    )


def _digits(value: float) -> float:
    return float(f"{value:.6g}")
