"""The picture of a ladder of forecasters: forecast against fact, and scores by step ahead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdpem.errors import StudyError
from qdpem.extras import require_packages
from qdpem.study.analysis.forecast_ladder import ForecastLadder, Rung
from qdpem.study.report.csv import write_file
from qdpem.study.report.figures.style import COLOURS, DPEM_COLOUR, INK, image, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES = (".png", ".svg")

_SHOWN_STEPS = 300
"""Of a longer run, forecast against fact shows only this much, so that single requests stay visible."""
_PREFERRED = ("bayes-filter", "gru", "ridge", "ewma")
"""Forecasters drawn against fact; where one is missing, the best of the others."""
_COLOURS = {"bayes-filter": "#44AA99", "gru": DPEM_COLOUR, "ridge": "#1C86CC", "ewma": "#999999"}


def check_ladder_picture(path: Path) -> None:
    """Raise StudyError for a file that is no picture, MissingPackagesError without matplotlib."""
    if path.suffix.lower() not in PICTURES:
        raise StudyError(f"{path} is no name of a picture; should end in {' or '.join(PICTURES)}")
    require_packages(("matplotlib",), extra="report", user="a picture of forecasts")


def write_ladder_picture(ladder: ForecastLadder, *, path: Path) -> None:
    """Write the picture of the kind that the name of `path` ends in, whole or not at all."""
    check_ladder_picture(path)
    kind = path.suffix.lower().removeprefix(".")
    data = ladder_figure(ladder, kind=kind)
    # Ink that follows the colour of a page has no page to follow in a file of its own.
    write_file(path, data.replace(b"currentColor", b"#1c2430") if kind == "svg" else data)


def ladder_figure(ladder: ForecastLadder, *, kind: str) -> bytes:
    """Three panels as an image of the kind "svg" or "png"."""
    with new_figure(width=11.0, height=10.5, rows=3) as (figure, axes):
        _draw_pair(axes[0], ladder)
        _draw_steps(axes[1], ladder)
        _draw_calibration(axes[2], ladder)
        return image(figure, "forecast", kind=kind)


def _draw_pair(axes: Axes, ladder: ForecastLadder) -> None:
    """The forecasts one step ahead for one pair of nodes, over the requests that came."""
    step_s = ladder.scenario.forecasting.step_s
    counts = ladder.pair_counts[:_SHOWN_STEPS]
    edges_s = step_s * np.arange(len(counts) + 1)
    axes.bar(
        edges_s[:-1], counts, width=step_s, align="edge", color=INK, alpha=0.18, linewidth=0, label="requests"
    )
    for rung in _drawn(ladder):
        axes.stairs(
            rung.pair_means[: len(counts)],
            edges_s,
            label=rung.scores.name,
            color=_colour(rung, ladder),
            linewidth=1.3,
            baseline=None,
        )
    axes.set_xlim(0.0, edges_s[-1])
    axes.set_ylim(0.0)
    axes.set_title(f"{ladder.pair[0]} - {ladder.pair[1]}: requests, and forecasts one step ahead", loc="left")
    axes.set_xlabel("time (s)")
    axes.set_ylabel(f"requests in {step_s:g} s")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_steps(axes: Axes, ladder: ForecastLadder) -> None:
    """CRPS of each step ahead."""
    for place, rung in enumerate(_scored(ladder)):
        steps = np.arange(1, len(rung.crps_by_step) + 1)
        axes.plot(
            steps,
            1e3 * np.array(rung.crps_by_step),
            label=rung.scores.name,
            color=_colour(rung, ladder),
            marker="osD^vPX"[place % 7],
            linestyle="--" if rung.scores.oracle else "-",
            markersize=4.5,
            linewidth=1.3,
        )
    axes.set_ylim(0.0)
    axes.set_title("CRPS of each step ahead (dashed: oracles)", loc="left")
    axes.set_xlabel("step ahead")
    axes.set_ylabel("CRPS (1e-3 requests)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_calibration(axes: Axes, ladder: ForecastLadder) -> None:
    """The fractions of counts in the central 50 and 90 % of the forecasts."""
    rungs = _scored(ladder)
    places = np.arange(len(rungs))
    colours = [_colour(rung, ladder) for rung in rungs]
    for level, marker in ((0.5, "o"), (0.9, "D")):
        values = [rung.coverage_50 if level == 0.5 else rung.coverage_90 for rung in rungs]
        axes.scatter(places, values, c=colours, marker=marker, s=48, zorder=3)
        axes.axhline(level, color=INK, linewidth=0.9, linestyle="--")
    axes.set_xticks(places, [rung.scores.name for rung in rungs])
    axes.set_ylim(0.0, 1.02)
    axes.set_title(
        "Calibration: fraction of counts in the central 50 % (circles) and 90 % (diamonds)", loc="left"
    )


def _scored(ladder: ForecastLadder) -> list[Rung]:
    return [rung for rung in ladder.rungs if not np.isnan(rung.scores.crps)]


def _drawn(ladder: ForecastLadder) -> Sequence[Rung]:
    """At most four forecasters, so that each line can be followed."""
    found = {rung.scores.name: rung for rung in _scored(ladder) if rung.scores.name != "clairvoyant"}
    order = [*(name for name in _PREFERRED if name in found), *(n for n in found if n not in _PREFERRED)]
    # The best last, so that it lies on top.
    return [found[name] for name in reversed(order[: len(_PREFERRED)])]


def _colour(rung: Rung, ladder: ForecastLadder) -> str:
    # Green is too near the teal of the Bayes filter.
    free = [colour for colour in COLOURS if colour not in (*_COLOURS.values(), "#009E73")]
    others = [each.scores.name for each in ladder.rungs if each.scores.name not in _COLOURS]
    name = rung.scores.name
    return _COLOURS[name] if name in _COLOURS else free[others.index(name) % len(free)]
