"""All that a run may hold, drawn together: nothing is held twice, or for ever, and records tell the truth."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise

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
from physics.plans import Plan
from qdpem.events.metrics import measure
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import OUTCOMES, PAIR_ENDS
from qdpem.policy.interface import Allocation, Decisions
from qdpem.records.audit import audit
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import (
    STANDING,
    Arm,
    ControlPlane,
    Demand,
    Forecasting,
    Links,
    Nodes,
    Outages,
    RandomOutages,
    RequestClass,
    Scenario,
    ScheduledOutage,
    Topology,
    Window,
)
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import Simulation, simulate

STOP_S, END_S = 0.6, 1.7
"""No request or order of stock comes after the first; the longest that does is over before the second."""
_LONGEST_S = 1.0
_CHECK_EVERY = 7


class Gambler:
    """Serves and stocks at random, within the rules, with every plan, split and expiry."""

    name = "gambler"
    asks_at_epochs = True
    news_width = 0

    def __init__(self, seed: int) -> None:
        self._draws = np.random.default_rng(seed)

    def reset(self, context) -> None:
        self._context = context

    def decide(self, views) -> Decisions:
        made = [one for view in views for one in (*self._serve(view), *self._stock(view))]
        return Decisions(allocations=tuple(made))

    def _plan(self, path) -> Plan:
        draws, linked = self._draws, set(pairwise(path)) <= set(self._context.network.link_between)
        return Plan(
            rounds_per_link=int(draws.choice(3, p=(0.6, 0.25, 0.15))),
            end_rounds=int(linked and draws.random() < 0.25),
            schedule=("nested", "pumping")[int(draws.integers(2))],
            protocol=("dejmps", "bbpssw")[int(draws.integers(2))],
        )

    def _serve(self, view):
        for place, request in enumerate(view.request_id[0].tolist()):
            deadline_s = float(view.request_deadline_s[0, place])
            if request < 0 or deadline_s <= view.time_s or self._draws.random() < 0.1:
                continue
            ends = int(view.request_source[0, place]), int(view.request_destination[0, place])
            left = int(view.request_pairs[0, place])
            while left > 0 and self._draws.random() < 0.95:
                pairs = int(self._draws.integers(1, left + 1))
                left -= pairs
                path = self._path(view, *ends, standing=view.request_standing[0, place] > 0)
                early_s = (deadline_s - view.time_s) * max(self._draws.uniform(-3.0, 0.9), 0.0)
                yield Allocation(
                    source=ends[0],
                    destination=ends[1],
                    target_fidelity=float(view.request_target_fidelity[0, place]),
                    path=path,
                    expires_s=deadline_s - early_s,
                    plan=self._plan(path),
                    pairs=pairs,
                    request=request,
                )

    def _stock(self, view):
        if view.time_s > STOP_S or self._draws.random() < 0.7:
            return
        nodes = self._context.network.node_count
        source = int(view.site[0]) if view.site[0] >= 0 else int(self._draws.integers(nodes))
        destination = int(self._draws.choice([node for node in range(nodes) if node != source]))
        path = self._path(view, source, destination)
        if len(path) == 2 and path not in self._context.network.link_between:
            return
        yield Allocation(
            source=source,
            destination=destination,
            target_fidelity=0.7,
            path=path,
            expires_s=view.time_s + float(self._draws.uniform(1e-6, _LONGEST_S)),
            plan=self._plan(path),
            pairs=int(self._draws.integers(1, 3)),
            purpose="stock",
        )

    def _path(self, view, source: int, destination: int, *, standing: bool = False) -> tuple[int, ...]:
        paths = self._context.routes.paths(source, destination)
        path = paths[int(self._draws.integers(len(paths)))].nodes
        owned = view.stock_ready[0] == 1
        shelf = zip(view.stock_owner[0][owned].tolist(), view.stock_partner[0][owned].tolist(), strict=True)
        for owner, partner in shelf:
            if not standing and owner in path and partner in path and self._draws.random() < 0.7:
                first, second = path.index(owner), path.index(partner)
                if first + 1 < second:
                    return path[: first + 1] + path[second:]
        return path


def watch(simulation: Simulation, *, every: int = 1) -> None:
    """Look at the whole state after every so many events."""
    clock = simulation._world.clock
    step, seen = clock.step, [0, 0.0]

    def stepped() -> None:
        step()
        assert clock.now_s >= seen[1]
        seen[:] = seen[0] + 1, clock.now_s
        if seen[0] % every == 0:
            look(simulation)

    clock.step = stepped


def look(simulation: Simulation) -> None:
    """Qubits and pairs are conserved, each half has a qubit of its own, each claim somebody to work for."""
    simulation.check()
    world = simulation._world
    at_work = {one.id: one for one in simulation._desk.holding()}
    waiting = {claim.id for feed in (*world.sources, *world.attempts.values()) for claim in feed.claims}
    waiting |= {claim.id for repeater in world.repeaters for claim in repeater.waiting}
    assert waiting == set(world.claims.open)
    for claim in world.claims.open.values():
        assert claim.allocation in at_work
        assert claim.kind == "token" or not world.absent.links[claim.link]
    stocked = {pair for shelf in world.stock.owned for pair in shelf}
    halves, qubits = Counter(), Counter()
    for pair in world.ledger.live.values():
        assert not {pair.first, pair.second} & set(world.absent.nodes)
        if pair.id not in stocked:
            halves.update(world.stock.pools_of(pair))
    for reservation in at_work.values():
        for pool, count in reservation.held:
            assert count >= 0
            qubits[pool] += count
    assert all(count <= qubits[pool] for pool, count in halves.items()), (halves, qubits)


def assert_all_is_over(simulation: Simulation) -> None:
    """Long after the last deadline and the last expiry nothing is kept of them anywhere."""
    world, desk = simulation._world, simulation._desk
    pools = range(world.memories.pools)
    assert not any(map(world.memories.held, pools))
    assert not any(world.memories.foreign)
    assert not world.ledger.live
    assert not world.claims.open
    assert not world.requests.open
    assert not any(world.requests.waiting.values())
    assert not desk.holding()
    assert not desk.ordered.any()
    assert not any(desk.stocking.values())
    assert not any(map(len, (*world.stock.owned, *world.stock.seen, *world.stock.leaving)))
    assert not world.stock._gone_unseen
    assert not any(mode.claim for link in world.attempts.values() for mode in link._modes)


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
    delivered = (pairs["end"] == PAIR_ENDS.index("delivered")) & (pairs["owner"] < 0)
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
            DoubleClickLink(fibre=_FIBRE, station_share=0.2, reset_time_s=4e-3),
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
        foreign_stock_share=0.5,
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
        st.sampled_from(STANDING),
    ),
    min_size=1,
    max_size=3,
)


def _demand(drawn, rate_hz) -> Demand:
    classes = tuple(
        RequestClass(
            application=application,
            share=1.0 / len(drawn),
            target_fidelity=target,
            patience_s=patience_s,
            pairs=pairs,
            standing=standing,
        )
        for (application, target), patience_s, pairs, standing in drawn
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
        ControlPlane,
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
_ARMS = st.builds(Arm, name=st.sampled_from(("local-minhop", "central-fcfs")), rights=st.just("virtual"))


def play(scenario: Scenario, arm: Arm, seed: int, recorder, *, watched: bool = False) -> Simulation:
    """Run the gambler; requests come until STOP_S alone."""
    simulation = Simulation(scenario, arm, seed=seed, recorder=recorder, policy=Gambler(seed))
    requests = simulation.arrivals.requests
    kept = int((requests.time_s < STOP_S).sum())
    if kept:
        few = {field.name: getattr(requests, field.name)[:kept] for field in fields(requests)}
        simulation.arrivals = replace(simulation.arrivals, requests=replace(requests, **few))
    if watched:
        watch(simulation, every=_CHECK_EVERY)
    while (views := simulation.advance()) is not None:
        simulation.apply(simulation.policy.decide(views))
    if kept:
        assert_all_is_over(simulation)
    return simulation


_drawn = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.generate,),
}


@settings(max_examples=30, **_drawn)
@given(scenario=_SCENARIOS, arm=_ARMS, seed=st.integers(0, 10**6))
def test_whatever_meets_leaks_nothing_and_leaves_nothing(scenario, arm, seed):
    """Standing and other requests, stock, outages, losses of all kinds, and all that memories may be."""
    recorder = MemoryRecorder()
    play(scenario, arm, seed, recorder, watched=True)
    assert_books(recorder.tables())


@settings(max_examples=4, **_drawn)
@given(scenario=_SCENARIOS, arm=_ARMS, seed=st.integers(0, 10**6))
def test_whatever_meets_repeats_and_can_be_lived_again(tmp_path_factory, scenario, arm, seed):
    """The same seed gives the same bytes, and an audit finds nothing."""
    directory, found = tmp_path_factory.mktemp("records"), []
    for name in ("first.h5", "second.h5"):
        with RecordWriter(directory / name, scenario=scenario, arm=resolve_arm(arm), seed=seed) as writer:
            play(scenario, arm, seed, writer)
            found.append(writer.tables())
            writer.close_complete({}, {})
    first, second = found
    for table, columns in first.items():
        assert all(columns[name].tobytes() == second[table][name].tobytes() for name in columns)
    result = audit(open_record(directory / "first.h5"), limit=200)
    assert result.findings == ()
    assert result.unknown == 0


def _line(nodes=3, *, hop_km=0.1, q=1.0, cutoff_s=None, per_link=None, topology=None, **request) -> Scenario:
    """Perfect fibre, sources of 50 Hz, one request at t = 0 between the ends of a line unless said."""
    asked = {"application": "teleportation", "share": 1.0, "target_fidelity": 0.51, "patience_s": 1e4}
    hardware = NodeHardware(memory=DepolarisingMemory(depolarising_s=0.05), swap_success_probability=q)
    return Scenario(
        name="line",
        topology=topology or Topology(kind="line", parameters={"nodes": nodes, "hop_km": hop_km}),
        nodes=Nodes(
            repeater_rate_hz=1e9,
            repeater_burst=1e9,
            swap_time_s=0.0,
            cutoff_s=cutoff_s,
            hardware=hardware,
            source_rate_hz=50.0,
            memories_per_link=per_link,
            foreign_stock_share=1.0,
        ),
        links=Links(
            hardware=SourceLink(fibre=Fibre(fixed_loss_db=0.0, loss_db_per_km=0.0)), processing_delay_s=0.0
        ),
        demand=Demand(classes=(RequestClass(**(asked | request)),), arrivals="once", weights="ends"),
        forecasting=Forecasting(history_s=5.0),
        window=Window(warm_up_s=1e-3, measured_s=20.0),
    )


@pytest.mark.parametrize("standing", ["pair", "link"])
@pytest.mark.parametrize("q", [1.0, 0.5])
def test_a_standing_request_over_sources_keeps_to_the_closed_form(standing, q):
    """Two links, three sources of rate g: E[T] = 1/3g + 1/2g, and the first pair waits an Exp(2g).

    The middle source works for one link at a time, then for the other: whichever is first, the second has
    two sources. A failed swap begins all anew: T is over q, the fidelity what it was. Light takes 0.5 us of
    16.7 ms. Two-sided at 4.5 standard errors of the model's own scatter: 7e-6 each.
    """
    rate_hz, over_s = 50.0, 80.0
    scenario = replace(_line(q=q, standing=standing), window=Window(warm_up_s=1e-3, measured_s=over_s))
    tables = simulate(scenario, Arm(name="local-minhop"), seed=3).tables
    found = measure(tables, start_s=1e-3, end_s=over_s)
    mean_s = 5.0 / (6.0 * rate_hz)
    # Var of one try; of a geometric number of tries by Wald: Var/q + mean^2 (1 - q)/q^2.
    tried = (1 / 9 + 1 / 4) / rate_hz**2
    scatter_s = math.sqrt(tried / q + mean_s**2 * (1 - q) / q**2)
    count = over_s * q / mean_s
    assert abs(found["pair_waiting_s"] - mean_s / q) < 4.5 * scatter_s / math.sqrt(count)
    # w = w0^2 e^(-2t/T), t exponential of rate 2g: moments 2g/(2g + 2k/T).
    weight, leaving, decay = ((4 * 0.98 - 1) / 3) ** 2, 2 * rate_hz, 2 / 0.05
    first, second = leaving / (leaving + decay), leaving / (leaving + 2 * decay)
    scatter = 0.75 * weight * math.sqrt(second - first**2)
    assert abs(found["pair_fidelity"] - (3 * weight * first + 1) / 4) < 4.5 * scatter / math.sqrt(count)


@pytest.mark.parametrize("arm", ["local-minhop", "central-fcfs", "local-stock", "central-live"])
@pytest.mark.parametrize("standing", ["pair", "link"])
def test_a_standing_request_goes_on_after_every_outage(arm, standing):
    """Twenty outages are many more than its retries, and each time it is served in full again."""
    scenario = replace(
        _line(standing=standing, pairs=2, patience_s=19.0), outages=Outages(links=_law(1.0, 0.02))
    )
    tables = simulate(scenario, Arm(name=arm, rights="serve"), seed=3).tables
    served = tables["allocations"]["purpose"] == 0
    assert len(tables["outages"]["from_s"]) > 20
    assert served.sum() > 15
    assert (tables["allocations"]["pairs"][served] == 2).all()
    pairs = tables["pairs"]
    delivered_s = pairs["end_s"][pairs["end"] == PAIR_ENDS.index("delivered")]
    assert (np.histogram(delivered_s, bins=19, range=(0.0, 19.0))[0] > 10).all()
    assert tables["requests"]["outcome"].tolist() == [OUTCOMES.index("delivered")]


def test_a_standing_request_whose_pairs_are_all_too_poor_is_not_delivered():
    tables = simulate(
        _line(standing="pair", target_fidelity=0.97, patience_s=1.0), _BLIND_ARM, seed=3, policy=Blind()
    ).tables
    assert (tables["pairs"]["end"] == PAIR_ENDS.index("delivered")).sum() > 10
    assert tables["requests"]["outcome"].tolist() == [OUTCOMES.index("low_fidelity")]
    assert tables["requests"]["pairs_delivered"].tolist() == [0]


_BLIND_ARM = Arm(name="local-minhop", rights="remote")


class Blind:
    """Serves every request over the shortest path, whatever its fidelity; stocks `order` first, if given.

    With an order it waits until a pair is in stock whose age is at least `least_age_s`.
    """

    name = "blind"
    asks_at_epochs = True
    news_width = 0

    def __init__(self, *, plan=None, order=(), path=(), least_age_s=0.0) -> None:
        self._plan, self._order, self._path = plan or Plan(), order, path
        self._least_age_s = least_age_s
        self._ordered = False

    def reset(self, context) -> None:
        self._context = context

    def decide(self, views) -> Decisions:
        made = []
        for view in views:
            site = int(view.site[0])
            if self._order and site == self._order[0] and not self._ordered:
                self._ordered = True
                made.append(self._allocation(self._order, purpose="stock", expires_s=15.0))
            aged = (view.stock_ready[0] == 1) & (view.stock_age_s[0] >= self._least_age_s)
            for place, request in enumerate(view.request_id[0].tolist()):
                if request >= 0 and (not self._order or aged.any()):
                    ends = int(view.request_source[0, place]), int(view.request_destination[0, place])
                    made.append(
                        self._allocation(
                            self._path or self._context.routes.paths(*ends)[0].nodes,
                            target_fidelity=float(view.request_target_fidelity[0, place]),
                            expires_s=float(view.request_deadline_s[0, place]),
                            plan=self._plan,
                            request=request,
                        )
                    )
        return Decisions(allocations=tuple(made))

    @staticmethod
    def _allocation(path, *, plan=None, target_fidelity=0.6, **rest) -> Allocation:
        return Allocation(
            source=path[0],
            destination=path[-1],
            path=tuple(path),
            pairs=1,
            plan=plan or Plan(),
            target_fidelity=target_fidelity,
            **rest,
        )


def _watched(scenario, policy, *, seed=3, arm=_BLIND_ARM):
    recorder = MemoryRecorder()
    simulation = Simulation(scenario, arm, seed=seed, recorder=recorder, policy=policy)
    watch(simulation)
    while (views := simulation.advance()) is not None:
        simulation.apply(policy.decide(views))
    return recorder.tables()


def _stable(scenario, *, epoch_s, measured_s=2.0):
    """The same with memories of a minute."""
    hardware = replace(scenario.nodes.hardware, memory=DepolarisingMemory(depolarising_s=60.0))
    return replace(
        scenario,
        nodes=replace(scenario.nodes, hardware=hardware),
        control=ControlPlane(decision_epoch_s=epoch_s),
        window=Window(warm_up_s=1e-3, measured_s=measured_s),
    )


@pytest.mark.parametrize("standing", ["no", "pair", "link"])
def test_a_stocked_pair_that_reaches_the_cut_off_before_the_grant_is_back_is_made_anew_once(standing):
    """Light takes 1.5 ms; the pair is taken 2.5 ms before its cut-off, and the grant comes back after 3."""
    cutoff_s, delay_s = 0.2, 300.0 / 2e5
    line = _line(hop_km=300.0, cutoff_s=cutoff_s, standing=standing, patience_s=0.7)
    scenario = _stable(line, epoch_s=2e-4, measured_s=0.7)
    policy = Blind(order=(0, 1), least_age_s=cutoff_s - 2.5e-3)
    pairs = _watched(scenario, policy)["pairs"]
    first = pairs["pair"] == 0
    assert pairs["end"][first] == PAIR_ENDS.index("expired")
    age_s = (pairs["end_s"] - pairs["born_s"])[first]
    assert cutoff_s <= age_s < cutoff_s + delay_s
    assert (pairs["end"] == PAIR_ENDS.index("delivered")).any()


def test_a_stocked_pair_older_than_the_cut_off_is_left_on_the_shelf():
    scenario = _stable(_line(cutoff_s=0.2, patience_s=1.9), epoch_s=0.01)
    tables = _watched(scenario, Blind(order=(0, 1), least_age_s=0.3))
    pairs = tables["pairs"]
    assert pairs["end"][pairs["owner"] == 0].tolist() == [PAIR_ENDS.index("live")]
    assert (pairs["end"] == PAIR_ENDS.index("delivered")).sum() == 1


@pytest.mark.parametrize("standing", ["no", "pair", "link"])
def test_word_of_a_failed_swap_that_comes_with_the_command_takes_no_qubit_twice(standing):
    """The controller's own node swaps two stocked pairs at once, and its command travels no faster."""
    line = _line(hop_km=20.0, q=0.2, standing=standing, patience_s=0.7)
    scenario = _stable(line, epoch_s=0.01, measured_s=1.0)

    class Both(Blind):
        def decide(self, views) -> Decisions:
            if not self._ordered:
                self._ordered = True
                ways = ((1, 0), (1, 2))
                return Decisions(
                    allocations=tuple(self._allocation(way, purpose="stock", expires_s=1.0) for way in ways)
                )
            if (views.stock_ready == 1).sum() < 2:
                return Decisions()
            return super().decide(views)

    pairs = _watched(scenario, Both(), arm=Arm(name="central-fcfs", rights="virtual"))["pairs"]
    both = pairs["owner"] == 1
    assert (pairs["end"][both] == PAIR_ENDS.index("swapped")).all()
    assert len(np.unique(pairs["end_s"][both])) == 1
    # That swap failed, and yet a pair was made in the end.
    assert not np.isin(pairs["first_parent"], pairs["pair"][both]).any()
    assert (pairs["end"] == PAIR_ENDS.index("delivered")).any()


