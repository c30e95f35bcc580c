"""Figures of a study's arms as SVG text: delivery over time, frontier, distributions, learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.events.words import RequestOutcome
from qdpem.study.analysis.statistics import Interval
from qdpem.study.report.figures.style import COLOURS, INK, ArmStyle, new_figure, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MAX_INSIDE = 8
"""With more arms than these the frontier has no marks for seeds."""

_LOGARITHMIC = 6.0
"""The axis of contention is logarithmic if the contention of many arms spans more than this factor."""

_LONGEST_S, _SHOWN_S = 180.0, 120.0
"""Of a run longer than the first, lines over time show only the second, so that bursts stay visible."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One arm on the frontier: both metrics with intervals, and every seed behind them."""

    contention: Interval
    delivery: Interval
    seeds_contention: Floats
    seeds_delivery: Floats


def delivery_over_time(
    requests: Mapping[str, Mapping[str, NDArray[Any]]],
    *,
    styles: Mapping[str, ArmStyle],
    end_s: float,
    warm_up_s: float,
) -> str:
    """Requests that arrived per second on one seed (grey), and those that each arm delivered later.

    `requests`: arm -> columns of its requests. `styles`: arm -> its style. `warm_up_s`, `end_s`: of the run.
    """
    step_s = 0.25
    times = np.arange(0.0, end_s, step_s) + 0.5 * step_s
    delivered = RequestOutcome.DELIVERED.code
    with new_figure(width=9.2, height=3.6) as (figure, (axes,)):
        first = next(iter(requests.values()))
        arrived = _smooth_rate(first["time_s"], times=times)
        axes.fill_between(times, arrived, color="#808080", alpha=0.3, linewidth=0, label="arrived")
        for arm, table in requests.items():
            delivered_hz = _smooth_rate(table["time_s"][table["outcome"] == delivered], times=times)
            style = styles[arm]
            axes.plot(times, delivered_hz, color=style.colour, linestyle=style.dash, linewidth=1.5, label=arm)
        if shown_span(warm_up_s, end_s)[0] < warm_up_s:
            axes.axvline(warm_up_s, color=INK, linewidth=0.8, linestyle=":")
            _note(axes, "measured from here", x=warm_up_s)
        axes.set_xlim(*shown_span(warm_up_s, end_s))
        axes.set_ylim(0.0)
        axes.set_xlabel("arrival time (s)")
        axes.set_ylabel("requests per second")
        _legend_above(axes, count=len(requests) + 1)
        return svg(figure, "time")


def shown_span(warm_up_s: float, end_s: float) -> tuple[float, float]:
    """The seconds that lines over time show: all of a short run, the first measured ones of a long run.

    >>> shown_span(30.0, 150.0), shown_span(60.0, 360.0)
    ((0.0, 150.0), (60.0, 180.0))
    """
    return (0.0, end_s) if end_s <= _LONGEST_S else (warm_up_s, min(warm_up_s + _SHOWN_S, end_s))


def _note(axes: Axes, text: str, *, x: float) -> None:
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -9),
        textcoords="offset points",
        fontsize=8,
    )


