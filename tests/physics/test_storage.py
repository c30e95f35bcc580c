"""Storage as a map: completely positive, trace preserving, a semigroup in time and attempts, local."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.hardware import DepolarisingMemory, RelaxingMemory
from physics.interface import NO_ATTEMPTS
from physics.models.pauli import PauliModel
from physics.models.storage import compile_storage
from physics.qubits import states

EXACT = 1e-12
INFINITE = math.inf

seeds = st.integers(0, 2**32 - 1)
times = st.just(0.0) | st.floats(1e-12, 1e-6) | st.floats(0.0, 20.0) | st.floats(20.0, 1e9)
counts = st.just(0.0) | st.floats(0.0, 1e4)
any_memory = st.sampled_from(
    [
        None,
        DepolarisingMemory(depolarising_s=0.7),
        DepolarisingMemory(depolarising_s=INFINITE, coherence_attempts=300.0),
        DepolarisingMemory(depolarising_s=2.0, coherence_attempts=1.0),
        RelaxingMemory(relaxation_s=2.0, dephasing_s=0.5),
        RelaxingMemory(relaxation_s=0.3, dephasing_s=0.6, coherence_attempts=50.0),
        RelaxingMemory(relaxation_s=INFINITE, dephasing_s=1.0, coherence_attempts=10.0),
        RelaxingMemory(relaxation_s=4.0, dephasing_s=8.0),
        RelaxingMemory(relaxation_s=INFINITE, dephasing_s=INFINITE),
    ]
)


def random_matrix(seed):
    return states.random_state(np.random.default_rng(seed))


def one_qubit_map(memory, *, second, duration_s, attempts):
    """The 4x4 Pauli transfer matrix of compiled storage at one end, no memory at the other."""
    columns = []
    for pauli in range(4):
        table = np.zeros((4, 4))
        table[(0, pauli) if second else (pauli, 0)] = 1.0
        storage = compile_storage(*((None, memory) if second else (memory, None)))
        counts = (0.0, attempts) if second else (attempts, 0.0)
        aged = storage.after_attempts(table, duration_s, counts)
        columns.append(aged[0] if second else aged[:, 0])
    return np.array(columns).T


@settings(max_examples=100, deadline=None)
@given(memory=any_memory, second=st.booleans(), duration_s=times, attempts=counts)
def test_compiled_storage_is_a_channel(memory, second, duration_s, attempts):
    """Choi 1975: completely positive when sum_ij T_ij sigma_i (x) sigma_j^T / 4 is; trace kept by row 0."""
    transfer = one_qubit_map(memory, second=second, duration_s=duration_s, attempts=attempts)
    products = np.array([[np.kron(a, b.T) for b in states.PAULIS] for a in states.PAULIS])
    choi = 0.25 * np.einsum("ij,ijab->ab", transfer, products)
    assert np.array_equal(transfer[0], [1.0, 0.0, 0.0, 0.0])
    assert np.allclose(choi, choi.conj().T, rtol=0, atol=4e-15)
    assert np.linalg.eigvalsh(choi)[0] > -4e-15


@pytest.mark.parametrize("dephasing_s", [2.1, 3.0])
def test_a_channel_with_more_than_twice_t1_would_not_be_positive(dephasing_s):
    """Why T2 <= 2 T1 is asked for: without it the Choi matrix of the same formula is negative."""
    with pytest.raises(
        ValueError, match=f"dephasing_s is {dephasing_s}; it must be at most 2 relaxation_s = 2"
    ):
        RelaxingMemory(relaxation_s=1.0, dephasing_s=dephasing_s)
    kept, coherent = math.exp(-1.0), math.exp(-1.0 / dephasing_s)
    choi = 0.5 * np.array([[1, 0, 0, coherent], [0, 0, 0, 0], [0, 0, 1 - kept, 0], [coherent, 0, 0, kept]])
    assert np.linalg.eigvalsh(choi)[0] < -1e-3


@settings(max_examples=100, deadline=None)
@given(
    seed=seeds,
    first=any_memory,
    second=any_memory,
    steps=st.lists(st.tuples(times, counts, counts), min_size=2, max_size=4),
)
def test_steps_add_up_in_time_and_attempts(pauli, seed, first, second, steps):
    state = parts = pauli.from_density_matrix(random_matrix(seed))
    for duration_s, n_first, n_second in steps:
        parts = pauli.age(parts, first, second, duration_s, (n_first, n_second))
    duration_s, n_first, n_second = (math.fsum(column) for column in zip(*steps, strict=True))
    whole = pauli.age(state, first, second, duration_s, (n_first, n_second))
    assert np.allclose(whole, parts, rtol=0, atol=1e-13)


@settings(max_examples=15, deadline=None)
@given(
    seed=seeds,
    first=any_memory,
    second=any_memory,
    times_s=st.tuples(times, times),
    n=st.tuples(counts, counts),
)
def test_steps_add_up_in_the_reference(reference, seed, first, second, times_s, n):
    state = reference.from_density_matrix(random_matrix(seed))
    parts = reference.age(state, first, second, times_s[0], n)
    parts = reference.age(parts, first, second, times_s[1], n)
    whole = reference.age(state, first, second, sum(times_s), (2 * n[0], 2 * n[1]))
    assert np.allclose(whole.full(), parts.full(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("steps", [2, 7, 100])
@pytest.mark.parametrize(
    "memory",
    [
        RelaxingMemory(relaxation_s=1.0, dephasing_s=2.0),
        RelaxingMemory(relaxation_s=INFINITE, dephasing_s=1.5),
        RelaxingMemory(relaxation_s=1.0, dephasing_s=0.7),
        DepolarisingMemory(depolarising_s=1.2),
    ],
    ids=["T1", "T2", "T1T2", "depolarising"],
)
def test_many_short_steps_are_one_long(model, memory, steps):
    """QuantumSavory tests the same four memories."""
    state = parts = model.from_density_matrix(random_matrix(9))
    for _ in range(steps):
        parts = model.age(parts, memory, memory, 2.0 / steps)
    whole = model.age(state, memory, memory, 2.0)
    assert np.allclose(model.density_matrix(whole), model.density_matrix(parts), rtol=0, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, memories=st.tuples(any_memory, any_memory), duration_s=times, n=st.tuples(counts, counts))
def test_each_end_is_stored_on_its_own(model, seed, memories, duration_s, n):
    """First then second is second then first, and both at once; the ends are not mixed up by a flip."""
    (first, second), state = memories, model.from_density_matrix(random_matrix(seed))
    both = model.density_matrix(model.age(state, first, second, duration_s, n))
    one = model.age(state, first, None, duration_s, (n[0], 0.0))
    one = model.age(one, None, second, duration_s, (0.0, n[1]))
    other = model.age(state, None, second, duration_s, (0.0, n[1]))
    other = model.age(other, first, None, duration_s, (n[0], 0.0))
    flipped = model.flip(model.age(model.flip(state), second, first, duration_s, (n[1], n[0])))
    for result in (one, other, flipped):
        assert np.allclose(model.density_matrix(result), both, rtol=0, atol=EXACT)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, memory=any_memory, duration_s=times, n=counts)
def test_storage_of_one_end_leaves_the_other_alone(model, seed, memory, duration_s, n):
    """No signalling through a memory; a count of attempts at an end without memory does nothing."""
    state = model.from_density_matrix(random_matrix(seed))
    aged = model.age(state, memory, None, duration_s, (n, 1e5))
    before, after = (
        np.einsum("abac->bc", model.density_matrix(pair).reshape(2, 2, 2, 2)) for pair in (state, aged)
    )
    assert np.allclose(after, before, rtol=0, atol=EXACT)


@settings(max_examples=25, deadline=None)
@given(
    one=seeds,
    other=seeds,
    memories=st.tuples(any_memory, any_memory),
    duration_s=times,
    share=st.floats(0.0, 1.0),
)
def test_a_mixture_ages_as_its_parts(model, one, other, memories, duration_s, share):
    parts = random_matrix(one), random_matrix(other)
    mixed = share * parts[0] + (1.0 - share) * parts[1]
    aged = [
        model.density_matrix(model.age(model.from_density_matrix(matrix), *memories, duration_s, (3.0, 4.0)))
        for matrix in (*parts, mixed)
    ]
    assert np.allclose(aged[2], share * aged[0] + (1.0 - share) * aged[1], rtol=0, atol=EXACT)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, turns=st.tuples(seeds, seeds), duration_s=times, angle=st.floats(0.0, 6.3))
def test_storage_turns_with_the_state_where_its_noise_has_no_axis(model, seed, turns, duration_s, angle):
    """Depolarising knows no axis at all; relaxation and dephasing know only Z."""
    matrix, unitaries = random_matrix(seed), []
    for turn in turns:
        generator = np.random.default_rng(turn)
        unitaries.append(np.linalg.qr(generator.normal(size=(2, 2)) + 1j * generator.normal(size=(2, 2)))[0])
    about_z = np.diag([1.0, np.exp(1j * angle)])
    depolarising = DepolarisingMemory(depolarising_s=0.7, coherence_attempts=30.0)
    relaxing = RelaxingMemory(relaxation_s=2.0, dephasing_s=0.5, coherence_attempts=30.0)
    for memory, unitary in (
        (depolarising, np.kron(*unitaries)),
        (relaxing, np.kron(about_z, about_z @ about_z)),
    ):
        arguments = memory, memory, duration_s, (3.0, 4.0)
        aged = model.density_matrix(model.age(model.from_density_matrix(matrix), *arguments))
        turned = model.from_density_matrix(unitary @ matrix @ unitary.conj().T)
        turned = model.density_matrix(model.age(turned, *arguments))
        assert np.allclose(turned, unitary @ aged @ unitary.conj().T, rtol=0, atol=EXACT)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, memories=st.tuples(any_memory, any_memory), duration_s=times, n=st.tuples(counts, counts))
def test_storage_makes_no_entanglement(pauli, seed, memories, duration_s, n):
    """Negativity cannot rise under local channels (Vidal and Werner 2002, Phys. Rev. A 65, 032314)."""

    def negativity(state):
        matrix = pauli.density_matrix(state).reshape(2, 2, 2, 2).transpose(0, 3, 2, 1).reshape(4, 4)
        return -np.minimum(np.linalg.eigvalsh(matrix), 0.0).sum()

    entangled = 0.7 * states.bell_state(2) + 0.3 * random_matrix(seed)
    state = pauli.from_density_matrix(entangled)
    assert negativity(state) > 0.1
    assert negativity(pauli.age(state, *memories, duration_s, n)) <= negativity(state) + EXACT


@pytest.mark.parametrize("ends", ["first", "second"])
def test_attempts_wear_a_memory(model, ends):
    """n of N attempts leave e^(-n/N): of all three Bloch components, or of coherences (Kalb et al. 2018).

    Phi+ stored at two nodes that go on trying: 5 attempts at N = 20, 9 at N = 60.
    """
    pair = model.from_density_matrix(states.bell_state(0))
    left = math.exp(-5 / 20) * math.exp(-9 / 60)
    for kind, weights in (
        (DepolarisingMemory, (0.25 + 0.75 * left, *[0.25 - 0.25 * left] * 3)),
        (RelaxingMemory, (0.5 + 0.5 * left, 0.5 - 0.5 * left, 0.0, 0.0)),
    ):
        names = ("depolarising_s",) if kind is DepolarisingMemory else ("relaxation_s", "dephasing_s")
        still = dict.fromkeys(names, INFINITE)
        few, many = (kind(**still, coherence_attempts=n) for n in (20.0, 60.0))
        memories, counts = ((few, many), (5.0, 9.0)) if ends == "first" else ((many, few), (9.0, 5.0))
        worn = model.density_matrix(model.age(pair, *memories, 0.0, counts))
        assert np.allclose(worn, states.bell_diagonal(weights), rtol=0, atol=EXACT)
        assert np.array_equal(
            model.density_matrix(model.age(pair, *memories, 1e6, NO_ATTEMPTS)), model.density_matrix(pair)
        )


def test_coherences_outlive_rounding(model):
    """T2 = 2 T1: after 40 T1 the population is below the rounding of 1, the coherence e^-20 is not."""
    memory = RelaxingMemory(relaxation_s=1.0, dephasing_s=2.0)
    aged = model.age(model.from_density_matrix(states.bell_state(0)), memory, None, 40.0)
    assert model.density_matrix(aged)[0, 3].real == pytest.approx(0.5 * math.exp(-20.0), rel=1e-9)


@pytest.mark.parametrize("waited_s", [1e-3, 0.3])
def test_what_it_is_worth_to_correct_at_once(waited_s: float) -> None:
    """A pair that waits as Psi+ and is flipped then loses (1 - e^(-t/T1))^2 / 2 against one flipped first."""
    model, memory = PauliModel(), RelaxingMemory(relaxation_s=1.0, dephasing_s=1.5)
    flip = np.kron(np.eye(2), np.array([[0.0, 1.0], [1.0, 0.0]]))
    phi = np.zeros((4, 4), dtype=complex)
    phi[np.ix_([0, 3], [0, 3])] = 0.5
    at_once = model.age(model.from_density_matrix(phi), memory, memory, waited_s)
    late = model.age(model.from_density_matrix(flip @ phi @ flip), memory, memory, waited_s)
    flipped = model.from_density_matrix(flip @ model.density_matrix(late) @ flip)
    damped = 1.0 - np.exp(-waited_s)
    lost = model.fidelity(at_once) - model.fidelity(flipped)
    assert lost == pytest.approx(damped**2 / 2, abs=1e-14)
