"""The progress of a study, which its workers write into one small file of numbers."""

from __future__ import annotations

import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Work: TypeAlias = Literal["runs", "bounds"]

_NUMBER = struct.Struct("<d")
_PERIOD_S = 0.25


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """The progress of a study's runs or of its bounds, as `work` states.

    `done_s` of `total_s` seconds are done; `running` holds the label and the seconds of every task at work.
    Seconds of runs are simulated. Seconds of bounds are wall time, out of the most that a bound may take.
    """

    done_s: float
    total_s: float
    finished: int
    tasks: int
    running: tuple[tuple[str, float], ...]
    work: Work = "runs"

    @property
    def length_s(self) -> float:
        """The seconds of one task."""
        return self.total_s / self.tasks


@dataclass(frozen=True)
class ProgressReporter:
    """Writes the second that a task has reached into slot `index` of the progress file.

    A missing file is no error: it means that nobody reads the progress, or that the worker runs on another
    machine.
    """

    progress_file: Path
    index: int

    def __call__(self, time_s: float) -> None:
        try:
            with self.progress_file.open("r+b") as file:
                # Every worker writes only its own eight bytes, so no lock is needed.
                file.seek(self.index * _NUMBER.size)
                file.write(_NUMBER.pack(time_s))
        except OSError:
            return


@contextmanager
def progress_reporters(
    labels: Sequence[str],
    *,
    length_s: float,
    progress: Callable[[StudyProgress], None] | None,
    work: Work = "runs",
) -> Iterator[list[ProgressReporter]]:
    """One reporter for each task of `length_s` seconds; calls `progress` four times a second.

    A thread of its own calls `progress`, the last time when the context ends.

    Args:
        labels: names of the tasks.
        length_s: seconds of one task.
        progress: receives the progress of all tasks; None for none.
        work: the kind of the tasks.
    """
    with tempfile.TemporaryDirectory(prefix="qdpem-") as directory:
        file = Path(directory) / "progress"
        file.write_bytes(_NUMBER.pack(0.0) * len(labels))
        reporters = [ProgressReporter(file, index) for index in range(len(labels))]
        if progress is None:
            yield reporters
            return
        done = threading.Event()

        def read_until_done() -> None:
            while not done.wait(_PERIOD_S):
                progress(_read(file, labels, length_s=length_s, work=work))

        reader = threading.Thread(target=read_until_done, daemon=True)
        reader.start()
        try:
            yield reporters
        finally:
            done.set()
            # Before the last call, so that no two threads are in `progress` at once.
            reader.join()
            progress(_read(file, labels, length_s=length_s, work=work))


def _read(file: Path, labels: Sequence[str], *, length_s: float, work: Work) -> StudyProgress:
    times_s = [time_s for (time_s,) in _NUMBER.iter_unpack(file.read_bytes())]
    reached_s = [min(time_s, length_s) for time_s in times_s]
    running = [
        (label, time_s) for label, time_s in zip(labels, reached_s, strict=True) if 0.0 < time_s < length_s
    ]
    return StudyProgress(
        done_s=sum(reached_s),
        total_s=length_s * len(labels),
        finished=sum(time_s >= length_s for time_s in times_s),
        tasks=len(labels),
        running=tuple(running),
        work=work,
    )
