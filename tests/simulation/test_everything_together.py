"""All that a run may hold, drawn together: nothing is held twice, or for ever, and records tell the truth."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from physics.hardware import (
    DepolarisingMemory,
    DirectLink,
    DoubleClickLink,
    Fibre,
    NodeHardware,
    RelaxingMemory,
    SourceLink,
)
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import PairOutcome
from qdpem.metrics.metrics import measure
from qdpem.records.audit.audit import audit
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import (
    Arm,
    ControlSettings,
    Demand,
    Forecasting,
    Links,
    Nodes,
    Outages,
    RandomOutages,
    RequestClass,
    Scenario,
    Topology,
    Window,
)
from qdpem.scenario.words import Repetition
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.simulation import Simulation
from tests.helpers.gamblers import Gambler
from tests.helpers.watching import watch

STOP_S, END_S = 0.6, 1.7
"""No request or order of stock comes after the first; the longest that does is over before the second."""
_LONGEST_S = 1.0
_CHECK_EVERY = 7


def assert_all_is_over(simulation: Simulation) -> None:
    """Long after the last deadline and the last expiry nothing is kept of them anywhere."""
    state, control_plane = simulation._state, simulation._control_plane
    pools = range(state.memories.pools)
    assert not any(map(state.memories.held, pools))
    assert not any(state.memories.remote)
    assert not state.ledger.live
    assert not state.claims.open
    assert not state.requests.open
    assert not any(state.requests.waiting.values())
    assert not control_plane.holding()
    assert not control_plane.orders.ordered.any()
    assert not any(control_plane.orders.stock_orders.values())
    assert not any(map(len, (*state.inventory.owned, *state.inventory.reported, *state.inventory.unreleased)))
    assert not state.inventory._ended_before_reported
    assert not any(mode.claim for link in state.attempts.values() for mode in link._modes)


def assert_books(tables) -> None:
    """Times in order; what is delivered serves an open request; metrics are numbers that can be."""
    pairs, claims, allocations, requests = (
        tables[name] for name in ("pairs", "claims", "allocations", "requests")
    )
    assert np.array_equal(np.sort(pairs["pair"]), np.arange(len(pairs["pair"])))
    assert (pairs["born_s"] <= pairs["fidelity_s"]).all()
    assert (pairs["fidelity_s"] <= pairs["end_s"]).all()
    assert (claims["contended_s"] >= 0.0).all()
    assert (claims["contended_s"] <= claims["end_s"] - claims["time_s"]).all()
    assert (allocations["end_s"] <= allocations["expires_s"]).all()
    assert (requests["end_s"] <= requests["deadline_s"]).all()
    order = np.argsort(allocations["allocation"])
    delivered = (pairs["outcome"] == PairOutcome.DELIVERED.code) & (pairs["owner"] < 0)
    served = allocations["request"][order][pairs["allocation"][delivered]]
    ended_s = dict(zip(requests["request"].tolist(), requests["end_s"].tolist(), strict=True))
    latest_s = np.array([ended_s[request] for request in served.tolist()])
    assert (pairs["end_s"][delivered] <= latest_s).all()
    for name, value in measure(tables, start_s=0.0, end_s=END_S).items():
        assert math.isnan(value) or 0.0 <= value < math.inf, name
        if name in ("delivery_ratio", "pairs_ratio", "delivered_fidelity", "jain_index"):
            assert not value > 1.0 + 1e-9, name


def _law(up_s: float, down_s: float) -> RandomOutages:
    return RandomOutages(mean_up_s=up_s, mean_down_s=down_s)


_TOPOLOGIES = st.one_of(
    st.builds(
        lambda nodes, hop_km: Topology(kind="line", parameters={"nodes": nodes, "hop_km": hop_km}),
        st.integers(2, 5),
        st.sampled_from((1.0, 20.0, 300.0)),
    ),
    st.just(Topology(kind="grid", parameters={"rows": 2, "columns": 3, "hop_km": 20.0})),
)
_FIBRE = Fibre(loss_db_per_km=0.01)
_LINKS = st.builds(
    Links,
    hardware=st.sampled_from(
        (
            SourceLink(fibre=_FIBRE),
            DirectLink(
                success_probability=0.3,
                attempt_period_s=4e-3,
                modes=2,
                fresh_weights=(0.97, 0.01, 0.01, 0.01),
            ),
            DoubleClickLink(fibre=_FIBRE, station_position=0.2, reset_time_s=4e-3),
        )
    ),
    slotted=st.booleans(),
    light_delay=st.booleans(),
)
_HARDWARE = st.builds(
    NodeHardware,
    memory=st.sampled_from(
        (DepolarisingMemory(depolarising_s=1.0), RelaxingMemory(relaxation_s=1.5, dephasing_s=0.9))
    ),
    swap_success_probability=st.sampled_from((0.5, 1.0)),
    gate_fidelity=st.sampled_from((0.99, 1.0)),
    bell_measurement=st.sampled_from(("complete", "linear-optics", "boosted")),
)


def _nodes(hardware, kind, per_link, memories, rest) -> Nodes:
    server = kind == "server"
    return Nodes(
        hardware=hardware,
        repeater_kind=kind,
        source_rate_hz=60.0,
        swap_time_s=0.0 if server else 1e-3,
        remote_storage_quota=0.5,
        **{"memories_per_link" if per_link else "memories": memories},
        **rest,
    )


_NODES = st.builds(
    _nodes,
    _HARDWARE,
    st.sampled_from(("token-bucket", "server")),
    st.booleans(),
    st.sampled_from((2, 4, 9)),
    st.fixed_dictionaries(
        {
            "repeater_rate_hz": st.sampled_from((10.0, 200.0)),
            "swap_order": st.sampled_from(("asap", "nested", "left-to-right")),
            "cutoff_s": st.sampled_from((None, 0.02, 0.1)),
        }
    ),
)
_CLASSES = st.lists(
    st.tuples(
        st.sampled_from((("teleportation", 0.55), ("computing", 0.8), ("qkd", 0.85))),
        st.sampled_from((1e-4, 0.02, 0.3, _LONGEST_S)),
        st.integers(1, 3),
        st.sampled_from(Repetition),
    ),
    min_size=1,
    max_size=3,
)


def _demand(drawn, rate_hz) -> Demand:
    classes = tuple(
        RequestClass(
            application=application,
            fraction=1.0 / len(drawn),
            target_fidelity=target,
            patience_s=patience_s,
            pairs=pairs,
            repeat_until_deadline=repeat_until_deadline,
        )
        for (application, target), patience_s, pairs, repeat_until_deadline in drawn
    )
    return Demand(classes=classes, rate_hz=rate_hz)


_SCENARIOS = st.builds(
    Scenario,
    name=st.just("together"),
    topology=_TOPOLOGIES,
    nodes=_NODES,
    links=_LINKS,
    demand=st.builds(_demand, _CLASSES, st.sampled_from((5.0, 30.0))),
    control=st.builds(
        ControlSettings,
        zero_delay=st.booleans(),
        retries=st.sampled_from((0, 4, 30)),
        service_time_s=st.sampled_from((0.0, 5e-3)),
        decision_epoch_s=st.just(0.05),
    ),
    outages=st.builds(
        Outages,
        links=st.sampled_from((None, _law(0.3, 0.05), _law(0.1, 1e-3))),
        nodes=st.sampled_from((None, _law(0.5, 0.1), _law(0.1, 1e-3))),
        controller=st.sampled_from((None, _law(0.3, 0.1))),
    ),
    forecasting=st.just(Forecasting(history_s=5.0)),
    window=st.just(Window(warm_up_s=0.1, measured_s=END_S - 0.1)),
)
_ARMS = st.builds(
    Arm, name=st.sampled_from(("local-minhop", "central-fcfs")), pregeneration=st.just("virtual-link")
)


def play(scenario: Scenario, arm: Arm, seed: int, recorder, *, watched: bool = False) -> Simulation:
    """Run the gambler; requests come until STOP_S alone."""
    policy = Gambler(seed, stock_until_s=STOP_S, longest_s=_LONGEST_S)
    simulation = Simulation(scenario, arm, seed=seed, recorder=recorder, policy=policy)
    requests = simulation.arrivals.requests
    kept = int((requests.time_s < STOP_S).sum())
    if kept:
        few = {field.name: getattr(requests, field.name)[:kept] for field in fields(requests)}
        simulation.arrivals = replace(simulation.arrivals, requests=replace(requests, **few))
    if watched:
        watch(simulation, every=_CHECK_EVERY)
    while (observations := simulation.advance()) is not None:
        simulation.apply(simulation.policy.act(observations))
    if kept:
        assert_all_is_over(simulation)
    return simulation


_drawn = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.generate,),
}


@pytest.mark.slow
@settings(max_examples=30, **_drawn)
@given(scenario=_SCENARIOS, arm=_ARMS, seed=st.integers(0, 10**6))
def test_whatever_meets_leaks_nothing_and_leaves_nothing(scenario, arm, seed):
    """Repeating and other requests, stock, outages, losses of all kinds, and all that memories may be."""
    recorder = MemoryRecorder()
    play(scenario, arm, seed, recorder, watched=True)
    assert_books(recorder.tables())


@pytest.mark.slow
@settings(max_examples=4, **_drawn)
@given(scenario=_SCENARIOS, arm=_ARMS, seed=st.integers(0, 10**6))
def test_whatever_meets_repeats_and_can_be_lived_again(tmp_path_factory, scenario, arm, seed):
    """The same seed gives the same bytes, and an audit finds nothing."""
    directory, found = tmp_path_factory.mktemp("records"), []
    for name in ("first.h5", "second.h5"):
        full = resolve_arm(arm).arm
        with RecordWriter(directory / name, scenario=scenario, arm=full, seed=seed) as writer:
            play(scenario, arm, seed, writer)
            found.append(writer.tables())
            writer.close_complete({}, {})
    first, second = found
    for table, columns in first.items():
        assert all(columns[name].tobytes() == second[table][name].tobytes() for name in columns)
    result = audit(open_record(directory / "first.h5"), limit=200)
    assert result.findings == ()
    assert result.unknown == 0
