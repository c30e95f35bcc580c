"""A study over a sweep: one study per cell, each in its own directory, and one table of all cells."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from qdpem.errors import StudyError
from qdpem.file_lock import held
from qdpem.html_tables import html_heading, html_table
from qdpem.scenario.overrides import toml_value
from qdpem.scenario.schema import Scenario
from qdpem.scenario.sweep import SweepCell, sweep_cells
from qdpem.study.analysis.metric_formats import MetricFormat, primary_formats_of
from qdpem.study.analysis.results import TUNED_MARK, StudyResult
from qdpem.study.manifest import begin_results, study_manifest
from qdpem.study.progress import StudyProgress
from qdpem.study.report.csv import write_text_file
from qdpem.study.run import run_study

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

CellProgress: TypeAlias = Callable[[str], Callable[[StudyProgress], None]]
"""Maps the name of a cell to the receiver of its progress."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepResult:
    """The cells of a sweep with their results; a failed cell has None, and a sentence in `faults`.

    `note`: a sentence if the summary of another sweep was in the place of this one, else "".
    """

    name: str
    cells: tuple[tuple[SweepCell, StudyResult | None], ...]
    faults: tuple[str, ...]
    summary: Path
    note: str = ""

    def frame(self) -> DataFrame:
        """The frames of all cells, one below the other: the values of the axes are levels of the index.

        The levels are those of the axes, as numbers where all values are, then "arm" and "seed". Cells that
        failed are left out. See `StudyResult.frame`.
        """
        import pandas

        finished = [(cell, result) for cell, result in self.cells if result is not None]
        frames = [result.frame() for _, result in finished]
        axes = list(finished[0][0].words)
        keys = list(
            zip(*(axis_values([cell.words[axis] for cell, _ in finished]) for axis in axes), strict=True)
        )
        joined = pandas.concat(frames, keys=keys if len(axes) > 1 else [key for (key,) in keys], names=axes)
        joined.attrs = {key: value for key, value in frames[0].attrs.items() if key in ("arms", "units")}
        joined.attrs["scenario"] = self.name
        return joined

    def _repr_html_(self) -> str:
        """The mean of every arm in every cell, for the primary metrics."""
        tables = []
        for metric in primary_formats_of(self.cells[0][0].scenario.demand):
            arms = arms_of(self)
            rows = [
                [*cell.words.values(), *(_mean(result, arm, metric) for arm in arms)]
                for cell, result in self.cells
            ]
            caption = f"{metric.heading_with_unit}, mean over seeds, * the reference"
            tables.append(html_table([*self.cells[0][0].words, *arms], rows, caption=caption))
        faults = "".join(html_heading("failed:", fault) for fault in self.faults)
        return html_heading(f"Sweep {self.name}") + "".join(tables) + faults


def arms_of(sweep: SweepResult) -> list[str]:
    """The names of the arms of all cells, in the order in which they first come."""
    results = [result for _, result in sweep.cells if result is not None]
    return list(dict.fromkeys(arm.name for result in results for arm in result.arms))


def axis_values(words: Sequence[str]) -> list[float] | list[str]:
    """The values of an axis in several cells: numbers if all of them are.

    >>> axis_values(["0.5", "1"]), axis_values(["short", "1"])
    ([0.5, 1.0], ['short', '1'])
    """
    try:
        return [float(word) for word in words]
    except ValueError:
        return list(words)


def run_sweep(
    scenario: Scenario,
    *,
    directory: Path,
    fresh: bool = False,
    engine: str | None = None,
    workers: int | None = None,
    progress: CellProgress | None = None,
    command: str = "",
) -> SweepResult:
    """Run the study of every cell under `directory`/<cell> and write `directory`/summary.csv.

    A cell that fails is reported in `SweepResult.faults`, and the others continue. Raises StudyError when all
    cells fail, and HeldError when another process uses the directory.

    Args:
        scenario: a scenario with a [study.sweep] table.
        directory: where the directories of the cells and the summary are written.
        fresh: make all runs again.
        engine: "serial" or "loky"; the scenario's when None.
        workers: tasks at a time; the scenario's when None.
        progress: maps the name of a cell to the receiver of its progress.
        command: the command line of the sweep; the report of a cell prints that of the cell.
    """
    with held(directory):
        return _run_cells(
            scenario,
            directory=directory,
            fresh=fresh,
            engine=engine,
            workers=workers,
            progress=progress,
            command=command,
        )


