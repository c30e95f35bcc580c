"""Wrong and extreme scenarios: what `qdpem run` makes of each, as JSON lines, with a count at the end.

    python benchmarks/fuzz.py [--count 10000] [--seed 0] [--workers 2] [--cap 60] [--memory-gib 6]

Every key of every shipped scenario, defaults included, is changed in turn: other types, signs, zeros, huge
and tiny numbers, other words, missing and unknown keys. First comes every change of every key in one of the
scenarios that have it, then the same in the others, then pairs of changes. Networks have a dozen nodes and
windows three simulated seconds, unless these are what changes. Each command runs in a process of its own
under limits of memory and of processor time, which, unlike wall time, a busy machine does not change.
Outcomes:

- "ran": exit code 0.
- "sentence": exit code 2 and no traceback.
- "traceback": a traceback, or any other exit code: a bug.
- "memory": memory ran out in spite of the forecast of sizes: a bug.
- "silent": cut off at the time limit after 45 seconds at work without a printed line: a bug.
- "unfinished": cut off at the time limit while reporting progress.

Exit code 1 if there was a bug.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
from qdpem.cli.app import app
from qdpem.scenario.load import load_scenario
from qdpem.scenario.overrides import toml_value, without_none

BUGS = ("traceback", "memory", "silent")
SILENCE_S = 45.0
"""Processor time; progress is reported every 30 s of wall time."""
SMALLER: dict[str, dict[str, Any]] = {
    "geometric": {"nodes": 12},
    "uniform": {"nodes": 12},
    "topohub": {"key": "sndlib/abilene"},
}
SHORT = {"warm_up_s": 1.0, "measured_s": 2.0}
MISSING, UNKNOWN = "(missing)", "(unknown key)"
ODD_NUMBERS = (0, 1, -1, 0.5, 1e-9, 1e-300, 1e9, 1e300, 2**31, 2**63, 10**30, float("inf"), float("nan"))
ODD_WORDS = ("", "$x$ [/b] ü", "nul\x00", "0", "x" * 300, "../up", "none", "uniform", "central", "pauli")
ODD_VALUES = (True, [], {}, [1, "a"], {"low": 2, "high": 1}, {"kind": "source"})

Key = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A shipped scenario with changed keys, and the arm that runs on it."""

    scenario: str
    arm: str
    changes: dict[str, Any]
    values: dict[str, Any]


def shipped(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """All values of every shipped scenario, defaults included, with a small network and a short window."""
    files = sorted((root / "scenarios").glob("**/*.toml"))
    bases = {}
    for file in files:
        values = without_none(json.loads(json.dumps(asdict(load_scenario(file)))))
        values["window"] = dict(SHORT)
        values["topology"]["parameters"] |= SMALLER.get(values["topology"]["kind"], {})
        bases[str(file.relative_to(root))] = values
    return bases


def mutants(bases: dict[str, dict[str, Any]], *, seed: int) -> Iterator[Mutant]:
    """Every change of every key once, then in all other scenarios, then pairs of changes without end."""
    draw = random.Random(seed)
    singles = [
        (name, key, change)
        for name, base in bases.items()
        for key in _keys(base)
        for change in _changes(_at(base, key))
    ]
    draw.shuffle(singles)
    seen: Counter[str] = Counter()
    turns = []
    for _, key, change in singles:
        # Items of a list are alike.
        same = f"{['*' if isinstance(part, int) else part for part in key]} {change!r}"
        turns.append(seen[same])
        seen[same] += 1
    order = sorted(range(len(singles)), key=turns.__getitem__)
    for name, key, change in (singles[place] for place in order):
        yield _mutant(name, bases[name], [(key, change)])
    by_name = {name: [single for single in singles if single[0] == name] for name in bases}
    while singles:
        name = draw.choice(sorted(by_name))
        yield _mutant(name, bases[name], [single[1:] for single in draw.sample(by_name[name], 2)])


def _keys(value: Any, above: Key = ()) -> Iterator[Key]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*above, key)
        yield from _keys(item, (*above, key))


def _at(value: Any, key: Key) -> Any:
    for part in key:
        value = value[part]
    return value


def _changes(value: Any) -> list[Any]:
    """Other values for a key: of its own type first, then of other types."""
    own: list[Any] = []
    if isinstance(value, bool):
        own = [not value]
    elif isinstance(value, int | float):
        own = [-value, 10 * value, 0.1 * value, 1000 * value, value + 1]
    elif isinstance(value, list):
        own = [value * 2, value[::-1], value[:1], value * 50]
    return [MISSING, UNKNOWN, *own, *ODD_NUMBERS, *ODD_WORDS, *ODD_VALUES]


def _mutant(name: str, base: dict[str, Any], changes: Sequence[tuple[Key, Any]]) -> Mutant:
    values = copy.deepcopy(base)
    arms = [arm["name"] for arm in base.get("study", {}).get("arms", [])]
    arm = arms[0] if arms else "local-minhop"
    for key, change in changes:
        if key[:2] == ("study", "arms") and len(key) > 2:
            arm = arms[int(key[2])]
        # A change before may have taken the key away.
        with contextlib.suppress(LookupError, TypeError, AttributeError):
            _change(values, key, change)
    return Mutant(
        scenario=name,
        arm=arm,
        changes={".".join(map(str, key)): change for key, change in changes},
        values=values,
    )


