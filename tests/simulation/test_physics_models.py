"""The same run under each physics model: the same story where they agree, and known differences where not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physics.hardware import RelaxingMemory
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate

LOCAL = Arm(name="local-minhop")
DELIVERED, EXPIRED = RequestOutcome.DELIVERED.code, RequestOutcome.EXPIRED.code
AGREED = 1e-9
DELAY_S = 20.0 / 2e5 + 1e-5


def tables_of(scenario, model, **hardware):
    """What a run under `model` records, the nodes' hardware changed as given."""
    nodes = replace(scenario.nodes, hardware=replace(scenario.nodes.hardware, **hardware))
    chosen = replace(scenario, physics=replace(scenario.physics, model=model), nodes=nodes)
    return simulate(chosen, LOCAL, seed=7).tables


def assert_same_story(one, other):
    """Every number of every event is the same, but for fidelities."""
    for name in ("requests", "allocations", "pairs"):
        assert one[name].keys() == other[name].keys()
        for column, values in one[name].items():
            if column != "fidelity":
                assert np.array_equal(values, other[name][column], equal_nan=True), f"{name}.{column}"


@pytest.mark.parametrize("model", ["qutip", "werner"])
def test_depolarising_memories_and_noisy_gates_give_the_same_run(line, model):
    """Three hops, swaps that fail and depolarise: Werner states throughout, so one number is enough."""
    scenario = line(
        depolarising_s=2.0,
        target_fidelity=0.82,
        patience_s=0.25,
        swap_success_probability=0.8,
        measured_s=10.0,
    )
    exact, other = (tables_of(scenario, name, gate_fidelity=0.99) for name in ("pauli", model))
    assert_same_story(exact, other)
    reached = exact["requests"]["fidelity"]
    assert np.allclose(reached, other["requests"]["fidelity"], rtol=0.0, atol=AGREED, equal_nan=True)
    assert np.allclose(exact["pairs"]["fidelity"], other["pairs"]["fidelity"], rtol=0.0, atol=AGREED)
    outcomes = np.bincount(exact["requests"]["outcome"], minlength=len(RequestOutcome))
    assert outcomes[DELIVERED] > 20
    assert outcomes[EXPIRED] > 0
    assert (exact["pairs"]["outcome"] == PairOutcome.SWAPPED.code).sum() > 40
    assert set(exact["path_steps"]["rounds"]) == {0}


@pytest.mark.parametrize("model", ["qutip", "werner"])
def test_one_round_of_distillation_on_a_link_gives_the_same_run(line, model):
    """A first DEJMPS round on Werner pairs, delivered as it is: the same coins fall the same way."""
    scenario = line(nodes=2, depolarising_s=600.0, target_fidelity=0.982, rate_hz=2.0, measured_s=10.0)
    exact, other = (tables_of(scenario, name, readout_fidelity=0.999) for name in ("pauli", model))
    assert_same_story(exact, other)
    assert np.allclose(exact["pairs"]["fidelity"], other["pairs"]["fidelity"], rtol=0.0, atol=AGREED)
    steps = exact["path_steps"]
    assert set(steps["rounds"][steps["position"] == 0]) == {1}
    assert (exact["requests"]["outcome"] == DELIVERED).sum() > 10
    assert np.nanmin(exact["requests"]["fidelity"]) > 0.982


def test_relaxing_memories_are_underrated_by_the_simplification(line):
    """With T1 and T2 every pair's true fidelity is above its twirled one; nothing else of the run differs."""
    memory = RelaxingMemory(relaxation_s=3.0, dephasing_s=2.0)
    exact, other = (tables_of(line(measured_s=10.0), name, memory=memory) for name in ("pauli", "werner"))
    assert_same_story(exact, other)
    above = exact["pairs"]["fidelity"] - other["pairs"]["fidelity"]
    assert (above > 0.0).all()
    assert above.max() > 1e-3
    assert len(above) > 100


def test_how_much_they_underrate_is_the_closed_form_of_each_pairs_own_times(line):
    """Fresh pairs on one link, w0 = (4 x 0.98 - 1)/3, the sender's half stored longer by the light's way.

    Exactly F = (1 + 2 w c c' + w z z' + (1-z)(1-z'))/4, c and z what T2 and T1 leave of either half; twirled
    F = (1 + 3 w (c^2 z c'^2 z')^(1/3))/4.
    """
    memory = RelaxingMemory(relaxation_s=0.3, dephasing_s=0.2)
    weight = (4.0 * 0.98 - 1.0) / 3.0

    def exact(c, z, d, y):
        return 0.25 * (1.0 + weight * (2.0 * c * d + z * y) + (1.0 - z) * (1.0 - y))

    def twirled(c, z, d, y):
        return 0.25 * (1.0 + 3.0 * weight * (c * c * z * d * d * y) ** (1.0 / 3.0))

    for model, law in (("pauli", exact), ("werner", twirled)):
        pairs = tables_of(line(nodes=2, rate_hz=20.0, pairs=2, measured_s=10.0), model, memory=memory)[
            "pairs"
        ]
        fresh = pairs["first_parent"] < 0
        kept_s = (pairs["fidelity_s"] - pairs["born_s"])[fresh]
        left = [np.exp(-(kept_s + late_s) / time_s) for late_s in (0.0, DELAY_S) for time_s in (0.2, 0.3)]
        assert len(kept_s) > 50
        assert np.ptp(kept_s) > 0.05
        assert np.allclose(pairs["fidelity"][fresh], law(*left), rtol=0.0, atol=AGREED)
