"""From the runs of a comparison to its figures: medians, ratios to ours, a table. Standard library alone.

A run is the JSON object that a program prints, or one with `error` in place of what was measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

OURS = "qdpem"
AT_LEAST = {"simqn": 4.0, "sequence": 120.0, "probe": 1.0 / 2.5}
"""The project's requirement: the smallest ratio of a peer's wall time per delivered pair to ours."""

_HEADINGS = (
    "nodes", "memories", "program", "runs", "ms/pair", "x ours", "asked", "met", "events/pair", "pairs/s",
    "fidelity",
)  # fmt: skip


def failure(peer: str, *, nodes: int, memories: int, seed: int, error: str) -> Row:
    """The row of a run that gave no result.

    Args:
        peer: the name of the program.
        nodes: nodes of the chain.
        memories: qubits at either end of every hop.
        seed: the seed of the run.
        error: the reason.
    """
    return {"peer": peer, "nodes": nodes, "memories": memories, "seed": seed, "error": error}


def judged(row: Row) -> Row:
    """The run itself, or a failure when it delivered nothing to divide by."""
    if "error" in row or row["delivered"] > 0:
        return row
    about = {name: row[name] for name in ("peer", "nodes", "memories", "seed")}
    return {**about, "error": f"no pair delivered in {row['simulated_s']:g} simulated s"}


def summaries(rows: Iterable[Row], *, ours: str = OURS) -> list[Row]:
    """One summary per case and program, in the order they first ran; ratios are of medians, peer by ours."""
    groups: dict[tuple[int, int], dict[str, list[Row]]] = {}
    for row in map(judged, rows):
        groups.setdefault((row["nodes"], row["memories"]), {}).setdefault(row["peer"], []).append(row)
    found = []
    for (nodes, memories), programs in groups.items():
        own = _median_ms(programs.get(ours, []))
        for peer, runs in programs.items():
            found.append(
                {"peer": peer, "nodes": nodes, "memories": memories, **_summary(peer, runs, own, ours)}
            )
    return found


def table(found: Sequence[Row]) -> str:
    """The summaries for people: columns aligned, each failed program with its reason below."""
    lines = [_HEADINGS, *map(_cells, found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    for one in found:
        for error in one["errors"]:
            text.append(f"failed: {one['peer']}, {one['nodes']} nodes, {one['memories']} memories: {error}")
    return "\n".join(text)


def _summary(peer: str, runs: Sequence[Row], own_ms: float | None, ours: str) -> Row:
    good = [run for run in runs if "error" not in run]
    ms = _median_ms(good)
    ratio = ms / own_ms if ms is not None and own_ms is not None and peer != ours else None
    asked = AT_LEAST.get(peer)
    fidelity, standard_error = _pooled(good)
    return {
        "runs": len(good),
        "failed": len(runs) - len(good),
        "errors": list(dict.fromkeys(run["error"] for run in runs if "error" in run)),
        "ms_per_delivered": ms,
        "ratio": ratio,
        "at_least": asked,
        "met": ratio >= asked if ratio is not None and asked is not None else None,
        "events_per_delivered": _median(run["events"] / run["delivered"] for run in good),
        "delivered_per_simulated_s": _median(run["delivered"] / run["simulated_s"] for run in good),
        "mean_fidelity": fidelity,
        "standard_error": standard_error,
    }


def _median_ms(runs: Iterable[Row]) -> float | None:
    return _median(1e3 * run["wall_s"] / run["delivered"] for run in runs if "error" not in run)


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _pooled(runs: Sequence[Row]) -> tuple[float | None, float | None]:
    """Mean fidelity over all pairs of all runs, and its standard error as if pairs were independent."""
    count = sum(run["delivered"] for run in runs)
    if not count:
        return None, None
    mean = math.fsum(run["delivered"] * run["mean_fidelity"] for run in runs) / count
    if any(run["standard_error"] is None for run in runs):
        return mean, None
    return mean, math.sqrt(math.fsum((run["delivered"] * run["standard_error"]) ** 2 for run in runs)) / count


def _cells(one: Row) -> tuple[str, ...]:
    fidelity = _number(one["mean_fidelity"], ".4f")
    if one["standard_error"] is not None:
        fidelity += f" +- {one['standard_error']:.4f}"
    return (
        str(one["nodes"]),
        str(one["memories"]),
        one["peer"],
        f"{one['runs']} of {one['runs'] + one['failed']}",
        _number(one["ms_per_delivered"], ".4g"),
        _number(one["ratio"], ".3g"),
        _number(one["at_least"], ".3g"),
        {None: "-", True: "yes", False: "no"}[one["met"]],
        _number(one["events_per_delivered"], ".1f"),
        _number(one["delivered_per_simulated_s"], ".1f"),
        fidelity,
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
