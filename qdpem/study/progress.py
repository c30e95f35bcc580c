"""How far a study is, told by its workers through one small file of numbers."""

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
    """How far a study is with its runs, or with its bounds, as `work` says.

    Seconds done of all, and label and second of the tasks now running: simulated seconds of runs; of bounds
    the wall seconds that they have taken, of the most they may take.
    """

    done_s: float
    total_s: float
    finished: int
    tasks: int
    running: tuple[tuple[str, float], ...]
    work: Work = "runs"

    @property
    def length_s(self) -> float:
        """Of one task."""
        return self.total_s / self.tasks


@dataclass(frozen=True)
class ProgressReporter:
    """A worker's pen: writes the second its task has come to into its place of the board.

    The file may be gone, or on another machine: then nobody watches, and nothing is said.
    """

    board: Path
    place: int

    def __call__(self, time_s: float) -> None:
        try:
            with self.board.open("r+b") as file:
                file.seek(self.place * _NUMBER.size)
                file.write(_NUMBER.pack(time_s))
        except OSError:
            return


@contextmanager
def watched(
    labels: Sequence[str],
    *,
    length_s: float,
    progress: Callable[[StudyProgress], None] | None,
    work: Work = "runs",
) -> Iterator[list[ProgressReporter]]:
    """Tickers for tasks of `length_s` seconds each; `progress` hears four times a second.

    `progress` is called from a thread of its own, and once more at the end.
    """
    with tempfile.TemporaryDirectory(prefix="qdpem-") as directory:
        board = Path(directory) / "progress"
        board.write_bytes(_NUMBER.pack(0.0) * len(labels))
        tickers = [ProgressReporter(board, place) for place in range(len(labels))]
        if progress is None:
            yield tickers
            return
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_PERIOD_S):
                progress(_read(board, labels, length_s=length_s, work=work))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield tickers
        finally:
            done.set()
            watcher.join()
            progress(_read(board, labels, length_s=length_s, work=work))


def _read(board: Path, labels: Sequence[str], *, length_s: float, work: Work) -> StudyProgress:
    times_s = [time_s for (time_s,) in _NUMBER.iter_unpack(board.read_bytes())]
    reached = [min(time_s, length_s) for time_s in times_s]
    running = [one for one in zip(labels, reached, strict=True) if 0.0 < one[1] < length_s]
    return StudyProgress(
        done_s=sum(reached),
        total_s=length_s * len(labels),
        finished=sum(time_s >= length_s for time_s in reached),
        tasks=len(labels),
        running=tuple(running),
        work=work,
    )
