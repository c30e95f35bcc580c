"""Replays a run from its record alone, and compares every data set bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from qdpem.errors import PolicyError, RecordError
from qdpem.events.full_tables import EXPECTED_DEMAND, OUTPUT_LABELS
from qdpem.events.tables import FORECASTS
from qdpem.records.compare import Difference, compare_records
from qdpem.records.reader import Record
from qdpem.records.recording import record_simulation
from qdpem.records.replay.logged_decisions import DivergedError, LogEndedError, logged_arm
from qdpem.records.replay.rebuilding import (
    rebuilt_arm,
    rebuilt_network,
    require_plugins,
    version_warning,
)
from qdpem.records.schema import FILES_GROUP, POLICY_OUTPUTS_GROUP
from qdpem.records.writer import RecordWriter
from qdpem.simulation.arms import ResolvedArm

KINDS = ("physics", "topology", "policy", "forecaster")
"""The plugins that a run uses."""

_GROUPS = (POLICY_OUTPUTS_GROUP, FILES_GROUP)
_OF_POLICY = (FORECASTS.name, EXPECTED_DEMAND.name, OUTPUT_LABELS.name, *_GROUPS)
"""The groups that the policy and the forecaster fill."""

_TICKS_AFTER_S = 2.0
"""A run that stopped may have written rows up to the second after its last flush."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The result of a replay: how much was compared, and the first difference of each data set that differs.

    `left_out`: the groups that were not compared, because they hold what a policy or a forecaster made and
    only decisions were replayed. `warning`: a sentence if other code made the record, else "".
    """

    data_sets: int
    values: int
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...] = ()
    warning: str = ""

    @property
    def identical(self) -> bool:
        """Whether every bit is the same."""
        return not self.differences


class _ReachedEndError(Exception):
    """The replay is past all that the record holds."""


def replay(
    record: Record, *, decisions: bool = False, progress: Callable[[float], None] | None = None
) -> Replay:
    """Simulate the run of a record again and compare every data set with it, bit for bit.

    Scenario, map, seed, arm and the files of the arm come from the record; plugins are found by name. The
    record of a run that stopped is compared as far as its rows go. Raises RecordError with one sentence when
    the record cannot be replayed: a plugin is not installed, a file of its forecaster has changed, or this
    version does not take its scenario or parameters.

    Args:
        record: of any level; of level "full" for `decisions`.
        decisions: whether the recorded decisions are carried out again in place of the policy, which need not
            be installed, nor its forecaster. What these two put out is then not compared.
        progress: called with the simulated second, once for each.
    """
    require_plugins(record, ("physics", "topology") if decisions else KINDS)
    with TemporaryDirectory(prefix="qdpem-replay-") as folder:
        path = Path(folder) / "replay.h5"
        arm = logged_arm(record) if decisions else rebuilt_arm(record, directory=Path(folder))
        warning = version_warning(record)
        left_out = _OF_POLICY if decisions else ()
        try:
            _run_again(record, arm, path, progress)
        except DivergedError as error:
            return _result(record, path, left_out=left_out, warning=warning, diverged=error.difference)
        return _result(record, path, left_out=left_out, warning=warning)


def _result(
    record: Record,
    path: Path,
    *,
    left_out: tuple[str, ...],
    warning: str,
    diverged: Difference | None = None,
) -> Replay:
    """The comparison of the replay at `path`; after `diverged` it stopped, and its rows go no further."""
    compared = compare_records(
        record.path,
        path,
        left_out=frozenset(left_out),
        prefix=not record.complete,
        extra=not warning,
    )
    # Where the two part comes first: all else follows from it.
    differences = ((diverged,) if diverged is not None else ()) + compared.differences
    return Replay(
        data_sets=compared.data_sets,
        values=compared.values,
        differences=differences,
        left_out=tuple(name for name in left_out if name in record.tables or name in _GROUPS),
        warning=warning,
    )


def _run_again(
    record: Record, arm: ResolvedArm, path: Path, progress: Callable[[float], None] | None
) -> None:
    """Write the record of the replay to `path`; it stops where the record does."""
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
    except (_ReachedEndError, LogEndedError):
        pass
    except PolicyError as error:
        raise RecordError(f"{record.path} cannot be replayed: {error}") from error
