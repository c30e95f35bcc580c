"""The ladder of forecasters as tables, sentences and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from qdpem.study.analysis.forecast_ladder import GOAL, START, ForecastLadder, Rung
from qdpem.study.report.demand_tables import TextTable, finite_json

RIVALS = ("ridge", "seasonal-naive")
"""Forecasters without a recurrent unit that the GRU has to beat."""

_SHOWN_STEPS = 8


def ladder_heading(ladder: ForecastLadder) -> str:
    """What was forecast: scenario, seed, step, horizon and number of forecasts."""
    forecasting = ladder.scenario.forecasting
    return (
        f"{ladder.scenario.name}, seed {ladder.seed}: {ladder.rungs[0].scores.origins} forecasts"
        f" {forecasting.horizon_steps} steps of {forecasting.step_s:g} s ahead, each of at most"
        f" {forecasting.max_peers} peers a node"
    )


def ladder_tables(ladder: ForecastLadder, *, per_step: bool) -> Iterator[TextTable]:
    """The scores of all forecasters, for peers and nodes, and of each step ahead if they are asked for."""
    yield TextTable(
        title=f"CRPS and pinball in 1e-3 requests; share: of the way from {START} to {GOAL}",
        heads=(
            "forecaster",
            "CRPS",
            "share",
            "WAPE",
            "floor",
            "MASE",
            "pinball .9",
            "in 50 %",
            "in 90 %",
            "fit, s",
        ),
        rows=tuple(_row(rung) for rung in ladder.rungs),
    )
    steps = ladder.scenario.forecasting.horizon_steps
    yield TextTable(
        title="WAPE of the requests of a node, all its peers together",
        heads=("forecaster", "all steps", "first step", f"step {steps}"),
        rows=tuple(
            (
                rung.scores.name,
                *map(_number, (rung.node_wape, rung.node_wape_by_step[0], rung.node_wape_by_step[-1])),
            )
            for rung in ladder.rungs
        ),
    )
    if per_step:
        yield _step_table(ladder, "CRPS, 1e-3", "crps_by_step", scale=1e3)
        yield _step_table(ladder, "WAPE", "wape_by_step", scale=1.0)
        yield _step_table(ladder, "node WAPE", "node_wape_by_step", scale=1.0)


def ladder_sentences(ladder: ForecastLadder) -> Iterator[str]:
    """Where the GRU beats no simpler forecaster, where there is no way to go, and what was left out."""
    crps = {rung.scores.name: rung.scores.crps for rung in ladder.rungs}
    for rival in RIVALS:
        if "gru" in crps and rival in crps and crps["gru"] >= crps[rival]:
            yield f"gru does not beat {rival} here: CRPS {crps['gru']:.3g} against {crps[rival]:.3g}"
    last = {rung.scores.name: rung.node_wape_by_step[-1] for rung in ladder.rungs}
    steps = ladder.scenario.forecasting.horizon_steps
    for rival in RIVALS:
        if "gru" in last and rival in last and last["gru"] >= last[rival]:
            yield (
                f"gru does not beat {rival} in step {steps}: WAPE of a node's requests {last['gru']:.3f}"
                f" against {last[rival]:.3f}"
            )
    if not crps[START] > crps[GOAL]:
        yield f"{GOAL} is no better than {START} here: this demand has nothing to foresee but its levels"
    if ladder.skipped:
        yield f"left out, because torch is not installed: {', '.join(ladder.skipped)}"


def ladder_json(ladder: ForecastLadder) -> dict[str, Any]:
    """All numbers of the ladder; None for a number not defined."""
    forecasting = ladder.scenario.forecasting
    return {
        "scenario": ladder.scenario.name,
        "seed": ladder.seed,
        "step_s": forecasting.step_s,
        "horizon_steps": forecasting.horizon_steps,
        "forecasters": [finite_json(_numbers(rung)) for rung in ladder.rungs],
        "skipped": list(ladder.skipped),
        "notes": list(ladder_sentences(ladder)),
        "pair": list(ladder.pair),
        "pair_counts": ladder.pair_counts.tolist(),
    }


def _numbers(rung: Rung) -> dict[str, Any]:
    # Wall-clock seconds would make equal ladders differ.
    scores = {name: value for name, value in asdict(rung.scores).items() if name not in ("fit_s", "step_s")}
    names = (
        *("share", "coverage_50", "coverage_90", "wape_by_step", "crps_by_step"),
        *("node_wape", "node_wape_by_step"),
    )
    return scores | {name: getattr(rung, name) for name in names} | {"pair_means": rung.pair_means.tolist()}


def _row(rung: Rung) -> tuple[str, ...]:
    scores = rung.scores
    return (
        scores.name,
        _number(1e3 * scores.crps),
        "–" if math.isnan(rung.share) else f"{rung.share:.0%}",
        _number(scores.wape),
        _number(scores.floor),
        _number(scores.mase),
        _number(1e3 * scores.pinball_90),
        "–" if math.isnan(rung.coverage_50) else f"{rung.coverage_50:.1%}",
        "–" if math.isnan(rung.coverage_90) else f"{rung.coverage_90:.1%}",
        f"{scores.fit_s:.1f}",
    )


def _step_table(ladder: ForecastLadder, title: str, name: str, *, scale: float) -> TextTable:
    """A score of each step ahead; of a long horizon, steps at even distances, the last included."""
    steps = ladder.scenario.forecasting.horizon_steps
    count = min(steps, _SHOWN_STEPS)
    shown = [(steps - 1) * place // max(count - 1, 1) for place in range(count)]
    return TextTable(
        title=f"{title} of each step ahead",
        heads=("forecaster", *(str(step + 1) for step in shown)),
        rows=tuple(
            (rung.scores.name, *(_number(scale * getattr(rung, name)[step]) for step in shown))
            for rung in ladder.rungs
        ),
    )


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
