"""The ends of the range: numbers too small or too large, and values of the wrong type."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

from physics.figures_of_merit import entanglement
from physics.hardware import (
    DepolarisingMemory,
    Detector,
    DirectLink,
    DoubleClickLink,
    Fibre,
    LinkHardware,
    NodeHardware,
    RelaxingMemory,
    SingleClickLink,
    SourceLink,
)
from physics.links import elementary, heralding
from physics.models.density_matrix import DensityMatrixModel
from physics.models.pauli import PauliModel
from physics.models.werner import WernerModel
from physics.qubits import states

MEMORY = DepolarisingMemory(depolarising_s=1.0)
RELAXING = RelaxingMemory(relaxation_s=1.0, dephasing_s=0.8)
NODE = NodeHardware(memory=MEMORY)
LAG = Fibre(fixed_loss_db=0.0, loss_db_per_km=0.2)
PAULI = PauliModel()
MODELS = [PAULI, WernerModel(), DensityMatrixModel()]
MIXED = np.array([states.random_state(np.random.default_rng(seed)) for seed in range(3)])
TABLES = np.array([PAULI.from_density_matrix(matrix) for matrix in MIXED])


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def named(name: str, value: object, allowed: str) -> str:
    return f"^{re.escape(f'{name} is {value!r}; it must be {allowed}')}$"


@pytest.mark.parametrize("length_km", [1.0, 500.0, 12_000.0, 15_000.0])
def test_double_clicks_of_any_chance_that_is_a_number_herald_the_same_state(length_km):
    """Without dark counts F = (1+V)/2 at any length, down to p = 1e-301."""
    link = elementary.compile_link(DoubleClickLink(fibre=LAG, visibility=0.9), length_km)
    assert link.success_probability == pytest.approx(10.0 ** (-0.02 * length_km) / 2.0, rel=1e-9)
    assert entanglement.fidelity(link.fresh) == pytest.approx(0.95, abs=1e-12)


@pytest.mark.parametrize("efficiency", [1e-154, 1e-158, 1e-161])
def test_double_clicks_too_unlikely_for_a_number_of_full_precision_are_refused(efficiency):
    """They had a state of NaN, or of few right digits."""
    station = {"dark_probability": 0.0, "visibility": 1.0, "number_resolving": True}
    with pytest.raises(ValueError, match=r"^probability of a herald is \S+; it must be 8\.9e-308 or more"):
        heralding.double_click(first_efficiency=efficiency, second_efficiency=efficiency, **station)


@pytest.mark.parametrize("length_km", [0.0, 1_000.0, 20_000.0, 29_000.0])
@pytest.mark.parametrize("visibility", [1.0, 0.81])
def test_single_clicks_keep_their_coherence_however_rare(length_km, visibility):
    """Far away F = (1-alpha) (1 + sqrt(V))/2: Cabrillo et al. 1999. At 20,000 km eta_A eta_B is 1e-400."""
    station = {"dark_probability": 0.0, "phase_deviation_rad": 0.0, "number_resolving": False}
    eta = 10.0 ** (-0.01 * length_km) * 1e-10
    herald = heralding.single_click(
        bright_population=0.1, first_efficiency=eta, second_efficiency=eta, visibility=visibility, **station
    )
    expected = 0.9 * (1.0 + math.sqrt(visibility)) / 2.0
    assert entanglement.fidelity(herald.state) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("duration_s", [1e201, 1e305, 1.7e308])
@pytest.mark.parametrize("attempts", [(0.0, 0.0), (1e305, 1e305), (1.7e308, 0.0)])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_stored_for_ever_without_a_warning(model, duration_s, attempts):
    """What decays at all is gone, and no bit of anything else is touched."""
    given = model.from_density_matrix(states.random_state(np.random.default_rng(1)))
    depolarising = DepolarisingMemory(depolarising_s=1e-6, coherence_attempts=1e-100)
    relaxing = RelaxingMemory(relaxation_s=1e-100, dephasing_s=1e-100, coherence_attempts=1e-6)
    for first, second in ((depolarising, None), (depolarising, relaxing), (None, None)):
        aged = model.density_matrix(model.age(given, first, second, duration_s, attempts))
        later = model.density_matrix(model.age(given, first, second, 1.0, (1.0, 1.0)))
        assert np.array_equal(aged, later)


def test_what_decays_slowly_decays_rightly_in_a_huge_time():
    """Dephased at once, with e^(-1/2) of its polarisation left: nothing is cut off for all alike."""
    memory = RelaxingMemory(relaxation_s=2e305, dephasing_s=1e-6)
    up = PAULI.from_density_matrix(np.diag([0.0, 0.0, 1.0, 0.0]).astype(complex))
    assert PAULI.age(up, memory, None, 1e305)[3, 0] == pytest.approx(1.0 - 2.0 * math.exp(-0.5), rel=1e-14)


def test_huge_times_in_a_batch_are_those_of_single_pairs():
    relaxing = RelaxingMemory(relaxation_s=1e-6, dephasing_s=1e-6, coherence_attempts=1e-6)
    durations, counts = [0.0, 1e305, 0.5e-6], ([1e305, 0.0, 1e-7], 1e308)
    aged = PAULI.age_many(TABLES, relaxing, MEMORY, durations, counts)
    for pair in range(3):
        attempts = counts[0][pair], counts[1]
        alone = PAULI.age(TABLES[pair], relaxing, MEMORY, durations[pair], attempts)
        assert aged[pair] == pytest.approx(alone, abs=1e-15)


@pytest.mark.parametrize("value", [1e-310, 5e-324, 9.9e-101])
@pytest.mark.parametrize("name", ["relaxation_s", "dephasing_s", "depolarising_s", "coherence_attempts"])
def test_decay_too_fast_for_its_rate_to_be_a_number_is_refused(name, value):
    kind = DepolarisingMemory if name == "depolarising_s" else RelaxingMemory
    needed = (
        {"depolarising_s": 1.0} if kind is DepolarisingMemory else {"relaxation_s": 1.0, "dephasing_s": 1.0}
    )
    with pytest.raises(ValueError, match=named(name, value, r"1e-100 or more (inf: no decay)")):
        kind(**{**needed, name: value})


@pytest.mark.parametrize("value", ["1", None, True, np.True_, 1j, [1.0], np.array([1.0, 2.0])])
@pytest.mark.parametrize(
    ("kind", "name", "needed"),
    [
        (DepolarisingMemory, "depolarising_s", {}),
        (DepolarisingMemory, "coherence_attempts", {"depolarising_s": 1.0}),
        (RelaxingMemory, "relaxation_s", {"dephasing_s": 1.0}),
        (Fibre, "loss_db_per_km", {}),
        (Detector, "window_s", {}),
        (NodeHardware, "gate_fidelity", {"memory": MEMORY}),
        (SingleClickLink, "bright_population", {}),
        (DirectLink, "attempt_period_s", {"success_probability": 0.5}),
    ],
)
def test_what_is_no_number_is_refused(kind, name, needed, value):
    with pytest.raises(ValueError, match=named(name, value, "a number")):
        kind(**needed, **{name: value})


def test_integers_beyond_all_floats_are_refused():
    with pytest.raises(ValueError, match=r"^window_s has 401 digits; it must be a number below 1\.8e308$"):
        Detector(window_s=10**400)


def test_numbers_of_numpy_are_taken_as_python_s():
    memory = DepolarisingMemory(depolarising_s=np.float32(0.5), coherence_attempts=np.int64(7))
    assert memory == DepolarisingMemory(depolarising_s=0.5, coherence_attempts=7)
    assert (type(memory.depolarising_s), type(memory.coherence_attempts)) == (float, float)
    link = DoubleClickLink(modes=np.int64(3), rounds=np.int8(2), visibility=np.float64(0.9))
    assert (link.modes, link.rounds, link.visibility) == (3, 2, 0.9)
    assert {type(link.modes), type(link.rounds), type(link.visibility)} == {int, float}
    weights = DirectLink(success_probability=1, attempt_period_s=1, fresh_weights=np.array([0.5, 0.5, 0, 0]))
    assert weights == DirectLink(
        success_probability=1.0, attempt_period_s=1.0, fresh_weights=[0.5, 0.5, 0, 0]
    )
    assert hash(weights) == hash(weights)


@dataclass(frozen=True)
class OwnMemory:
    half_life_s: float
    kind: str = "own"


@dataclass
class UnhashableMemory:
    kind: str = "own"


@pytest.mark.parametrize(
    "memory", ["depolarising", None, 1.0, Fibre(), SourceLink(), DepolarisingMemory, UnhashableMemory()]
)
def test_what_is_no_memory_is_refused(memory):
    allowed = "a memory: hashable, with a `kind` (a memory without decay has inf seconds)"
    with pytest.raises(ValueError, match=named("memory", memory, allowed)):
        NodeHardware(memory=memory)


def test_a_memory_of_a_model_s_own_is_taken():
    assert NodeHardware(memory=OwnMemory(1.0)) == NodeHardware(memory=OwnMemory(1.0))


@pytest.mark.parametrize("hardware", [None, "source", NODE, SourceLink])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_is_no_link_is_refused(model, hardware):
    kinds = "SourceLink, MidpointSourceLink, DoubleClickLink, SingleClickLink, DirectLink"
    with pytest.raises(ValueError, match=named("hardware", hardware, f"one of {kinds}")):
        model.link(hardware, 10.0)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("off", [9e-10, -9e-10])
def test_weights_that_all_but_sum_to_one_make_a_state_of_trace_one(model, off):
    weights = (0.7 + off, 0.2, 0.06, 0.04)
    hardware: LinkHardware = DirectLink(success_probability=0.5, attempt_period_s=1.0, fresh_weights=weights)
    fresh = model.density_matrix(model.link(hardware, 0.0).fresh)
    assert np.trace(fresh).real == pytest.approx(1.0, abs=1e-15)
    assert entanglement.fidelity(states.bell_diagonal(weights)) == pytest.approx(
        weights[0] / sum(weights), abs=1e-15
    )


@pytest.mark.parametrize("attempts", [(1.0,), (1.0, 1.0, 1.0), 3.0, np.float64(3.0), None, np.ones((3, 2))])
def test_attempts_of_a_batch_are_two(attempts):
    """A third entry was dropped, and a lone one an IndexError."""
    expected = f"^{re.escape(f'attempts are {attempts!r}; they must be two, one an end')}"
    with pytest.raises(ValueError, match=expected):
        PAULI.age_many(TABLES, MEMORY, MEMORY, 1.0, attempts)


def test_density_matrices_are_no_batch_of_tables():
    with pytest.raises(ValueError, match=r"^states are complex; they must be real, \(n, 4, 4\)"):
        PAULI.age_many(MIXED, MEMORY, MEMORY, 1.0)
    with pytest.raises(ValueError, match=r"^states are complex; they must be real, \(n, 4, 4\)"):
        PAULI.fidelity_many(MIXED)


def test_every_array_of_a_batch_is_read_only():
    arrays = [
        PAULI.fidelity_many(TABLES),
        PAULI.age_many(TABLES, MEMORY, None, 1.0),
        PAULI.age_many(TABLES, RELAXING, None, 1.0),
    ]
    assert [array.flags.writeable for array in arrays] == [False] * 3


@pytest.mark.parametrize("outcome", [1.0, True, False, np.float64(2.0), np.True_, 0j, "1"])
def test_an_outcome_is_an_integer(outcome):
    right = "0, 1, 2 or 3 (Phi+, Phi-, Psi+, Psi-)"
    for model in MODELS:
        pair = model.from_density_matrix(states.werner(0.9))
        with pytest.raises(ValueError, match=named("outcome", outcome, right)):
            model.swap(pair, pair, NODE, 0.0, outcome)


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
def test_any_integer_is_an_outcome(kind):
    for model in MODELS:
        pair = model.from_density_matrix(states.werner(0.9))
        for outcome in range(4):
            assert model.swap(pair, pair, NODE, 0.0, kind(outcome)).outcome == outcome


@pytest.mark.parametrize("matrix", [states.werner(0.25), np.diag([1.0, 0.0, 0.0, 0.0]), states.werner(0.4)])
def test_the_negativity_of_separable_states_is_plus_nought(matrix):
    assert math.copysign(1.0, entanglement.negativity(matrix)) == 1.0
    assert entanglement.negativity(matrix) == pytest.approx(0.0, abs=1e-15)
