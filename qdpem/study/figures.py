"""Figures of a study as SVG text: the same bytes for the same data, legible on light and dark pages.

Text and axes are drawn in one ink that becomes CSS `currentColor`; data use the palette of Okabe and Ito
(2008), which colour-blind readers can tell apart, its blue a little lighter for dark pages, with a marker
and a dash for every arm besides. An arm looks the same in every figure.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdpem.events.metrics import Tables, repeater_use
from qdpem.events.tables import OUTCOMES
from qdpem.study.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_INK = "#010203"
_COLOURS = ("#1C86CC", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MOST_INSIDE = 8
"""More arms than this have their legend beside the frontier, not in it, and no mark for each seed."""

_LOGARITHMIC = 6.0
"""Where the contention of many arms spans more than this factor, its axis is logarithmic."""

_LONGEST_S, _SHOWN_S = 180.0, 120.0
"""Of a run longer than the first, lines over time show the second, where bursts still have a shape."""

_DASHES = ((0, ()), (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))
_SETTINGS: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "qdpem",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class ArmStyle:
    """How one arm looks everywhere."""

    colour: str
    marker: str
    dash: tuple[int, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One arm on the frontier: both metrics with intervals, and every seed behind them."""

    contention: Interval
    delivery: Interval
    seeds_contention: Floats
    seeds_delivery: Floats


def arm_styles(names: Sequence[str]) -> dict[str, ArmStyle]:
    """One look per arm, by its place in the study."""
    looks = zip(names, cycle(_COLOURS), _markers(), cycle(_DASHES), strict=False)
    return {name: ArmStyle(colour, marker, dash) for name, colour, marker, dash in looks}


