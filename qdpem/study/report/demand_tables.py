"""The tables of a demand profile as text, for a terminal and a page alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from qdpem.study.analysis.demand.profile import LEVELS, DemandProfile
from qdpem.study.report.wording import counted

SHOWN_PLACES = 8
"""The busiest nodes and pairs of nodes that the tables show."""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table: its title, its column heads and its rows. The first `words` columns are words, not numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


def demand_tables(profile: DemandProfile) -> Iterator[TextTable]:
    """Every table that has a row, the totals first."""
    for table in (
        _process_table(profile),
        _class_table(profile),
        _node_table(profile),
        _pair_table(profile),
        _window_table(profile),
        _lag_table(profile),
        _floor_table(profile),
        _forecast_table(profile),
    ):
        if table.rows:
            yield table


def demand_heading(profile: DemandProfile) -> str:
    """What was counted: scenario, seed, load, requests and the time that they cover."""
    before = f"{-profile.start_s:g} s of history and " if profile.start_s < 0.0 else ""
    return (
        f"{profile.scenario.name}, seed {profile.seed}: {counted(len(profile.requests), 'request')} in"
        f" {before}{profile.end_s:g} s of run; {profile.load}"
    )


def demand_json(profile: DemandProfile) -> dict[str, Any]:
    """All numbers of the profile, every node and pair of nodes included; None for a number not defined."""
    rows = {
        name: [asdict(each) for each in getattr(profile, name)]
        for name in (
            "processes",
            "classes",
            "nodes",
            "node_pairs",
            "windows",
            "lags",
            "periods",
            "floors",
            "forecasts",
        )
    }
    # Wall-clock seconds would make equal demands differ.
    for scores in rows["forecasts"]:
        del scores["fit_s"], scores["step_s"]
    found = {
        "scenario": profile.scenario.name,
        "seed": profile.seed,
        "rate_hz": profile.load.rate_hz,
        "peak_rate_hz": profile.load.peak_rate_hz,
        "capacity_hz": profile.load.capacity_hz,
        "start_s": profile.start_s,
        "end_s": profile.end_s,
        "step_s": profile.step_s,
        "levels": list(LEVELS),
        "peer_coverage": profile.peer_coverage,
        **rows,
    }
    return {name: finite_json(value) for name, value in found.items()}


def finite_json(value: Any) -> Any:
    """The value with None for every number that is not finite, as JSON needs."""
    if isinstance(value, dict):
        return {name: finite_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _process_table(profile: DemandProfile) -> TextTable:
    span_s, whole = profile.end_s - profile.start_s, max(len(profile.requests), 1)
    return TextTable(
        title="processes",
        heads=("process", "kind", "requests", "share", "requests/s", "long run", "pairs asked for"),
        rows=tuple(
            (
                each.name,
                each.kind,
                str(each.requests),
                f"{each.requests / whole:.1%}",
                f"{each.requests / span_s:.3g}",
                f"{each.mean_rate_hz:.3g}",
                str(each.requested_pairs),
            )
            for each in profile.processes
        ),
        words=2,
    )


def _class_table(profile: DemandProfile) -> TextTable:
    whole = max(len(profile.requests), 1)
    return TextTable(
        title="classes",
        heads=("process", "application", "target", "pairs", "patience, s", "requests", "share"),
        rows=tuple(
            (
                each.process,
                each.application,
                f"{each.target_fidelity:g}",
                str(each.pairs),
                f"{each.patience_s:g}",
                str(each.requests),
                f"{each.requests / whole:.1%}",
            )
            for each in profile.classes
        ),
        words=2,
    )


def _node_table(profile: DemandProfile) -> TextTable:
    return TextTable(
        title=f"busiest of {counted(len(profile.nodes), 'node')} with requests",
        heads=("node", "requests from it", "to it", "peers", "variation"),
        rows=tuple(
            (
                each.node,
                str(each.sent),
                str(each.received),
                str(each.peers),
                _number(each.interarrival_variation),
            )
            for each in profile.nodes[:SHOWN_PLACES]
        ),
    )


def _pair_table(profile: DemandProfile) -> TextTable:
    return TextTable(
        title=f"busiest of {counted(len(profile.node_pairs), 'node pair')} with requests",
        heads=("node pair", "requests", "pairs asked for", "mean interarrival, s", "variation"),
        rows=tuple(
            (
                f"{each.first} - {each.second}",
                str(each.requests),
                str(each.requested_pairs),
                _number(each.mean_interarrival_s, 1),
                _number(each.interarrival_variation),
            )
            for each in profile.node_pairs[:SHOWN_PLACES]
        ),
    )


def _window_table(profile: DemandProfile) -> TextTable:
    return TextTable(
        title="burstiness: index of dispersion of counts (1: Poisson) and peak over mean",
        heads=("window, s", *LEVELS, "peak, network", "peak, node"),
        rows=tuple(
            (
                f"{each.window_s:g}",
                *(_number(value) for value in each.dispersion),
                *(_number(value, 1) for value in each.peak[:2]),
            )
            for each in profile.windows
        ),
        words=0,
    )


def _lag_table(profile: DemandProfile) -> TextTable:
    rows = [(f"{each.lag_s:g}", *(_number(value, 3) for value in each.correlation)) for each in profile.lags]
    # Every pair of nodes has a period of its own, so only the level of pairs has this row.
    rows += [
        (f"its period in {each.process}", "", "", _number(each.correlation, 3)) for each in profile.periods
    ]
    return TextTable(
        title=f"autocorrelation of counts per {profile.step_s:g} s",
        heads=("lag, s", *LEVELS),
        rows=tuple(rows),
        words=0,
    )


def _floor_table(profile: DemandProfile) -> TextTable:
    windows = sorted({each.window_s for each in profile.floors})
    found = {(each.level, each.window_s): each.wape for each in profile.floors}
    levels = dict.fromkeys(each.level for each in profile.floors)
    return TextTable(
        title="floor: WAPE of one who knows all but the Poisson draws",
        heads=("counts of each", *(f"in {window_s:g} s" for window_s in windows)),
        rows=tuple(
            (level, *(_number(found[level, window_s], 3) for window_s in windows)) for level in levels
        ),
    )


def _forecast_table(profile: DemandProfile) -> TextTable:
    forecasting = profile.scenario.forecasting
    constant = next((each.crps for each in profile.forecasts if each.name == "constant"), math.nan)
    return TextTable(
        title=(
            f"forecasts {forecasting.horizon_steps} steps of {forecasting.step_s:g} s ahead, of at most"
            f" {forecasting.max_peers} peers a node: {profile.peer_coverage:.0%} of the requests"
        ),
        heads=("forecaster", "WAPE", "CRPS, requests", "gain in CRPS over constant"),
        rows=tuple(
            (
                each.name,
                _number(each.wape, 3),
                f"{each.crps:.5f}",
                f"{1.0 - each.crps / constant:+.1%}" if constant > 0.0 else "–",
            )
            for each in profile.forecasts
        ),
    )
