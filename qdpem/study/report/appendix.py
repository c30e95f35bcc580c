"""The report's figures, drawn from records; a figure whose tables no record holds is left out."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics.interface import PhysicsModel
from qdpem.arrays import Floats
from qdpem.errors import QdpemError
from qdpem.events.tables import Columns
from qdpem.events.words import RequestOutcome
from qdpem.metrics.metrics import measured_requests
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.records.reader import Record, open_record
from qdpem.scenario.schema import Window
from qdpem.study.analysis.capacity import mean_capacity
from qdpem.study.analysis.metric_formats import CONTENTION, DELIVERY
from qdpem.study.analysis.network_summary import find_warnings
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.figures import network_map, plots
from qdpem.study.report.figures.shown_arms import shown_arms, shown_arms_sentence, styles_of
from qdpem.study.report.figures.style import ArmStyle
from qdpem.study.report.html import Appendix, ReportFigure
from qdpem.study.report.wording import counted

_LARGE = 120
"""With more nodes than these a report has no flow bound, which would take long."""


def build_appendix(result: StudyResult, *, command: str = "") -> Appendix:
    """The figures that the study's records allow, the network's description and warnings, and the command."""
    styles, chosen = styles_of(result), shown_arms(result)
    seed = _shown_seed(result)
    finished = [arm.name for arm in _finished(result, seed) if arm in chosen]
    shown = {arm: open_record(result.outcome(arm, seed=seed).path) for arm in finished}
    network, physics = _network(result, seed)
    drawn = [_map(result, shown, network, seed=seed)] if shown else []
    if result.scenario.demand.arrivals != "batch":
        drawn += [
            _time(result, shown, styles, seed=seed) if shown else None,
            _frontier(result, styles),
            _distributions(result, {arm.name: styles[arm.name] for arm in chosen}),
        ]
    drawn.append(_learning())
    return Appendix(
        figures=tuple(figure for figure in drawn if figure is not None),
        warnings=find_warnings(result.scenario, network=network, physics=physics, seed=seed),
        topology=f"{network.graph.name}: {network.node_count} nodes, {network.link_count} links"
        + (f" (map: {network.graph.cleaning})" if network.graph.cleaning else ""),
        capacity=_capacity(result, network, physics, seed=seed),
        command=command,
    )


def _shown_seed(result: StudyResult) -> int:
    """The seed on which most arms finished, the first of several."""
    return max(result.seeds, key=lambda seed: len(_finished(result, seed)))


def _finished(result: StudyResult, seed: int) -> list[Any]:
    return [arm for arm in result.arms if not result.outcome(arm.name, seed=seed).fault]


def _network(result: StudyResult, seed: int) -> tuple[Network, PhysicsModel]:
    physics = build_physics(result.scenario)
    return build_network(result.scenario, physics, seed=seed), physics


def _capacity(result: StudyResult, network: Network, physics: PhysicsModel, *, seed: int) -> str:
    """The flow bound in words; "" on large networks, where it takes long, and without a rate of requests."""
    if network.node_count > _LARGE or result.scenario.demand.arrivals == "batch":
        return ""
    bound = mean_capacity(
        result.scenario, rate_hz=result.asked_hz(seed), network=network, physics=physics, seed=seed
    )
    busiest = int(bound.repeater_load.argmax())
    return (
        f"at most {bound.fraction:.1%} of the mean demand can be delivered in the long run, without"
        f" deadlines, bursts and decay; the best flow uses {bound.repeater_load[busiest]:.0%} of the swaps of"
        f" {network.graph.node_names[busiest]}"
    )


def _map(
    result: StudyResult, shown: Mapping[str, Record], network: Network, *, seed: int
) -> ReportFigure | None:
    records = {arm: record for arm, record in shown.items() if {"claims", "pairs"} <= set(record.tables)}
    if not records:
        return None
    start_s, end_s = result.scenario.window.warm_up_s, result.scenario.window.end_s
    maps = network_map.network_maps(
        dict(next(iter(records.values())).tables),
        names=network.graph.node_names,
        loads={
            arm: network_map.repeater_load(record.tables, start_s=start_s, end_s=end_s)
            for arm, record in records.items()
        },
        uses={
            arm: network_map.link_use(record.tables, start_s=start_s, end_s=end_s)
            for arm, record in records.items()
        },
    )
    caption = (
        f"The network under the chosen arm (seed {seed}). Colour: fraction of a repeater's swap tokens used"
        " in the measured window. Area of a node: its repeater rate. Width of a link: fresh pairs per second."
        f" The five busiest repeaters are named.{shown_arms_sentence(shown_arms(result), result)}"
    )
    return ReportFigure(name="map", panels=maps, caption=caption)


def _time(
    result: StudyResult, shown: Mapping[str, Record], styles: Mapping[str, ArmStyle], *, seed: int
) -> ReportFigure:
    window = result.scenario.window
    svg = plots.delivery_over_time(
        {arm: _due(record.tables["requests"], end_s=window.end_s) for arm, record in shown.items()},
        styles=styles,
        end_s=window.end_s,
        warm_up_s=window.warm_up_s,
    )
    caption = (
        f"Requests by arrival time on seed {seed}: all whose deadline lies in the run (grey) and those that"
        " were delivered (lines), smoothed over about a second. The gap below the grey shows the failed ones."
        f"{_part_text(window)}{shown_arms_sentence(shown_arms(result), result)}"
    )
    return ReportFigure(name="time", panels={"": svg}, caption=caption)


def _part_text(window: Window) -> str:
    start_s, end_s = plots.shown_span(window.warm_up_s, window.end_s)
    if (start_s, end_s) == (0.0, window.end_s):
        return ""
    return f" The figure shows {start_s:g} s to {end_s:g} s of {window.end_s:g} s."


def _due(requests: Mapping[str, NDArray[Any]], *, end_s: float) -> Columns:
    """The requests whose deadline lies in the run; the others are not counted."""
    due = requests["deadline_s"] <= end_s
    return {name: values[due] for name, values in requests.items()}


def _frontier(result: StudyResult, styles: Mapping[str, ArmStyle]) -> ReportFigure | None:
    delivery, contention = result.means(DELIVERY.name), result.means(CONTENTION.name)
    seeds_delivery, seeds_contention = result.scores(DELIVERY.name), result.scores(CONTENTION.name)
    points = {
        arm: plots.Point(
            contention=contention[arm],
            delivery=delivery[arm],
            seeds_contention=seeds_contention[arm],
            seeds_delivery=seeds_delivery[arm],
        )
        for arm in (arm.name for arm in result.ranked)
        if contention[arm].seeds and delivery[arm].seeds
    }
    if not points:
        return None
    seeds = "" if plots.is_crowded(points) else "; small marks are seeds"
    caption = f"Delivery against contention: means with 95 % BCa intervals{seeds}."
    return ReportFigure(name="frontier", panels={"": plots.frontier(points, styles=styles)}, caption=caption)


def _distributions(result: StudyResult, styles: Mapping[str, ArmStyle]) -> ReportFigure:
    latencies: dict[str, Floats] = {}
    margins: dict[str, Floats] = {}
    measured: dict[str, int] = {}
    for arm in styles:
        parts = [_requests(result, arm, seed) for seed in result.seeds]
        finished = [part for part in parts if part is not None]
        if not finished:
            continue
        latencies[arm] = np.concatenate([latency for latency, _, _ in finished])
        margins[arm] = np.concatenate([margin for _, margin, _ in finished])
        measured[arm] = sum(count for _, _, count in finished)
    svg = plots.distributions(latencies, margins=margins, counts=measured, styles=styles)
    caption = (
        f"Cumulative distributions over all measured requests of {counted(len(result.seeds), 'seed')}; every"
        " curve ends at the arm's delivery ratio. Left: latency of delivered requests. Right: true fidelity"
        f" minus target fidelity.{shown_arms_sentence(shown_arms(result), result)}"
    )
    return ReportFigure(name="distributions", panels={"": svg}, caption=caption)


def _requests(result: StudyResult, arm: str, seed: int) -> tuple[Floats, Floats, int] | None:
    """Latencies and fidelity margins of the delivered requests, and the number of measured requests.

    None if the run failed.
    """
    outcome = result.outcome(arm, seed=seed)
    if outcome.fault:
        return None
    table = open_record(outcome.path).tables["requests"]
    window = result.scenario.window
    measured = measured_requests(table, start_s=window.warm_up_s, end_s=window.end_s)
    delivered = measured & (table["outcome"] == RequestOutcome.DELIVERED.code)
    latency_s = (table["end_s"] - table["time_s"])[delivered]
    margin = (table["fidelity"] - table["target_fidelity"])[delivered]
    return latency_s, margin, int(measured.sum())


def _learning() -> ReportFigure | None:
    """The learning curve of the network that ships with qdpem, None if there is none."""
    curve = read_curve()
    if curve is None:
        return None
    caption = (
        "The training of the dpem network that ships with qdpem: delivery ratio in the episodes of each"
        " round. Thin lines are training seeds, the thick line is their mean."
    )
    return ReportFigure(name="learning", panels={"": plots.learning_curve(curve)}, caption=caption)


def read_curve() -> dict[str, Floats] | None:
    """Columns of the shipped learning curve; None if it or its `round` or `delivery_ratio` is missing."""
    import csv

    shipped = files("qdpem") / "policies" / "dpem" / "released" / "curve.csv"
    if not shipped.is_file():
        return None
    rows = list(csv.DictReader(shipped.read_text(encoding="utf-8").splitlines()))
    if not rows or not {"round", "delivery_ratio"} <= set(rows[0]):
        return None
    try:
        return {
            name: np.array([float(row[name]) for row in rows])
            for name in ("round", "delivery_ratio", "seed")
            if name in rows[0]
        }
    except ValueError as error:
        raise QdpemError(f"the learning curve {shipped} has a value that is not a number: {error}") from error
