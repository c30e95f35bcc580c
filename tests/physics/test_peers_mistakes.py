"""Numbers that other programs give and theory does not: computed their way, and NOT reproduced here.

Each test first arrives at the other program's number by its own rule, written out, then at theory's with our
models. Versions read: SeQUeNCe 1.0.0, mqns of June 2026, SimQN of August 2024. Six digits, 5e-7.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import qutip

from physics.hardware import DepolarisingMemory, NodeHardware, RelaxingMemory
from physics.qubits import channels, operators, states

PERFECT = NodeHardware(memory=DepolarisingMemory(depolarising_s=math.inf))
SIX_DIGITS = 5e-7


def werner_pair(model, fidelity):
    return model.from_density_matrix(states.werner(fidelity))


def bell_weights(model, state):
    matrix = model.density_matrix(state)
    return np.array([np.trace(states.bell_state(k) @ matrix).real for k in range(4)])


def test_sequence_swaps_by_a_factor_and_not_by_the_states(model):
    """0.9 x 0.9 x 0.95 = 0.7695 in its ket and density-matrix modes, whatever the states' errors are.

    Theory: 0.81 + 0.01/3 = 0.813333 (Duer et al. 1999); and pairs that share one kind of error give 0.82.
    """
    theirs = 0.9 * 0.9 * 0.95
    assert theirs == pytest.approx(0.7695, abs=1e-12)
    pair = werner_pair(model, 0.9)
    ours = model.fidelity(model.swap(pair, pair, PERFECT, 0.0, 0).state)
    assert ours == pytest.approx(0.813333, abs=SIX_DIGITS)
    alike = model.from_density_matrix(states.bell_diagonal((0.9, 0.1, 0.0, 0.0)))
    assert model.fidelity(model.swap(alike, alike, PERFECT, 0.0, 0).state) == pytest.approx(0.82, abs=1e-12)
    assert abs(ours - theirs) > 0.04


def test_simqn_swaps_bell_diagonal_pairs_with_a_wrong_term(model):
    """Its fourth weight has c d' where frames say c b'; dividing by the sum hides that it is not 1.

    Its order is Phi+, Psi+, Psi-, Phi-. (.8, .1, .05, .05) by (.7, .2, .05, .05) in ours.
    """
    one, other = (0.8, 0.1, 0.05, 0.05), (0.7, 0.2, 0.05, 0.05)
    (a, d, b, c), (a2, d2, b2, c2) = one, other
    psi_plus = a * b2 + b * a2 + c * d2 + d * c2
    psi_minus = a * c2 + b * d2 + c * a2 + d * b2
    first = a * a2 + b * b2 + c * c2 + d * d2
    theirs = np.array([first, a * d2 + b * c2 + c * d2 + d * a2, psi_plus, psi_minus])
    assert theirs.sum() == pytest.approx(1.0075, abs=1e-12)
    left, right = (model.from_density_matrix(states.bell_diagonal(weights)) for weights in (one, other))
    ours = bell_weights(model, model.swap(left, right, PERFECT, 0.0, 0).state)
    assert ours == pytest.approx((0.585, 0.235, 0.09, 0.09), abs=1e-12)
    assert ours[0] - theirs[0] / theirs.sum() > 0.004


def round_without_rotation(one, other):
    """A round of bare CNOTs on Bell-diagonal weights: Phi- is never seen, and stays Phi-."""
    (i, z, x, y), (i2, z2, x2, y2) = one, other
    new = np.array([i * i2 + z * z2, i * z2 + z * i2, x * x2 + y * y2, x * y2 + y * x2])
    return new / new.sum()


def test_mqns_simqn_and_sequence_forget_the_rotation_between_rounds(model):
    """From Werner 0.7 their fidelity FALLS: 0.735, 0.656, 0.550, 0.505; DEJMPS reaches 0.972.

    mqns and SimQN in mixed form, SeQUeNCe with is_twirled=False.
    """
    weights = np.array([0.7, 0.1, 0.1, 0.1])
    state = werner_pair(model, 0.7)
    for theirs, ours in ((0.735294, 0.735294), (0.656, 0.845946), (0.550, 0.934395), (0.505, 0.972004)):
        weights = round_without_rotation(weights, weights)
        state = model.distil(state, state, PERFECT, PERFECT, "dejmps", 0.0).state
        assert weights[0] == pytest.approx(theirs, abs=SIX_DIGITS if theirs == ours else 5e-4)
        assert model.fidelity(state) == pytest.approx(ours, abs=SIX_DIGITS)


def test_mqns_distils_a_pair_worse_than_both_it_was_made_of(model):
    """0.929080 and 0.95 give 0.918391 in its test of purification; DEJMPS gives more than either.

    Its second round sees what its first left out once more. Ours, by Deutsch et al. 1996, sees the rest.
    """
    swapped = states.werner(0.95**2 + 0.05**2 / 3)
    weights = np.array([np.trace(states.bell_state(k) @ swapped).real for k in range(4)])
    first = round_without_rotation(weights, weights)
    second = round_without_rotation(first, np.array([0.95, *[0.05 / 3] * 3]))
    assert (first[0], second[0]) == pytest.approx((0.929080, 0.9183907), abs=SIX_DIGITS)
    pair = model.from_density_matrix(swapped)
    state = model.distil(pair, pair, PERFECT, PERFECT, "dejmps", 0.0).state
    (i, z, x, y), (i2, z2, x2, y2) = bell_weights(model, state), (0.95, *[0.05 / 3] * 3)
    state = model.distil(state, werner_pair(model, 0.95), PERFECT, PERFECT, "dejmps", 0.0).state
    closed = (i * i2 + y * y2) / ((i + y) * (i2 + y2) + (z + x) * (z2 + x2))
    assert model.fidelity(state) == pytest.approx(closed, abs=1e-12)
    assert model.fidelity(state) > 0.95 > 0.929080 > second[0]


def test_sequence_counts_pauli_events_and_not_decay_in_its_coherence_time(model):
    """Its T is that of one Pauli event in all, so Bloch vectors shrink as e^(-4t/3T): 0.906380, 0.824446.

    Here `depolarising_s` is the time of the Bloch vector itself: 0.928628, 0.864048 for t = 0.1 T. The same
    physics, then, with `depolarising_s` = 3/4 of its coherence time.
    """
    pair, same_number = werner_pair(model, 1.0), DepolarisingMemory(depolarising_s=1.0)
    converted = DepolarisingMemory(depolarising_s=0.75)
    for second, theirs, ours in ((False, 0.906380, 0.928628), (True, 0.824446, 0.864048)):
        ends = 2 if second else 1
        assert (1 + 3 * math.exp(-ends * 0.4 / 3)) / 4 == pytest.approx(theirs, abs=SIX_DIGITS)
        for memory, expected in ((same_number, ours), (converted, theirs)):
            aged = model.age(pair, memory, memory if second else None, 0.1)
            assert model.fidelity(aged) == pytest.approx(expected, abs=SIX_DIGITS)


def test_mqns_dephases_more_slowly_the_more_often_it_looks(model):
    """A flip with 1 - e^(-t/T) is no semigroup: at 2T F = 0.1353 in one step, 0.5349 in two.

    One half of that, (1 - e^(-t/T))/2, is one: F = (1 + e^-2)/2 = 0.567668, however it is cut up.
    """
    whole, half = 1 - math.exp(-2.0), 1 - math.exp(-1.0)
    assert 1 - whole == pytest.approx(0.1353, abs=5e-5)
    assert (1 - half) ** 2 + half**2 == pytest.approx(0.5349, abs=5e-5)
    memory = RelaxingMemory(relaxation_s=math.inf, dephasing_s=1.0)
    pair = werner_pair(model, 1.0)
    once = model.age(pair, memory, None, 2.0)
    twice = model.age(model.age(pair, memory, None, 1.0), memory, None, 1.0)
    expected = 0.5 * (1 + math.exp(-2.0))
    assert (model.fidelity(once), model.fidelity(twice)) == pytest.approx((expected, expected), abs=1e-12)


def test_mqns_werner_class_gives_other_physics_than_its_mixed_class(model):
    """X, Y, Z with 0.1/3 each, then Z with 0.1: weights 0.813333, 0.12, 0.033333, 0.033333 (its mixed form).

    Its Werner form multiplies 0.9 x 0.9 instead: F = 0.8575. How a state is held must not change physics.
    """
    theirs = (1 + 3 * 0.9 * 0.9) / 4
    assert theirs == pytest.approx(0.8575, abs=1e-12)
    depolarising = DepolarisingMemory(depolarising_s=-1.0 / math.log(1 - 4 / 3 * 0.1))
    dephasing = RelaxingMemory(relaxation_s=math.inf, dephasing_s=-1.0 / math.log(1 - 2 * 0.1))
    state = model.age(werner_pair(model, 1.0), depolarising, None, 1.0)
    weights = bell_weights(model, model.age(state, dephasing, None, 1.0))
    assert weights == pytest.approx((0.813333, 0.12, 0.033333, 0.033333), abs=SIX_DIGITS)
    assert abs(theirs - weights[0]) > 0.04
    both = bell_weights(model, model.age(state, None, dephasing, 1.0))
    assert both == pytest.approx(weights, abs=1e-12)


def depolarised_by_paulis(probability):
    """mqns' p: X, Y and Z with p/3 each. Ours is the chance of losing the qubit: 4/3 of it."""
    return channels.depolarising_kraus(4 / 3 * probability)


