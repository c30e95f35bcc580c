"""Bad input: an error when a value is built or first used that names it, its value and what is allowed."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest

from physics import hardware
from physics.hardware import DepolarisingMemory, Detector, Fibre, NodeHardware, RelaxingMemory
from physics.interface import PROTOCOLS
from physics.qubits import channels, states

NAN, INFINITE = math.nan, math.inf
MEMORY = DepolarisingMemory(depolarising_s=1.0)
NODE = NodeHardware(memory=MEMORY)

LIFETIME = ((0.0, -1.0, -INFINITE, NAN), "above 0 (inf: no decay)")
AMOUNT = ((-1.0, -1e-12, INFINITE, NAN), "0 or more, and finite")
PROBABILITY = ((-0.1, 1.1, INFINITE, NAN), "between 0 and 1")
MEASUREMENTS = "one of ('complete', 'linear-optics', 'boosted')"

REFUSED = {
    (DepolarisingMemory, "depolarising_s"): LIFETIME,
    (DepolarisingMemory, "coherence_attempts"): LIFETIME,
    (RelaxingMemory, "relaxation_s"): LIFETIME,
    (RelaxingMemory, "dephasing_s"): LIFETIME,
    (RelaxingMemory, "coherence_attempts"): LIFETIME,
    (Fibre, "fixed_loss_db"): AMOUNT,
    (Fibre, "loss_db_per_km"): AMOUNT,
    (Detector, "efficiency"): PROBABILITY,
    (Detector, "dark_count_rate_hz"): AMOUNT,
    (Detector, "window_s"): AMOUNT,
    (NodeHardware, "swap_success_probability"): PROBABILITY,
    (NodeHardware, "gate_fidelity"): PROBABILITY,
    (NodeHardware, "readout_fidelity"): PROBABILITY,
    (NodeHardware, "bell_measurement"): (("", "Complete", "partial", None, NAN), MEASUREMENTS),
}
RIGHT = {
    DepolarisingMemory: {"depolarising_s": 1.0},
    RelaxingMemory: {"relaxation_s": 1.0, "dephasing_s": 1.0},
    Fibre: {},
    Detector: {},
    NodeHardware: {"memory": MEMORY},
}
TYPED = {"kind", "memory", "number_resolving"}
"""Fields whose type is all there is to check: scenario files check types when they are read."""


def test_every_field_of_every_part_is_in_the_table():
    """Links have tests of their own."""
    parts = {
        kind
        for kind in vars(hardware).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and not kind.__name__.endswith("Link")
    }
    assert parts == set(RIGHT)
    numbers = {(kind, f.name) for kind in parts for f in dataclasses.fields(kind) if f.name not in TYPED}
    assert numbers == set(REFUSED)


@pytest.mark.parametrize(
    ("kind", "name", "value", "allowed"),
    [(*field, value, allowed) for field, (values, allowed) in REFUSED.items() for value in values],
)
def test_wrong_hardware_is_refused_when_it_is_built(kind, name, value, allowed):
    with pytest.raises(ValueError, match=re.escape(f"{name} is {value!r}; it must be {allowed}")):
        kind(**{**RIGHT[kind], name: value})


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_hardware_cannot_be_changed_into_something_wrong(kind):
    part = kind(**RIGHT[kind])
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, name, -1.0)


@pytest.mark.parametrize(("relaxation_s", "dephasing_s"), [(1.0, 2.0000001), (0.5, INFINITE), (1e-3, 1.0)])
def test_dephasing_slower_than_relaxation_allows_is_refused(relaxation_s, dephasing_s):
    """T2 <= 2 T1, and T2 = 2 T1 itself is fine."""
    allowed = f"dephasing_s is {dephasing_s!r}; it must be at most 2 relaxation_s = {2 * relaxation_s:g}"
    with pytest.raises(ValueError, match=re.escape(allowed)):
        RelaxingMemory(relaxation_s=relaxation_s, dephasing_s=dephasing_s)
    assert RelaxingMemory(relaxation_s=relaxation_s, dephasing_s=2 * relaxation_s).kind == "relaxing"


@pytest.mark.parametrize("duration_s", [-1.0, -1e-300, NAN, INFINITE, -INFINITE])
def test_wrong_durations_are_named(model, duration_s):
    state = model.from_density_matrix(states.werner(0.9))
    expected = re.escape(f"duration_s is {duration_s!r}; it must be 0 or more, and finite")
    for memory, attempts in ((MEMORY, (0.0, 0.0)), (None, (1.0, 1.0))):
        with pytest.raises(ValueError, match=expected):
            model.age(state, memory, None, duration_s, attempts)
        with pytest.raises(ValueError, match=expected):
            model.age(state, memory, None, duration_s)


@pytest.mark.parametrize(
    "attempts",
    [(-1.0, 0.0), (0.0, -1.0), (NAN, 0.0), (0.0, NAN), (INFINITE, 0.0), (1.0,), (1.0, 1.0, 1.0), ()],
)
@pytest.mark.parametrize("duration_s", [0.0, 0.1])
def test_wrong_attempts_are_named(model, attempts, duration_s):
    """Also where no memory would have noticed them."""
    state = model.from_density_matrix(states.werner(0.9))
    expected = re.escape(f"attempts are {attempts!r}; they must be two numbers of 0 or more, and finite")
    for memory in (MEMORY, None):
        with pytest.raises(ValueError, match=expected):
            model.age(state, memory, None, duration_s, attempts)


@pytest.mark.parametrize(("name", "value"), [("duration_s", -1.0), ("duration_s", NAN), ("attempts", -2.0)])
def test_wrong_kraus_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=re.escape(f"{name} is {value!r}; it must be 0 or more")):
        channels.memory_kraus(MEMORY, **{"duration_s": 0.0, "attempts": 0.0, name: value})


@pytest.mark.parametrize("u", [-1e-9, 1.0, 2.0, NAN, INFINITE])
def test_what_is_no_uniform_is_named(model, u):
    """NaN compares false, and would otherwise be a silent failure of every swap and distillation."""
    pair = model.from_density_matrix(states.werner(0.9))
    expected = re.escape(f"u is {u!r}; it must be 0 or more and below 1")
    with pytest.raises(ValueError, match=expected):
        model.swap(pair, pair, NODE, u)
    for protocol in PROTOCOLS:
        with pytest.raises(ValueError, match=expected):
            model.distil(pair, pair, NODE, NODE, protocol, u)


@pytest.mark.parametrize("outcome", [-1, 4, 0.5, "Phi+"])
def test_outcomes_that_do_not_exist_are_named(model, outcome):
    pair = model.from_density_matrix(states.werner(0.9))
    with pytest.raises(ValueError, match=re.escape(f"outcome is {outcome!r}; it must be 0, 1, 2 or 3")):
        model.swap(pair, pair, NODE, 0.0, outcome)


@pytest.mark.parametrize("outcome", [2, 3])
def test_outcomes_that_cannot_be_are_refused(model, outcome):
    """Two inner qubits in |0> have even parity: Psi+ and Psi- have probability 0."""
    ground = model.from_density_matrix(np.diag([1.0, 0.0, 0.0, 0.0]).astype(complex))
    with pytest.raises(ValueError, match=f"outcome {outcome} has probability .* here; it cannot be forced"):
        model.swap(ground, ground, NODE, 0.0, outcome)


@pytest.mark.parametrize("protocol", ["", "BBPSSW", "epl", None])
def test_protocols_that_do_not_exist_are_named(model, protocol):
    pair = model.from_density_matrix(states.werner(0.9))
    with pytest.raises(
        ValueError, match=re.escape(f"protocol is {protocol!r}; it must be 'bbpssw' or 'dejmps'")
    ):
        model.distil(pair, pair, NODE, NODE, protocol, 0.0)


def matrix_with(row, column, value):
    matrix = np.array(states.werner(0.9))
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (matrix_with(0, 0, NAN), "not finite"),
        (matrix_with(2, 1, INFINITE), "not finite"),
        (matrix_with(1, 2, complex(0.0, NAN)), "not finite"),
        (matrix_with(0, 3, 0.1), "differs from its adjoint by"),
        (matrix_with(0, 0, 0.6), "trace"),
        (np.diag([0.5, 0.5, 0.1, -0.1]), "eigenvalue -0.1; it must be positive"),
        (np.diag([0.5, 0.5]), r"shape \(2, 2\); it must be \(4, 4\)"),
        (states.bell_state(0).ravel(), r"shape \(16,\); it must be \(4, 4\)"),
    ],
)
def test_what_is_no_state_is_refused(model, matrix, message):
    with pytest.raises(ValueError, match=message):
        model.from_density_matrix(matrix)


@pytest.mark.parametrize("fidelity", [-0.1, 1.1, NAN, INFINITE])
def test_fidelities_that_do_not_exist_are_named(fidelity):
    with pytest.raises(ValueError, match=f"fidelity is {fidelity!r}; it must be between 0 and 1"):
        states.werner(fidelity)
