"""Random legal decisions under both controls: nothing leaks, time runs forward, all is written once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from physics.hardware import DirectLink, Fibre
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import AllocationOutcome, PairOutcome, RefusalCause
from qdpem.scenario.schema import Arm, Outages, RandomOutages, Topology
from qdpem.scenario.words import OutageKind
from qdpem.simulation.simulation import Simulation
from tests.helpers.gamblers import Gambler

_CHANGES = st.fixed_dictionaries(
    {
        "nodes": st.integers(2, 6),
        "memory_reading": st.sampled_from(("memories", "memories_per_link")),
        "memories": st.sampled_from((1, 2, 4, 9, 16)),
        "pairs": st.integers(1, 3),
        "swap_success_probability": st.sampled_from((0.3, 0.8, 1.0)),
        "hop_km": st.sampled_from((1.0, 20.0, 3000.0)),
        "application": st.sampled_from(("teleportation", "qkd")),
        "repeater_kind": st.sampled_from(("token-bucket", "server")),
        "repeater_rate_hz": st.sampled_from((3.0, 100.0)),
        "patience_s": st.sampled_from((0.05, 1.0)),
    }
)


def _attempting(scenario, modes):
    """The same with links limited by their attempts."""
    weights = (0.98, 0.01, 0.005, 0.005)
    link = DirectLink(success_probability=0.2, attempt_period_s=5e-3, modes=modes, fresh_weights=weights)
    return replace(scenario, links=replace(scenario.links, hardware=link))


def _play(scenario, arm, seed):
    policy, recorder = Gambler(seed), MemoryRecorder()
    # Long links lose nearly all; a source that makes up for it keeps things happening.
    loss_db = 0.24 * scenario.topology.parameters["hop_km"]
    if loss_db > 100.0 and scenario.links.hardware.kind == "source":
        link = replace(scenario.links.hardware, fibre=Fibre(loss_db_per_km=0.001))
        scenario = replace(scenario, links=replace(scenario.links, hardware=link))
    simulation = Simulation(scenario, arm, seed=seed, recorder=recorder, policy=policy)
    last_s = 0.0
    while (observations := simulation.advance()) is not None:
        assert observations.time_s >= last_s
        last_s = observations.time_s
        simulation.check()
        simulation.apply(policy.act(observations))
        simulation.check()
    assert simulation.advance() is None
    return policy, recorder.tables(), simulation


def _check_books(tables, simulation):
    """Every id once, no time before its cause, no pair in two hands, no claim after its allocation."""
    pairs, claims, allocations = tables["pairs"], tables["claims"], tables["allocations"]
    for table, key in ((pairs, "pair"), (claims, "claim"), (allocations, "allocation")):
        assert np.array_equal(np.sort(table[key]), np.arange(len(table[key])))
    assert (pairs["end_s"] >= pairs["born_s"]).all()
    assert (claims["end_s"] >= claims["time_s"]).all()
    assert (
        (claims["contended_s"] >= 0.0) & (claims["contended_s"] <= claims["end_s"] - claims["time_s"])
    ).all()
    # Nobody outlives its expiry.
    assert (allocations["end_s"] <= allocations["expires_s"]).all()
    parents = np.concatenate([pairs["first_parent"], pairs["second_parent"]])
    parents = parents[parents >= 0]
    assert len(np.unique(parents)) == len(parents)
    used = np.isin(pairs["outcome"], [PairOutcome.SWAPPED.code, PairOutcome.DISTILLED.code])
    assert used[np.isin(pairs["pair"], parents)].all()
    claims_end_s = dict(zip(allocations["allocation"], allocations["expires_s"], strict=True))
    ends_s = np.array([claims_end_s[allocation] for allocation in claims["allocation"].tolist()])
    assert (claims["end_s"] <= ends_s).all()
    for node in range(simulation.network.node_count):
        assert 0 <= simulation._state.memories.remote[node] <= simulation.network.memories[node] / 4


_OUTAGES = st.none() | st.fixed_dictionaries(
    {
        "links": st.sampled_from((None, (0.3, 0.05), (0.05, 0.001))),
        "nodes": st.sampled_from((None, (0.5, 0.1), (0.1, 0.001))),
        "controller": st.sampled_from((None, (0.3, 0.1))),
    }
)


def _outages(drawn):
    if drawn is None:
        return Outages()
    laws = {kind: times for kind, times in drawn.items() if times is not None}
    return Outages(
        **{kind: RandomOutages(mean_up_s=up_s, mean_down_s=down_s) for kind, (up_s, down_s) in laws.items()}
    )


def _check_outages(tables):
    """A link that is away makes no pair and works for no claim; a node that is away holds nothing."""
    outages, pairs, claims = tables["outages"], tables["pairs"], tables["claims"]
    fresh = pairs["first_parent"] < 0
    for kind, node, link, from_s, until_s in zip(*outages.values(), strict=True):
        if OutageKind.from_code(kind) == "link":
            born_s = pairs["born_s"][fresh & (pairs["link"] == link)]
            assert not ((born_s > from_s) & (born_s < until_s)).any()
            mine = claims["link"] == link
            begin_s, end_s = claims["time_s"][mine], claims["end_s"][mine]
            assert not ((begin_s < until_s) & (end_s > from_s)).any()
        elif OutageKind.from_code(kind) == "node":
            mine = (pairs["first"] == node) | (pairs["second"] == node)
            begin_s, end_s = pairs["born_s"][mine], pairs["end_s"][mine]
            assert not ((begin_s < until_s) & (end_s > from_s)).any()


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["local-minhop", "central-fcfs"])
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
@given(
    changes=_CHANGES,
    seed=st.integers(0, 10**6),
    zero_delay=st.booleans(),
    modes=st.integers(0, 2),
    outages=_OUTAGES,
)
def test_random_legal_decisions_leak_nothing(line, arm, changes, seed, zero_delay, modes, outages):
    """With links fed by sources (`modes` 0) and by attempts, in modes that are fewer than their claims."""
    if changes["application"] == "qkd":
        changes["target_fidelity"] = 0.85
    scenario = line(rate_hz=40.0, measured_s=1.0, **changes)
    control = replace(scenario.control, zero_delay=zero_delay)
    scenario = replace(scenario, control=control, outages=_outages(outages))
    if modes:
        scenario = _attempting(scenario, modes)
    _, tables, simulation = _play(scenario, Arm(name=arm, pregeneration="virtual-link"), seed)
    _check_books(tables, simulation)
    _check_outages(tables)


@pytest.mark.parametrize("arm", ["local-minhop", "central-fcfs"])
def test_the_gambler_reaches_what_it_is_meant_to_reach(line, arm):
    """All kinds of decision occur, and all the ways a pair can end."""
    policy, tables, simulation = _play(
        line(nodes=5, rate_hz=4.0, pairs=2, swap_success_probability=0.8, measured_s=20.0),
        Arm(name=arm, pregeneration="virtual-link"),
        3,
    )
    assert min(policy.counts.values()) > 0
    ends = {PairOutcome.from_code(code) for code in np.unique(tables["pairs"]["outcome"]).tolist()}
    assert ends >= {"delivered", "swapped", "distilled", "expired", "lost"}
    _check_books(tables, simulation)


@pytest.mark.mostly_slow
@pytest.mark.parametrize("arm", ["local-minhop", "central-fcfs"])
def test_the_gambler_meets_outages_of_all_kinds(line, arm):
    """Links, nodes and the controller go and come back while it serves and stocks; all ends in order."""
    scenario = line(nodes=5, rate_hz=20.0, pairs=2, swap_success_probability=0.8, measured_s=40.0)
    scenario = replace(
        scenario, outages=_outages({"links": (2.0, 0.2), "nodes": (1.5, 0.2), "controller": (4.0, 0.5)})
    )
    policy, tables, simulation = _play(scenario, Arm(name=arm, pregeneration="virtual-link"), 3)
    assert min(policy.counts.values()) > 0
    assert set(tables["outages"]["kind"].tolist()) == {0, 1, 2}
    allocations = tables["allocations"]
    interrupted = allocations["cause"] == RefusalCause.OUTAGE.code
    assert (allocations["outcome"][interrupted] == AllocationOutcome.REFUSED.code).all()
    # Both purposes are met with, and stocked pairs are among what dies with its node.
    assert set(allocations["purpose"][interrupted].tolist()) == {0, 1}
    pairs = tables["pairs"]
    died_s = tables["outages"]["from_s"][tables["outages"]["kind"] == OutageKind.NODE.code]
    with_node = np.isin(pairs["end_s"], died_s) & (pairs["outcome"] == PairOutcome.LOST.code)
    assert (with_node & (pairs["owner"] >= 0)).any()
    assert (with_node & (pairs["owner"] < 0)).any()
    _check_books(tables, simulation)
    _check_outages(tables)


@pytest.mark.parametrize("arm", ["local-minhop", "central-fcfs"])
def test_a_qubit_is_counted_where_its_half_left_also_where_paths_part(line, arm):
    """On a grid two remote pairs of the same nodes may have left through different links."""
    scenario = line(rate_hz=2.0, measured_s=20.0, memory_reading="memories_per_link", memories=8)
    grid = Topology(kind="grid", parameters={"rows": 2, "columns": 3, "hop_km": 20.0})
    policy, tables, simulation = _play(
        replace(scenario, topology=grid), Arm(name=arm, pregeneration="virtual-link"), 7
    )
    assert min(policy.counts.values()) > 0
    _check_books(tables, simulation)
    ports: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for pair, link in _links_at_ends(tables["pairs"]).items():
        ports.setdefault(pair[1:], set()).add(link)
    assert max(map(len, ports.values())) > 1


def _links_at_ends(pairs):
    """(pair, first, second) of stocked pairs -> links of the first and last fresh pair in them."""
    row_of = {int(pair): row for row, pair in enumerate(pairs["pair"])}

    def fresh(row: int, end: int) -> int:
        if pairs["link"][row] >= 0:
            return int(pairs["link"][row])
        parents = [row_of[int(pairs[name][row])] for name in ("first_parent", "second_parent")]
        return next(
            fresh(parent, end)
            for parent in parents
            if end in (pairs["first"][parent], pairs["second"][parent])
        )

    return {
        (int(pairs["pair"][row]), int(pairs["first"][row]), int(pairs["second"][row])): (
            fresh(row, int(pairs["first"][row])),
            fresh(row, int(pairs["second"][row])),
        )
        for row in np.flatnonzero(pairs["owner"] >= 0).tolist()
    }
