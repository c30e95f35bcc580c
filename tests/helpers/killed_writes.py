"""A small record of level "requests", written again and again by processes killed at every file operation.

    python -m tests.helpers.killed_writes DIRECTORY

The operations of a run are counted: each write, truncation, rename, removal and sync, and each opening of
the HDF5 file that is built. A child then runs for each of them, and for several cuts inside a write. It ends
there as `kill -9` ends it, without any clean-up. All this is done twice, at a path without a record and at
one that has a finished record already. A child's directory is DIRECTORY/<new or before>/<operation>-<cut>.
Prints one JSON line for each: its directory, whether a record was there before, how many flushes had
returned, whether `close_complete` had, the operation and the cut.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from qdpem.metrics.metrics import measure
from qdpem.records import writer
from qdpem.records.writer import RecordWriter
from tests.helpers.made_runs import ARM, fill, make_scenario

FLUSHES, ROWS_EACH = 2, 9
_WRITE_CUTS = (0.0, 0.5, 0.99)
"""The fractions of a write that reach the file; all of it has when the next operation is cut at 0."""


class Killer:
    """Ends this process at operation number `at`, after the fraction `cut` of it; counts if `at` is None."""

    def __init__(self, at: int | None, cut: float) -> None:
        self._at, self._cut = at, cut
        self.names: list[str] = []
        pwrite = os.pwrite

        def cut_write(descriptor: int, data: Any, place: int) -> int:
            if self._due("pwrite"):
                pwrite(descriptor, bytes(data)[: int(self._cut * len(data))], place)
                os._exit(9)
            return pwrite(descriptor, data, place)

        os.pwrite = cut_write  # type: ignore[assignment]
        for name in ("ftruncate", "replace", "rename", "unlink", "fsync"):
            setattr(os, name, self._counted(name, getattr(os, name)))
        h5py.File = self._counted("h5py", h5py.File)

    def _due(self, name: str) -> bool:
        self.names.append(name)
        return len(self.names) - 1 == self._at

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            due = self._due(name)
            if due and self._cut < 1.0:
                os._exit(9)
            answer = function(*arguments, **options)
            if due:
                os._exit(9)
            return answer

        return call


def provenance(**_facts: str) -> dict[str, str]:
    """No facts of the machine: to find them takes longer than all the rest."""
    return {"date": "2026-01-01"}


def write(path: Path, report: int) -> None:
    """Flushes and an end; a byte into the descriptor `report` after each flush and after the end."""
    with RecordWriter(path, scenario=make_scenario("requests"), arm=ARM, seed=17) as recorder:
        for second in range(1, FLUSHES + 1):
            fill(recorder, seconds=1, rows_each=ROWS_EACH, seed=second)
            recorder.flush()
            os.write(report, b"f")
        recorder.embed("weights", b"12345")
        recorder.close_complete(measure(recorder.tables(), start_s=0.0, end_s=4.0), {"wall_s": 1.0})
        os.write(report, b"e")


def child(path: Path, *, at: int | None, cut: float) -> tuple[str, list[str]]:
    """What a child that is killed there reports, and the operations of one that is not (`at` None)."""
    results, report = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(results)
        writer.provenance = provenance  # type: ignore[assignment]
        killer = Killer(at, cut)
        write(path, report)
        os.write(report, (" " + " ".join(killer.names)).encode())
        os._exit(0)
    os.close(report)
    with os.fdopen(results, "rb") as file:
        said = file.read().decode()
    os.waitpid(process, 0)
    flags, *names = said.split(" ")
    return flags, names


def cuts(names: list[str]) -> list[tuple[int, float]]:
    """Every operation, and where it is cut. The opening of a file and the last operation also happen whole:
    what they leave is not what the next operation finds."""
    return [
        (number, cut)
        for number, name in enumerate(names)
        for cut in (*(_WRITE_CUTS if name == "pwrite" else (0.0,)), 1.0)
        if cut < 1.0 or name == "h5py" or number == len(names) - 1
    ]


def main(directory: Path) -> None:
    """Kill at every operation; one JSON line each."""
    first = directory / "whole"
    first.mkdir(parents=True)
    _, names = child(first / "run.h5", at=None, cut=0.0)
    for before in (False, True):
        for number, cut in cuts(names):
            place = directory / ("before" if before else "new") / f"{number}-{cut:g}"
            place.mkdir(parents=True)
            if before:
                shutil.copy(first / "run.h5", place / "run.h5")
            flags, _ = child(place / "run.h5", at=number, cut=cut)
            line = {"place": str(place), "before": before, "flushes": flags.count("f"), "ended": "e" in flags}
            print(json.dumps(line | {"operation": names[number], "cut": cut}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
