"""Swaps against a Bell measurement written as one NumPy contraction, and its laws: partial ones included.

The POVM of a noisy measurement, by hand: the gate leaves the Bell projector B_t with weight g and I/4 with
1 - g, two readings mistake t for m as their bits differ, and outcome m is heralded with its share s_m:
E_m = s_m sum_t P(m|t) (g B_t + (1-g) I/4).
"""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.hardware import HERALDED_FRACTIONS, DepolarisingMemory, NodeHardware, RelaxingMemory
from physics.qubits import states

EXACT = 1e-12
STILL = DepolarisingMemory(depolarising_s=math.inf)
BELL = np.array([states.bell_state(k) for k in range(4)])
FRAMES = np.array([np.kron(np.eye(2), states.PAULIS[k]) for k in (0, 3, 1, 2)])

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(sorted(HERALDED_FRACTIONS))
node_of = {kind: NodeHardware(memory=STILL, bell_measurement=kind) for kind in HERALDED_FRACTIONS}
noisy_nodes = st.builds(
    NodeHardware,
    memory=st.just(STILL),
    gate_fidelity=st.floats(0.0, 1.0),
    readout_fidelity=st.floats(0.0, 1.0),
    bell_measurement=kinds,
)
noisy_complete_nodes = st.builds(
    NodeHardware,
    memory=st.just(STILL),
    gate_fidelity=st.floats(0.5, 1.0),
    readout_fidelity=st.floats(0.5, 1.0),
)


def random_matrix(seed):
    return states.random_state(np.random.default_rng(seed))


def povm(node):
    """E_0 to E_3 of the node, shape (4, 4, 4), and what it leaves out."""
    m = node.readout_fidelity
    wrong = np.array([[(i ^ j).bit_count() for j in range(4)] for i in range(4)])
    heard = m ** (2 - wrong) * (1 - m) ** wrong
    elements = node.gate_fidelity * BELL + (1 - node.gate_fidelity) * np.eye(4) / 4
    shares = np.array(HERALDED_FRACTIONS[node.bell_measurement])
    effects = np.einsum("m,mt,tab->mab", shares, heard, elements)
    return effects, np.eye(4) - effects.sum(axis=0)


def projected(left, right, effect):
    """Tr_BC[(I (x) E (x) I) rho_AB (x) rho_CD], the unnormalised uncorrected outer pair, as a 4x4 matrix."""
    one, other, middle = (matrix.reshape(2, 2, 2, 2) for matrix in (left, right, effect))
    return np.einsum("abxy,cdzw,yzbc->adxw", one, other, middle).reshape(4, 4)


