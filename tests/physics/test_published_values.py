"""Numbers and closed forms from the literature, and from other programs where these are right.

Bell-diagonal weights are in the order Phi+, Phi-, Psi+, Psi-. Tolerance 5e-7 where six digits are printed.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from physics.hardware import DepolarisingMemory, NodeHardware, RelaxingMemory
from physics.interface import PROTOCOLS
from physics.qubits import channels, states
from tests.helpers.qutip_operators import transfer_matrix

STILL = DepolarisingMemory(depolarising_s=math.inf)
PERFECT = NodeHardware(memory=STILL)
SIX_DIGITS = 5e-7


def werner_pair(model, fidelity):
    return model.from_density_matrix(states.werner(fidelity))


def bell_weights(model, state):
    matrix = model.density_matrix(state)
    return [np.trace(states.bell_state(k) @ matrix).real for k in range(4)]


@pytest.mark.parametrize(
    ("one", "other", "joined"), [(0.95, 0.95, 0.903333), (0.9, 0.9, 0.813333), (0.8, 0.9, 0.726667)]
)
def test_werner_swap(model, one, other, joined):
    """F = F1 F2 + (1-F1)(1-F2)/3 (Duer et al. 1999); 0.903333 is also what mqns and SimQN give."""
    for outcome in range(4):
        state = model.swap(werner_pair(model, one), werner_pair(model, other), PERFECT, 0.0, outcome).state
        assert model.fidelity(state) == pytest.approx(joined, abs=SIX_DIGITS)
        closed = one * other + (1 - one) * (1 - other) / 3
        assert model.fidelity(state) == pytest.approx(closed, abs=1e-12)


@pytest.mark.parametrize(("count", "fidelity"), [(3, 0.859778), (4, 0.819126), (8, 0.681872)])
def test_chain_of_werner_links(pauli, count, fidelity):
    """n links of F = 0.95: w = w0^n."""
    pair = joined = werner_pair(pauli, 0.95)
    for number in range(count - 1):
        joined = pauli.swap(joined, pair, PERFECT, 0.0, number % 4).state
    assert pauli.fidelity(joined) == pytest.approx(fidelity, abs=SIX_DIGITS)


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        ((0.9, 0.1, 0, 0), (0.9, 0.1, 0, 0), (0.82, 0.18, 0, 0)),
        ((0.8, 0.1, 0.05, 0.05), (0.7, 0.2, 0.05, 0.05), (0.585, 0.235, 0.09, 0.09)),
    ],
)
def test_bell_diagonal_swap(model, one, other, joined):
    """The weights convolve over Pauli frames, worked out by hand."""
    left, right = (model.from_density_matrix(states.bell_diagonal(weights)) for weights in (one, other))
    for outcome in range(4):
        state = model.swap(left, right, PERFECT, 0.0, outcome).state
        assert bell_weights(model, state) == pytest.approx(joined, abs=1e-12)


def test_every_bell_pair_of_bell_pairs_swaps_to_the_composed_frame(model):
    """16 inputs x 4 outcomes: the frame of the result is the exclusive or of the frames."""
    for one, other, outcome in product(range(4), range(4), range(4)):
        left, right = (model.from_density_matrix(states.bell_state(k)) for k in (one, other))
        state = model.swap(left, right, PERFECT, 0.0, outcome).state
        assert np.allclose(model.density_matrix(state), states.bell_state(one ^ other), atol=1e-12)


@pytest.mark.parametrize("nodes", range(3, 11))
def test_perfect_chains_stay_perfect(model, nodes):
    """<ZZ> = <XX> = 1 over chains of 3 to 10 nodes, as QuantumSavory tests it."""
    pair = joined = werner_pair(model, 1.0)
    for number in range(nodes - 2):
        joined = model.swap(joined, pair, PERFECT, 0.0, (3 * number + 1) % 4).state
    table = states.pauli_table(model.density_matrix(joined))
    assert table[3, 3] == pytest.approx(1.0, abs=1e-12)
    assert table[1, 1] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("pair", "gate", "readout", "fidelity"),
    [
        (0.95, 0.99, 1.0, 0.896800),
        (0.95, 1.0, 0.99, 0.885998),
        (0.95, 0.99, 0.99, 0.879638),
        (1.0, 0.99, 0.99, 0.972799),
    ],
)
def test_imperfect_bell_measurement(model, pair, gate, readout, fidelity):
    """CNOT depolarises with 1-g, two readouts right with m each (Duer and Briegel 2007).

    Six digits from an independent 16x16 run; and the closed form of Werner pairs: the gate leaves weight
    W = g w^2, both readings are right with m^2, so F = (1 - W)/4 + W m^2.
    """
    node = NodeHardware(memory=STILL, gate_fidelity=gate, readout_fidelity=readout)
    state = model.swap(werner_pair(model, pair), werner_pair(model, pair), node, 0.0, 2).state
    assert model.fidelity(state) == pytest.approx(fidelity, abs=SIX_DIGITS)
    weight = gate * ((4 * pair - 1) / 3) ** 2
    assert model.fidelity(state) == pytest.approx(0.25 * (1 - weight) + weight * readout**2, abs=1e-12)


def test_waiting_pairs_of_a_three_link_chain(model):
    """F0 = 0.99 born at 1, 2, 3 ms, T = 1 s, swaps at 2.5 and 3.5 ms (values of the mqns tests)."""
    memory = DepolarisingMemory(depolarising_s=1.0)
    fresh = werner_pair(model, 0.99)

    def stored(state, milliseconds):
        return model.age(state, memory, memory, milliseconds * 1e-3)

    first = model.swap(stored(fresh, 1.5), stored(fresh, 0.5), PERFECT, 0.0, 1).state
    assert model.fidelity(first) == pytest.approx(0.977219, abs=SIX_DIGITS)
    second = model.swap(stored(first, 1.0), stored(fresh, 0.5), PERFECT, 0.0, 3).state
    assert model.fidelity(second) == pytest.approx(0.965373, abs=SIX_DIGITS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("kept", "spent", "probability", "fidelity"),
    [
        (0.7, 0.7, 0.680000, 0.735294),
        (0.8, 0.8, 0.768889, 0.838150),
        (0.9, 0.9, 0.875556, 0.926396),
        (0.9033333333333333, 0.9033333333333333, 0.879417, 0.929080),
        (0.5, 0.5, 0.555556, 0.5),
        (0.9, 0.7, 0.760000, 0.833333),
    ],
)
def test_first_round_on_werner_pairs(model, protocol, kept, spent, probability, fidelity):
    """Bennett et al. 1996; the rotation of DEJMPS leaves Werner pairs alone, so its first round is BBPSSW's.

    0.7 is also SeQUeNCe's test, 0.903333 (the swap of two pairs of 0.95) that of mqns.
    """
    pairs = werner_pair(model, kept), werner_pair(model, spent)
    result = model.distil(*pairs, PERFECT, PERFECT, protocol, 0.0)
    assert result.success_probability == pytest.approx(probability, abs=SIX_DIGITS)
    assert model.fidelity(result.state) == pytest.approx(fidelity, abs=SIX_DIGITS)


def test_nested_bbpssw_from_seven_tenths(model):
    """Every round twirls again (Bennett et al. 1996), so the recurrence is in the fidelity alone."""
    state = werner_pair(model, 0.7)
    for expected in (0.735294, 0.773171, 0.811938, 0.849472):
        fidelity = model.fidelity(state)
        state = model.distil(state, state, PERFECT, PERFECT, "bbpssw", 0.0).state
        assert model.fidelity(state) == pytest.approx(expected, abs=SIX_DIGITS)
        wrong = (1 - fidelity) / 3
        closed = (fidelity**2 + wrong**2) / (fidelity**2 + 2 * fidelity * wrong + 5 * wrong**2)
        assert model.fidelity(state) == pytest.approx(closed, abs=1e-12)


def test_pumping_with_nine_tenths_ends_at_its_fixed_point(pauli):
    """Twirled pairs pumped with fresh ones of 0.9 stop at 0.943460, the root of F'(F, 0.9) = F."""
    state = fresh = werner_pair(pauli, 0.9)
    for _ in range(60):
        state = pauli.distil(state, fresh, PERFECT, PERFECT, "bbpssw", 0.0).state
    assert pauli.fidelity(state) == pytest.approx(0.943460, abs=SIX_DIGITS)
    again = pauli.distil(state, fresh, PERFECT, PERFECT, "bbpssw", 0.0).state
    assert pauli.fidelity(again) == pytest.approx(pauli.fidelity(state), abs=1e-12)