@pytest.mark.parametrize("standing", ["no", "pair", "link"])
def test_a_pair_made_round_about_does_not_lend_its_qubits_to_a_link(standing):
    """Each link has its own qubits: node 0 owns a pair with its neighbour 1 that came over 3 and 4."""
    grid = Topology(kind="grid", parameters={"rows": 2, "columns": 3, "hop_km": 5.0})
    scenario = _stable(
        _line(topology=grid, per_link=4, q=0.5, standing=standing, patience_s=1.9), epoch_s=0.01
    )
    # The ends of a grid of six are 0 and 5.
    tables = _watched(scenario, Blind(order=(0, 3, 4, 1), path=(0, 1, 4, 5)))
    assert (tables["pairs"]["end"] == PAIR_ENDS.index("delivered")).any()


def test_a_standing_request_without_end_begins_with_stock():
    """However far its deadline, the stocked pair is as good as ever."""
    scenario = _stable(_line(standing="pair"), epoch_s=0.01)
    pairs = _watched(scenario, Blind(order=(0, 1)))["pairs"]
    assert pairs["end"][pairs["owner"] == 0].tolist() == [PAIR_ENDS.index("swapped")]


@pytest.mark.parametrize("rounds", [0, 1])
def test_an_audit_follows_pairs_of_one_link_that_are_distilled_end_to_end(tmp_path, rounds):
    """On a link and end to end is then the same place, and the same coins decide both."""
    scenario = replace(_line(nodes=2, standing="pair"), window=Window(warm_up_s=1e-3, measured_s=4.0))
    policy = Blind(plan=Plan(rounds_per_link=rounds, end_rounds=1))
    arm = resolve_arm(_BLIND_ARM)
    with RecordWriter(tmp_path / "one.h5", scenario=scenario, arm=arm, seed=3) as writer:
        simulate(scenario, arm, seed=3, recorder=writer, policy=policy)
        writer.close_complete({}, {})
    result = audit(open_record(tmp_path / "one.h5"))
    assert result.distillations > 20
    assert result.findings == ()


def test_late_word_of_a_failure_does_not_reject_what_came_after_it(arrive):
    """Node 0 is away for 1 ms, and asks 0.2 ms later; the controller hears of the failure at 3 ms."""
    away = ScheduledOutage(kind="node", name="n0", from_s=0.5, until_s=0.501)
    arrive([(0.4999, 0, 4), (0.5012, 0, 4)], patience_s=1.0, target_fidelity=0.51)
    scenario = _stable(replace(_line(5, hop_km=300.0), outages=Outages(scheduled=(away,))), epoch_s=0.1)
    requests = simulate(scenario, Arm(name="central-fcfs"), seed=3).tables["requests"]
    outcomes = dict(zip(requests["request"].tolist(), requests["outcome"].tolist(), strict=True))
    assert outcomes == {0: OUTCOMES.index("rejected"), 1: OUTCOMES.index("delivered")}
