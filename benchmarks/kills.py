"""`kill -9` at random moments of `qdpem run`, `study` and `train`, as JSON lines: what was lost.

    python benchmarks/kills.py [--kills 500] [--seed 1] [--of run study train] [--verbose]

Each command runs small and is killed after a random share of the time that it takes undisturbed. It flushes
its record after every simulated second. What must not be: a record that cannot be opened ("unreadable"), a
flushed row that is not in it ("lost"), a worker that is alive a second later ("workers"), and the same
command ending with an error or with other values than undisturbed ("resumed"). Exits 1 if one of them was.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
import numpy as np

from qdpem.cli.app import app
from qdpem.errors import RecordError
from qdpem.records import writer
from qdpem.records.compare import differing_data_sets
from qdpem.records.reader import open_record, record_exists

FAULTS = ("unreadable", "lost", "workers", "resumed")
SCENARIO = """
name = "line"
[topology]
kind = "line"
parameters = { nodes = 4, hop_km = 20.0 }
[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 30.0
[nodes.hardware]
memory = { kind = "relaxing", relaxation_s = 1.5, dephasing_s = 0.9 }
[links.hardware]
fresh_fidelity = 0.97
[demand]
rate_hz = 8.0
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.6
patience_s = 1.0
[forecasting]
history_s = 20
[window]
warm_up_s = 1
measured_s = 12
[training]
rounds = 3
episodes_per_round = 2
episode_s = 3.0
[study]
seeds = [1000, 1001]
arms = [{ name = "local-minhop" }, { name = "central-fcfs" }]
reference = "local-minhop"
bounds = "none"
workers = 2
"""
_SAID = "said.txt"
_IMPORTED = ("qdpem.study.run", "qdpem.study.report.terminal", "qdpem.simulation.run", "physics.models.pauli")
COMMANDS: dict[str, list[str]] = {
    "run": ["run", "line.toml", "--out", "out/run.h5"],
    "study": ["study", "line.toml", "--out", "out"],
    "train": ["train", "line.toml", "--out", "out", "--workers", "2"],
}


@dataclass(frozen=True, kw_only=True)
class Whole:
    """An undisturbed command: its directory, and the seconds that it took."""

    directory: Path
    wall_s: float


@dataclass(kw_only=True)
class Killed:
    """A killed command: the faults found, the moment of the kill, and what was there."""

    faults: list[str] = field(default_factory=list)
    rows_flushed: int = 0
    rows_read: int = 0
    said: str = ""


def start(name: str, directory: Path) -> int:
    """The id of a process that runs the command in `directory`.

    It is a fork of this one, which has imported all that takes time: most kills would fall into that.
    """
    directory.mkdir(exist_ok=True)
    (directory / "line.toml").write_text(SCENARIO, encoding="utf-8")
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.setsid()
            os.chdir(directory)
            said = os.open(_SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(said, stream)
            _flush_and_tell()
            app(COMMANDS[name], standalone_mode=False)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return process


def _flush_and_tell() -> None:
    """Let a run flush after every simulated second, and tell how many rows are flushed once they are."""
    flush = writer.RecordWriter.flush

    def told(self: writer.RecordWriter) -> None:
        flush(self)
        os.write(2, f"flushed {self._safe_rows}\n".encode())

    writer.FLUSH_EVERY_S = 0.0
    writer.RecordWriter.flush = told  # type: ignore[method-assign]


def whole(name: str, directory: Path) -> Whole:
    """The command undisturbed, the second of two times, when the caches are warm."""
    for place in (directory / "warm", directory / "whole"):
        began = time.monotonic()
        _, status = os.waitpid(start(name, place), 0)
        if status:
            raise SystemExit(f"the undisturbed command failed: {(place / _SAID).read_text()}")
    return Whole(directory=directory / "whole", wall_s=time.monotonic() - began)


def kill(name: str, directory: Path, *, after_s: float, reference: Whole) -> Killed:
    """Kill one command and look at what it has left."""
    found = Killed()
    process = start(name, directory)
    time.sleep(after_s)
    workers = _descendants(process)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    time.sleep(1.0)
    if left := [worker for worker in workers if _alive(worker)]:
        found.faults.append("workers")
        for worker in left:
            os.kill(worker, signal.SIGKILL)
    if name == "run":
        _check_record(directory / "out" / "run.h5", (directory / _SAID).read_text(), found, reference)
    if name == "study":
        for path in {one.with_name("1000.h5") for one in directory.glob("out/*/*.h5*")}:
            _open(path, found)
    _, status = os.waitpid(start(name, directory), 0)
    if status or not _same(name, directory, reference.directory):
        found.faults.append("resumed")
    return found


def _check_record(path: Path, errors: str, found: Killed, reference: Whole) -> None:
    flushed = [int(line.split()[1]) for line in errors.splitlines() if line.startswith("flushed")]
    found.rows_flushed = max(flushed, default=0)
    if not record_exists(path):
        found.faults += ["lost"] if found.rows_flushed else []
        return
    tables = _open(path, found)
    if tables is None:
        return
    expected = open_record(reference.directory / "out" / "run.h5").tables
    for name, columns in tables.items():
        for column, values in columns.items():
            # What there is must be the first rows of the undisturbed run, bit for bit.
            if not expected[name][column].tobytes().startswith(values.tobytes()):
                found.faults.append("lost")
                return
        found.rows_read += len(next(iter(columns.values())))
    if found.rows_read < found.rows_flushed:
        found.faults.append("lost")


def _open(path: Path, found: Killed) -> dict[str, dict[str, np.ndarray]] | None:
    if not record_exists(path):
        return None
    try:
        record = open_record(path)
        return {table: dict(columns) for table, columns in record.tables.items()}
    except RecordError as error:
        found.said = str(error)
        # Killed between making its journal and the journal's first byte, a run has left nothing to read.
        if found.rows_flushed or record_exists(path):
            found.faults.append("unreadable")
        return None


def _same(name: str, directory: Path, reference: Path) -> bool:
    """Whether two commands have left the same results."""
    if name == "train":
        return all(
            (directory / "out" / file).read_bytes() == (reference / "out" / file).read_bytes()
            for file in ("policy.npz", "curve.csv")
        )
    records = [path.relative_to(reference) for path in sorted(reference.glob("out/**/*.h5"))]
    return bool(records) and all(
        (directory / path).exists() and not differing_data_sets(directory / path, reference / path)
        for path in records
    )


def _descendants(parent: int) -> list[int]:
    """All processes below `parent`."""
    pairs = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [line.split(None, 2) for line in pairs]
    below, size = {parent}, 0
    while len(below) > size:
        size = len(below)
        below |= {int(pid) for pid, above, *_ in rows if int(above) in below}
    return [int(pid) for pid, _, *_ in rows if int(pid) in below - {parent}]


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def main() -> None:
    """Kill, and print one JSON line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    for module in _IMPORTED:
        importlib.import_module(module)
    draw, wrong = random.Random(options.seed), 0
    tell: Callable[[str], None] = print if options.verbose else lambda _line: None
    for place, name in enumerate(options.of):
        kills = len(range(place, options.kills, len(options.of)))
        with tempfile.TemporaryDirectory() as folder:
            reference = whole(name, Path(folder))
            counts: Counter[str] = Counter()
            for number in range(kills):
                after_s = draw.uniform(0.05, 1.0) * reference.wall_s
                found = kill(name, Path(folder) / str(number), after_s=after_s, reference=reference)
                counts.update(found.faults)
                counts["with_rows"] += found.rows_flushed > 0
                tell(json.dumps({"of": name, "kill": number, "after_s": round(after_s, 3), **vars(found)}))
        line = {"of": name, "kills": kills, "undisturbed_s": round(reference.wall_s, 2)}
        line |= {"with_flushed_rows": counts["with_rows"]} if name == "run" else {}
        print(json.dumps(line | {fault: counts[fault] for fault in FAULTS}), flush=True)
        wrong += sum(counts[fault] for fault in FAULTS)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
