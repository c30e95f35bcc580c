"""Figures of merit against printed values, QuTiP's own concurrence, and what they mean."""

from __future__ import annotations

import numpy as np
import pytest
import qutip
from hypothesis import given
from hypothesis import strategies as st

from physics import figures, states

fidelities = st.floats(0.0, 1.0)


@given(fidelity=fidelities)
def test_weight_and_fidelity_are_inverses(fidelity):
    assert figures.fidelity_from_weight(figures.werner_weight(fidelity)) == pytest.approx(fidelity, abs=1e-14)


@given(fidelity=fidelities)
def test_weight_is_that_of_the_werner_state(fidelity):
    weight = figures.werner_weight(fidelity)
    mixture = weight * states.bell_state(0) + (1 - weight) * np.eye(4) / 4
    assert np.allclose(states.werner(fidelity), mixture, atol=1e-14)


@pytest.mark.parametrize(("fidelity", "fraction"), [(0.95, 0.578315), (0.9, 0.293281), (1.0, 1.0)])
def test_key_fraction_values(fidelity, fraction):
    """r = 1 - 2 h(2(1-F)/3), evaluated by hand to six digits."""
    assert figures.key_fraction(fidelity) == pytest.approx(fraction, abs=5e-7)


def test_key_fraction_threshold():
    """r = 0 at Q = 0.1100279, F = 0.834958: the Shor-Preskill bound of 11 per cent."""
    assert figures.key_fraction(0.834958) == pytest.approx(0.0, abs=1e-5)
    assert figures.key_fraction(0.83495) == 0.0
    assert figures.key_fraction(0.83497) > 0.0
    assert figures.key_fraction(0.0) == 0.0
    assert 1.0 - 2.0 * figures.binary_entropy(0.1100279) == pytest.approx(0.0, abs=5e-7)


def test_key_fraction_error_rate_is_that_of_measured_werner_pairs():
    """Q = 2(1-F)/3 is the probability of unequal bits in the Z basis, and in the X basis."""
    table = states.pauli_table(states.werner(0.93))
    assert 0.5 * (1 - table[3, 3]) == pytest.approx(2 * (1 - 0.93) / 3, abs=1e-14)
    assert 0.5 * (1 - table[1, 1]) == pytest.approx(2 * (1 - 0.93) / 3, abs=1e-14)


def test_teleportation_fidelity_is_the_mean_over_the_sphere():
    """Teleporting through R turns a Bloch vector by diag(R11, -R22, R33); six points do."""
    generator = np.random.default_rng(2)
    matrix = states.random_state(generator)
    table = states.pauli_table(matrix)
    mean = np.mean([0.5 * (1 + x) for x in (table[1, 1], -table[2, 2], table[3, 3])])
    fidelity = np.trace(states.bell_state(0) @ matrix).real
    assert figures.teleportation_fidelity(float(fidelity)) == pytest.approx(mean, abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
def test_concurrence_is_qutips(seed):
    matrix = states.random_state(np.random.default_rng(seed))
    theirs = qutip.concurrence(qutip.Qobj(matrix, dims=[[2, 2], [2, 2]]))
    assert figures.concurrence(matrix) == pytest.approx(theirs, abs=1e-7)


@given(fidelity=fidelities)
def test_concurrence_of_werner_states(fidelity):
    """max(0, 2F - 1) (Wootters 1998): Werner states up to F = 1/2 are separable."""
    assert figures.concurrence(states.werner(fidelity)) == pytest.approx(max(0.0, 2 * fidelity - 1), abs=1e-7)


def test_arrays_in_arrays_out():
    given_array = np.array([[0.25, 0.8], [0.9, 1.0]])
    for figure in (figures.werner_weight, figures.key_fraction, figures.teleportation_fidelity):
        result = figure(given_array)
        assert result.shape == (2, 2)
        assert result.tolist() == [[figure(float(x)) for x in row] for row in given_array]
        assert type(figure(0.9)) is float
    assert figures.key_fraction(np.array([])).shape == (0,)


def test_rounding_is_forgiven_and_nonsense_is_not():
    assert figures.key_fraction(1.0 + 4e-16) == 1.0
    for wrong in (1.1, -0.2, float("nan")):
        with pytest.raises(ValueError, match=f"fidelity is {wrong}.*between 0 and 1"):
            figures.key_fraction(wrong)
    with pytest.raises(ValueError, match=r"weight is 2\.0"):
        figures.fidelity_from_weight(np.array([0.5, 2.0]))
