"""Batches against the same pairs one by one; which models are batched; kept hashes."""

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

from physics import sampling
from physics.batched import BatchedPhysicsModel, batched
from physics.hardware import DepolarisingMemory, NodeHardware, RelaxingMemory
from physics.interface import NO_ATTEMPTS
from physics.models.pauli import PauliModel
from physics.models.storage import compile_storage
from physics.models.werner import WernerModel
from physics.qubits import states

MODEL = PauliModel()
EXACT = 1e-12

DEPOLARISING = DepolarisingMemory(depolarising_s=0.7, coherence_attempts=400.0)
RELAXING = RelaxingMemory(relaxation_s=1.1, dephasing_s=0.9, coherence_attempts=150.0)
DEPHASING = RelaxingMemory(relaxation_s=math.inf, dephasing_s=0.4)
NODE = NodeHardware(memory=RELAXING, bell_measurement="boosted", swap_success_probability=0.8)

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 12)
memories = st.sampled_from([None, DEPOLARISING, RELAXING, DEPHASING])
unrelaxing = st.sampled_from([None, DEPOLARISING, DEPHASING])
"""Memories whose storage is one product an entry: bit for bit the same in a batch."""
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


def assert_states_agree(batch, singles):
    """Row by row."""
    for row, single in zip(batch, singles, strict=True):
        assert np.abs(row - single).max() <= EXACT


class FasterMemories(PauliModel):
    """A plugin with memories of its own, by the hook that both forms of storage call."""

    def decay_of(self, memory):
        decay = super().decay_of(memory)
        return replace(decay, per_second=decay.per_second * [1.0, 1.5, 1.5, 0.5])


class CompiledElsewhere(FasterMemories):
    """A plugin that compiles its storage itself."""

    def storage(self, first, second):
        return compile_storage(second, first, super().decay_of)


class Ageless(PauliModel):
    """A plugin that overrides single storage and not the batched form."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        return state


class Rounded(PauliModel):
    """A plugin that overrides single fidelity and not the batched form."""

    def fidelity(self, state):
        return round(super().fidelity(state), 3)


class AgelessMixin:
    """Overrides single storage from a class that knows no batches."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        return state


class Mixed(AgelessMixin, PauliModel):
    pass


class AgelessInBoth(Ageless):
    """Overrides both forms, the batched one last."""

    def age_many(self, states, first, second, duration_s, attempts=NO_ATTEMPTS):
        return np.asarray(states)


class AgelessAgain(AgelessInBoth):
    """Overrides the single form once more."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        return super().age(state, first, second, duration_s, attempts)


class Delegating:
    """Wraps a model; every operation but its own is the wrapped model's."""

    def __init__(self, wrapped):
        self._wrapped = wrapped

    def __getattr__(self, name):
        return getattr(self._wrapped, name)

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        return state


@pytest.mark.parametrize("kind", [PauliModel, FasterMemories, CompiledElsewhere, AgelessInBoth])
def test_a_model_whose_batches_reflect_its_operations_is_batched(kind):
    model = kind()
    assert isinstance(model, BatchedPhysicsModel)
    assert batched(model) is model


@pytest.mark.parametrize("kind", [Ageless, Rounded, Mixed, AgelessAgain, WernerModel])
def test_a_model_whose_batches_would_ignore_its_own_operation_is_not(kind):
    assert batched(kind()) is None


def test_an_operation_replaced_on_the_instance_or_by_a_wrapper_counts():
    model = PauliModel()
    assert batched(model) is model
    model.fidelity = lambda state: 1.0
    assert batched(model) is None
    assert batched(Delegating(PauliModel())) is None


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    count=counts,
    kind=st.sampled_from([FasterMemories, CompiledElsewhere]),
    first=unrelaxing,
    second=unrelaxing,
)
def test_a_derived_models_batches_are_its_single_operations_to_the_last_bit(seed, count, kind, first, second):
    generator, model = np.random.default_rng(seed), kind()
    tables = random_tables(generator, count)
    durations_s = generator.exponential(1.0, count)
    aged = model.age_many(tables, first, second, durations_s)
    singles = [
        model.age(*each)
        for each in zip(tables, [first] * count, [second] * count, durations_s.tolist(), strict=True)
    ]
    assert aged.tobytes() == np.array(singles).reshape(count, 4, 4).tobytes()
    assert model.fidelity_many(aged).tolist() == [model.fidelity(single) for single in singles]