def _smooth_rate(events_s: Floats, *, times: Floats, width_s: float = 1.0) -> Floats:
    """Events per second around each time, by a Gaussian window of standard deviation `width_s`."""
    step_s = float(times[1] - times[0]) if len(times) > 1 else 1.0
    counts = np.histogram(events_s, bins=np.append(times - 0.5 * step_s, times[-1] + 0.5 * step_s))[0]
    reach = np.arange(-4.0 * width_s, 4.0 * width_s + step_s, step_s)
    window = np.exp(-0.5 * (reach / width_s) ** 2)
    # At the ends the window reaches beyond the run: only the part inside counts.
    covered = np.convolve(np.ones(len(times)), window)
    middle = slice(len(window) // 2, len(window) // 2 + len(times))
    return np.asarray(np.convolve(counts, window)[middle] / covered[middle] / step_s)


def frontier(points: Mapping[str, Point], *, styles: Mapping[str, ArmStyle]) -> str:
    """Delivery against contention: means with 95 % intervals, and small marks for seeds if arms are few."""
    crowded = is_crowded(points)
    height = max(4.2, 0.24 * len(points) + 0.3)
    with new_figure(width=8.4, height=height) as (figure, (axes,)):
        for arm, point in points.items():
            style = styles[arm]
            if not crowded:
                axes.plot(
                    point.seeds_contention,
                    point.seeds_delivery,
                    style.marker,
                    color=style.colour,
                    markersize=4,
                    alpha=0.45,
                    markeredgewidth=0,
                )
            axes.errorbar(
                point.contention.estimate,
                point.delivery.estimate,
                xerr=_whiskers(point.contention),
                yerr=_whiskers(point.delivery),
                fmt=style.marker,
                color=style.colour,
                markersize=9,
                markeredgecolor=INK,
                markeredgewidth=0.8,
                capsize=3,
                label=arm,
            )
        axes.set_xlabel("contended claims per arrived request")
        axes.set_ylabel("requests delivered / requests")
        axes.annotate("better: up and left", (0.0, 1.0), xycoords="axes fraction", fontsize=8, va="bottom")
        if crowded:
            _spread(axes, [point.contention.estimate for point in points.values()])
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
        axes.margins(0.12)
        return svg(figure, "frontier")


def is_crowded(points: Mapping[str, Point]) -> bool:
    """Whether a frontier has too many arms for marks of their seeds."""
    return len(points) > _MAX_INSIDE


def _spread(axes: Axes, contention: Sequence[float]) -> None:
    """Make the axis of contention logarithmic, with plain numbers, if it spans a large factor."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if min(contention) > 0.0 and max(contention) > _LOGARITHMIC * min(contention):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())


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
    """Distributions of latency and of fidelity above target; curves end at the arm's delivery ratio.

    `latencies_s` and `margins` are those of delivered requests, all seeds together. `counts` are the numbers
    of measured requests, delivered or not.
    """
    with new_figure(columns=2, width=9.2, height=3.6) as (figure, (left, right)):
        for arm, values in latencies_s.items():
            _steps(left, values, total=counts[arm], style=styles[arm], label=arm)
        for arm, values in margins.items():
            _steps(right, values, total=counts[arm], style=styles[arm], label=arm)
        left.set_xlabel("latency (s)")
        left.set_ylabel("fraction of requests delivered within")
        left.set_xlim(0.0)
        right.set_xlabel("fidelity above target")
        right.set_ylabel("fraction of requests up to")
        for axes in (left, right):
            axes.set_ylim(0.0, 1.0)
        figure.legend(
            *left.get_legend_handles_labels(), loc="outside upper center", ncols=max(1, min(4, len(counts)))
        )
        return svg(figure, "distributions")


def _steps(axes: Axes, values: Floats, *, total: int, style: ArmStyle, label: str) -> None:
    """Draw the cumulative fraction, thinned to at most 400 steps so that the file stays small."""
    ordered = np.sort(values[np.isfinite(values)])
    ranks = np.unique(np.linspace(0, max(len(ordered) - 1, 0), 400).astype(np.int64))
    if len(ordered) == 0:
        ranks = ranks[:0]
    heights = (ranks + 1) / max(total, 1)
    axes.step(
        ordered[ranks],
        heights,
        where="post",
        color=style.colour,
        linestyle=style.dash,
        linewidth=1.5,
        label=label,
    )


def learning_curve(curve: Mapping[str, Floats]) -> str:
    """Delivery ratio by training round: thin lines for seeds, a thick line for their mean.

    `curve` has the columns `round` and `delivery_ratio`, and `seed` if there are several trainings.
    """
    seeds = curve["seed"] if "seed" in curve else np.zeros(len(curve["round"]))
    with new_figure(width=6.4, height=3.6) as (figure, (axes,)):
        for seed in np.unique(seeds):
            chosen = seeds == seed
            axes.plot(
                curve["round"][chosen],
                curve["delivery_ratio"][chosen],
                color=COLOURS[0],
                alpha=0.4,
                linewidth=1.0,
            )
        rounds = np.unique(curve["round"])
        means = np.array([curve["delivery_ratio"][curve["round"] == number].mean() for number in rounds])
        label = f"mean of {len(np.unique(seeds))} trainings"
        axes.plot(rounds, means, color=COLOURS[0], linewidth=2.2, label=label)
        axes.set_xlabel("training round")
        axes.set_ylabel("requests delivered / requests")
        axes.legend(loc="lower right")
        return svg(figure, "learning")


def _legend_above(axes: Axes, *, count: int) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(4, count), handlelength=2.6)
