"""Batches against the same pairs one by one, choices included; a swap with storage folded in; kept hashes."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics import sampling, states
from physics.batched import BatchedPhysicsModel, PauliBatches
from physics.hardware import DepolarisingMemory, NodeHardware, RelaxingMemory
from physics.pauli import PauliModel

MODEL = PauliModel()
BATCHES = PauliBatches(MODEL)
EXACT = 1e-12

DEPOLARISING = DepolarisingMemory(depolarising_s=0.7, coherence_attempts=400.0)
RELAXING = RelaxingMemory(relaxation_s=1.1, dephasing_s=0.9, coherence_attempts=150.0)
DEPHASING = RelaxingMemory(relaxation_s=math.inf, dephasing_s=0.4)
NODES = [
    NodeHardware(memory=DEPOLARISING),
    NodeHardware(memory=DEPOLARISING, gate_fidelity=0.97, readout_fidelity=0.98),
    NodeHardware(memory=RELAXING, swap_success_probability=0.5, readout_fidelity=0.9),
    NodeHardware(memory=RELAXING, bell_measurement="linear-optics", gate_fidelity=0.9),
    NodeHardware(memory=RELAXING, bell_measurement="boosted", swap_success_probability=0.8),
    NodeHardware(memory=RELAXING, swap_success_probability=0.0, gate_fidelity=0.0),
]

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 12)
memories = st.sampled_from([None, DEPOLARISING, RELAXING, DEPHASING])
nodes = st.sampled_from(NODES)
# Eighths lie on the thresholds of unbiased outcomes: there, rounding must not part the two.
uniforms = st.floats(0.0, 1.0, exclude_max=True) | st.integers(0, 7).map(lambda eighths: eighths / 8)


def random_tables(generator, count):
    """Full-rank, Bell-diagonal and Bell states in turn, float64 (count, 4, 4)."""
    makers = (
        lambda: states.random_state(generator),
        lambda: states.bell_diagonal(generator.dirichlet(np.ones(4))),
        lambda: states.bell_state(int(generator.integers(4))),
    )
    tables = [MODEL.from_density_matrix(makers[number % 3]()) for number in range(count)]
    return np.array(tables).reshape(count, 4, 4)


def drawn_uniforms(data, count):
    return np.array(data.draw(st.lists(uniforms, min_size=count, max_size=count)), dtype=float)


def assert_states_agree(batch, singles):
    """Row by row; where there is no state, the batch holds NaN."""
    for row, single in zip(batch, singles, strict=True):
        if single is None:
            assert np.isnan(row).all()
        else:
            assert np.abs(row - single).max() <= EXACT


def test_pauli_batches_serve_the_batched_seam():
    assert isinstance(BATCHES, BatchedPhysicsModel)
    assert not isinstance(MODEL, BatchedPhysicsModel)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, count=counts, first=memories, second=memories, worn=st.booleans())
def test_ageing_many_is_ageing_each(seed, count, first, second, worn):
    generator = np.random.default_rng(seed)
    tables = random_tables(generator, count)
    durations_s = generator.exponential(1.0, count) * (generator.random(count) < 0.8)
    attempts = generator.integers(0, 300, (2, count)).astype(float)
    if worn:
        aged = BATCHES.age_many(tables, first, second, durations_s, (attempts[0], attempts[1]))
    else:
        aged = BATCHES.age_many(tables, first, second, durations_s)
    singles = [
        MODEL.age(table, first, second, duration_s, (one, other))
        if worn
        else MODEL.age(table, first, second, duration_s)
        for table, duration_s, one, other in zip(
            tables, durations_s.tolist(), *attempts.tolist(), strict=True
        )
    ]
    assert_states_agree(aged, singles)


@settings(max_examples=120, deadline=None)
@given(seed=seeds, count=counts, node=nodes, data=st.data())
def test_drawn_swaps_are_those_of_each_pair(seed, count, node, data):
    generator = np.random.default_rng(seed)
    left, right = random_tables(generator, count), random_tables(generator, count)
    u = drawn_uniforms(data, count)
    batch = BATCHES.swap_many(left, right, node, u)
    singles = [MODEL.swap(a, b, node, x) for a, b, x in zip(left, right, u.tolist(), strict=True)]
    assert batch.success.tolist() == [single.success for single in singles]
    assert batch.outcome.tolist() == [single.outcome for single in singles]
    assert_states_agree(batch.state, [single.state for single in singles])


@settings(max_examples=60, deadline=None)
@given(seed=seeds, count=counts, node=nodes)
def test_forced_swaps_are_those_of_each_pair(seed, count, node):
    generator = np.random.default_rng(seed)
    left, right = (
        np.array([MODEL.from_density_matrix(states.random_state(generator)) for _ in range(count)])
        for _ in range(2)
    )
    left, right = left.reshape(count, 4, 4), right.reshape(count, 4, 4)
    outcomes = generator.choice(node.heralded_outcomes, count)
    batch = BATCHES.swap_many(left, right, node, 0.0, outcomes)
    singles = [
        MODEL.swap(a, b, node, 0.0, outcome)
        for a, b, outcome in zip(left, right, outcomes.tolist(), strict=True)
    ]
    assert batch.success.all()
    assert batch.outcome.tolist() == outcomes.tolist()
    assert_states_agree(batch.state, [single.state for single in singles])


@settings(max_examples=120, deadline=None)
@given(
    seed=seeds,
    count=counts,
    first=nodes,
    second=nodes,
    protocol=st.sampled_from(["bbpssw", "dejmps"]),
    data=st.data(),
)
def test_distilling_many_is_distilling_each(seed, count, first, second, protocol, data):
    generator = np.random.default_rng(seed)
    kept, spent = random_tables(generator, count), random_tables(generator, count)
    u = drawn_uniforms(data, count)
    batch = BATCHES.distil_many(kept, spent, first, second, protocol, u)
    singles = [
        MODEL.distil(a, b, first, second, protocol, x)
        for a, b, x in zip(kept, spent, u.tolist(), strict=True)
    ]
    expected = np.array([single.success_probability for single in singles])
    assert batch.success.tolist() == [single.success for single in singles]
    assert np.allclose(batch.success_probability, expected, rtol=0.0, atol=EXACT)
    assert_states_agree(batch.state, [single.state for single in singles])


def test_a_threshold_is_met_alike():
    """u and a threshold closer than twelve decimals: what rounds to it fails, as for single pairs."""
    node, pair = NODES[0], MODEL.from_density_matrix(states.werner(0.9))
    u = np.array([0.25 + shift * 1e-13 for shift in range(-20, 21)])
    batch = BATCHES.swap_many(np.array([pair] * 41), np.array([pair] * 41), node, u)
    singles = [MODEL.swap(pair, pair, node, x).outcome for x in u.tolist()]
    assert batch.outcome.tolist() == singles
    assert singles == [0] * 20 + [1] * 21
    rounds = BATCHES.distil_many(np.array([pair] * 41), np.array([pair] * 41), node, node, "dejmps", 0.0)
    probability = rounds.success_probability[0]
    u = probability + np.arange(-20, 21) * 1e-13
    rounds = BATCHES.distil_many(np.array([pair] * 41), np.array([pair] * 41), node, node, "dejmps", u)
    one_by_one = [MODEL.distil(pair, pair, node, node, "dejmps", x).success for x in u.tolist()]
    assert rounds.success.tolist() == one_by_one
    assert one_by_one[0]
    assert not one_by_one[-1]


@settings(max_examples=200, deadline=None)
@given(u=uniforms, shift=st.floats(-3e-12, 3e-12))
def test_rounding_is_done_where_it_matters(u, shift):
    """The rule is u < threshold rounded to twelve decimals, however it is worked out."""
    assert sampling.succeeds(u, u + shift) == (u < round(u + shift, 12))
    assert (sampling.choose(u, [u + shift, 2.0]) == 0) == (u < round(u + shift, 12))


def test_fidelities():
    tables = random_tables(np.random.default_rng(4), 30)
    assert BATCHES.fidelity_many(tables).tolist() == [MODEL.fidelity(table) for table in tables]


def test_one_number_stands_for_all_and_nothing_can_be_changed():
    tables = random_tables(np.random.default_rng(5), 6)
    aged = BATCHES.age_many(tables, DEPOLARISING, RELAXING, 0.2)
    assert np.array_equal(aged, BATCHES.age_many(tables, DEPOLARISING, RELAXING, [0.2] * 6))
    swapped = BATCHES.swap_many(aged, tables, NODES[1], 0.6)
    distilled = BATCHES.distil_many(aged, tables, NODES[1], NODES[2], "dejmps", 0.0)
    for batch in (aged, swapped.state, distilled.state):
        with pytest.raises(ValueError, match="read-only"):
            batch[0, 0, 0] = 2.0


def test_wrong_batches_are_named():
    tables = random_tables(np.random.default_rng(6), 3)
    ground = np.zeros((1, 4, 4))
    ground[0, ::3, ::3] = 1.0
    for message, call in [
        (r"states have shape \(4, 4\); they must be \(n, 4, 4\)", lambda: BATCHES.fidelity_many(tables[0])),
        (
            r"duration_s has shape \(2,\); it must be one number, or \(3,\)",
            lambda: BATCHES.age_many(tables, DEPOLARISING, None, [0.1, 0.2]),
        ),
        (
            r"duration_s of pair 1 is -1.0; it must be 0 or more, and finite",
            lambda: BATCHES.age_many(tables, DEPOLARISING, None, [0.1, -1.0, 0.0]),
        ),
        (
            r"attempts\[1\] of pair 0 is nan; it must be 0 or more",
            lambda: BATCHES.age_many(tables, DEPOLARISING, None, 0.1, (1.0, math.nan)),
        ),
        (
            "right are 2 pairs; they must be 3, as many as left",
            lambda: BATCHES.swap_many(tables, tables[:2], NODES[0], 0.0),
        ),
        (
            r"u of pair 2 is 1.0; it must be 0 or more and below 1",
            lambda: BATCHES.swap_many(tables, tables, NODES[0], [0.0, 0.5, 1.0]),
        ),
        (
            "outcome of pair 0 is 4; it must be 0, 1, 2 or 3",
            lambda: BATCHES.swap_many(tables, tables, NODES[0], 0.0, 4),
        ),
        (
            "outcome 2 has probability 0 here; it cannot be forced",
            lambda: BATCHES.swap_many(ground, ground, NODES[0], 0.0, 2),
        ),
        (
            "protocol is 'oxford'; it must be 'bbpssw' or 'dejmps'",
            lambda: BATCHES.distil_many(tables, tables, NODES[0], NODES[0], "oxford", 0.0),
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    held=st.tuples(memories, memories, memories, memories),
    durations_s=st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 5.0)),
    node=nodes,
    u=uniforms,
)
def test_a_compiled_swap_is_storage_and_swap(seed, held, durations_s, node, u):
    generator = np.random.default_rng(seed)
    left, right = (MODEL.from_density_matrix(states.random_state(generator)) for _ in range(2))
    compiled = MODEL.compile_swap(
        node,
        left_memories=held[:2],
        left_duration_s=durations_s[0],
        right_memories=held[2:],
        right_duration_s=durations_s[1],
    )
    aged = MODEL.age(left, *held[:2], durations_s[0]), MODEL.age(right, *held[2:], durations_s[1])
    for outcome in (None, *node.heralded_outcomes):
        ours, expected = compiled(left, right, u, outcome), MODEL.swap(*aged, node, u, outcome)
        assert (ours.success, ours.outcome) == (expected.success, expected.outcome)
        if expected.success:
            assert np.abs(ours.state - expected.state).max() <= EXACT
            assert not ours.state.flags.writeable


def test_a_compiled_swap_refuses_what_swap_and_age_refuse():
    pair = random_tables(np.random.default_rng(8), 1)[0]
    held = {"left_memories": (RELAXING, None), "right_memories": (None, DEPOLARISING)}
    with pytest.raises(ValueError, match=r"duration_s is -1\.0; it must be 0 or more"):
        MODEL.compile_swap(NODES[0], **held, left_duration_s=-1.0, right_duration_s=0.0)
    compiled = MODEL.compile_swap(NODES[3], **held, left_duration_s=0.1, right_duration_s=0.2)
    with pytest.raises(ValueError, match="outcome is 5"):
        compiled(pair, pair, 0.0, 5)
    with pytest.raises(ValueError, match="outcome 0 has probability 0 here"):
        compiled(pair, pair, 0.0, 0)


@pytest.mark.parametrize("value", [DEPOLARISING, RELAXING, NODES[4]], ids=lambda value: type(value).__name__)
def test_equal_hardware_hashes_alike(value):
    """Models look up by hardware, whose hash is kept: it must follow the value, not the object."""
    for copied in (copy.deepcopy(value), replace(value), pickle.loads(pickle.dumps(value))):
        assert copied == value
        assert copied is not value
        assert {value: "found"}[copied] == "found"
    changed = replace(value, **{"gate_fidelity" if value is NODES[4] else "coherence_attempts": 0.5})
    assert changed != value
    assert hash(changed) != hash(value)


def test_a_kept_hash_stays_at_home():
    """Names hash differently in every process: hardware sent there must hash as what is built there."""
    code = (
        "import pickle, sys; from physics.hardware import *;"
        "sent = pickle.load(sys.stdin.buffer);"
        "built = NodeHardware(memory=DepolarisingMemory(depolarising_s=0.7, coherence_attempts=400.0));"
        "assert sent == built and {built: 1}[sent] and {built.memory: 1}[sent.memory]"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps(NODES[0]),
            env={"PYTHONHASHSEED": seed},
            check=True,
            timeout=60,
        )


@pytest.mark.slow
def test_the_benchmark_runs_and_agrees():
    """Its plain QuTiP is a third way to the same states, apart from both models."""
    script = Path(__file__).parents[2] / "benchmarks" / "physics.py"
    command = [sys.executable, str(script), "--rounds", "1", "--calls", "3"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    lines = [json.loads(line) for line in printed.splitlines()]
    assert len(lines) == 6
    assert all(0.0 < line["agreement"] <= EXACT for line in lines)