def test_nested_dejmps_from_seven_tenths(model):
    """Deutsch et al. 1996 iterated from Werner 0.7; a peer without the rotation falls to 0.656 in round 2."""
    expected = [(0.680000, 0.735294), (0.640138, 0.845946), (0.766253, 0.934395), (0.898387, 0.972004)]
    state = werner_pair(model, 0.7)
    for number, (probability, fidelity) in enumerate(expected):
        result = model.distil(state, state, PERFECT, PERFECT, "dejmps", 0.0)
        state = result.state
        assert result.success_probability == pytest.approx(probability, abs=SIX_DIGITS)
        assert model.fidelity(state) == pytest.approx(fidelity, abs=SIX_DIGITS)
        if number == 0:
            weights = (0.735294, 0.205882, 0.029412, 0.029412)
            assert bell_weights(model, state) == pytest.approx(weights, abs=SIX_DIGITS)


def test_nested_dejmps_from_nine_tenths(pauli):
    state = werner_pair(pauli, 0.9)
    for fidelity in (0.926396, 0.988764, 0.999070):
        state = pauli.distil(state, state, PERFECT, PERFECT, "dejmps", 0.0).state
        assert pauli.fidelity(state) == pytest.approx(fidelity, abs=SIX_DIGITS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("gate", "readout", "probability", "fidelity"),
    [
        (0.99, 1.0, 0.868082, 0.918643),
        (1.0, 0.99, 0.860684, 0.924460),
        (0.99, 0.99, 0.853506, 0.916597),
    ],
)
def test_noisy_first_round(model, protocol, gate, readout, probability, fidelity):
    """Werner 0.9 twice, both nodes noisy: SeQUeNCe's formula for BBPSSW."""
    node = NodeHardware(memory=STILL, gate_fidelity=gate, readout_fidelity=readout)
    pair = werner_pair(model, 0.9)
    result = model.distil(pair, pair, node, node, protocol, 0.0)
    assert result.success_probability == pytest.approx(probability, abs=SIX_DIGITS)
    assert model.fidelity(result.state) == pytest.approx(fidelity, abs=SIX_DIGITS)


