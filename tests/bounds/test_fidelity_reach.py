"""How far pairs reach at best: against closed forms, against physics at its luckiest, and against filters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.qubits.states import bell_diagonal, bell_state
from qdpem.bounds.fidelity_reach import FidelityReach, max_fidelity_ratio
from qdpem.network.build import build_network, build_physics
from qdpem.scenario.load import parse_scenario

_SCENARIO = """
name = "row"
physics = {{ model = "{model}" }}
[topology]
kind = "line"
parameters = {{ nodes = 9, hop_km = 5.0 }}
[nodes]
source_rate_hz = 10.0
repeater_rate_hz = 5.0
hardware = {{ memory = {memory}, gate_fidelity = {gate} }}
[links]
hardware = {link}
[demand]
rate_hz = 1.0
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.7
patience_s = 1.0
"""
_DEPOLARISING = '{ kind = "depolarising", depolarising_s = 4.0 }'
_RELAXING = '{ kind = "relaxing", relaxation_s = 3.0, dephasing_s = 2.0 }'
_SOURCE = '{ kind = "source", fresh_fidelity = 0.95 }'


def reach_of(*, model="pauli", memory=_DEPOLARISING, link=_SOURCE, gate=1.0):
    scenario = parse_scenario(_SCENARIO.format(model=model, memory=memory, link=link, gate=gate))
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=1)
    return FidelityReach(network, physics), network, physics


@pytest.mark.parametrize("model", ["pauli", "werner", "qutip"])
@pytest.mark.parametrize("target", [0.55, 0.7, 0.8, 0.9, 0.96])
def test_werner_pairs_follow_the_product_law(model, target):
    """w^h >= w_target, and a pair of h hops lives (T/2)(h ln w - ln w_target) (model.md; Briegel 1998)."""
    reach, _, _ = reach_of(model=model)
    w, w_target = (4 * 0.95 - 1) / 3, (4 * target - 1) / 3
    assert reach.noise_model == "pauli"
    assert reach.hops(target) == min(math.floor(math.log(w_target) / math.log(w) + 1e-9), 8)
    for hops in range(1, reach.hops(target) + 1):
        expected_s = 0.5 * 4.0 * (hops * math.log(w) - math.log(w_target))
        assert reach.max_age_s(target, hops) == pytest.approx(expected_s, abs=1e-6)
    assert reach.max_age_s(target, reach.hops(target) + 1) == 0.0 or reach.hops(target) == 8


def test_noisy_swaps_shorten_reach():
    assert reach_of(gate=0.97)[0].hops(0.7) < reach_of()[0].hops(0.7)


@pytest.mark.parametrize(
    ("changes", "noise_model"),
    [
        ({}, "pauli"),
        ({"memory": '{ kind = "relaxing", relaxation_s = inf, dephasing_s = 2.0 }'}, "pauli"),
        ({"memory": _RELAXING}, "bell-diagonal"),
        ({"memory": _RELAXING, "model": "werner"}, "pauli"),
        ({"link": '{ kind = "single-click", bright_population = 0.1 }'}, "other"),
    ],
)
def test_which_noise_model_it_is(changes, noise_model):
    reach, network, _ = reach_of(**changes)
    assert reach.noise_model == noise_model
    if noise_model == "other":
        assert reach.hops(0.99) == network.node_count - 1
    if noise_model != "pauli":
        assert reach.max_age_s(0.7, 2) == math.inf


@pytest.mark.parametrize("memory", [_DEPOLARISING, _RELAXING])
def test_no_outcome_of_aged_pairs_goes_beyond(memory):
    """Chains with random ages and the luckiest outcomes stay within what hops and life allow."""
    reach, network, physics = reach_of(memory=memory, gate=0.99)
    draws, node = np.random.default_rng(7), network.hardware[0]
    for _ in range(300):
        hops, held = int(draws.integers(1, 9)), []
        for _ in range(hops):
            age_s = float(draws.exponential(0.3))
            held.append((age_s, physics.age(network.links[0].fresh, node.memory, node.memory, age_s)))
        joined = held[0][1]
        for _, right in held[1:]:
            made = [physics.swap(joined, right, node, 0.0, outcome) for outcome in range(4)]
            joined = max(made, key=lambda one: physics.fidelity(one.state)).state
        fidelity = physics.fidelity(joined)
        if fidelity > 0.5:
            assert hops <= reach.hops(fidelity)
            assert max(age_s for age_s, _ in held) <= reach.max_age_s(fidelity, hops) + 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), hops=st.integers(1, 3), fidelity=st.floats(0.6, 0.99))
def test_no_filter_goes_beyond_the_robustness(seed, hops, fidelity):
    """Random local filters at the ends and random pure projections in between, on pairs of a random kind."""
    draws = np.random.default_rng(seed)
    errors = draws.dirichlet(np.ones(3)) * (1.0 - fidelity)
    pair = bell_diagonal((fidelity, *errors.tolist()))
    filters = [draws.normal(size=(2, 2)) + 1j * draws.normal(size=(2, 2)) for _ in range(2)]
    if draws.random() < 0.5:
        filters = [np.diag([1.0, draws.random()]).astype(complex) for _ in range(2)]
    state = pair
    for _ in range(hops - 1):
        lean = draws.normal(scale=0.4)
        vector = np.cos(np.pi / 4 + lean) * np.array([1, 0, 0, 0]) + np.sin(np.pi / 4 + lean) * np.array(
            [0, 0, 0, 1]
        )
        four = np.einsum("abcd,efgh->abefcdgh", state.reshape((2,) * 4), pair.reshape((2,) * 4))
        projected = np.einsum("be,abefcdgh,dg->afch", vector.reshape(2, 2), four, vector.reshape(2, 2))
        state = projected.reshape(4, 4) / np.trace(projected.reshape(4, 4))
    both = np.kron(*filters)
    state = both @ state @ both.conj().T
    state = state / np.trace(state)
    found = float(np.real(np.trace(bell_state(0) @ state)))
    ratio = max_fidelity_ratio(max(fidelity, float(errors.max())), hops)
    assert found <= ratio / (1.0 + ratio) + 1e-9


def test_the_robustness_of_two_pairs_has_a_closed_form():
    """(O + 1/O)/2: for a_0 = 1 the ratios are 1/2, (a_1 + O)/4 and O a_1/2; a_1 = 1/O evens out two."""
    for fidelity in (0.6, 0.7, 0.9, 0.98):
        ratio = fidelity / (1.0 - fidelity)
        assert max_fidelity_ratio(fidelity, 2) == pytest.approx(0.5 * (ratio + 1.0 / ratio), rel=1e-9)
    assert max_fidelity_ratio(1.0, 5) == math.inf
    assert max_fidelity_ratio(0.4, 5) == 1.0


@pytest.mark.parametrize("hops", [1, 2, 3, 5, 8])
def test_the_robustness_is_above_what_swaps_give_and_falls_with_hops(hops):
    w = (4 * 0.95 - 1) / 3
    ratio = max_fidelity_ratio(0.95, hops)
    assert (1 + 3 * w**hops) / 4 <= ratio / (1 + ratio) + 1e-12
    assert max_fidelity_ratio(0.95, hops + 1) < ratio