def _markers() -> Iterator[str]:
    """Markers that meet each colour in another order each time round: 49 looks before one comes again."""
    for number in count():
        yield _MARKERS[(number + number // len(_COLOURS)) % len(_MARKERS)]


def repeater_load(tables: Tables, *, start_s: float, end_s: float) -> Floats:
    """Tokens used per second over the repeater's rate, float64 [N]; NaN where a node cannot swap.

    Counts tokens granted to claims made in [start_s, end_s).
    """
    rate = tables["nodes"]["repeater_rate_hz"]
    tokens = repeater_use(tables, len(rate), start_s=start_s, end_s=end_s)["tokens"]
    load = np.full(len(rate), np.nan)
    np.divide(tokens / (end_s - start_s), rate, out=load, where=rate > 0.0)
    return load


def link_use(tables: Tables, *, start_s: float, end_s: float) -> Floats:
    """Fresh pairs born per second on each link in [start_s, end_s), float64 [L]."""
    pairs = tables["pairs"]
    inside = (pairs["link"] >= 0) & (pairs["born_s"] >= start_s) & (pairs["born_s"] < end_s)
    counts = np.bincount(pairs["link"][inside], minlength=len(tables["links"]["link"]))
    return np.asarray(counts / (end_s - start_s))


def network_map(
    tables: Tables, *, names: Sequence[str], loads: Mapping[str, Floats], uses: Mapping[str, Floats]
) -> str:
    """The network once per arm: nodes coloured by load, sized by rate; links as wide as their use."""
    highest = max((float(np.nanmax(load, initial=0.0)) for load in loads.values()), default=0.0)
    top = max(0.2, min(1.0, np.ceil(10.0 * highest) / 10.0))
    busiest = max((float(use.max(initial=0.0)) for use in uses.values()), default=0.0)
    columns = min(2, len(loads))
    rows = -(-len(loads) // columns)
    height = _map_height(tables, columns=columns)
    with _canvas(columns=columns, rows=rows, width=9.2, height=rows * height) as (figure, axes):
        drawn = None
        for place, (arm, load) in zip(axes, loads.items(), strict=False):
            drawn = _draw_map(place, tables, load=load, use=uses[arm] / max(busiest, 1e-12), top=top)
            _name_busiest(place, tables, load=load, names=names)
            place.set_title(arm)
        for place in axes[len(loads) :]:
            place.set_visible(False)
        bar = figure.colorbar(drawn, ax=list(axes), shrink=0.6, pad=0.02)
        bar.set_label("repeater load (swap tokens used / refilled)")
        bar.outline.set_visible(False)
        return _svg(figure, "map")


def _map_height(tables: Tables, *, columns: int) -> float:
    """Inches per row that show the network with true proportions."""
    nodes = tables["nodes"]
    wide, tall = (max(float(np.ptp(nodes[name])), 1e-9) for name in ("x_km", "y_km"))
    return float(np.clip(8.0 / columns * tall / wide, 1.6, 4.6)) + 0.4


def _draw_map(place: Axes, tables: Tables, *, load: Floats, use: Floats, top: float) -> Any:
    nodes, links = tables["nodes"], tables["links"]
    x_km, y_km, rate = nodes["x_km"], nodes["y_km"], nodes["repeater_rate_hz"]
    for first, second, share in zip(links["first"], links["second"], use, strict=True):
        place.plot(
            x_km[[first, second]],
            y_km[[first, second]],
            color="#808080",
            linewidth=0.6 + 3.4 * float(share),
            alpha=0.65,
            zorder=1,
            solid_capstyle="round",
        )
    size = 22.0 + 70.0 * rate / max(float(rate.max(initial=0.0)), 1e-12)
    place.set_aspect("equal", adjustable="datalim")
    place.set_axis_off()
    place.margins(0.08)
    return place.scatter(
        x_km,
        y_km,
        c=np.nan_to_num(load),
        s=size,
        cmap="viridis",
        vmin=0.0,
        vmax=top,
        edgecolors=_INK,
        linewidths=0.7,
        zorder=2,
    )


def _name_busiest(place: Axes, tables: Tables, *, load: Floats, names: Sequence[str], count: int = 5) -> None:
    nodes = tables["nodes"]
    order = np.argsort(-np.nan_to_num(load, nan=-1.0), kind="stable")[:count]
    spots = np.stack([nodes["x_km"], nodes["y_km"]], axis=1)
    km_per_point = max(float(np.ptp(spots[:, 1])), 1e-9) / 270.0
    taken = spots
    for node in order.tolist():
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
        corner = corners[int(np.argmin(crowd))]
        covered = corner + size * np.linspace(0.05, 0.95, 8)[:, np.newaxis] * (1.0, 0.0) + size * (0.0, 0.5)
        taken = np.concatenate([taken, covered])
        place.text(corner[0], corner[1], names[node], fontsize=8, zorder=3)


def delivery_over_time(
    requests: Mapping[str, Mapping[str, NDArray[Any]]],
    *,
    styles: Mapping[str, ArmStyle],
    end_s: float,
    warm_up_s: float,
) -> str:
    """One seed: requests that arrived per second (grey) and those of them delivered later, per arm."""
    step_s = 0.25
    times = np.arange(0.0, end_s, step_s) + 0.5 * step_s
    delivered = OUTCOMES.index("delivered")
    with _canvas(width=9.2, height=3.6) as (figure, (place,)):
        first = next(iter(requests.values()))
        arrived = _smooth_rate(first["time_s"], times=times)
        place.fill_between(times, arrived, color="#808080", alpha=0.3, linewidth=0, label="arrived")
        for arm, table in requests.items():
            made = _smooth_rate(table["time_s"][table["outcome"] == delivered], times=times)
            style = styles[arm]
            place.plot(times, made, color=style.colour, linestyle=style.dash, linewidth=1.5, label=arm)
        if shown_span(warm_up_s, end_s)[0] < warm_up_s:
            place.axvline(warm_up_s, color=_INK, linewidth=0.8, linestyle=":")
            _note(place, "measured from here", x=warm_up_s)
        place.set_xlim(*shown_span(warm_up_s, end_s))
        place.set_ylim(0.0)
        place.set_xlabel("arrival time (s)")
        place.set_ylabel("requests per second")
        _legend_above(place, count=len(requests) + 1)
        return _svg(figure, "time")


def shown_span(warm_up_s: float, end_s: float) -> tuple[float, float]:
    """The seconds of a run that lines over time show: all of a short one, the first measured of a long one.

    >>> shown_span(30.0, 150.0), shown_span(60.0, 360.0)
    ((0.0, 150.0), (60.0, 180.0))
    """
    return (0.0, end_s) if end_s <= _LONGEST_S else (warm_up_s, min(warm_up_s + _SHOWN_S, end_s))


def _note(place: Axes, text: str, *, x: float) -> None:
    place.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -9),
        textcoords="offset points",
        fontsize=8,
    )


def _smooth_rate(events_s: Floats, *, times: Floats, width_s: float = 1.0) -> Floats:
    """Events per second around each time, Gaussian window of standard deviation `width_s`."""
    step_s = float(times[1] - times[0]) if len(times) > 1 else 1.0
    counts = np.histogram(events_s, bins=np.append(times - 0.5 * step_s, times[-1] + 0.5 * step_s))[0]
    reach = np.arange(-4.0 * width_s, 4.0 * width_s + step_s, step_s)
    window = np.exp(-0.5 * (reach / width_s) ** 2)
    covered = np.convolve(np.ones(len(times)), window)
    middle = slice(len(window) // 2, len(window) // 2 + len(times))
    return np.asarray(np.convolve(counts, window)[middle] / covered[middle] / step_s)


def frontier(points: Mapping[str, Point], *, styles: Mapping[str, ArmStyle]) -> str:
    """Delivery against contention: means with 95 % intervals, and of few arms every seed as a small mark."""
    crowded = is_crowded(points)
    height = max(4.2, 0.24 * len(points) + 0.3)
    with _canvas(width=8.4 if crowded else 6.4, height=height) as (figure, (place,)):
        for arm, point in points.items():
            style = styles[arm]
            if not crowded:
                place.plot(
                    point.seeds_contention,
                    point.seeds_delivery,
                    style.marker,
                    color=style.colour,
                    markersize=4,
                    alpha=0.45,
                    markeredgewidth=0,
                )
            place.errorbar(
                point.contention.estimate,
                point.delivery.estimate,
                xerr=_whiskers(point.contention),
                yerr=_whiskers(point.delivery),
                fmt=style.marker,
                color=style.colour,
                markersize=9,
                markeredgecolor=_INK,
                markeredgewidth=0.8,
                capsize=3,
                label=arm,
            )
        place.set_xlabel("contended claims per arrived request")
        place.set_ylabel("requests delivered / requests")
        place.annotate("better: up and left", (0.0, 1.0), xycoords="axes fraction", fontsize=8, va="bottom")
        if crowded:
            _spread(place, [point.contention.estimate for point in points.values()])
            place.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
        else:
            place.legend(loc="best")
        place.margins(0.12)
        return _svg(figure, "frontier")


def is_crowded(points: Mapping[str, Point]) -> bool:
    """Whether a frontier has more arms than leave room for a mark for each seed."""
    return len(points) > _MOST_INSIDE


def _spread(place: Axes, contention: Sequence[float]) -> None:
    """A logarithmic axis of contention, with plain numbers, where it spans much."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if min(contention) > 0.0 and max(contention) > _LOGARITHMIC * min(contention):
        place.set_xscale("log")
        place.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        place.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        place.xaxis.set_minor_formatter(NullFormatter())


def _whiskers(interval: Interval) -> list[list[float]]:
    below, above = interval.estimate - interval.low, interval.high - interval.estimate
    return [[max(0.0, float(np.nan_to_num(below)))], [max(0.0, float(np.nan_to_num(above)))]]


def distributions(
    latencies_s: Mapping[str, Floats],
    *,
    margins: Mapping[str, Floats],
    counts: Mapping[str, int],
    styles: Mapping[str, ArmStyle],
) -> str:
    """Latency and fidelity above target, over ALL measured requests: curves end at the delivery ratio.

    `latencies_s`, `margins`: of delivered requests, all seeds together; `counts`: how many were measured.
    """
    with _canvas(columns=2, width=9.2, height=3.6) as (figure, (left, right)):
        for arm, values in latencies_s.items():
            _steps(left, values, total=counts[arm], style=styles[arm], label=arm)
        for arm, values in margins.items():
            _steps(right, values, total=counts[arm], style=styles[arm], label=arm)
        left.set_xlabel("latency (s)")
        left.set_ylabel("share of requests delivered within")
        left.set_xlim(0.0)
        right.set_xlabel("fidelity above target")
        right.set_ylabel("share of requests up to")
        for place in (left, right):
            place.set_ylim(0.0, 1.0)
        figure.legend(
            *left.get_legend_handles_labels(), loc="outside upper center", ncols=max(1, min(4, len(counts)))
        )
        return _svg(figure, "distributions")


def _steps(place: Axes, values: Floats, *, total: int, style: ArmStyle, label: str) -> None:
    """Cumulative share, thinned to at most 400 steps so that the file stays small."""
    ordered = np.sort(values[np.isfinite(values)])
    ranks = np.unique(np.linspace(0, max(len(ordered) - 1, 0), 400).astype(np.int64))
    if len(ordered) == 0:
        ranks = ranks[:0]
    heights = (ranks + 1) / max(total, 1)
    place.step(
        ordered[ranks],
        heights,
        where="post",
        color=style.colour,
        linestyle=style.dash,
        linewidth=1.5,
        label=label,
    )


def learning_curve(curve: Mapping[str, Floats]) -> str:
    """Delivery ratio by training round: every seed thin, their mean thick.

    `curve`: columns `round` and `delivery_ratio`, and `seed` when there is more than one training.
    """
    seeds = curve["seed"] if "seed" in curve else np.zeros(len(curve["round"]))
    with _canvas(width=6.4, height=3.6) as (figure, (place,)):
        for seed in np.unique(seeds):
            chosen = seeds == seed
            place.plot(
                curve["round"][chosen],
                curve["delivery_ratio"][chosen],
                color=_COLOURS[0],
                alpha=0.4,
                linewidth=1.0,
            )
        rounds = np.unique(curve["round"])
        means = np.array([curve["delivery_ratio"][curve["round"] == number].mean() for number in rounds])
        label = f"mean of {len(np.unique(seeds))} trainings"
        place.plot(rounds, means, color=_COLOURS[0], linewidth=2.2, label=label)
        place.set_xlabel("training round")
        place.set_ylabel("requests delivered / requests")
        place.legend(loc="lower right")
        return _svg(figure, "learning")


def _legend_above(place: Axes, *, count: int) -> None:
    place.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(4, count), handlelength=2.6)


@contextmanager
def _canvas(
    *, width: float, height: float, columns: int = 1, rows: int = 1
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure in our settings, drawn without any window and without touching pyplot's state."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_SETTINGS)):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _svg(figure: Figure, prefix: str) -> str:
    """The figure as one <svg> element; ids carry `prefix`, so several can stand in one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for pattern in (r'(\bid=")', r'(href="#)', r"(url\(#)"):
        text = re.sub(pattern, rf"\g<1>{prefix}-", text)
    return text