def test_depolarising_storage(model):
    """T of each qubit: F = (3 w + 1)/4 with w = w0 e^(-t/T) per stored end; the limit is 1/4."""
    memory = DepolarisingMemory(depolarising_s=1.0)
    perfect, worn = werner_pair(model, 1.0), werner_pair(model, 0.9)
    assert model.fidelity(model.age(perfect, memory, None, 0.1)) == pytest.approx(0.928628, abs=SIX_DIGITS)
    assert model.fidelity(model.age(perfect, None, memory, 0.1)) == pytest.approx(0.928628, abs=SIX_DIGITS)
    assert model.fidelity(model.age(perfect, memory, memory, 0.1)) == pytest.approx(0.864048, abs=SIX_DIGITS)
    assert model.fidelity(model.age(worn, memory, memory, 0.1)) == pytest.approx(0.782175, abs=SIX_DIGITS)
    forgotten = model.density_matrix(model.age(perfect, memory, memory, 1e4))
    assert np.allclose(forgotten, np.eye(4) / 4, atol=1e-12)


def test_dephasing_storage(model):
    """Z with probability (1 - e^(-t/T2))/2; 0.0906346 at t = 10, T2 = 50 is ReQuSim's number."""
    perfect = werner_pair(model, 1.0)
    unit = RelaxingMemory(relaxation_s=math.inf, dephasing_s=1.0)
    assert model.fidelity(model.age(perfect, unit, None, 0.1)) == pytest.approx(0.952419, abs=SIX_DIGITS)
    assert model.fidelity(model.age(perfect, unit, unit, 0.1)) == pytest.approx(0.909365, abs=SIX_DIGITS)
    slow = RelaxingMemory(relaxation_s=math.inf, dephasing_s=50.0)
    weights = bell_weights(model, model.age(perfect, slow, None, 10.0))
    assert weights == pytest.approx((1 - 0.0906346, 0.0906346, 0, 0), abs=1e-7)


def test_relaxation_storage(model):
    """One end of Phi+ relaxing: populations and coherence in closed form; the limit is |0>."""
    memory = RelaxingMemory(relaxation_s=2.0, dephasing_s=1.5)
    kept, coherent = math.exp(-0.6 / 2.0), math.exp(-0.6 / 1.5)
    matrix = model.density_matrix(model.age(werner_pair(model, 1.0), None, memory, 0.6))
    expected = np.diag([0.5, 0.0, 0.5 * (1 - kept), 0.5 * kept]).astype(complex)
    expected[0, 3] = expected[3, 0] = 0.5 * coherent
    assert np.allclose(matrix, expected, atol=1e-12)
    ground = model.density_matrix(model.age(werner_pair(model, 1.0), memory, memory, 1e4))
    assert np.allclose(ground, np.diag([1, 0, 0, 0]), atol=1e-12)


def test_depolarise_then_dephase():
    """X, Y, Z each with 0.1/3, then Z with 0.1, on one half of Phi+ (mqns, mixed form)."""
    depolarise = transfer_matrix(channels.depolarising_kraus(4.0 / 3.0 * 0.1))
    dephase = transfer_matrix(channels.dephasing_kraus(0.1))
    table = states.pauli_table(states.bell_state(0)) @ (dephase @ depolarise).T
    matrix = states.from_pauli_table(table)
    weights = [np.trace(states.bell_state(k) @ matrix).real for k in range(4)]
    assert weights == pytest.approx((0.813333, 0.12, 0.033333, 0.033333), abs=SIX_DIGITS)
