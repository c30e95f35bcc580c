"""The speed of the default physics against plain QuTiP, as JSON lines: microseconds, ratios, agreement.

    python benchmarks/physics.py [--rounds 15] [--calls 20]

Plain QuTiP is the straightforward program with `qutip.Qobj`: a register of four qubits. In a swap each qubit
has relaxation and dephasing by Kraus operators for its age; gates and projectors are built once, and one
outcome is computed. The forms take turns, round after round, on the same random full-rank states with a new
age at every call. Figures are medians over the rounds, per operation. `ratio` is the speed-up over plain
QuTiP, `at_least` the project's requirement, and `met` whether this run met it.

`ratio_lean` is the speed-up over lean QuTiP: noise on two-qubit pairs before they are joined, and only the
channels that the memories have. `agreement` is the largest absolute difference of density matrices between
the two; above 1e-12 the exit code is 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# This file has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
import argparse
import json
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import qutip

from physics import DepolarisingMemory, Memory, NodeHardware, PauliModel, RelaxingMemory
from physics.qubits import states
from physics.qubits.states import PauliTable

EXACT = 1e-12
PAIRS = 1000
"""Operations of a fast form in one round."""
REPEATS = 10
"""Passes of a fast form over them in a round, so that it is timed as in a run, with warm caches."""

RELAXING = RelaxingMemory(relaxation_s=1.0, dephasing_s=0.8)
DEPHASING = RelaxingMemory(relaxation_s=math.inf, dephasing_s=0.8)
DEPOLARISING = DepolarisingMemory(depolarising_s=1.0)
PERFECT = NodeHardware(memory=RELAXING)
NOISY = NodeHardware(memory=RELAXING, gate_fidelity=0.98, readout_fidelity=0.99)
MEAN_AGE_S = 0.1

# Plain QuTiP. Operators that do not change from call to call are built once.
UNIT, X, Y, Z = qutip.qeye(2), qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()
ZERO, ONE = (qutip.basis(2, bit).proj() for bit in (0, 1))
PAIR = [[2, 2], [2, 2]]
BELL_STATES = [qutip.Qobj(states.bell_state(number), dims=PAIR) for number in range(4)]
BELL_PROJECTORS = [qutip.tensor(UNIT, bell, UNIT) for bell in BELL_STATES]
CORRECTIONS = [qutip.tensor(UNIT, pauli) for pauli in (UNIT, Z, X, Z * X)]
EMPTY = qutip.tensor(UNIT, UNIT) / 4.0
FIRST_GATE = qutip.tensor(ZERO, UNIT, UNIT, UNIT) + qutip.tensor(ONE, UNIT, X, UNIT)
SECOND_GATE = qutip.tensor(UNIT, ZERO, UNIT, UNIT) + qutip.tensor(UNIT, ONE, UNIT, X)
TURNS = qutip.tensor([(-0.25j * math.pi * sign * X).expm() for sign in (1, -1, 1, -1)])
PERFECT_ROUND = SECOND_GATE * FIRST_GATE * TURNS
AGREE = qutip.tensor(UNIT, UNIT, ZERO, ZERO) + qutip.tensor(UNIT, UNIT, ONE, ONE)
DIFFER = qutip.tensor(UNIT, UNIT, ZERO, ONE) + qutip.tensor(UNIT, UNIT, ONE, ZERO)

Kraus = list[qutip.Qobj]


def plain_kraus(memory: Memory, age_s: float) -> list[Kraus]:
    """The channels of one qubit stored for `age_s`, each as its Kraus operators."""
    if isinstance(memory, DepolarisingMemory):
        lost = -math.expm1(-age_s / memory.depolarising_s)
        return [
            [math.sqrt(1.0 - 0.75 * lost) * UNIT, *(math.sqrt(lost) / 2.0 * pauli for pauli in (X, Y, Z))]
        ]
    channels = []
    if memory.relaxation_s < math.inf:
        decayed = -math.expm1(-age_s / memory.relaxation_s)
        stays = qutip.Qobj([[1.0, 0.0], [0.0, math.sqrt(1.0 - decayed)]])
        channels.append([stays, qutip.Qobj([[0.0, math.sqrt(decayed)], [0.0, 0.0]])])
    rate_hz = 1.0 / memory.dephasing_s - 0.5 / memory.relaxation_s
    flipped = -0.5 * math.expm1(-age_s * rate_hz)
    return [*channels, [math.sqrt(1.0 - flipped) * UNIT, math.sqrt(flipped) * Z]]


def plain_channels(memories: Sequence[Memory], ages_s: Sequence[float]) -> list[Kraus]:
    """The channels of all qubits of a register, each qubit with a memory and an age."""
    count = len(memories)
    return [
        [qutip.tensor([one if place == qubit else UNIT for place in range(count)]) for one in kraus]
        for qubit in range(count)
        for kraus in plain_kraus(memories[qubit], ages_s[qubit])
    ]


def plain_applied(channels: Iterable[Kraus], state: qutip.Qobj) -> qutip.Qobj:
    """A register's state after `channels`, one after the other."""
    for kraus in channels:
        state = sum(one * state * one.dag() for one in kraus)
    return state