def test_a_sequence_of_states_is_a_batch():
    tables = random_tables(np.random.default_rng(7), 5)
    aged = MODEL.age_many(list(tables), DEPOLARISING, RELAXING, 0.3)
    assert np.array_equal(aged, MODEL.age_many(tables, DEPOLARISING, RELAXING, 0.3))
    assert np.array_equal(MODEL.fidelity_many(list(aged)), MODEL.fidelity_many(aged))


@settings(max_examples=60, deadline=None)
@given(seed=seeds, count=counts, first=memories, second=memories, worn=st.booleans())
def test_ageing_many_is_ageing_each(seed, count, first, second, worn):
    generator = np.random.default_rng(seed)
    tables = random_tables(generator, count)
    durations_s = generator.exponential(1.0, count) * (generator.random(count) < 0.8)
    attempts = generator.integers(0, 300, (2, count)).astype(float)
    if worn:
        aged = MODEL.age_many(tables, first, second, durations_s, (attempts[0], attempts[1]))
    else:
        aged = MODEL.age_many(tables, first, second, durations_s)
    singles = [
        MODEL.age(table, first, second, duration_s, (one, other))
        if worn
        else MODEL.age(table, first, second, duration_s)
        for table, duration_s, one, other in zip(
            tables, durations_s.tolist(), *attempts.tolist(), strict=True
        )
    ]
    assert_states_agree(aged, singles)


@settings(max_examples=200, deadline=None)
@given(u=uniforms, shift=st.floats(-3e-12, 3e-12))
def test_rounding_is_done_where_it_matters(u, shift):
    """The rule is u < threshold rounded to twelve decimals, however it is worked out."""
    assert sampling.succeeds(u, u + shift) == (u < round(u + shift, 12))
    assert (sampling.choose(u, [u + shift, 2.0]) == 0) == (u < round(u + shift, 12))


def test_fidelities():
    tables = random_tables(np.random.default_rng(4), 30)
    assert MODEL.fidelity_many(tables).tolist() == [MODEL.fidelity(table) for table in tables]


def test_one_number_stands_for_all_and_nothing_can_be_changed():
    tables = random_tables(np.random.default_rng(5), 6)
    aged = MODEL.age_many(tables, DEPOLARISING, RELAXING, 0.2)
    assert np.array_equal(aged, MODEL.age_many(tables, DEPOLARISING, RELAXING, [0.2] * 6))
    for batch in (aged, MODEL.fidelity_many(aged)):
        with pytest.raises(ValueError, match="read-only"):
            batch[0] = 2.0


def test_wrong_batches_are_named():
    tables = random_tables(np.random.default_rng(6), 3)
    for message, call in [
        (r"states have shape \(4, 4\); they must be \(n, 4, 4\)", lambda: MODEL.fidelity_many(tables[0])),
        (
            r"duration_s has shape \(2,\); it must be one number, or \(3,\)",
            lambda: MODEL.age_many(tables, DEPOLARISING, None, [0.1, 0.2]),
        ),
        (
            r"duration_s of pair 1 is -1.0; it must be 0 or more, and finite",
            lambda: MODEL.age_many(tables, DEPOLARISING, None, [0.1, -1.0, 0.0]),
        ),
        (
            r"attempts\[1\] of pair 0 is nan; it must be 0 or more",
            lambda: MODEL.age_many(tables, DEPOLARISING, None, 0.1, (1.0, math.nan)),
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [DEPOLARISING, RELAXING, NODE], ids=lambda value: type(value).__name__)
def test_equal_hardware_hashes_alike(value):
    """Models look up by hardware, whose hash is kept: it must follow the value, not the object."""
    for copied in (copy.deepcopy(value), replace(value), pickle.loads(pickle.dumps(value))):
        assert copied == value
        assert copied is not value
        assert {value: "found"}[copied] == "found"
    changed = replace(value, **{"gate_fidelity" if value is NODE else "coherence_attempts": 0.5})
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
            input=pickle.dumps(NodeHardware(memory=DEPOLARISING)),
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
    assert len(lines) == 4
    assert all(0.0 < line["agreement"] <= EXACT for line in lines)
