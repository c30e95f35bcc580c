"""The operators and tables of the fast model, computed with NumPy, against the same ones from QuTiP."""

from __future__ import annotations

import numpy as np
import pytest
import qutip

from physics.hardware import HERALDED_FRACTIONS, DepolarisingMemory, NodeHardware
from physics.interface import PROTOCOLS
from physics.models import compilation
from physics.qubits import channels, operators, states
from tests.helpers import qutip_operators

MEMORY = DepolarisingMemory(depolarising_s=1.0)
# As scenarios state them: with so few decimals, tables rounded to 15 are the same whatever adds the products.
STATED = [(0.0, 1.0), (0.3, 0.5), (0.98, 0.99), (0.995, 0.9999), (1.0, 1.0)]
DRAWN = [tuple(pair) for pair in 1.0 - 0.2 * np.random.default_rng(3).random((3, 2))]
every_fidelity = pytest.mark.parametrize(("gate_fidelity", "readout_fidelity"), STATED + DRAWN)


def node(gate_fidelity, readout_fidelity, bell_measurement="complete"):
    return NodeHardware(
        memory=MEMORY,
        gate_fidelity=gate_fidelity,
        readout_fidelity=readout_fidelity,
        bell_measurement=bell_measurement,
    )


def assert_same(ours, theirs, fidelities):
    """The same bits for stated fidelities; for drawn ones at most one unit of the last decimal apart."""
    assert ours.shape == theirs.shape
    if fidelities in STATED:
        assert ours.tobytes() == theirs.tobytes()
    else:
        assert np.abs(ours - theirs).max() < 1.1e-15


def test_every_gate_is_that_of_qutip():
    paulis = (qutip.qeye(2), qutip.sigmax(), qutip.sigmay(), qutip.sigmaz())
    pairs = [
        *zip(states.PAULIS, paulis, strict=True),
        *zip(states.PAULIS, channels.PAULIS, strict=True),
        *zip(operators.PROJECTORS, channels.PROJECTORS, strict=True),
        *zip(operators.CORRECTIONS, channels.CORRECTIONS, strict=True),
        (operators.HADAMARD, channels.HADAMARD),
        (operators.CONTROLLED_NOT, channels.controlled_not(control=0, target=1, count=2)),
        *(
            (operators.rotation_before(protocol, sign=sign), channels.rotation_before(protocol, sign=sign))
            for protocol in PROTOCOLS
            for sign in (1, -1)
        ),
    ]
    for ours, theirs in pairs:
        assert np.array_equal(ours, theirs.full())


@pytest.mark.parametrize("gate_fidelity", [0.0, 0.3, 0.987, 1.0])
def test_gate_noise_is_that_of_qutip(gate_fidelity):
    theirs = qutip_operators.gate_noise_kraus(gate_fidelity)
    for ours, operator in zip(operators.gate_noise_kraus(gate_fidelity), theirs, strict=True):
        assert np.array_equal(ours, operator.full())


@pytest.mark.parametrize("gate_fidelity", [0.0, 0.3, 1.0])
def test_gate_noise_keeps_the_trace(gate_fidelity):
    kraus = operators.gate_noise_kraus(gate_fidelity)
    total = sum(operator.conj().T @ operator for operator in kraus)
    assert np.allclose(total, np.eye(4), rtol=0, atol=1e-15)


@pytest.mark.parametrize("gate_fidelity", [0.0, 0.9, 1.0])
def test_gate_noise_is_g_rho_and_the_rest_mixed(gate_fidelity):
    matrix = states.random_state(np.random.default_rng(4))
    noisy = operators.apply(operators.gate_noise_kraus(gate_fidelity), matrix)
    expected = gate_fidelity * matrix + (1 - gate_fidelity) * np.eye(4) / 4
    assert np.allclose(noisy, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("bell_measurement", HERALDED_FRACTIONS)
@every_fidelity
def test_swap_tables_are_those_of_qutip(gate_fidelity, readout_fidelity, bell_measurement):
    ours = compilation.swap_tables(node(gate_fidelity, readout_fidelity, bell_measurement))
    theirs = qutip_operators.swap_tables(gate_fidelity, readout_fidelity, bell_measurement)
    assert_same(ours, theirs, (gate_fidelity, readout_fidelity))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@every_fidelity
def test_distillation_tables_are_those_of_qutip(gate_fidelity, readout_fidelity, protocol, sign):
    ours = compilation.distillation_tables(node(gate_fidelity, readout_fidelity), protocol, sign=sign)
    theirs = qutip_operators.distillation_tables(gate_fidelity, readout_fidelity, protocol, sign=sign)
    assert_same(ours, theirs, (gate_fidelity, readout_fidelity))


def test_correction_signs_are_those_of_qutip():
    transfers = [qutip_operators.transfer_matrix((operator,)) for operator in channels.CORRECTIONS]
    assert np.array_equal(compilation.correction_signs(), [matrix.diagonal() for matrix in transfers])
