"""User CPU of a run of one simulated second beside that of importing what it is made of, as one JSON line.

    python benchmarks/startup.py [SCENARIO] [--arm local-minhop] [--rounds 7]

Every round starts both programs once, each in a process of its own; figures are medians over the rounds, and
the ratio is of medians within this one run. A first round, which is not counted, lets Python write bytecode.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORTS = "import numpy, simpy, h5py, pydantic, typer, networkx"
COMMAND = "from qdpem.cli.app import main; main()"
ONE_SECOND = ("--set", "window.warm_up_s=0", "--set", "window.measured_s=1")


def user_cpu_s(arguments: list[str]) -> float:
    """User CPU seconds of a Python process with these arguments, and of the processes that it started."""
    # Users keep the bytecode of packages; where it is not kept, every start compiles all of qdpem.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = os.times().children_user
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return os.times().children_user - before


def measure(scenario: str, *, arm: str, rounds: int) -> dict[str, float | int | str]:
    """Medians over the rounds of the imports and of the run, and their ratio."""
    imports_s, run_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            out = Path(folder) / f"{turn}.h5"
            run = ["run", scenario, "--arm", arm, *ONE_SECOND, "--out", str(out)]
            seconds = user_cpu_s(["-c", IMPORTS]), user_cpu_s(["-c", COMMAND, *run])
            if turn:
                imports_s.append(seconds[0])
                run_s.append(seconds[1])
    imports, whole = statistics.median(imports_s), statistics.median(run_s)
    return {
        "scenario": scenario,
        "arm": arm,
        "rounds": rounds,
        "imports_user_s": round(imports, 3),
        "run_user_s": round(whole, 3),
        "ratio": round(whole / imports, 2),
    }


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="scenarios/quickstart.toml")
    parser.add_argument("--arm", default="local-minhop")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.scenario, arm=asked.arm, rounds=asked.rounds)))


if __name__ == "__main__":
    main()
