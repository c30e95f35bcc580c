"""States, their two forms and their checks; memories and nodes refused at birth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physics.hardware import DepolarisingMemory, Detector, NodeHardware, RelaxingMemory
from physics.qubits import states

STILL = DepolarisingMemory(depolarising_s=float("inf"))

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
    assert np.allclose(matrix, some_state(seed), rtol=0.0, atol=1e-15)
    assert np.trace(matrix) == pytest.approx(1.0, abs=4e-16)
    assert np.array_equal(matrix, matrix.conj().T)


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


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DepolarisingMemory(depolarising_s=0.0), "depolarising_s is 0.0"),
        (lambda: RelaxingMemory(relaxation_s=1.0, dephasing_s=2.1), "at most 2 relaxation_s = 2"),
        (lambda: NodeHardware(memory=None), "memory is None; it must be a memory"),
        (
            lambda: DepolarisingMemory(depolarising_s=1.0, kind="relaxing"),
            "kind is 'relaxing'.*'depolarising'",
        ),
        (lambda: Detector(number_resolving="no"), "number_resolving is 'no'; it must be True or False"),
        (lambda: NodeHardware(memory=STILL, gate_fidelity=-0.1), "gate_fidelity is -0.1"),
    ],
)
def test_wrong_hardware_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
