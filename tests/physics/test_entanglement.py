"""Figures of arbitrary states: closed forms, QuTiP's own functions, direct maximisation, laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import qutip
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from physics.figures_of_merit import entanglement, werner_figures
from physics.qubits import states

PAIR = [[2, 2], [2, 2]]
FIGURES = (
    entanglement.fidelity,
    entanglement.bell_weights,
    entanglement.error_rates,
    entanglement.concurrence,
    entanglement.negativity,
    entanglement.logarithmic_negativity,
    entanglement.hashing_bound,
    entanglement.bbm92_key_fraction,
    entanglement.six_state_key_fraction,
    entanglement.teleportation_fidelity,
    entanglement.chsh_value,
)
INVARIANT = (
    entanglement.concurrence,
    entanglement.negativity,
    entanglement.hashing_bound,
    entanglement.chsh_value,
)
"""Those that no local unitary changes, and that no local depolarising raises."""

fidelities = st.floats(0.0, 1.0)
seeds = st.integers(0, 2**32 - 1)
weights = st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4).map(lambda w: np.array(w) / sum(w))
angles = st.floats(0.0, math.pi / 4)


def random_state(seed):
    """A random state, pulled towards a Bell state by a random amount so that most are entangled."""
    generator = np.random.default_rng(seed)
    share = generator.uniform()
    return share * states.bell_state(seed % 4) + (1.0 - share) * states.random_state(generator)


def as_qobj(matrix):
    return qutip.Qobj(matrix, dims=PAIR)


def bits(probabilities):
    return -sum(p * math.log2(p) for p in probabilities if p > 0.0)


# Closed forms


@given(fidelity=fidelities)
def test_werner_states(fidelity):
    """Item 31 and Wootters 1998, Vidal and Werner 2002, Horodecki 1995, all with w = (4F-1)/3."""
    matrix, weight = states.werner(fidelity), werner_figures.werner_weight(fidelity)
    excess = max(0.0, fidelity - 0.5)
    assert entanglement.fidelity(matrix) == pytest.approx(fidelity, abs=1e-12)
    assert entanglement.concurrence(matrix) == pytest.approx(2.0 * excess, abs=1e-12)
    assert entanglement.negativity(matrix) == pytest.approx(excess, abs=1e-12)
    assert entanglement.logarithmic_negativity(matrix) == pytest.approx(math.log2(1 + 2 * excess), abs=1e-12)
    assert entanglement.chsh_value(matrix) == pytest.approx(2.0 * math.sqrt(2.0) * abs(weight), abs=1e-12)
    assert entanglement.teleportation_fidelity(matrix) == pytest.approx((2 * fidelity + 1) / 3, abs=1e-12)


@given(fidelity=fidelities)
def test_of_a_werner_state_numbers_and_matrices_say_the_same(fidelity):
    matrix = states.werner(fidelity)
    for name in ("hashing_bound", "six_state_key_fraction", "teleportation_fidelity"):
        of_number = getattr(werner_figures, name)(fidelity)
        assert getattr(entanglement, name)(matrix) == pytest.approx(of_number, abs=1e-11)
    assert entanglement.bbm92_key_fraction(matrix) == pytest.approx(
        werner_figures.key_fraction(fidelity), abs=1e-11
    )


@given(weights=weights)
def test_bell_diagonal_states(weights):
    """Largest weight l: C = max(0, 2l-1), N = C/2; <XX> = p0-p1+p2-p3, <YY> and <ZZ> alike."""
    matrix = states.bell_diagonal(weights)
    excess = max(0.0, 2.0 * max(weights) - 1.0)
    p0, p1, p2, p3 = weights
    squares = sorted(((p0 - p1 + p2 - p3) ** 2, (p1 - p0 + p2 - p3) ** 2, (p0 + p1 - p2 - p3) ** 2))
    assert np.allclose(entanglement.bell_weights(matrix), weights, atol=1e-14)
    assert entanglement.concurrence(matrix) == pytest.approx(excess, abs=1e-12)
    assert entanglement.negativity(matrix) == pytest.approx(excess / 2, abs=1e-12)
    assert entanglement.chsh_value(matrix) == pytest.approx(2 * math.sqrt(squares[1] + squares[2]), abs=1e-12)
    assert entanglement.error_rates(matrix) == pytest.approx((p2 + p3, p1 + p3, p1 + p2), abs=1e-12)
    hashing = max(0.0, 1.0 - bits(weights))
    assert entanglement.hashing_bound(matrix) == pytest.approx(hashing, abs=1e-11)
    assert entanglement.six_state_key_fraction(matrix) == pytest.approx(hashing, abs=1e-11)
    bbm92 = max(0.0, 1.0 - bits((p2 + p3, p0 + p1)) - bits((p1 + p3, p0 + p2)))
    assert entanglement.bbm92_key_fraction(matrix) == pytest.approx(bbm92, abs=1e-11)


@given(angle=angles)
def test_pure_states(angle):
    """cos|00> + sin|11>, s = sin of twice the angle: C = s, N = s/2, CHSH 2 sqrt(1+s^2) (Gisin 1991),
    and all of the entropy of one end can be distilled (Bennett et al. 1996, Phys. Rev. A 53, 2046)."""
    vector = np.array([math.cos(angle), 0.0, 0.0, math.sin(angle)])
    matrix, s = np.outer(vector, vector), math.sin(2.0 * angle)
    entropy = bits((math.cos(angle) ** 2, math.sin(angle) ** 2))
    assert entanglement.concurrence(matrix) == pytest.approx(s, abs=1e-12)
    assert entanglement.negativity(matrix) == pytest.approx(s / 2, abs=1e-12)
    assert entanglement.chsh_value(matrix) == pytest.approx(2.0 * math.sqrt(1.0 + s * s), abs=1e-12)
    assert entanglement.hashing_bound(matrix) == pytest.approx(entropy, abs=1e-11)
    assert entanglement.fidelity(matrix) == pytest.approx((1.0 + s) / 2.0, abs=1e-12)
    assert entanglement.error_rates(matrix) == pytest.approx((0.0, (1 - s) / 2, (1 - s) / 2), abs=1e-12)


def test_hashing_takes_the_better_direction():
    """A Bell pair whose first end is reset to |0> with probability 0.3: S(A) - S(AB) < 0 < S(B) - S(AB)."""
    reset = np.kron(np.diag([1.0, 0.0]), np.eye(2) / 2)
    matrix = 0.7 * states.bell_state(0) + 0.3 * reset
    flipped = states.exchange_ends(matrix)
    assert entanglement.hashing_bound(matrix) == pytest.approx(entanglement.hashing_bound(flipped), abs=1e-12)
    rho = as_qobj(matrix)
    surplus = [qutip.entropy_vn(rho.ptrace(end), 2) - qutip.entropy_vn(rho, 2) for end in (0, 1)]
    assert surplus[0] < 0.0 < surplus[1]
    assert entanglement.hashing_bound(matrix) == pytest.approx(surplus[1], abs=1e-10)


# Another implementation


@given(seed=seeds)
def test_qutip_agrees(seed):
    """qutip.concurrence takes square roots of eigenvalues near 0, hence its wider tolerance."""
    matrix = random_state(seed)
    rho = as_qobj(matrix)
    whole, first, second = (qutip.entropy_vn(part, 2) for part in (rho, rho.ptrace(0), rho.ptrace(1)))
    squared = qutip.fidelity(rho, as_qobj(states.bell_state(0))) ** 2
    assert entanglement.concurrence(matrix) == pytest.approx(qutip.concurrence(rho), abs=1e-7)
    assert entanglement.negativity(matrix) == pytest.approx(qutip.negativity(rho, 0), abs=1e-11)
    logarithmic = qutip.negativity(rho, 0, logarithmic=True)
    assert entanglement.logarithmic_negativity(matrix) == pytest.approx(logarithmic, abs=1e-11)
    assert entanglement.hashing_bound(matrix) == pytest.approx(
        max(0, first - whole, second - whole), abs=1e-9
    )
    assert entanglement.fidelity(matrix) == pytest.approx(squared, abs=1e-7)


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("seed", range(6))
def test_chsh_is_what_a_search_over_measurements_finds(seed):
    """Two directions at either end, eight angles, ten starts; the sum of four literal expectation values."""
    matrix = random_state(seed)

    def observable(polar, azimuth):
        x, y, z = states.PAULIS[1:]
        flat = math.sin(polar) * (math.cos(azimuth) * x + math.sin(azimuth) * y)
        return flat + math.cos(polar) * z

    def loss(settings):
        a, b, c, d = (observable(*settings[i : i + 2]) for i in (0, 2, 4, 6))
        operator = np.kron(a, c + d) + np.kron(b, c - d)
        return -float(np.trace(matrix @ operator).real)

    generator = np.random.default_rng(100 + seed)
    starts = generator.uniform(0.0, 2.0 * math.pi, size=(10, 8))
    found = max(-minimize(loss, start, method="BFGS").fun for start in starts)
    assert found == pytest.approx(entanglement.chsh_value(matrix), abs=1e-8)


# Thresholds


def test_thresholds_of_werner_states():
    def fidelity_where(figure, above):
        return brentq(lambda f: figure(states.werner(f)) - above, 0.3, 0.99, xtol=1e-12)

    tiny = 1e-11
    assert fidelity_where(entanglement.concurrence, tiny) == pytest.approx(0.5, abs=1e-9)
    assert fidelity_where(entanglement.negativity, tiny) == pytest.approx(0.5, abs=1e-9)
    chsh = (3.0 / math.sqrt(2.0) + 1.0) / 4.0
    assert chsh == pytest.approx(0.780330, abs=5e-7)
    assert fidelity_where(entanglement.chsh_value, 2.0) == pytest.approx(chsh, abs=1e-9)
    bbm92 = fidelity_where(entanglement.bbm92_key_fraction, tiny)
    six_state = fidelity_where(entanglement.six_state_key_fraction, tiny)
    assert bbm92 == pytest.approx(0.834958, abs=5e-7)
    assert 2.0 * (1.0 - six_state) / 3.0 == pytest.approx(0.126193, abs=5e-7)


# Teleportation, literally


def teleported(rho, ket):
    """Qubit 0 holds `ket`, 1 and 2 the pair: Bell-measure 0 and 1, correct 2, mix the outcomes."""
    whole = qutip.tensor(qutip.ket2dm(ket), rho)
    corrections = (qutip.qeye(2), qutip.sigmaz(), qutip.sigmax(), qutip.sigmaz() * qutip.sigmax())
    out = 0
    for outcome, correction in enumerate(corrections):
        projector = qutip.tensor(as_qobj(states.bell_state(outcome)), qutip.qeye(2))
        out += correction * (projector * whole * projector).ptrace(2) * correction.dag()
    return out


def test_teleportation_fidelity_is_the_mean_over_inputs():
    """Exactly over the six poles of the sphere, a 2-design; and over 300 random inputs, false alarm 1e-5."""
    matrix = random_state(11)
    rho = as_qobj(matrix)
    expected = entanglement.teleportation_fidelity(matrix)
    poles = [
        state
        for pauli in (qutip.sigmax(), qutip.sigmay(), qutip.sigmaz())
        for state in pauli.eigenstates()[1]
    ]
    exact = np.mean([qutip.expect(teleported(rho, ket), ket) for ket in poles])
    assert exact == pytest.approx(expected, abs=1e-12)
    generator = np.random.default_rng(5)
    drawn = [qutip.rand_ket(2, seed=generator) for _ in range(300)]
    scores = [qutip.expect(teleported(rho, ket), ket) for ket in drawn]
    assert np.mean(scores) == pytest.approx(expected, abs=4.417 * np.std(scores) / math.sqrt(300))


# Laws


@given(seed=seeds)
def test_local_unitaries_change_nothing(seed):
    matrix = random_state(seed)
    generator = np.random.default_rng(seed)
    turns = [qutip.rand_unitary(2, seed=generator).full() for _ in range(2)]
    both = np.kron(*turns)
    turned = both @ matrix @ both.conj().T
    for figure in INVARIANT:
        assert figure(turned) == pytest.approx(figure(matrix), abs=1e-9), figure.__name__


@given(seed=seeds, kept=st.floats(0.0, 1.0), first=st.booleans())
def test_local_depolarising_raises_nothing(seed, kept, first):
    """A local channel cannot create entanglement; a unital one cannot raise the coherent information."""
    matrix = random_state(seed)
    ends = as_qobj(matrix).ptrace(1 if first else 0).full()
    blurred = np.kron(np.eye(2) / 2, ends) if first else np.kron(ends, np.eye(2) / 2)
    noisy = kept * matrix + (1.0 - kept) * blurred
    for figure in INVARIANT:
        assert figure(noisy) <= figure(matrix) + 1e-10, figure.__name__


@given(seed=seeds)
def test_known_inequalities(seed):
    """C >= 2N >= sqrt((1-C)^2 + C^2) - (1-C) (Verstraete et al. 2001, J. Phys. A 34, 10327);
    F <= 1/2 + N and hashing <= log-negativity (Vidal and Werner 2002); CHSH <= 2 sqrt(1+C^2)
    (Verstraete and Wolf 2002, Phys. Rev. Lett. 89, 170401); keys in order."""
    matrix = random_state(seed)
    c, n = entanglement.concurrence(matrix), entanglement.negativity(matrix)
    assert math.hypot(1.0 - c, c) - (1.0 - c) - 1e-9 <= 2.0 * n <= c + 1e-9
    assert entanglement.fidelity(matrix) <= 0.5 + n + 1e-12
    assert entanglement.hashing_bound(matrix) <= entanglement.logarithmic_negativity(matrix) + 1e-10
    assert entanglement.chsh_value(matrix) <= 2.0 * math.sqrt(1.0 + c * c) + 1e-9
    bbm92, six_state = (
        f(matrix) for f in (entanglement.bbm92_key_fraction, entanglement.six_state_key_fraction)
    )
    assert bbm92 - 1e-12 <= six_state <= entanglement.hashing_bound(matrix) + 1e-10


# Bad input


@pytest.mark.parametrize("figure", FIGURES)
def test_wrong_matrices_are_named(figure):
    for wrong, sentence in (
        (np.eye(2) / 2, r"shape \(2, 2\); it must be \(4, 4\): two qubits"),
        (np.full((4, 4), math.nan), "not finite"),
        (np.eye(4), "trace 4; it must be 1"),
        (np.diag([1.5, -0.5, 0.0, 0.0]), "eigenvalue -0.5; it must be positive"),
    ):
        with pytest.raises(ValueError, match=sentence):
            figure(wrong)


def test_lists_will_do():
    assert entanglement.concurrence(states.werner(0.9).tolist()) == pytest.approx(0.8, abs=1e-12)
