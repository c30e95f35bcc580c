"""The picture of a demand: rates over time, the busiest node pairs, burstiness, memory, predictability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from qdpem.study.analysis.demand.count_statistics import SparseCounts, autocorrelation, index_of_dispersion
from qdpem.study.analysis.demand.profile import LEVELS, DemandProfile, level_counts, rates_by_process
from qdpem.study.report.figures.style import COLOURS, INK, image, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN_S = 300.0
"""Of a longer run, lines over time show only this much, so that single requests stay visible."""
_SHOWN_PAIRS = 14
_BINS = 100
_MARKERS = ("o", "s", "^")


def demand_figure(profile: DemandProfile, *, kind: str) -> bytes:
    """Six panels as an image of the kind "svg" or "png"."""
    colours = {process.name: COLOURS[place % len(COLOURS)] for place, process in enumerate(profile.processes)}
    with new_figure(width=12.0, height=11.0, columns=2, rows=3) as (figure, axes):
        _draw_rates(axes[0], profile, colours)
        _draw_requests(axes[1], profile, colours)
        _draw_nodes(axes[2], profile, colours)
        _draw_dispersion(axes[3], profile, colours)
        _draw_correlation(axes[4], profile, colours)
        _draw_forecasts(axes[5], profile)
        return image(figure, "demand", kind=kind)


def _draw_rates(axes: Axes, profile: DemandProfile, colours: Mapping[str, str]) -> None:
    """Requests per second of every process, stacked."""
    shown_s = min(profile.end_s, _SHOWN_S)
    edges_s = np.linspace(0.0, shown_s, max(2, min(_BINS, int(shown_s / profile.step_s))) + 1)
    rates_hz = rates_by_process(profile, edges_s)
    axes.stackplot(
        edges_s[:-1],
        rates_hz,
        labels=list(colours),
        colors=list(colours.values()),
        step="post",
        linewidth=0,
        alpha=0.85,
    )
    axes.axhline(profile.load.rate_hz, color=INK, linewidth=0.9, linestyle="--")
    axes.annotate(
        "mean", (0.995, profile.load.rate_hz), xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )
    axes.set_xlim(0.0, shown_s)
    axes.set_ylim(0.0)
    axes.set_title("Requests per second of each process", loc="left")
    axes.set_xlabel("time (s)")
    axes.set_ylabel("requests/s")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=4, borderaxespad=0.0)


def _draw_requests(axes: Axes, profile: DemandProfile, colours: Mapping[str, str]) -> None:
    """A mark for each request of the busiest pairs of nodes."""
    shown_s = min(profile.end_s, _SHOWN_S)
    names = profile.network.graph.node_names
    requests = profile.requests.between(0.0, shown_s)
    pairs = profile.node_pairs[:_SHOWN_PAIRS]
    for row, pair in enumerate(pairs):
        ends = {names.index(pair.first), names.index(pair.second)}
        own = np.isin(requests.source, list(ends)) & np.isin(requests.destination, list(ends))
        for index, colour in enumerate(colours.values()):
            time_s = requests.time_s[own & (requests.process == index)]
            axes.vlines(time_s, row - 0.38, row + 0.38, color=colour, linewidth=1.1)
    axes.set_yticks(range(len(pairs)), [f"{pair.first} - {pair.second}" for pair in pairs], fontsize=8)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlim(0.0, shown_s)
    axes.grid(visible=False)
    axes.set_title("Requests of the busiest node pairs, by process", loc="left")
    axes.set_xlabel("time (s)")


def _draw_nodes(axes: Axes, profile: DemandProfile, colours: Mapping[str, str]) -> None:
    """Requests per second from each node, busiest first, split by process."""
    count, span_s = profile.network.node_count, profile.end_s - profile.start_s
    requests = profile.requests
    sent = np.array(
        [
            np.bincount(requests.source[requests.process == index], minlength=count)
            for index in range(len(colours))
        ]
    )
    sent = sent[:, np.argsort(-sent.sum(axis=0), kind="stable")] / span_s
    bottom = np.zeros(count)
    for own, colour in zip(sent, colours.values(), strict=True):
        axes.bar(np.arange(count), own, bottom=bottom, width=1.0, color=colour, linewidth=0)
        bottom += own
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_title("Requests per second from each node", loc="left")
    axes.set_xlabel("node, busiest first")
    axes.set_ylabel("requests/s")


def _draw_dispersion(axes: Axes, profile: DemandProfile, colours: Mapping[str, str]) -> None:
    """Index of dispersion against the window."""
    axes.set_title("Burstiness: variance of counts over their mean", loc="left")
    axes.set_xlabel("window (s)")
    axes.axhline(1.0, color=INK, linewidth=0.9, linestyle="--")
    axes.annotate("Poisson", (0.995, 1.0), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    if not profile.windows:
        return
    levels = _levels(profile)
    most = max(1, levels[0].steps // 12)
    factors = np.unique(np.round(np.geomspace(1, most, 16)).astype(np.int64))
    for place, (level, counts) in enumerate(zip(LEVELS, levels, strict=True)):
        found = [index_of_dispersion(counts.coarser(int(factor))) for factor in factors]
        axes.plot(
            factors * profile.step_s,
            found,
            marker=_MARKERS[place],
            markersize=4,
            linewidth=1.4,
            color=_level_colour(place, colours),
            label=level,
        )
    axes.set_xscale("log")
    axes.set_ylim(0.0)
    axes.legend(title="counts of each")


def _draw_correlation(axes: Axes, profile: DemandProfile, colours: Mapping[str, str]) -> None:
    """Autocorrelation against the lag."""
    axes.set_title(f"Memory: autocorrelation of counts per {profile.step_s:g} s", loc="left")
    axes.set_xlabel("lag (s)")
    axes.axhline(0.0, color=INK, linewidth=0.9)
    if not profile.lags:
        return
    levels = _levels(profile)
    most = max(round(profile.lags[-1].lag_s / profile.step_s), 60)
    lags = np.arange(1, min(most, levels[0].steps // 3) + 1)
    for place, (level, counts) in enumerate(zip(LEVELS, levels, strict=True)):
        axes.plot(
            lags * profile.step_s,
            autocorrelation(counts, lags),
            linewidth=1.4,
            color=_level_colour(place, colours),
            label=level,
        )
    # Of white noise, 95 % of the values of one series lie inside; pooled series have less noise.
    noise = 1.96 / np.sqrt(levels[0].steps)
    axes.axhspan(-noise, noise, color="#808080", alpha=0.2, linewidth=0)
    axes.legend(title="counts of each")


def _draw_forecasts(axes: Axes, profile: DemandProfile) -> None:
    """CRPS of the yardsticks, as a fraction of that of the constant forecast."""
    axes.set_title("Predictability: CRPS of forecasts of each peer", loc="left")
    axes.set_xlabel("CRPS over that of the constant forecast")
    constant = next((each.crps for each in profile.forecasts if each.name == "constant"), 0.0)
    if not constant > 0.0:
        axes.annotate("nothing to score", (0.5, 0.5), xycoords="axes fraction", ha="center")
        return
    names = [each.name for each in profile.forecasts]
    values = [each.crps / constant for each in profile.forecasts]
    axes.barh(names, values, color=["#44AA99" if each.oracle else "#999999" for each in profile.forecasts])
    for row, value in enumerate(values):
        axes.annotate(f"{value:.2f}", (value, row), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_xlim(0.0, 1.12 * max(values))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _levels(profile: DemandProfile) -> tuple[SparseCounts, ...]:
    return level_counts(
        profile.requests,
        profile.network,
        start_s=profile.start_s,
        end_s=profile.end_s,
        step_s=profile.step_s,
    )


def _level_colour(place: int, colours: Mapping[str, str]) -> str:
    """Colours that no process of the same picture has."""
    free = [colour for colour in reversed(COLOURS) if colour not in colours.values()]
    return (free or list(COLOURS))[place % len(free or COLOURS)]