def _run_cells(
    scenario: Scenario,
    *,
    directory: Path,
    fresh: bool,
    engine: str | None,
    workers: int | None,
    progress: CellProgress | None,
    command: str,
) -> SweepResult:
    """`run_sweep` in a directory that is held."""
    results: list[tuple[SweepCell, StudyResult | None]] = []
    faults: list[str] = []
    for cell in sweep_cells(scenario):
        try:
            result = run_study(
                cell.scenario,
                directory=directory / cell.name,
                fresh=fresh,
                engine=engine,
                workers=workers,
                progress=progress(cell.name) if progress else None,
                command=cell_command(command, cell, directory=directory),
            )
            results.append((cell, result))
            faults += [f"{cell.name}: {fault}" for fault in result.faults]
        except StudyError as error:
            results.append((cell, None))
            faults.append(f"{cell.name}: {error}")
    if all(result is None for _, result in results):
        raise StudyError("every cell of the sweep failed:\n  " + "\n  ".join(faults))
    summary = directory / "summary.csv"
    arms = scenario.study.arms if scenario.study else ()
    manifest = study_manifest(scenario, arms, command=command, cells=[cell.name for cell, _ in results])
    note = begin_results(directory, manifest, files=[summary.name])
    write_text_file(summary, summary_csv(results))
    return SweepResult(
        name=scenario.name, cells=tuple(results), faults=tuple(faults), summary=summary, note=note
    )


def cell_command(command: str, cell: SweepCell, *, directory: Path) -> str:
    """The command line of one cell: that of the sweep with the cell's keys set and without the sweep."""
    words = shlex.split(command)
    if "--out" in words:
        index = words.index("--out")
        # Every cell has its own directory, which the last line adds.
        del words[index : index + 2]
    settings: Mapping[str, object] = {**cell.settings, "name": cell.scenario.name}
    for override in ("study.sweep=", *(f"{key}={toml_value(value)}" for key, value in settings.items())):
        words += ["--set", override]
    return shlex.join([*words, "--out", str(directory / cell.name)])


def summary_csv(cells: Sequence[tuple[SweepCell, StudyResult | None]]) -> str:
    """One line per cell and arm: axes, factors, and the primary metrics with intervals.

    Differences are from the cell's reference, with Student's paired interval.
    """
    text = io.StringIO()
    rows = [row for cell, result in cells if result is not None for row in _rows(cell, result)]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(cell: SweepCell, result: StudyResult) -> list[dict[str, object]]:
    metrics = [metric.name for metric in primary_formats_of(result.scenario.demand)]
    means = {metric: result.means(metric) for metric in metrics}
    differences = {metric: result.differences(metric) for metric in metrics}
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
        row["tuned_on"] = " ".join(map(str, result.tuned_arms.get(arm.name, ())))
        for metric in metrics:
            mean = means[metric][arm.name]
            paired = differences[metric].get(arm.name)
            row |= {metric: mean.estimate, f"{metric}_low": mean.low, f"{metric}_high": mean.high}
            row |= {
                f"{metric}_difference": paired.difference.estimate if paired else 0.0,
                f"{metric}_difference_low": paired.student_low if paired else 0.0,
                f"{metric}_difference_high": paired.student_high if paired else 0.0,
            }
        rows.append(row)
    return rows


def sweep_tables(sweep: SweepResult) -> list[Table]:
    """One table per primary metric for the terminal: a row per cell, and the mean of every arm."""
    scenario = sweep.cells[0][0].scenario
    return [_table(sweep, metric) for metric in primary_formats_of(scenario.demand)]


def _table(sweep: SweepResult, metric: MetricFormat) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    tuned = any(result.tuned_arms for _, result in sweep.cells if result is not None)
    marks = "* the reference" + f", {TUNED_MARK} tuned on seeds of the comparison" * tuned
    title = f"{sweep.name}: {metric.heading}, mean over seeds ({marks})"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
    arms = arms_of(sweep)
    for heading in sweep.cells[0][0].words:
        table.add_column(heading)
    for arm in arms:
        table.add_column(arm.replace("-", "-\n"), justify="right", no_wrap=True)
    for cell, result in sweep.cells:
        table.add_row(*cell.words.values(), *(_mean(result, arm, metric) for arm in arms))
    return table


def _mean(result: StudyResult | None, name: str, metric: MetricFormat) -> str:
    if result is None or name not in {arm.name for arm in result.arms}:
        return "–"
    mark = TUNED_MARK if name in result.tuned_arms else ""
    mark += "*" if name == result.reference else " "
    return f"{metric.text(result.means(metric.name)[name].estimate)}{mark}"