def plain_swap(register: qutip.Qobj, outcome: int) -> qutip.Qobj:
    """The corrected outer pair after a perfect Bell measurement that gave `outcome`."""
    projector, correction = BELL_PROJECTORS[outcome], CORRECTIONS[outcome]
    branch = (projector * register * projector).ptrace([0, 3])
    return correction * (branch / branch.tr()) * correction.dag()


def plain_distillation(kept: qutip.Qobj, spent: qutip.Qobj) -> qutip.Qobj:
    """A perfect DEJMPS round's kept pair when both readings agree; qubits are A, B, A', B'."""
    state = PERFECT_ROUND * qutip.tensor(kept, spent) * PERFECT_ROUND.dag()
    branch = (AGREE * state * AGREE).ptrace([0, 1])
    return branch / branch.tr()


def plain_noisy_distillation(kept: qutip.Qobj, spent: qutip.Qobj) -> qutip.Qobj:
    """The same where each CNOT depolarises its qubits and each reading may be wrong, as at NOISY nodes."""
    gate_fidelity, right = NOISY.gate_fidelity, NOISY.readout_fidelity
    state = TURNS * qutip.tensor(kept, spent) * TURNS.dag()
    state = FIRST_GATE * state * FIRST_GATE.dag()
    emptied = qutip.tensor(state.ptrace([1, 3]), EMPTY).permute([2, 0, 3, 1])
    state = gate_fidelity * state + (1.0 - gate_fidelity) * emptied
    state = SECOND_GATE * state * SECOND_GATE.dag()
    emptied = qutip.tensor(state.ptrace([0, 2]), EMPTY).permute([0, 2, 1, 3])
    state = gate_fidelity * state + (1.0 - gate_fidelity) * emptied
    even = right**2 + (1.0 - right) ** 2
    branch = (even * (AGREE * state * AGREE) + (1.0 - even) * (DIFFER * state * DIFFER)).ptrace([0, 1])
    return branch / branch.tr()


@dataclass(frozen=True, kw_only=True)
class Work:
    """One round's inputs: PAIRS operations, of which QuTiP does the first few.

    An operation is two pairs, an age in seconds of each, and an outcome.
    """

    plain: list[tuple[Any, ...]]
    fast: list[tuple[Any, ...]]


def make_work(model: PauliModel, generator: np.random.Generator, calls: int) -> Work:
    """Random full-rank states, exponential ages, outcomes."""
    matrices = [[states.random_state(generator) for _ in range(calls)] for _ in range(2)]
    pairs = [[qutip.Qobj(matrix, dims=PAIR) for matrix in side] for side in matrices]
    tables = [[model.from_density_matrix(matrix) for matrix in side] for side in matrices]
    tables = [[side[number % calls] for number in range(PAIRS)] for side in tables]
    ages_s, outcomes = generator.exponential(MEAN_AGE_S, (2, PAIRS)), generator.integers(4, size=PAIRS)
    rest = [*ages_s.tolist(), outcomes.tolist()]
    return Work(
        plain=list(zip(*pairs, *rest, strict=False)),
        fast=list(zip(*tables, *rest, strict=True)),
    )


Form = Callable[[Work], Any]
"""Gives the states of all its operations, one after the other."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line: plain QuTiP, the leanest QuTiP for this case, the fast form, and the ratio aimed at."""

    name: str
    at_least: float
    plain: Form
    lean: Form
    fast: Form


def plain_swaps(work: Work) -> Iterator[qutip.Qobj]:
    """Relaxation and dephasing on a register of four qubits, then the swap."""
    for left, right, left_s, right_s, outcome in work.plain:
        channels = plain_channels([RELAXING] * 4, [left_s, left_s, right_s, right_s])
        yield plain_swap(plain_applied(channels, qutip.tensor(left, right)), outcome)


def lean_swaps(first: Memory, second: Memory) -> Form:
    """The channels of the memories on each pair of two qubits, then the swap."""

    def form(work: Work) -> Iterator[qutip.Qobj]:
        for left, right, left_s, right_s, outcome in work.plain:
            left = plain_applied(plain_channels([first, second], [left_s, left_s]), left)
            right = plain_applied(plain_channels([first, second], [right_s, right_s]), right)
            yield plain_swap(qutip.tensor(left, right), outcome)

    return form