def _change(values: dict[str, Any], key: Key, change: Any) -> None:
    parent = _at(values, key[:-1])
    if change == MISSING:
        del parent[key[-1]]
    elif change == UNKNOWN:
        parent[f"{key[-1]}_" if isinstance(parent, dict) else key[-1]] = parent[key[-1]]
    else:
        parent[key[-1]] = change


def as_toml(values: dict[str, Any]) -> str:
    """The values as a TOML file, one table a line."""
    return "".join(f"{json.dumps(key)} = {toml_value(value)}\n" for key, value in values.items())


@dataclass
class _Child:
    """A process at work; `used_s` and `grown_s`: its processor time now and when it printed last."""

    mutant: Mutant
    began_s: float
    directory: tempfile.TemporaryDirectory[str]
    used_s: float = 0.0
    grown_s: float = 0.0
    size: int = 0

    @property
    def output(self) -> Path:
        return Path(self.directory.name) / "output"


def outcomes(
    chosen: Iterator[Mutant], *, workers: int, cap_s: float, memory_bytes: int
) -> Iterator[dict[str, Any]]:
    """The outcome of every mutant as it ends, `workers` at a time."""
    children: dict[int, _Child] = {}
    while True:
        while len(children) < workers and (mutant := next(chosen, None)) is not None:
            child = _Child(mutant, time.monotonic(), tempfile.TemporaryDirectory(prefix="qdpem-fuzz-"))
            children[_start(child, memory_bytes=memory_bytes)] = child
        if not children:
            return
        time.sleep(0.005)
        for process, child in list(children.items()):
            status = _ended(process, child, cap_s=cap_s)
            if status is not None:
                del children[process]
                yield _outcome(child, status)
                child.directory.cleanup()


def _start(child: _Child, *, memory_bytes: int) -> int:
    """Fork a process that runs the command; the imports of this one are its own already."""
    directory = Path(child.directory.name)
    file = directory / "mutant.toml"
    # A lone surrogate or the like is no text of a file.
    file.write_text(as_toml(child.mutant.values), encoding="utf-8", errors="replace")
    process = os.fork()
    if process:
        return process
    os.setpgid(0, 0)
    output = os.open(child.output, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(directory)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + memory_bytes, held + memory_bytes))
    code = 70
    try:
        app(["run", str(file), "--arm", child.mutant.arm, "--out", "out.h5"])
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 70
    except BaseException:  # whatever it is, it is what the user would see
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _ended(process: int, child: _Child, *, cap_s: float) -> int | None:
    """The exit code of a process that has ended, None before; one past the time limit is killed."""
    # The fields after the name, of which 12 and 13 are the ticks of the process in user and system mode.
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    child.used_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    size = child.output.stat().st_size if child.output.exists() else 0
    if size > child.size:
        child.size, child.grown_s = size, child.used_s
    # A process that waits for nothing for minutes is silent as well.
    idle = time.monotonic() - child.began_s > 20.0 * cap_s
    if child.used_s > cap_s or idle:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return -signal.SIGALRM
    ended, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _outcome(child: _Child, status: int) -> dict[str, Any]:
    text = child.output.read_text(encoding="utf-8", errors="replace") if child.output.exists() else ""
    if status == -signal.SIGALRM:
        outcome = "silent" if child.used_s - child.grown_s > SILENCE_S else "unfinished"
    elif "MemoryError" in text or "ArrayMemoryError" in text or status == -signal.SIGKILL:
        outcome = "memory"
    elif "Traceback" in text or status not in (0, 2):
        outcome = "traceback"
    else:
        outcome = "ran" if status == 0 else "sentence"
    lines = [line for line in text.splitlines() if line.strip()]
    shown = lines[-12:] if outcome in BUGS else lines[:3] if outcome == "sentence" else lines[-1:]
    return {
        "outcome": outcome,
        "scenario": child.mutant.scenario,
        "arm": child.mutant.arm,
        "changes": child.mutant.changes,
        "exit": status,
        "used_s": child.used_s,
        "text": "\n".join(line[:300] for line in shown),
    }


def warm_up() -> None:
    """Run once with one thread what every command runs, so that forks are safe and quick."""
    import torch

    torch.set_num_threads(1)
    base = shipped()["scenarios/paper.toml"]
    with (
        tempfile.TemporaryDirectory(prefix="qdpem-fuzz-") as directory,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        file = Path(directory) / "base.toml"
        file.write_text(as_toml(base), encoding="utf-8")
        for arm in ("central-fcfs", "dpem"):
            app(
                ["run", str(file), "--arm", arm, "--out", str(file.with_suffix(".h5"))], standalone_mode=False
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the outcome of every mutant and, last, the counts. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="leave out so many mutants at the beginning")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cap", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--memory-gib", type=float, default=6.0)
    parser.add_argument("--bugs-only", action="store_true", help="print bugs and the counts only")
    options = parser.parse_args(arguments)
    warm_up()
    chosen = islice(mutants(shipped(), seed=options.seed), options.skip, options.skip + options.count)
    counts: Counter[str] = Counter()
    with contextlib.suppress(KeyboardInterrupt):
        for outcome in outcomes(
            chosen,
            workers=options.workers,
            cap_s=options.cap,
            memory_bytes=int(options.memory_gib * 2**30),
        ):
            counts[outcome["outcome"]] += 1
            if outcome["outcome"] in BUGS or not options.bugs_only:
                print(json.dumps(outcome, default=str), flush=True)
    print(json.dumps({"mutants": counts.total(), **dict(sorted(counts.items()))}))
    return 1 if any(counts[bug] for bug in BUGS) else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
