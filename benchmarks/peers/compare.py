"""qdpem beside its peers on one chain: wall time and events per delivered pair, as JSON lines and a table.

    make bench-peers BENCH="--nodes 3 5 --memories 1"
    python benchmarks/peers/compare.py [--nodes 3 5 9 17] [--memories 1 4] [--programs qdpem simqn ...]
                                       [--rounds 5] [--wall 3] [--peers-python .venv-peers/bin/python]

Every run is a process of its own, one at a time. In each round each case is run by all programs in turn,
so that other work of the machine affects all alike. Figures are medians over the rounds, ratios of medians
within this one run. A short trial sets the simulated time of a case, so that it takes about `--wall`
seconds of wall time. A program that fails is reported with the last line of its errors, and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

from figures import OURS, Row, failure, judged, summaries, table

HERE = Path(__file__).resolve().parent
TRIAL_S = {OURS: 1.0, "probe": 2.0, "simqn": 0.3, "sequence": 0.05}
"""Simulated seconds of the trial, by program."""
LIMIT_S = 600.0
"""A run that takes longer has failed."""
_MAX_S = 100.0


def run_once(program: str, python: str, *, nodes: int, memories: int, seed: int, simulated_s: float) -> Row:
    """Run one program on one case, in a process of its own.

    Args:
        program: its name.
        python: the interpreter that has the program.
        nodes: nodes of the chain.
        memories: qubits at either end of every hop.
        seed: the seed of the run.
        simulated_s: simulated seconds that are measured.
    """
    case = {"nodes": nodes, "memories": memories, "seed": seed}
    options = [f"--{name}={value}" for name, value in case.items()]
    command = [python, str(HERE / f"run_{program}.py"), *options, f"--simulated-s={simulated_s}"]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | one_thread, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return failure(program, **case, error=f"still running after {LIMIT_S:g} s")
    except OSError as error:
        return failure(program, **case, error=f"{python} cannot be run: {error.strerror}")
    if done.returncode == 0:
        return judged(json.loads(done.stdout.splitlines()[-1]))
    words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return failure(program, **case, error=words[-1])


def measured_s(trial: Row, *, wall_s: float) -> float:
    """Simulated seconds, to two digits, in which the program should take about `wall_s` of wall time."""
    wanted = trial["simulated_s"] * wall_s / max(trial["wall_s"], 1e-3)
    return float(f"{min(wanted, _MAX_S):.2g}")


class Comparison:
    """Trials first, then the rounds; every run is printed as it comes."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        self._cases = list(product(asked.nodes, asked.memories))
        self._began_s = time.monotonic()
        self.rows: list[Row] = []

    def run(self) -> None:
        """All trials and rounds. A program whose trial fails on a case is reported and left out of it."""
        lengths: dict[tuple[int, int, str], float] = {}
        for (nodes, memories), program in product(self._cases, self._asked.programs):
            row = self._once("trial", program, nodes, memories, seed=0, simulated_s=TRIAL_S[program])
            if "error" in row:
                self._keep(row)
            else:
                lengths[nodes, memories, program] = measured_s(row, wall_s=self._asked.wall)
        for turn in range(1, self._asked.rounds + 1):
            for (nodes, memories, program), simulated_s in lengths.items():
                stage = f"round {turn} of {self._asked.rounds}"
                self._keep(self._once(stage, program, nodes, memories, seed=turn, simulated_s=simulated_s))

    def _once(
        self, stage: str, program: str, nodes: int, memories: int, *, seed: int, simulated_s: float
    ) -> Row:
        python = sys.executable if program == OURS else self._asked.peers_python
        passed_s = time.monotonic() - self._began_s
        about = f"{nodes} nodes, {memories} memories: {program}, {simulated_s:g} s"
        print(f"[{passed_s:5.0f} s] {stage}, {about}", file=sys.stderr, flush=True)
        return run_once(program, python, nodes=nodes, memories=memories, seed=seed, simulated_s=simulated_s)

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        print(json.dumps(row), flush=True)


def main() -> None:
    """Compare, and print the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", nargs="+", type=int, default=[3, 5, 9, 17])
    parser.add_argument("--memories", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--programs", nargs="+", choices=list(TRIAL_S), default=list(TRIAL_S))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wall", type=float, default=3.0)
    parser.add_argument("--peers-python", default=".venv-peers/bin/python")
    comparison = Comparison(parser.parse_args())
    comparison.run()
    found = summaries(comparison.rows)
    for one in found:
        print(json.dumps(one))
    print(table(found))
    versions = {row["version"]: None for row in comparison.rows if "version" in row}
    print(f"versions: {', '.join(versions)}")


if __name__ == "__main__":
    main()