def on(kraus, qubit):
    return tuple(channels.embed(operator, qubit=qubit, count=2) for operator in kraus)


def test_mqns_error_of_a_gate_and_of_a_reading_in_our_terms():
    """Gate error 0.18 on H|0> leaves 0.38 off the diagonal, reading error 0.06 is right 96 times in 100."""
    hadamard = channels.HADAMARD
    before = channels.apply(depolarised_by_paulis(0.18), channels.PROJECTORS[0])
    after = channels.apply(depolarised_by_paulis(0.18), hadamard * channels.PROJECTORS[0] * hadamard)
    for state in (hadamard * before * hadamard, after):
        expected = [[0.5, 0.38], [0.38, 0.5]]
        assert np.allclose(state.full(), expected, rtol=0, atol=1e-12)
    read = channels.apply(depolarised_by_paulis(0.06), channels.PROJECTORS[0])
    right = (channels.PROJECTORS[0] * read).tr().real
    assert right == pytest.approx(0.96, abs=1e-12)
    assert operators.confusion(right)[0, 0] == pytest.approx(1 - 2 / 3 * 0.06, abs=1e-12)


def agreement_of_a_bell_circuit(*, gate_errors_first):
    """H and CNOT on |00>, every qubit of a gate depolarised by 0.18 before or after it, readings by 0.06."""
    hadamard = channels.embed(channels.HADAMARD, qubit=0, count=2)
    gate = channels.controlled_not(control=0, target=1, count=2)
    state = qutip.tensor(channels.PROJECTORS[0], channels.PROJECTORS[0])
    for operator, qubits in ((hadamard, (0,)), (gate, (0, 1))):
        steps = [on(depolarised_by_paulis(0.18), qubit) for qubit in qubits]
        for kraus in [*steps, (operator,)] if gate_errors_first else [(operator,), *steps]:
            state = channels.apply(kraus, state)
    for qubit in (0, 1):
        state = channels.apply(on(depolarised_by_paulis(0.06), qubit), state)
    return 0.5 * (1 + qutip.expect(qutip.tensor(channels.PAULIS[3], channels.PAULIS[3]), state))


