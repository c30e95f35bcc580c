"""Single flipped bits of a record: which of them a reader notices, as JSON lines.

    python benchmarks/bitflips.py [--flips 1000] [--seed 1] [--journal] [--unverified]

A small run is recorded. Each flip changes one bit at a random place of a copy, which then is opened and read
whole in a process of its own. The outcomes: "detected" (a RecordError), "harmless" (the same values),
"silent" (other values and no error), "traceback" (another exception) and "hang" (longer than the limit).
Only the first two are right. `--journal` flips bits of the journal of a killed run; what it holds up to the
flip is right there. `--unverified` reads without checking the seal, which shows what HDF5 alone notices.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
from qdpem import load_scenario
from qdpem.errors import RecordError
from qdpem.metrics.metrics import measure
from qdpem.records.journal.journal import journal_path
from qdpem.records.reader import Record, open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate

OUTCOMES = ("detected", "harmless", "silent", "traceback", "hang")
_SET = [
    "window.warm_up_s=0",
    "window.measured_s=2",
    "topology.kind=line",
    "topology.parameters={nodes=4,hop_km=20}",
    "demand.weights=uniform",
]


def record_small_run(path: Path, *, journal: bool) -> None:
    """The record of two simulated seconds of the quickstart on a line, or only its journal."""
    scenario = load_scenario("scenarios/quickstart.toml", _SET)
    arm = Arm(name="dpem")
    with RecordWriter(path, scenario=scenario, arm=arm, seed=1) as writer:
        writer.embed("bytes", bytes(range(256)))

        def flush(_time_s: float) -> None:
            writer.flush()

        simulate(scenario, arm, seed=1, recorder=writer, on_progress=flush)
        metrics = measure(writer.tables(), start_s=0.0, end_s=scenario.window.end_s)
        if journal:
            kept = journal_path(path).read_bytes()
        writer.close_complete(metrics, {"wall_s": 1.5})
    if journal:
        path.unlink()
        journal_path(path).write_bytes(kept)


def content(record: Record) -> dict[str, object]:
    """Every value of a record, by its name."""
    values: dict[str, object] = {
        f"{group}/{name}": _values(array)
        for group, columns in (*record.tables.items(), ("outputs", record.policy_outputs))
        for name, array in columns.items()
    }
    values |= {f"files/{name}": record.file(name) for name in record.file_names}
    values |= {f"metrics/{name}": repr(value) for name, value in record.metrics.items()}
    values |= {f"provenance/{name}": repr(value) for name, value in record.provenance.items()}
    facts = (record.scenario, record.scenario_hash, record.arm, record.seed, record.complete)
    return values | {"facts": repr(facts)}


def _values(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    """Type, shape and bytes of an array; a text has its own length, not that of its column."""
    if array.dtype.kind == "U":
        return "text", array.shape, b"".join(text.encode() + b"\0" for text in array.tolist())
    return array.dtype.str, array.shape, array.tobytes()


def outcome(path: Path, expected: dict[str, object], *, verify: bool, prefix: bool) -> str:
    """Read a record whole and compare it; with `prefix` its last rows may be missing if it warns of that."""
    try:
        record = open_record(path, verify=verify)
        found = content(record)
    except RecordError:
        return "detected"
    except Exception:
        return "traceback"
    if found == expected:
        return "harmless"
    return "detected" if prefix and record.warning and _is_prefix(found, expected) else "silent"


def _is_prefix(found: dict[str, object], expected: dict[str, object]) -> bool:
    """Whether all arrays begin as they should; metrics, written last, may be missing."""
    for name, value in found.items():
        if isinstance(value, tuple):
            whole = expected[name]
            assert isinstance(whole, tuple)
            if value[0] != whole[0] or not whole[2].startswith(value[2]):
                return False
    return True


def _work(path: str, verify: bool, prefix: bool, expected: dict[str, object], answer: object) -> None:
    answer.put(outcome(Path(path), expected, verify=verify, prefix=prefix))  # type: ignore[attr-defined]


def write_flipped(data: bytes, bit: int, folder: Path, *, journal: bool) -> Path:
    """The path of a record, or of one that has a journal only, with the bit flipped; alone in `folder`."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    path, changed = folder / "run.h5", bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    (journal_path(path) if journal else path).write_bytes(changed)
    return path


def flip(
    data: bytes, bit: int, folder: Path, expected: dict[str, object], *, options: argparse.Namespace
) -> str:
    """The outcome of one flipped bit, found in a process of its own, which may crash or hang."""
    path = write_flipped(data, bit, folder / "flipped", journal=options.journal)
    # A fork inherits what is imported, which takes most of the time of a process.
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    worker = context.Process(
        target=_work, args=(str(path), not options.unverified, options.journal, expected, answer)
    )
    worker.start()
    worker.join(options.limit_s)
    if worker.is_alive():
        worker.kill()
        worker.join()
        return "hang"
    return str(answer.get()) if worker.exitcode == 0 else "traceback"


def main() -> None:
    """Flip and print one JSON line for each wrong outcome, and one with all counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=20.0)
    parser.add_argument("--journal", action="store_true")
    parser.add_argument("--unverified", action="store_true")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record_small_run(folder / "run.h5", journal=options.journal)
        data = (journal_path(folder / "run.h5") if options.journal else folder / "run.h5").read_bytes()
        expected = content(open_record(folder / "run.h5"))
        for bit in np.random.default_rng(options.seed).integers(0, 8 * len(data), options.flips).tolist():
            found = flip(data, bit, folder, expected, options=options)
            counts[found] += 1
            if found not in OUTCOMES[:2]:
                print(json.dumps({"byte": bit // 8, "bit": bit % 8, "outcome": found}), flush=True)
    line = {"flips": options.flips, "seed": options.seed, "bytes": len(data), "journal": options.journal}
    line |= {"verified": not options.unverified} | {one: counts[one] for one in OUTCOMES}
    print(json.dumps(line))
    sys.exit(any(counts[one] for one in OUTCOMES[2:]))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
