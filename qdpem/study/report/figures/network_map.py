"""The map of a study: the network coloured by the load of its repeaters and the use of its links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qdpem.arrays import Floats
from qdpem.events.tables import Tables
from qdpem.metrics.breakdowns import repeater_use
from qdpem.study.report.figures.style import INK, new_figure, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def repeater_load(tables: Tables, *, start_s: float, end_s: float) -> Floats:
    """Tokens used per second over the repeater's rate, float64 [N]; NaN where a node cannot swap.

    The tokens are those granted to claims made in [start_s, end_s).
    """
    rate = tables["nodes"]["repeater_rate_hz"]
    tokens = repeater_use(tables, len(rate), start_s=start_s, end_s=end_s)["tokens"]
    load = np.full(len(rate), np.nan)
    np.divide(tokens / (end_s - start_s), rate, out=load, where=rate > 0.0)
    return load


def link_use(tables: Tables, *, start_s: float, end_s: float) -> Floats:
    """Fresh pairs per second on each link in [start_s, end_s), float64 [L]."""
    pairs = tables["pairs"]
    inside = (pairs["link"] >= 0) & (pairs["born_s"] >= start_s) & (pairs["born_s"] < end_s)
    counts = np.bincount(pairs["link"][inside], minlength=len(tables["links"]["link"]))
    return np.asarray(counts / (end_s - start_s))


def network_maps(
    tables: Tables, *, names: Sequence[str], loads: Mapping[str, Floats], uses: Mapping[str, Floats]
) -> dict[str, str]:
    """Arm -> its map, all on one scale: nodes coloured by load and sized by rate, links as wide as their use.

    `loads`: arm -> float64 [N]. `uses`: arm -> float64 [L].
    """
    highest = max((float(np.nanmax(load, initial=0.0)) for load in loads.values()), default=0.0)
    top = max(0.2, min(1.0, np.ceil(10.0 * highest) / 10.0))
    busiest = max((float(use.max(initial=0.0)) for use in uses.values()), default=0.0)
    return {
        arm: _network_map(
            tables,
            names=names,
            load=load,
            use=uses[arm] / max(busiest, 1e-12),
            top=top,
            prefix=f"map-{position}",
        )
        for position, (arm, load) in enumerate(loads.items())
    }


def _network_map(
    tables: Tables, *, names: Sequence[str], load: Floats, use: Floats, top: float, prefix: str
) -> str:
    """One map as SVG.

    Args:
        tables: the record's tables `nodes` and `links`.
        names: of the nodes, [N].
        load: of each repeater, float64 [N].
        use: of each link as a fraction of the busiest one's, float64 [L].
        top: the load at the end of the colour scale.
        prefix: of the ids in the SVG.
    """
    with new_figure(width=9.2, height=_map_height(tables)) as (figure, (axes,)):
        nodes = _draw_map(axes, tables, load=load, use=use, top=top)
        _name_busiest(axes, tables, load=load, names=names)
        bar = figure.colorbar(nodes, ax=axes, shrink=0.6, pad=0.02)
        bar.set_label("repeater load (swap tokens used / refilled)")
        bar.outline.set_visible(False)
        return svg(figure, prefix)


def _map_height(tables: Tables) -> float:
    """The height in inches that shows the network in true proportion, and at most a screen."""
    nodes = tables["nodes"]
    wide, tall = (max(float(np.ptp(nodes[name])), 1e-9) for name in ("x_km", "y_km"))
    return float(np.clip(8.0 * tall / wide, 1.6, 5.6)) + 0.4


def _draw_map(axes: Axes, tables: Tables, *, load: Floats, use: Floats, top: float) -> Any:
    nodes, links = tables["nodes"], tables["links"]
    x_km, y_km, rate = nodes["x_km"], nodes["y_km"], nodes["repeater_rate_hz"]
    for first, second, fraction in zip(links["first"], links["second"], use, strict=True):
        axes.plot(
            x_km[[first, second]],
            y_km[[first, second]],
            color="#808080",
            linewidth=0.6 + 3.4 * float(fraction),
            alpha=0.65,
            zorder=1,
            solid_capstyle="round",
        )
    size = 22.0 + 70.0 * rate / max(float(rate.max(initial=0.0)), 1e-12)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_axis_off()
    axes.margins(0.08)
    return axes.scatter(
        x_km,
        y_km,
        c=np.nan_to_num(load),
        s=size,
        cmap="viridis",
        vmin=0.0,
        vmax=top,
        edgecolors=INK,
        linewidths=0.7,
        zorder=2,
    )


def _name_busiest(axes: Axes, tables: Tables, *, load: Floats, names: Sequence[str], count: int = 5) -> None:
    nodes = tables["nodes"]
    # Stable, so that equal loads give the same figure; nodes that cannot swap come last.
    order = np.argsort(-np.nan_to_num(load, nan=-1.0), kind="stable")[:count]
    spots = np.stack([nodes["x_km"], nodes["y_km"]], axis=1)
    km_per_point = max(float(np.ptp(spots[:, 1])), 1e-9) / 270.0
    taken = spots
    for node in order.tolist():
        # The extent of the text: at this font size a letter is about 4.8 points wide.
        size = np.array([4.8 * len(names[node]), 8.0]) * km_per_point
        corners = [spots[node] + np.array(shift) * km_per_point for shift in ((7, 2), (7, -10))]
        corners += [
            spots[node] + np.array([-7.0 * km_per_point - size[0], dy * km_per_point]) for dy in (2, -10)
        ]
        reach = 4.0 * km_per_point
        crowd = [
            int(((taken > corner - reach) & (taken < corner + size + reach)).all(axis=1).sum())
            for corner in corners
        ]
        # The corner with the fewest nodes and parts of earlier names.
        corner = corners[int(np.argmin(crowd))]
        covered = corner + size * np.linspace(0.05, 0.95, 8)[:, np.newaxis] * (1.0, 0.0) + size * (0.0, 0.5)
        taken = np.concatenate([taken, covered])
        axes.text(corner[0], corner[1], names[node], fontsize=8, zorder=3, parse_math=False)