def success_probability(model, left, right, node):
    """Where u turns from success to failure, by bisection to 1e-12."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        u = 0.5 * (low + high)
        low, high = (u, high) if model.swap(left, right, node, u).success else (low, u)
    return high


@settings(max_examples=25, deadline=None)
@given(left=seeds, right=seeds, node=noisy_nodes)
def test_a_swap_is_its_povm_and_a_pauli(model, left, right, node):
    matrices = random_matrix(left), random_matrix(right)
    own = [model.from_density_matrix(matrix) for matrix in matrices]
    effects, _ = povm(node)
    for outcome in node.heralded_outcomes:
        branch = projected(*matrices, effects[outcome])
        if np.trace(branch).real < 1e-6:
            continue
        frame = FRAMES[outcome]
        expected = frame @ branch @ frame.conj().T / np.trace(branch).real
        swapped = model.swap(*own, node, 0.0, outcome)
        assert np.allclose(model.density_matrix(swapped.state), expected, rtol=0, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(left=seeds, right=seeds, node=noisy_nodes)
def test_outcomes_are_drawn_with_the_povms_probabilities(model, left, right, node):
    """u up to the sum of the probabilities of earlier outcomes; above the last there is failure."""
    matrices = random_matrix(left), random_matrix(right)
    own = [model.from_density_matrix(matrix) for matrix in matrices]
    edges = [0.0, *np.cumsum([np.trace(projected(*matrices, effect)).real for effect in povm(node)[0]])]
    for outcome, (low, high) in enumerate(pairwise([*edges, 1.0])):
        if high - low > 1e-9:
            meant = outcome if outcome < 4 else -1
            assert model.swap(*own, node, low + 1e-11).outcome == meant
            assert model.swap(*own, node, high - 1e-11).outcome == meant


@settings(max_examples=25, deadline=None)
@given(left=seeds, right=seeds, node=noisy_nodes)
def test_nobody_is_signalled_to(model, left, right, node):
    """Over all outcomes and the failed branch, uncorrected, the outer qubits are as if nothing was done."""
    matrices = random_matrix(left), random_matrix(right)
    own = [model.from_density_matrix(matrix) for matrix in matrices]
    effects, left_out = povm(node)
    total = projected(*matrices, left_out)
    for outcome in node.heralded_outcomes:
        probability = np.trace(projected(*matrices, effects[outcome])).real
        state = model.density_matrix(model.swap(*own, node, 0.0, outcome).state)
        total = total + probability * FRAMES[outcome].conj().T @ state @ FRAMES[outcome]
    first = np.einsum("abcb->ac", matrices[0].reshape(2, 2, 2, 2))
    second = np.einsum("abac->bc", matrices[1].reshape(2, 2, 2, 2))
    assert np.allclose(total, np.kron(first, second), rtol=0, atol=EXACT)


@settings(max_examples=25, deadline=None)
@given(left=seeds, right=seeds, node=noisy_nodes)
def test_the_failed_branch_is_a_state(pauli, left, right, node):
    """What successes leave of the first end's state is positive: no success takes more than there is."""
    matrices = random_matrix(left), random_matrix(right)
    own = [pauli.from_density_matrix(matrix) for matrix in matrices]
    rest = np.einsum("abcb->ac", matrices[0].reshape(2, 2, 2, 2))
    for outcome, effect in enumerate(povm(node)[0]):
        if outcome in node.heralded_outcomes:
            state = pauli.density_matrix(pauli.swap(*own, node, 0.0, outcome).state)
            probability = np.trace(projected(*matrices, effect)).real
            rest = rest - probability * np.einsum("abcb->ac", state.reshape(2, 2, 2, 2))
    failed = 1.0 - success_probability(pauli, *own, node)
    assert np.trace(rest).real == pytest.approx(failed, abs=2e-12)
    assert np.linalg.eigvalsh(rest)[0] > -EXACT


@settings(max_examples=25, deadline=None)
@given(left=seeds, right=seeds, node=noisy_nodes, u=st.floats(0.0, 1.0, exclude_max=True))
def test_a_drawn_swap_is_the_forced_one(model, left, right, node, u):
    own = [model.from_density_matrix(random_matrix(seed)) for seed in (left, right)]
    drawn = model.swap(*own, node, u)
    if drawn.success:
        forced = model.swap(*own, node, 0.0, drawn.outcome)
        assert forced.success
        assert np.array_equal(model.density_matrix(drawn.state), model.density_matrix(forced.state))


@settings(max_examples=25, deadline=None)
@given(one=seeds, other=seeds, right=seeds, node=noisy_complete_nodes, share=st.floats(0.1, 0.9))
def test_a_mixture_swaps_to_the_mixture(model, one, other, right, node, share):
    """p rho is linear in the left pair: a mixture of pairs gives the mixture, weighed by probability."""
    parts = random_matrix(one), random_matrix(other)
    mixed, matrix = share * parts[0] + (1 - share) * parts[1], random_matrix(right)
    for outcome, effect in enumerate(povm(node)[0]):
        mean, total = 0.0, 0.0
        for weight, part in zip((share, 1 - share), parts, strict=True):
            probability = weight * np.trace(projected(part, matrix, effect)).real
            pairs = model.from_density_matrix(part), model.from_density_matrix(matrix)
            mean = mean + probability * model.density_matrix(model.swap(*pairs, node, 0.0, outcome).state)
            total += probability
        pairs = model.from_density_matrix(mixed), model.from_density_matrix(matrix)
        swapped = model.density_matrix(model.swap(*pairs, node, 0.0, outcome).state)
        assert np.allclose(swapped, mean / total, rtol=0, atol=1e-11)


