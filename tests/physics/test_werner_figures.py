"""Figures of Werner pairs against printed values, other forms of the same law, and what they mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from physics.figures_of_merit import werner_figures
from physics.qubits import states

fidelities = st.floats(0.0, 1.0)


@given(fidelity=fidelities)
def test_weight_and_fidelity_are_inverses(fidelity):
    assert werner_figures.fidelity_from_weight(werner_figures.werner_weight(fidelity)) == pytest.approx(
        fidelity, abs=1e-14
    )


@given(fidelity=fidelities)
def test_weight_is_that_of_the_werner_state(fidelity):
    weight = werner_figures.werner_weight(fidelity)
    mixture = weight * states.bell_state(0) + (1 - weight) * np.eye(4) / 4
    assert np.allclose(states.werner(fidelity), mixture, atol=1e-14)


@given(fidelity=fidelities)
def test_the_unchecked_formulas_are_the_checked_ones_bit_for_bit(fidelity):
    weight = werner_figures.werner_weight(fidelity)
    assert werner_figures.werner_weight_unchecked(fidelity) == weight
    assert werner_figures.fidelity_from_weight_unchecked(weight) == werner_figures.fidelity_from_weight(
        weight
    )


@given(fidelity=fidelities)
def test_the_twirled_weight_is_that_of_the_same_fidelity(fidelity):
    _, xx, yy, zz = np.diag(states.pauli_table(states.bell_diagonal((fidelity, 1.0 - fidelity, 0.0, 0.0))))
    assert werner_figures.twirled_weight(xx, yy, zz) == pytest.approx(
        werner_figures.werner_weight(fidelity), abs=1e-14
    )


@pytest.mark.parametrize(("fidelity", "fraction"), [(0.95, 0.578315), (0.9, 0.293281), (1.0, 1.0)])
def test_key_fraction_values(fidelity, fraction):
    """r = 1 - 2 h(2(1-F)/3), evaluated by hand to six digits."""
    assert werner_figures.key_fraction(fidelity) == pytest.approx(fraction, abs=5e-7)


def test_key_fraction_threshold():
    """r = 0 at Q = 0.1100279, F = 0.834958: the Shor-Preskill bound of 11 per cent."""
    assert werner_figures.key_fraction(0.834958) == pytest.approx(0.0, abs=1e-5)
    assert werner_figures.key_fraction(0.83495) == 0.0
    assert werner_figures.key_fraction(0.83497) > 0.0
    assert werner_figures.key_fraction(0.0) == 0.0
    assert 1.0 - 2.0 * werner_figures.binary_entropy(0.1100279) == pytest.approx(0.0, abs=5e-7)


def test_key_fraction_error_rate_is_that_of_measured_werner_pairs():
    """Q = 2(1-F)/3 is the probability of unequal bits in the Z basis, and in the X basis."""
    table = states.pauli_table(states.werner(0.93))
    assert 0.5 * (1 - table[3, 3]) == pytest.approx(2 * (1 - 0.93) / 3, abs=1e-14)
    assert 0.5 * (1 - table[1, 1]) == pytest.approx(2 * (1 - 0.93) / 3, abs=1e-14)


@given(fidelity=st.floats(0.5, 1.0))
def test_six_state_key_fraction_in_terms_of_its_error_rate(fidelity):
    """r = 1 - h(Q) - Q - (1-Q) h((1-3Q/2)/(1-Q)): Scarani et al. 2009, Rev. Mod. Phys. 81, 1301."""
    error = 2.0 * (1.0 - fidelity) / 3.0
    known = error + (1.0 - error) * _entropy_bits((1.0 - 1.5 * error) / (1.0 - error))
    expected = max(0.0, 1.0 - _entropy_bits(error) - known)
    assert werner_figures.six_state_key_fraction(fidelity) == pytest.approx(expected, abs=1e-12)


def test_six_state_threshold():
    """Q = 12.6193 %: Lo 2001, Quantum Inf. Comput. 1, 81, says 12.7, later authors 12.619."""

    def surplus(error):
        # Between its threshold and nothing the fraction is 0, so the root is bracketed from above.
        return werner_figures.six_state_key_fraction(1.0 - 1.5 * error) - 1e-12

    assert brentq(surplus, 0.05, 0.2, xtol=1e-12) == pytest.approx(0.126193, abs=5e-7)


@pytest.mark.parametrize(("fidelity", "bound"), [(1.0, 1.0), (0.95, 0.634355), (0.9, 0.372508), (0.81, 0.0)])
def test_hashing_bound_values(fidelity, bound):
    """1 + F log2 F + (1-F) log2((1-F)/3) (Bennett et al. 1996), by hand to six digits."""
    assert werner_figures.hashing_bound(fidelity) == pytest.approx(bound, abs=5e-7)


@given(fidelity=fidelities)
def test_hashing_is_no_less_than_bbm92(fidelity):
    """The correlation of bit and phase errors, which BBM92 ignores, can only help."""
    assert werner_figures.hashing_bound(fidelity) >= werner_figures.key_fraction(fidelity) - 1e-12


def test_arrays_in_arrays_out():
    given_array = np.array([[0.25, 0.8], [0.9, 1.0]])
    for figure in (
        werner_figures.werner_weight,
        werner_figures.key_fraction,
        werner_figures.six_state_key_fraction,
        werner_figures.hashing_bound,
        werner_figures.teleportation_fidelity,
    ):
        result = figure(given_array)
        assert result.shape == (2, 2)
        assert result.tolist() == [[figure(float(x)) for x in row] for row in given_array]
        assert type(figure(0.9)) is float
    assert werner_figures.key_fraction(np.array([])).shape == (0,)


def test_rounding_is_forgiven_and_nonsense_is_not():
    assert werner_figures.key_fraction(1.0 + 4e-16) == 1.0
    for wrong in (1.1, -0.2, float("nan")):
        for figure in (
            werner_figures.key_fraction,
            werner_figures.hashing_bound,
            werner_figures.teleportation_fidelity,
        ):
            with pytest.raises(ValueError, match=f"fidelity is {wrong}.*between 0 and 1"):
                figure(wrong)
    with pytest.raises(ValueError, match=r"weight is 2\.0"):
        werner_figures.fidelity_from_weight(np.array([0.5, 2.0]))


def _entropy_bits(probability):
    """h(p), by the natural logarithm."""
    return -sum(p * math.log(p) for p in (probability, 1.0 - probability) if p > 0.0) / math.log(2.0)
