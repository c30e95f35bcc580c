"""A study over a sweep: one study per cell, each in its own directory, and one table of them all."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qdpem.errors import StudyError
from qdpem.scenario.overrides import toml_value
from qdpem.scenario.schema import Scenario
from qdpem.scenario.sweep import SweepCell, sweep_cells
from qdpem.study.analysis.metric_formats import MetricFormat, headline_formats_of
from qdpem.study.analysis.results import StudyResult
from qdpem.study.progress import StudyProgress
from qdpem.study.run import run_study

if TYPE_CHECKING:
    from rich.table import Table

Watch = Callable[[str], Callable[[StudyProgress], None]]
"""Given a cell's name, who hears of its progress."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepResult:
    """The cells of a sweep with their results; None for one that failed, whose sentence is in `faults`."""

    name: str
    cells: tuple[tuple[SweepCell, StudyResult | None], ...]
    faults: tuple[str, ...]
    summary: Path


def run_sweep(
    scenario: Scenario,
    *,
    directory: Path,
    fresh: bool = False,
    engine: str | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
    command: str = "",
) -> SweepResult:
    """Run the study of every cell under `directory`/<cell> and write `directory`/summary.csv.

    `command` is the command of the whole, of which each cell's report shows its own. A cell that fails is
    told, and the others go on. Raises StudyError when all fail.
    """
    found: list[tuple[SweepCell, StudyResult | None]] = []
    faults: list[str] = []
    for cell in sweep_cells(scenario):
        try:
            result = run_study(
                cell.scenario,
                directory=directory / cell.name,
                fresh=fresh,
                engine=engine,
                workers=workers,
                progress=watch(cell.name) if watch else None,
                command=cell_command(command, cell, directory=directory),
            )
            found.append((cell, result))
            faults += [f"{cell.name}: {fault}" for fault in result.faults]
        except StudyError as error:
            found.append((cell, None))
            faults.append(f"{cell.name}: {error}")
    if all(result is None for _, result in found):
        raise StudyError("every cell of the sweep failed:\n  " + "\n  ".join(faults))
    summary = directory / "summary.csv"
    summary.write_text(summary_csv(found), encoding="utf-8")
    return SweepResult(name=scenario.name, cells=tuple(found), faults=tuple(faults), summary=summary)


def cell_command(command: str, cell: SweepCell, *, directory: Path) -> str:
    """The command of one cell alone: the same file with its keys set and no sweep."""
    words = shlex.split(command)
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    settings: Mapping[str, object] = {**cell.settings, "name": cell.scenario.name}
    sets = [f"{key}={toml_value(value)}" for key, value in settings.items()]
    for one in ("study.sweep=", *sets):
        words += ["--set", one]
    return shlex.join([*words, "--out", str(directory / cell.name)])


def summary_csv(cells: list[tuple[SweepCell, StudyResult | None]]) -> str:
    """One line per cell and arm: the axes, the four factors, means with intervals, and what is above the
    reference."""
    text = io.StringIO()
    rows = [row for cell, result in cells if result is not None for row in _rows(cell, result)]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(cell: SweepCell, result: StudyResult) -> list[dict[str, object]]:
    measures = [measure.metric for measure, _ in headline_formats_of(result.scenario.demand)]
    means = {metric: result.means(metric) for metric in measures}
    gaps = {metric: result.differences(metric) for metric in measures}
    rows = []
    for arm in result.arms:
        row: dict[str, object] = dict(cell.words)
        row |= {
            "arm": arm.name,
            "control": arm.control,
            "pregeneration": arm.pregeneration,
            "forecaster": arm.forecaster,
        }
        row |= {"policy": arm.policy, "reference": result.reference, "seeds": len(result.seeds)}
        for metric in measures:
            mean = means[metric][arm.name]
            gap = gaps[metric].get(arm.name)
            row |= {metric: mean.estimate, f"{metric}_low": mean.low, f"{metric}_high": mean.high}
            row |= {
                f"{metric}_difference": gap.difference.estimate if gap else 0.0,
                f"{metric}_difference_low": gap.student_low if gap else 0.0,
                f"{metric}_difference_high": gap.student_high if gap else 0.0,
            }
        rows.append(row)
    return rows


def sweep_tables(found: SweepResult) -> list[Table]:
    """For the terminal: per headline one row per cell with every arm's mean, the reference marked."""
    scenario = found.cells[0][0].scenario
    return [_table(found, measure) for measure, _ in headline_formats_of(scenario.demand)]


def _table(found: SweepResult, measure: MetricFormat) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{found.name}: {measure.heading}, mean over seeds (* the reference)"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
    results = [result for _, result in found.cells if result is not None]
    arms = list(dict.fromkeys(arm.name for result in results for arm in result.arms))
    for heading in found.cells[0][0].words:
        table.add_column(heading)
    for arm in arms:
        table.add_column(arm.replace("-", "-\n"), justify="right", no_wrap=True)
    for cell, result in found.cells:
        table.add_row(*cell.words.values(), *(_mean(result, arm, measure) for arm in arms))
    return table


def _mean(result: StudyResult | None, arm: str, measure: MetricFormat) -> str:
    if result is None or arm not in {one.name for one in result.arms}:
        return "–"
    mark = "*" if arm == result.reference else " "
    return f"{measure.text(result.means(measure.metric)[arm].estimate)}{mark}"