def fast_swaps(model: PauliModel, first: Memory, second: Memory) -> Form:
    """Two calls of `age` and one of `swap`."""
    age, swap, node = model.age, model.swap, PERFECT

    def form(work: Work) -> Iterator[PauliTable]:
        for left, right, left_s, right_s, outcome in work.fast:
            aged = age(left, first, second, left_s)
            yield swap(aged, age(right, first, second, right_s), node, 0.0, outcome).state

    return form


def lean_rounds(distil: Callable[[qutip.Qobj, qutip.Qobj], qutip.Qobj]) -> Form:
    """DEJMPS rounds that succeed, in QuTiP."""
    return lambda work: (distil(kept, spent) for kept, spent, *_ in work.plain)


def fast_rounds(model: PauliModel, node: NodeHardware) -> Form:
    """DEJMPS rounds that succeed."""
    distil = model.distil

    def form(work: Work) -> Iterator[PauliTable]:
        for kept, spent, _, _, _ in work.fast:
            yield distil(kept, spent, node, node, "dejmps", 0.0).state

    return form


def all_cases(model: PauliModel) -> list[Case]:
    """Swaps of stored pairs, and distillation."""
    relaxing, perfect = lean_swaps(RELAXING, RELAXING), lean_rounds(plain_distillation)
    noisy, mixed = lean_rounds(plain_noisy_distillation), (DEPOLARISING, DEPHASING)
    each = (
        ("swap, relaxing memories", 90.0, plain_swaps, relaxing, fast_swaps(model, RELAXING, RELAXING)),
        ("swap, noise entry by entry", 200.0, plain_swaps, lean_swaps(*mixed), fast_swaps(model, *mixed)),
        ("distillation", 50.0, perfect, perfect, fast_rounds(model, PERFECT)),
        ("distillation, noisy", 40.0, noisy, noisy, fast_rounds(model, NOISY)),
    )
    return [
        Case(name=name, at_least=aim, plain=plain, lean=lean, fast=fast)
        for name, aim, plain, lean, fast in each
    ]


def timed_us(form: Form, work: Work, *, operations: int, repeats: int = 1) -> float:
    """Wall microseconds of one operation."""
    began = time.perf_counter()
    for _ in range(repeats):
        # The quickest way to exhaust an iterator and keep nothing.
        deque(form(work), maxlen=0)
    return (time.perf_counter() - began) / (repeats * operations) * 1e6


def disagreement(case: Case, model: PauliModel, work: Work) -> float:
    """The largest absolute difference of the density matrices that the lean and the fast form give."""
    pairs = zip(case.lean(work), islice(case.fast(work), len(work.plain)), strict=True)
    return max(float(np.abs(one.full() - model.density_matrix(other)).max()) for one, other in pairs)


def measure(case: Case, model: PauliModel, *, rounds: int, calls: int) -> dict[str, Any]:
    """One case's line: medians over the rounds, each with inputs of its own."""
    plain, lean, fast, gaps = [], [], [], []
    for turn in range(rounds):
        work = make_work(model, np.random.default_rng(turn), calls)
        plain.append(timed_us(case.plain, work, operations=calls))
        fast.append(timed_us(case.fast, work, operations=PAIRS, repeats=REPEATS))
        lean.append(timed_us(case.lean, work, operations=calls))
        gaps.append(disagreement(case, model, work))
    fast_us = statistics.median(fast)
    return {
        "case": case.name,
        "plain_us": round(statistics.median(plain), 1),
        "fast_us": round(fast_us, 3),
        "ratio": round(statistics.median(plain) / fast_us, 1),
        "at_least": case.at_least,
        "met": statistics.median(plain) / fast_us >= case.at_least,
        "ratio_lean": round(statistics.median(lean) / fast_us, 1),
        "agreement": max(gaps),
        "rounds": rounds,
    }


def main() -> int:
    """Print a line for each case; 1 when one disagrees with QuTiP by more than 1e-12."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=20, help="QuTiP's operations in a round")
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.calls < 1:
        parser.error(f"rounds = {asked.rounds} and calls = {asked.calls}; both must be 1 or more")
    model, worst = PauliModel(), 0.0
    for case in all_cases(model):
        line = measure(case, model, rounds=asked.rounds, calls=asked.calls)
        worst = max(worst, line["agreement"])
        print(json.dumps(line), flush=True)
    return 0 if worst <= EXACT else 1


if __name__ == "__main__":
    sys.exit(main())
