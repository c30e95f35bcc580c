"""Estimates against closed forms: Werner product law, ageing, useful life, DEJMPS recurrence."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.hardware import DepolarisingMemory, NodeHardware, SourceLink
from physics.models.pauli import PauliModel
from physics.plans import Plan, Rounds, estimate, rounds_on
from qdpem.network.graph import Network
from qdpem.network.path import Path, path_along
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.synthetic import small_network

FRESH = 0.98
WEIGHT = (4.0 * FRESH - 1.0) / 3.0
MEMORY_S = 60.0


def network_with(*, gate_fidelity: float = 1.0, demand_time_constant_s: float = MEMORY_S) -> Network:
    network = small_network(PauliModel())
    hardware = NodeHardware(
        memory=DepolarisingMemory(depolarising_s=demand_time_constant_s), gate_fidelity=gate_fidelity
    )
    link = PauliModel().link(SourceLink(fresh_fidelity=FRESH), 10.0)
    return replace(
        network,
        hardware=(hardware,) * network.node_count,
        links=(link,) * network.link_count,
    )


def path_of_hops(network: Network, hops: int) -> Path:
    """A snake through the 3 x 3 grid."""
    nodes = (0, 1, 2, 5, 4, 3, 6, 7, 8)[: hops + 1]
    links = tuple(network.link_between[pair] for pair in itertools.pairwise(nodes))
    return Path(nodes, links, (6e-5,) * hops, 6e-5 * hops)


IDEAL = network_with()


@settings(deadline=None)
@given(hops=st.integers(1, 8), digits=st.integers(0, 99), scale=st.sampled_from([0.001, 0.1, 1.0]))
def test_werner_weights_multiply_and_each_pair_ages_at_both_ends(
    hops: int, digits: int, scale: float
) -> None:
    age_s = digits * scale
    estimates = Estimates(IDEAL, PauliModel())
    weight = (WEIGHT * math.exp(-2.0 * age_s / MEMORY_S)) ** hops
    found = estimates.fidelity(path_of_hops(IDEAL, hops), age_s=age_s)
    assert found == pytest.approx((3.0 * weight + 1.0) / 4.0, abs=1e-12)


@settings(deadline=None)
@given(age_s=st.floats(1e-6, 100.0))
def test_ages_are_rounded_up_by_less_than_a_tenth(age_s: float) -> None:
    def law(seconds: float) -> float:
        return (3.0 * WEIGHT**2 * math.exp(-4.0 * seconds / MEMORY_S) + 1.0) / 4.0

    found = Estimates(IDEAL, PauliModel()).fidelity(path_of_hops(IDEAL, 2), age_s=age_s)
    assert law(1.1 * age_s) - 1e-9 <= found <= law(age_s) + 1e-9


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_each_noisy_swap_multiplies_by_its_gate_fidelity(hops: int) -> None:
    network = network_with(gate_fidelity=0.97)
    weight = WEIGHT**hops * 0.97 ** (hops - 1)
    found = Estimates(network, PauliModel()).fidelity(path_of_hops(network, hops))
    assert found == pytest.approx((3.0 * weight + 1.0) / 4.0, abs=1e-12)


@pytest.mark.parametrize(("hops", "target"), [(1, 0.8), (3, 0.8), (3, 0.6), (4, 0.7)])
def test_useful_life_is_the_closed_form(hops: int, target: float) -> None:
    # t* = (T/2)(h ln w0 + (h-1) ln w_swap - ln w_target): the long pair alone ages, at its two ends.
    network = network_with(gate_fidelity=0.99)
    target_weight = (4.0 * target - 1.0) / 3.0
    life_s = 30.0 * (hops * math.log(WEIGHT) + (hops - 1) * math.log(0.99) - math.log(target_weight))
    found = Estimates(network, PauliModel()).useful_life_s(path_of_hops(network, hops), target)
    assert found == pytest.approx(life_s, rel=1e-9)


def test_useful_life_without_decay_or_without_hope() -> None:
    estimates = Estimates(network_with(demand_time_constant_s=math.inf), PauliModel())
    assert estimates.useful_life_s(path_of_hops(IDEAL, 2), 0.8) == math.inf
    assert estimates.useful_life_s(path_of_hops(IDEAL, 8), 0.97) == 0.0


def dejmps_of_werner(fidelity: float, rounds: int) -> tuple[float, float]:
    """Fidelity and pairs used after nested rounds, by the recurrence of Deutsch et al. 1996, eq. (2)."""
    a, b, c, d = fidelity, *(((1.0 - fidelity) / 3.0,) * 3)
    cost = 1.0
    for _ in range(rounds):
        success = (a + b) ** 2 + (c + d) ** 2
        a, b, c, d = (
            (a * a + b * b) / success,
            2.0 * c * d / success,
            (c * c + d * d) / success,
            2.0 * a * b / success,
        )
        cost *= 2.0 / success
    return a, cost


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_distillation_follows_the_recurrence(rounds: int) -> None:
    estimates = Estimates(IDEAL, PauliModel())
    fidelity, cost = dejmps_of_werner(FRESH, rounds)
    path = path_of_hops(IDEAL, 1)
    assert estimates.pairs_per_link(path.links[0], rounds=rounds) == pytest.approx(cost, abs=1e-12)
    assert estimates.fidelity(path, rounds=rounds) == pytest.approx(fidelity, abs=1e-12)


def test_a_path_and_its_reverse_are_alike() -> None:
    estimates = Estimates(IDEAL, PauliModel())
    path = Routes(IDEAL).paths(0, 8)[0]
    for rounds in (0, 1, 2):
        there = estimates.fidelity(path, rounds=rounds, age_s=0.5)
        assert there == pytest.approx(
            estimates.fidelity(path.reversed(), rounds=rounds, age_s=0.5), abs=1e-12
        )


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_link_by_itself_is_a_path_of_one_hop_either_way(rounds: int) -> None:
    estimates = Estimates(IDEAL, PauliModel())
    assert estimates.link_fidelity(0) == pytest.approx(FRESH)
    for link, (first, second) in enumerate(IDEAL.graph.link_ends.tolist()):
        found = estimates.link_fidelity(link, rounds=rounds)
        for ends in ((first, second), (second, first)):
            path = path_along(IDEAL, ends)
            assert path.links == (link,)
            assert found == pytest.approx(estimates.fidelity(path, rounds=rounds), abs=1e-12)


def test_fewest_rounds_that_reach_the_target() -> None:
    estimates = Estimates(IDEAL, PauliModel())
    path = path_of_hops(IDEAL, 4)
    fresh = [estimates.fidelity(path, rounds=rounds) for rounds in (0, 1, 2)]
    assert fresh == sorted(fresh)
    assert estimates.rounds_for(path, fresh[0], age_s=0.0) == 0
    assert estimates.rounds_for(path, fresh[0] + 1e-9, age_s=0.0) == 1
    assert estimates.rounds_for(path, fresh[0], age_s=0.1) == 1
    assert estimates.rounds_for(path, fresh[1] + 1e-9, age_s=0.0) == 2
    assert estimates.rounds_for(path, fresh[2] + 1e-9, age_s=0.0) is None


@pytest.mark.parametrize("rounds", [0, 1, 2, (0, 2, 1, 0)])
def test_what_planners_believe_is_the_estimate_of_physics(rounds: Rounds) -> None:
    """Along links that run the path's way (0, 1, 2, 5, 8), to the last bit; swaps always succeed here."""
    network, model = network_with(gate_fidelity=0.97), PauliModel()
    nodes = (0, 1, 2, 5, 8)
    links = tuple(network.link_between[pair] for pair in itertools.pairwise(nodes))
    believed = Estimates(network, model)
    found = estimate(
        Plan(rounds_per_link=rounds),
        model=model,
        links=[network.links[link] for link in links],
        nodes=[network.hardware[node] for node in nodes],
        ages_s=[0.25] * len(links),
    )
    assert believed.fidelity(path_along(network, nodes), rounds=rounds, age_s=0.25) == found.fidelity
    cost = tuple(
        believed.pairs_per_link(link, rounds=rounds_on(rounds, hop)) for hop, link in enumerate(links)
    )
    assert cost == found.pairs_per_link


def test_a_node_that_cannot_herald_phi_plus_is_believed_all_the_same() -> None:
    """Linear optics: the estimate forces the first outcome there is, of the same fidelity here."""
    optics = replace(IDEAL, hardware=(replace(IDEAL.hardware[0], bell_measurement="linear-optics"),) * 9)
    path = path_of_hops(IDEAL, 3)
    found = Estimates(optics, PauliModel()).fidelity(path, rounds=1, age_s=0.1)
    assert found == pytest.approx(
        Estimates(IDEAL, PauliModel()).fidelity(path, rounds=1, age_s=0.1), abs=1e-12
    )


def test_cached_estimates_are_bounded_and_the_same_when_computed_again(monkeypatch):
    monkeypatch.setattr("qdpem.network.path_estimates._MAX_CACHED", 10)
    network = network_with()
    estimates, path = Estimates(network, PauliModel()), path_of_hops(network, 3)
    ages_s = [0.1 * step for step in range(1, 36)]
    first = [estimates.fidelity(path, age_s=age_s) for age_s in ages_s]
    assert len(estimates._fidelity) == 5
    assert [estimates.fidelity(path, age_s=age_s) for age_s in ages_s] == first
