"""Models by name, what they refuse, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
import types
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint

import pytest

import physics
from physics.hardware import DepolarisingMemory, NodeHardware
from physics.models.pauli import PauliModel
from physics.plugins import load
from physics.qubits import states

NODE = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))


class TunableReference(PauliModel):
    """Stands for the reference of a stranger's model; it has one parameter less."""

    name = "tunable-reference"
    reference = None

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        bias: float

    def __init__(self, parameters):
        super().__init__()
        self.parameters = parameters

    def decay_of(self, memory):
        decay = super().decay_of(memory)
        return replace(decay, per_second=decay.per_second * self.parameters.bias)


class Tunable(TunableReference):
    """Stands for a stranger's model with parameters."""

    name = "tunable"
    reference = "tunable-reference"

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        bias: float
        depth: int = 1


OFFERED = {"tunable": Tunable, "tunable-reference": TunableReference, "hollow": object, "pauli": PauliModel}


@pytest.fixture
def strangers(monkeypatch):
    module = types.ModuleType("strangers")
    for factory in OFFERED.values():
        setattr(module, factory.__name__, factory)
    monkeypatch.setitem(sys.modules, "strangers", module)
    points = {
        name: EntryPoint(name, f"strangers:{factory.__name__}", load.GROUP)
        for name, factory in OFFERED.items()
    }
    points["nameless"] = EntryPoint("nameless", "strangers:PauliModel", load.GROUP)
    monkeypatch.setattr(load, "_installed", lambda: points)


def test_names_and_models():
    assert {"pauli", "qutip"} <= set(physics.physics_names())
    for name in ("pauli", "qutip"):
        assert physics.load_physics(name).name == name


def test_an_unknown_name_gets_the_nearest_right_one():
    with pytest.raises(LookupError, match=r"called 'paulli'; did you mean 'pauli'\?"):
        physics.load_physics("paulli")
    with pytest.raises(physics.UnknownPhysicsError, match="'zzz'; known: pauli, qutip"):
        physics.load_physics("zzz")


@pytest.mark.parametrize("name", ["pauli", "qutip"])
def test_unknown_parameters_are_named(name):
    with pytest.raises(ValueError, match=f"'{name}' has no parameter 'depth'; it takes none"):
        physics.load_physics(name, {"depth": 3})


def test_a_models_own_parameters(strangers):
    assert physics.load_physics("tunable", {"bias": 0.5}).parameters == Tunable.Parameters(bias=0.5)
    with pytest.raises(ValueError, match="no parameter 'boas'; it takes bias, depth"):
        physics.load_physics("tunable", {"boas": 0.5})
    with pytest.raises(ValueError, match=r"cannot be built with \{\}.*bias"):
        physics.load_physics("tunable")


def test_what_is_no_model_is_refused(strangers):
    with pytest.raises(TypeError, match=r"'hollow' .*lacks name, link, age, swap, distil, flip, fidelity"):
        physics.load_physics("hollow")


def test_a_model_that_goes_by_another_name_is_refused(strangers):
    with pytest.raises(TypeError, match=r"'nameless' \(strangers:PauliModel\) calls itself 'pauli'"):
        physics.load_physics("nameless")


def test_a_reference_gets_the_parameters_it_shares(strangers):
    model = physics.load_physics("tunable", {"bias": 0.5, "depth": 3})
    reference = load.load_reference(model)
    assert type(reference) is TunableReference
    assert reference.parameters == TunableReference.Parameters(bias=0.5)
    assert load.load_reference(reference) is None


def test_a_model_is_compared_with_its_own_reference(strangers):
    model = physics.load_physics("tunable", {"bias": 0.5})
    last = physics.check_model(model)[-1]
    assert (last.law, last.passed) == ("equals its reference 'tunable-reference'", True)
    model.reference = "pauli"
    assert not physics.check_model(model)[-1].passed
    model.reference = "paulli"
    last = physics.check_model(model)[-1]
    assert not last.passed
    assert "no physics model is called 'paulli'; did you mean 'pauli'?" in last.detail


def test_the_package_that_offers_a_model_is_known(strangers):
    assert load.distribution_of("tunable") == load.distribution_of("absent") == ""


def test_importing_physics_is_light():
    code = (
        "import sys, physics, physics.figures_of_merit.werner_figures, physics.conformance;"
        "import physics.plugins.load, physics.models.pauli;"
        "physics.PauliModel(); assert 'qutip' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_everything_offered_is_there():
    offered = {name: getattr(physics, name) for name in dir(physics)}
    assert sorted(offered) == sorted(physics.__all__)
    assert offered["PauliModel"] is PauliModel
    assert offered["NodeHardware"] is NodeHardware
    with pytest.raises(AttributeError, match="no attribute 'Paulli'"):
        _ = physics.Paulli


def test_wrong_calls_are_named(model):
    pair = model.from_density_matrix(states.werner(0.9))
    with pytest.raises(ValueError, match="protocol is 'oxford'; it must be 'bbpssw' or 'dejmps'"):
        model.distil(pair, pair, NODE, NODE, "oxford", 0.0)
    with pytest.raises(ValueError, match="outcome is 4; it must be 0, 1, 2 or 3"):
        model.swap(pair, pair, NODE, 0.0, 4)


def test_an_impossible_outcome_cannot_be_forced(model):
    """|00> twice: the inner qubits are never found in a Psi state."""
    ground = states.from_pauli_table(states.pauli_table(states.bell_state(0)) * 0.0)
    ground[0, 0] = 1.0
    pair = model.from_density_matrix(ground)
    with pytest.raises(ValueError, match=r"outcome 2 has probability .* cannot be forced"):
        model.swap(pair, pair, NODE, 0.0, 2)
    assert model.swap(pair, pair, NODE, 0.999999).outcome == 1


def test_states_cannot_be_changed_in_place(pauli):
    pair = pauli.from_density_matrix(states.werner(0.9))
    made = [
        pair,
        pauli.flip(pair),
        pauli.age(pair, NODE.memory, None, 1.0),
        pauli.swap(pair, pair, NODE, 0.0).state,
        pauli.distil(pair, pair, NODE, NODE, "dejmps", 0.0).state,
    ]
    for state in made:
        with pytest.raises(ValueError, match="read-only"):
            state[0, 0] = 2.0