def test_mqns_bell_circuit_agrees_less_often_than_its_comment_says():
    """Its errors give 82.16 % agreement, 74.44 % when they follow the gate: not the 82.78 % of its comment.

    <ZZ> loses 1 - 4/3 x 0.06 at either reading. Of gate errors before the CNOT only the target's show in it,
    1 - 4/3 x 0.18 = 0.76; of those after it both qubits'. Flips of 0.06 at both qubits (X alone of three
    Paulis, Y forgotten) would give 82.77 %. Its test allows 67 to 97 of 100 and so tells none from another.
    """
    before = agreement_of_a_bell_circuit(gate_errors_first=True)
    after = agreement_of_a_bell_circuit(gate_errors_first=False)
    assert before == pytest.approx(0.5 * (1 + 0.76 * 0.92**2), abs=1e-12)
    assert after == pytest.approx(0.5 * (1 + 0.76**2 * 0.92**2), abs=1e-12)
    assert (before, after) == pytest.approx((0.821632, 0.744440), abs=SIX_DIGITS)
    forgotten = 0.5 * (1 + (1 - 2 * 0.06) ** 2 * 0.92**2)
    assert forgotten == pytest.approx(0.827726, abs=SIX_DIGITS)
    assert min(abs(0.8278 - before), abs(0.8278 - after)) > 0.006
