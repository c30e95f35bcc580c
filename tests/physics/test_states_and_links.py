"""States, their two forms and their checks; links from fibre."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physics import links, states
from physics.hardware import DepolarisingMemory, NodeHardware, RelaxingMemory, SourceLink

random_seeds = st.integers(0, 2**32 - 1)


def some_state(seed):
    return states.random_state(np.random.default_rng(seed))


@given(seed=random_seeds)
def test_table_and_matrix_are_inverses(seed):
    matrix = some_state(seed)
    table = states.pauli_table(matrix)
    assert table[0, 0] == pytest.approx(1.0, abs=1e-14)
    assert np.allclose(states.from_pauli_table(table), matrix, atol=1e-15)


@given(seed=random_seeds)
def test_random_states_are_full_rank_states(seed):
    matrix = states.checked_density_matrix(some_state(seed))
    assert np.linalg.eigvalsh(matrix)[0] > 0.0
    assert some_state(seed).tobytes() == matrix.tobytes()


def test_tables_of_bell_states():
    """Phi+ has XX = 1, YY = -1, ZZ = 1; a Pauli on the second qubit flips the signs it anticommutes with."""
    signs = [(1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, -1)]
    for index, diagonal in enumerate(signs):
        assert np.allclose(states.pauli_table(states.bell_state(index)), np.diag([1, *diagonal]), atol=1e-15)


def test_rows_are_the_first_qubit():
    """|0> first and |+> second: only Z on rows and X on columns."""
    matrix = np.kron(np.diag([1.0, 0.0]), np.full((2, 2), 0.5)).astype(complex)
    table = states.pauli_table(matrix)
    expected = np.zeros((4, 4))
    expected[np.ix_([0, 3], [0, 1])] = 1.0
    assert np.allclose(table, expected)
    assert np.allclose(states.pauli_table(states.exchange_ends(matrix)), expected.T)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (2 * states.bell_state(0), "trace 2; it must be 1"),
        (np.diag([0.6, 0.6, -0.1, -0.1]), "eigenvalue -0.1; it must be positive"),
        (np.eye(2) / 2, r"shape \(2, 2\); it must be \(4, 4\)"),
        (np.full((4, 4), np.nan), "not finite"),
        (states.bell_state(0) + np.triu(np.full((4, 4), 0.1), 1), "differs from its adjoint by 0.1"),
    ],
)
def test_wrong_matrices_are_named(model, matrix, message):
    with pytest.raises(ValueError, match=message):
        states.checked_density_matrix(matrix)
    with pytest.raises(ValueError, match=message):
        model.from_density_matrix(matrix)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"fidelity is 1\.2; it must be between 0 and 1"):
        states.werner(1.2)
    with pytest.raises(ValueError, match="index is 4; it must be 0, 1, 2 or 3"):
        states.bell_state(4)
    for weights in ((0.5, 0.5), (0.5, 0.6, -0.1, 0.0), (0.5, 0.2, 0.1, 0.1)):
        with pytest.raises(ValueError, match="four numbers of 0 or more that sum to 1"):
            states.bell_diagonal(weights)


@pytest.mark.parametrize(("length_km", "loss"), [(10, 0.36904265552), (1, 0.0450074), (50, 0.9)])
def test_fibre_loss(length_km, loss):
    """0.2 dB/km; 0.36904265552 is SeQUeNCe's test value, 0.0450074 the constant QuISP uses per km."""
    arriving = links.transmissivity(length_km, loss_db_per_km=0.2)
    assert 1.0 - arriving == pytest.approx(loss, abs=1e-7)


def test_losses_compose():
    """Two independent losses of one half leave a quarter; 0.2 dB/km is 1/e over 21.7147 km."""
    half_db = 10 * math.log10(2)
    assert links.transmissivity(1.0, loss_db_per_km=half_db, fixed_loss_db=half_db) == pytest.approx(0.25)
    assert links.transmissivity(21.714724, loss_db_per_km=0.2) == pytest.approx(math.exp(-1), abs=1e-8)


def test_light_takes_50_us_through_10_km():
    assert links.light_time_s(10.0) == pytest.approx(50e-6, rel=1e-15)


def test_compiled_link(model):
    """2.6 dB + 0.24 dB/km x 31 km = 10.04 dB, then an efficiency of one half."""
    compiled = model.link(SourceLink(efficiency=0.5, fresh_fidelity=0.97), 31.0)
    assert compiled.success_probability == pytest.approx(0.5 * 10**-1.004, rel=1e-14)
    assert compiled.attempt_period_s == pytest.approx(310e-6, rel=1e-14)
    assert np.allclose(model.density_matrix(compiled.fresh), states.werner(0.97), atol=1e-15)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: links.compile_link(SourceLink(), -1.0), "length_km is -1.0"),
        (lambda: links.compile_link(SourceLink(), math.nan), "length_km is nan"),
        (lambda: SourceLink(fresh_fidelity=0.2), r"fresh_fidelity is 0.2.*\[1/4, 1\]"),
        (lambda: SourceLink(efficiency=1.5), "efficiency is 1.5.*above 0 and at most 1"),
        (lambda: DepolarisingMemory(depolarising_s=0.0), "depolarising_s is 0.0"),
        (lambda: RelaxingMemory(relaxation_s=1.0, dephasing_s=2.1), "at most 2 relaxation_s = 2"),
        (lambda: NodeHardware(memory=None, gate_fidelity=-0.1), "gate_fidelity is -0.1"),
        (lambda: links.transmissivity(-1.0, loss_db_per_km=0.2), "length_km is -1.0"),
    ],
)
def test_wrong_hardware_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