@settings(max_examples=20, deadline=None)
@given(triple=st.tuples(seeds, seeds, seeds), early_node=noisy_complete_nodes, late_node=noisy_complete_nodes)
def test_swaps_are_associative(model, triple, early_node, late_node):
    """A correction by frame m turns the next outcome k into k xor m, for noisy nodes and any states."""
    a, b, c = (model.from_density_matrix(random_matrix(seed)) for seed in triple)
    for one, two in product(range(4), range(4)) if model.name == "pauli" else ((1, 2), (2, 3), (3, 3)):
        early = model.swap(model.swap(a, b, early_node, 0.0, one).state, c, late_node, 0.0, two).state
        late = model.swap(a, model.swap(b, c, late_node, 0.0, one ^ two).state, early_node, 0.0, one).state
        assert np.allclose(model.density_matrix(early), model.density_matrix(late), rtol=0, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(left=seeds, right=seeds, node=noisy_complete_nodes)
def test_exchanged_ends_differ_by_the_pauli_of_the_correction(model, left, right, node):
    """Exchanged pairs are corrected at the other end: P_m on both ends is all that parts the results."""
    a, b = (model.from_density_matrix(random_matrix(seed)) for seed in (left, right))
    for outcome, number in enumerate((0, 3, 1, 2)):
        forward = model.density_matrix(model.swap(a, b, node, 0.0, outcome).state)
        swapped = model.swap(model.flip(b), model.flip(a), node, 0.0, outcome)
        backward = model.density_matrix(model.flip(swapped.state))
        both = np.kron(states.PAULIS[number], states.PAULIS[number])
        assert np.allclose(backward, both @ forward @ both, rtol=0, atol=1e-11)


@settings(max_examples=20, deadline=None)
@given(qubits=st.tuples(seeds, seeds, seeds, seeds), kind=kinds)
def test_products_keep_their_outer_qubits(model, qubits, kind):
    """(a b)(c d) becomes a (x) P d P: the first end of the left pair, the second of the right one."""
    a, b, c, d = (np.einsum("abcb->ac", random_matrix(seed).reshape(2, 2, 2, 2)) for seed in qubits)
    left, right = (model.from_density_matrix(np.kron(*pair)) for pair in ((a, b), (c, d)))
    for outcome in node_of[kind].heralded_outcomes:
        state = model.swap(left, right, node_of[kind], 0.0, outcome).state
        expected = FRAMES[outcome] @ np.kron(a, d) @ FRAMES[outcome].conj().T
        assert np.allclose(model.density_matrix(state), expected, rtol=0, atol=1e-11)


@settings(max_examples=20, deadline=None)
@given(left=seeds, right=seeds, turn=seeds, gate_fidelity=st.floats(0.0, 1.0))
def test_a_turn_of_one_inner_qubit_is_the_conjugate_turn_of_the_other(
    model, left, right, turn, gate_fidelity
):
    """<Phi+| (U (x) U*) = <Phi+|, and depolarising noise has no axis."""
    node = NodeHardware(memory=STILL, gate_fidelity=gate_fidelity)
    generator = np.random.default_rng(turn)
    unitary, _ = np.linalg.qr(generator.normal(size=(2, 2)) + 1j * generator.normal(size=(2, 2)))
    inner, mirrored = np.kron(np.eye(2), unitary), np.kron(unitary.conj(), np.eye(2))
    a, b = random_matrix(left), random_matrix(right)
    plain = model.swap(model.from_density_matrix(a), model.from_density_matrix(b), node, 0.0, 0).state
    a, b = inner @ a @ inner.conj().T, mirrored @ b @ mirrored.conj().T
    turned = model.swap(model.from_density_matrix(a), model.from_density_matrix(b), node, 0.0, 0).state
    assert np.allclose(model.density_matrix(plain), model.density_matrix(turned), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("kind", "mean"), [("complete", 1.0), ("linear-optics", 0.5), ("boosted", 0.75)])
@pytest.mark.parametrize("weights", [(0.25,) * 4, (0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3), (0.6, 0.25, 0.1, 0.05)])
@pytest.mark.parametrize("coin", [1.0, 0.4])
def test_unbiased_pairs_succeed_at_the_named_rate(model, kind, mean, weights, coin):
    """Exactly 1/2 (Calsamiglia and Luetkenhaus 2001) and 3/4 (Grice 2011) for Bell-diagonal pairs.

    Noise does not shift it: half of all readings report either parity.
    """
    pair = model.from_density_matrix(states.bell_diagonal(weights))
    node = NodeHardware(
        memory=STILL,
        swap_success_probability=coin,
        gate_fidelity=0.93,
        readout_fidelity=0.96,
        bell_measurement=kind,
    )
    assert node.mean_swap_success_probability == coin * mean
    assert model.swap(pair, pair, node, coin * mean - 1e-11).success
    assert mean == 1.0 == coin or not model.swap(pair, pair, node, coin * mean).success


@pytest.mark.parametrize("waits_s", [(0.3, 0.3), (0.0, 2.0), (5.0, 1.0)])
@pytest.mark.parametrize(("gate", "readout"), [(1.0, 1.0), (0.95, 0.9)])
def test_relaxed_pairs_hide_from_linear_optics(model, waits_s, gate, readout):
    """The closed form of its success: Psi+ and Psi- are the odd parity of the inner qubits' Z.

    The pairs are independent, so P(odd) = (1 - g (2m-1) z_B z_C)/2, and an inner qubit of Phi+ that relaxes
    for t has z = 1 - e^(-t/T1). Below 1/2, then, for all but fresh pairs; boosted it is 1/2 + P(odd)/2.
    """
    memory = RelaxingMemory(relaxation_s=1.0, dephasing_s=0.8)
    fresh = model.from_density_matrix(states.bell_state(0))
    pairs = model.age(fresh, None, memory, waits_s[0]), model.age(fresh, memory, None, waits_s[1])
    inner = [1.0 - math.exp(-wait_s) for wait_s in waits_s]
    odd = 0.5 * (1.0 - gate * (2 * readout - 1) * inner[0] * inner[1])
    closed = {"linear-optics": odd, "boosted": 0.5 + 0.5 * odd}
    for kind, expected in closed.items():
        node = NodeHardware(
            memory=memory, gate_fidelity=gate, readout_fidelity=readout, bell_measurement=kind
        )
        assert success_probability(model, *pairs, node) == pytest.approx(expected, abs=2e-12)
    assert (odd < 0.5) == (min(waits_s) > 0.0)


def test_a_coin_is_linear_optics_only_for_unbiased_pairs(model):
    """A complete measurement that fails every second time has the same mean; relaxation parts the two.

    Two pairs with both inner qubits in |0> never give Psi, and the coin does not notice.
    """
    coin = NodeHardware(memory=STILL, swap_success_probability=0.5)
    optics = node_of["linear-optics"]
    assert coin.mean_swap_success_probability == optics.mean_swap_success_probability == 0.5
    memory = RelaxingMemory(relaxation_s=1.0, dephasing_s=1.0)
    fresh = model.from_density_matrix(states.werner(0.95))
    worn = model.age(fresh, memory, memory, 1.0)
    for pair, rate in ((fresh, 0.5), (worn, 0.5 * (1.0 - (1.0 - math.exp(-1.0)) ** 2))):
        assert success_probability(model, pair, pair, coin) == pytest.approx(0.5, abs=2e-12)
        assert success_probability(model, pair, pair, optics) == pytest.approx(rate, abs=2e-12)
    ground = model.from_density_matrix(np.diag([1.0, 0.0, 0.0, 0.0]).astype(complex))
    assert model.swap(ground, ground, coin, 0.49).success
    assert not model.swap(ground, ground, optics, 0.0).success
