"""A long run at light load, as JSON lines: one per simulated hour, and one on the growth of memory.

    python benchmarks/soak.py [--hours 24] [--arm NAME] [--set KEY=VALUE] [--out output/soak.h5]

Germany50 as in the quickstart, one request a second, epochs of one second, a streamed record of requests
only, and an arm that keeps stock. Every simulated hour checks conservation and reads resident memory, now and
at its peak within the hour (since the start where the system cannot reset the peak). Ctrl-C ends the soak
after the hours it has. Exit code 1: memory at the end of the last hour was more than a tenth above that at
the end of the first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from growth import census

# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
from qdpem import load_scenario
from qdpem.network.graph import Network
from qdpem.network.herald_timing import FreshPairs
from qdpem.network.path import Paths
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policies.routing.planner import Planner
from qdpem.records.writer import RecordWriter
from qdpem.rng import UniformStream
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import find_arm, resolve_arm
from qdpem.simulation.simulation import Simulation

HOUR_S = 3600.0
ALLOWED_RATIO = 1.1
LIGHT = (
    "demand.rate_hz=1.0",
    "control.decision_epoch_s=1.0",
    "record.level=requests",
    "window.warm_up_s=0.0",
)
KEEPS_STOCK = Arm(
    name="soak",
    policy="local-stock",
    parameters={"stocking_threshold": 0.0, "tracked_pairs": 2, "min_reorder_interval_s": 60.0},
)
"""With so few requests the defaults of the policy would keep no stock."""
FILLS_UP = (Network, Routes, Estimates, Planner, FreshPairs, UniformStream, Paths)
"""Caches with one entry per link or pair of nodes, and blocks of 256 draws: they fill up and then stay."""
SHOWN = ("Request", "Pair", "Claim", "Reservation", "Timeout")

_PROGRESS_S = 5.0
_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")


def light_load(scenario: str, *, seconds: float, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario file with one request a second for `seconds`, and with further overrides."""
    return load_scenario(scenario, [*LIGHT, f"window.measured_s={seconds}", *overrides])


def held_by(simulation: Simulation) -> dict[str, int]:
    """The census of the simulation now, without `FILLS_UP`, its record and its watch."""
    return dict(census(simulation, lasting=(*FILLS_UP, RecordWriter, Watch)))


def drive(simulation: Simulation) -> None:
    """Run to the end."""
    while (observations := simulation.advance()) is not None:
        simulation.apply(simulation.policy.act(observations))


class Watch:
    """Called every simulated second; every `every_s`, it checks, counts, measures and passes a line to `say`.

    `counts` holds the census of each time, by class and attribute.
    """

    def __init__(
        self, *, hours: float, say: Callable[[dict[str, Any]], None], every_s: float = HOUR_S
    ) -> None:
        self._hours = hours
        self._say = say
        self._every_s = every_s
        self._began_s = self._told_s = time.monotonic()
        self.simulation: Simulation | None = None
        self.lines: list[dict[str, Any]] = []
        self.counts: list[dict[str, int]] = []

    def tick(self, time_s: float) -> None:
        """One more simulated second has passed."""
        if time.monotonic() - self._told_s >= _PROGRESS_S:
            self._told_s = time.monotonic()
            self._progress(time_s / HOUR_S)
        if round(time_s) % round(self._every_s) == 0:
            self._look(time_s / HOUR_S)

    def _progress(self, hours: float) -> None:
        wall_s = time.monotonic() - self._began_s
        left_min = wall_s * (self._hours / hours - 1.0) / 60.0
        print(f"{hours:.2f} of {self._hours:g} h, about {left_min:.1f} min left", file=sys.stderr, flush=True)

    def _look(self, hours: float) -> None:
        simulation = self.simulation
        assert simulation is not None
        simulation.check()
        now_mb, peak_mb = memory_mb()
        wall_s = time.monotonic() - self._began_s
        held = held_by(simulation)
        line = {
            "hour": round(hours, 4),
            "wall_s": round(wall_s, 1),
            "events": simulation.events,
            "events_per_s": round(simulation.events / wall_s),
            "resident_mb": now_mb,
            "peak_mb": peak_mb,
            "held": {name: held.get(name, 0) for name in SHOWN} | {"all": sum(held.values())},
        }
        self.counts.append(held)
        self.lines.append(line)
        self._say(line)


def memory_mb() -> tuple[float | None, float]:
    """Resident megabytes now (None where the system does not report them), and the peak since the last call.

    The peak is that of the whole process where the system cannot reset it.
    """
    if not _STATUS.exists():
        # macOS counts bytes, other systems kibibytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return None, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    now_mb, peak_mb = (round(int(lines[key].split()[0]) * 1024 / 1e6, 1) for key in ("VmRSS", "VmHWM"))
    with contextlib.suppress(OSError):
        # 5 resets the peak (proc(5)). Not every system allows it.
        _RESET_PEAK.write_text("5")
    return now_mb, peak_mb


def verdict(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """First hour against last: resident and peak memory, their ratios, and whether memory grew."""
    first, last = lines[0], lines[-1]
    key = "peak_mb" if first["resident_mb"] is None else "resident_mb"
    ratio = last[key] / first[key]
    return {
        "soak": "done",
        "hours": last["hour"],
        "first_hour": {name: first[name] for name in ("resident_mb", "peak_mb")},
        "last_hour": {name: last[name] for name in ("resident_mb", "peak_mb")},
        "ratio": round(ratio, 4),
        "peak_ratio": round(last["peak_mb"] / first["peak_mb"], 4),
        "grew": ratio > ALLOWED_RATIO,
    }


def soak(scenario: Scenario, arm: Arm, *, seed: int, path: Path, watch: Watch) -> None:
    """Run a resolved arm into a streamed record under `watch`.

    Args:
        scenario: the scenario of the run.
        arm: a resolved arm.
        seed: the seed of the run.
        path: the file of the record.
        watch: receives the simulation and its progress.
    """
    with RecordWriter(path, scenario=scenario, arm=arm, seed=seed) as recorder:
        watch.simulation = Simulation(scenario, arm, seed=seed, recorder=recorder, on_progress=watch.tick)
        drive(watch.simulation)
        recorder.close_complete({}, {})


def main() -> int:
    """Soak, and print whether memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="scenarios/quickstart.toml")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--arm", help="an arm of the scenario or a policy; one that keeps stock otherwise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path, default=Path("output/soak.h5"))
    asked = parser.parse_args()
    if asked.hours < 1:
        parser.error(
            f"--hours {asked.hours}: a soak lasts at least 1 hour; shorter ones have no first and last"
        )
    # One second more than whole hours, so that the last hour is reported before the run ends.
    seconds = asked.hours * HOUR_S + 1.0
    scenario = light_load(asked.scenario, seconds=seconds, overrides=asked.overrides)
    arm = (find_arm(scenario, asked.arm) if asked.arm else resolve_arm(KEEPS_STOCK)).arm
    watch = Watch(hours=asked.hours, say=lambda line: print(json.dumps(line), flush=True))
    try:
        soak(scenario, arm, seed=asked.seed, path=asked.out, watch=watch)
    except KeyboardInterrupt:
        if not watch.lines:
            raise
    found = verdict(watch.lines)
    print(json.dumps(found))
    return int(found["grew"])


if __name__ == "__main__":
    sys.exit(main())
