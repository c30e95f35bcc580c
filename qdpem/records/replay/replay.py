"""Replays a run from its record alone, and compares every data set bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from qdpem.errors import PolicyError, RecordError
from qdpem.records.compare import Comparison, Difference, compare_records
from qdpem.records.reader import Record
from qdpem.records.recording import record_simulation
from qdpem.records.replay.rebuilding import (
    rebuilt_arm,
    rebuilt_network,
    require_plugins,
    version_warning,
)
from qdpem.records.writer import RecordWriter
from qdpem.simulation.arms import ResolvedArm

_TICKS_AFTER_S = 2.0
"""A run that stopped may have written rows up to the second after its last flush."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The result of a replay: how much was compared, and the first difference of each data set that differs.

    `warning`: a sentence if other code made the record, else "".
    """

    data_sets: int
    values: int
    differences: tuple[Difference, ...]
    warning: str = ""

    @property
    def identical(self) -> bool:
        """Whether every bit is the same."""
        return not self.differences


class _ReachedEndError(Exception):
    """The replay is past all that the record holds."""


def replay(record: Record, *, progress: Callable[[float], None] | None = None) -> Replay:
    """Simulate the run of a record again and compare every data set with it, bit for bit.

    Scenario, map, seed, arm and the files of the arm come from the record; plugins are found by name. The
    record of a run that stopped is compared as far as its rows go. Raises RecordError with one sentence when
    the record cannot be replayed: a plugin is not installed, a file of its forecaster has changed, or this
    version does not take its scenario or parameters.

    Args:
        record: of any level.
        progress: called with the simulated second, once for each.
    """
    require_plugins(record, ("physics", "topology", "policy", "forecaster"))
    with TemporaryDirectory(prefix="qdpem-replay-") as folder:
        path = Path(folder) / "replay.h5"
        arm = rebuilt_arm(record, directory=Path(folder))
        _run_again(record, arm, path, progress)
        warning = version_warning(record)
        compared = _compared(record, path, extra=not warning)
    return Replay(
        data_sets=compared.data_sets,
        values=compared.values,
        differences=compared.differences,
        warning=warning,
    )


def _run_again(
    record: Record, arm: ResolvedArm, path: Path, progress: Callable[[float], None] | None
) -> None:
    """Write the record of the replay to `path`; it stops where the record does."""
    until_s = record.scenario.window.end_s
    if not record.complete:
        until_s = float(record.provenance.get("written_until_s", 0.0)) + _TICKS_AFTER_S

    def on_progress(time_s: float) -> None:
        if progress is not None:
            progress(time_s)
        if not record.complete and time_s >= until_s:
            raise _ReachedEndError

    writer = RecordWriter(
        path, scenario=record.scenario, arm=record.arm, seed=record.seed, facts=record.provenance
    )
    try:
        with writer:
            record_simulation(
                writer,
                record.scenario,
                arm,
                seed=record.seed,
                files=arm.read_learned_files(),
                network=rebuilt_network(record),
                on_progress=on_progress,
            )
    except _ReachedEndError:
        pass
    except PolicyError as error:
        raise RecordError(f"{record.path} cannot be replayed: {error}") from error


def _compared(record: Record, path: Path, *, extra: bool) -> Comparison:
    # A run that stopped has no metrics, and may have stopped before its files were embedded.
    return compare_records(record.path, path, prefix=not record.complete, extra=extra)
