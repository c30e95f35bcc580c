"""Repeating requests, stock, cut-offs, outages and late words where two of them meet, case by case."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from physics.hardware import DepolarisingMemory, Fibre, NodeHardware, SourceLink
from physics.plans import Plan
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.metrics.metrics import measure
from qdpem.policy.interface import Allocation, Decisions
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
    ScheduledOutage,
    Topology,
    Window,
)
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import simulate
from qdpem.simulation.simulation import Simulation
from tests.helpers.watching import watch


def _line(nodes=3, *, hop_km=0.1, q=1.0, cutoff_s=None, per_link=None, topology=None, **request) -> Scenario:
    """Perfect fibre, sources of 50 Hz, one request at t = 0 between the ends of a line unless said."""
    asked = {"application": "teleportation", "fraction": 1.0, "target_fidelity": 0.51, "patience_s": 1e4}
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
            remote_storage_quota=1.0,
        ),
        links=Links(
            hardware=SourceLink(fibre=Fibre(fixed_loss_db=0.0, loss_db_per_km=0.0)), processing_delay_s=0.0
        ),
        demand=Demand(classes=(RequestClass(**(asked | request)),), arrivals="batch", weights="endpoints"),
        forecasting=Forecasting(history_s=5.0),
        window=Window(warm_up_s=1e-3, measured_s=20.0),
    )


@pytest.mark.mostly_slow
@pytest.mark.parametrize("repeat_until_deadline", ["pair", "link"])
@pytest.mark.parametrize("q", [1.0, 0.5])
def test_a_repeating_request_over_sources_keeps_to_the_closed_form(repeat_until_deadline, q):
    """Two links, three sources of rate g: E[T] = 1/3g + 1/2g, and the first pair waits an Exp(2g).

    The middle source works for one link at a time, then for the other: whichever is first, the second has
    two sources. A failed swap begins all anew: T is over q, the fidelity what it was. Light takes 0.5 us of
    16.7 ms. Two-sided at 4.5 standard errors of the model's own scatter: 7e-6 each.
    """
    rate_hz, over_s = 50.0, 80.0
    scenario = replace(
        _line(q=q, repeat_until_deadline=repeat_until_deadline),
        window=Window(warm_up_s=1e-3, measured_s=over_s),
    )
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


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("arm", ["local-minhop", "central-fcfs", "local-stock", "central-expected-delay"])
@pytest.mark.parametrize("repeat_until_deadline", ["pair", "link"])
def test_a_repeating_request_goes_on_after_every_outage(arm, repeat_until_deadline):
    """Twenty outages are many more than its retries, and each time it is served in full again."""
    scenario = replace(
        _line(repeat_until_deadline=repeat_until_deadline, pairs=2, patience_s=19.0),
        outages=Outages(links=RandomOutages(mean_up_s=1.0, mean_down_s=0.02)),
    )
    tables = simulate(scenario, Arm(name=arm, pregeneration="none"), seed=3).tables
    served = tables["allocations"]["purpose"] == 0
    assert len(tables["outages"]["from_s"]) > 20
    assert served.sum() > 15
    assert (tables["allocations"]["pairs"][served] == 2).all()
    pairs = tables["pairs"]
    delivered_s = pairs["end_s"][pairs["outcome"] == PairOutcome.DELIVERED.code]
    assert (np.histogram(delivered_s, bins=19, range=(0.0, 19.0))[0] > 10).all()
    assert tables["requests"]["outcome"].tolist() == [RequestOutcome.DELIVERED.code]


def test_a_repeating_request_whose_pairs_are_all_too_poor_is_not_delivered():
    tables = simulate(
        _line(repeat_until_deadline="pair", target_fidelity=0.97, patience_s=1.0),
        _BLIND_ARM,
        seed=3,
        policy=Blind(),
    ).tables
    assert (tables["pairs"]["outcome"] == PairOutcome.DELIVERED.code).sum() > 10
    assert tables["requests"]["outcome"].tolist() == [RequestOutcome.LOW_FIDELITY.code]
    assert tables["requests"]["pairs_delivered"].tolist() == [0]


_BLIND_ARM = Arm(name="local-minhop", pregeneration="end-to-end")


class Blind:
    """Serves every request over the shortest path, whatever its fidelity; stocks `order` first, if given.

    With an order it waits until a pair is in stock whose age is at least `min_age_s`.
    """

    name = "blind"
    acts_every_epoch = True
    message_width = 0

    def __init__(self, *, plan=None, order=(), path=(), min_age_s=0.0) -> None:
        self._plan, self._order, self._path = plan or Plan(), order, path
        self._min_age_s = min_age_s
        self._ordered = False

    def reset(self, context) -> None:
        self._context = context

    def act(self, observations) -> Decisions:
        made = []
        for observation in observations:
            site = int(observation.site[0])
            if self._order and site == self._order[0] and not self._ordered:
                self._ordered = True
                made.append(self._allocation(self._order, purpose="stock", expires_s=15.0))
            aged = (observation.stock_ready[0] == 1) & (observation.stock_age_s[0] >= self._min_age_s)
            for place, request in enumerate(observation.request_id[0].tolist()):
                if request >= 0 and (not self._order or aged.any()):
                    ends = (
                        int(observation.request_source[0, place]),
                        int(observation.request_destination[0, place]),
                    )
                    made.append(
                        self._allocation(
                            self._path or self._context.routes.paths(*ends)[0].nodes,
                            target_fidelity=float(observation.request_target_fidelity[0, place]),
                            expires_s=float(observation.request_deadline_s[0, place]),
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
    while (observations := simulation.advance()) is not None:
        simulation.apply(policy.act(observations))
    return recorder.tables()


def _stable(scenario, *, epoch_s, measured_s=2.0):
    """The same with memories of a minute."""
    hardware = replace(scenario.nodes.hardware, memory=DepolarisingMemory(depolarising_s=60.0))
    return replace(
        scenario,
        nodes=replace(scenario.nodes, hardware=hardware),
        control=ControlSettings(decision_epoch_s=epoch_s),
        window=Window(warm_up_s=1e-3, measured_s=measured_s),
    )


@pytest.mark.mostly_slow
@pytest.mark.parametrize("repeat_until_deadline", ["no", "pair", "link"])
def test_a_stocked_pair_that_reaches_the_cut_off_before_the_grant_is_back_is_made_anew_once(
    repeat_until_deadline,
):
    """Light takes 1.5 ms; the pair is taken 2.5 ms before its cut-off, and the grant comes back after 3."""
    cutoff_s, delay_s = 0.2, 300.0 / 2e5
    line = _line(hop_km=300.0, cutoff_s=cutoff_s, repeat_until_deadline=repeat_until_deadline, patience_s=0.7)
    scenario = _stable(line, epoch_s=2e-4, measured_s=0.7)
    policy = Blind(order=(0, 1), min_age_s=cutoff_s - 2.5e-3)
    pairs = _watched(scenario, policy)["pairs"]
    first = pairs["pair"] == 0
    assert pairs["outcome"][first] == PairOutcome.EXPIRED.code
    age_s = (pairs["end_s"] - pairs["born_s"])[first]
    assert cutoff_s <= age_s < cutoff_s + delay_s
    assert (pairs["outcome"] == PairOutcome.DELIVERED.code).any()


def test_a_stocked_pair_older_than_the_cut_off_is_left_on_the_shelf():
    scenario = _stable(_line(cutoff_s=0.2, patience_s=1.9), epoch_s=0.01)
    tables = _watched(scenario, Blind(order=(0, 1), min_age_s=0.3))
    pairs = tables["pairs"]
    assert pairs["outcome"][pairs["owner"] == 0].tolist() == [PairOutcome.LIVE.code]
    assert (pairs["outcome"] == PairOutcome.DELIVERED.code).sum() == 1


@pytest.mark.parametrize("repeat_until_deadline", ["no", "pair", "link"])
def test_word_of_a_failed_swap_that_comes_with_the_command_takes_no_qubit_twice(repeat_until_deadline):
    """The controller's own node swaps two stocked pairs at once, and its command travels no faster."""
    line = _line(hop_km=20.0, q=0.2, repeat_until_deadline=repeat_until_deadline, patience_s=0.7)
    scenario = _stable(line, epoch_s=0.01, measured_s=1.0)

    class Both(Blind):
        def act(self, observations) -> Decisions:
            if not self._ordered:
                self._ordered = True
                ways = ((1, 0), (1, 2))
                return Decisions(
                    allocations=tuple(self._allocation(way, purpose="stock", expires_s=1.0) for way in ways)
                )
            if (observations.stock_ready == 1).sum() < 2:
                return Decisions()
            return super().act(observations)

    pairs = _watched(scenario, Both(), arm=Arm(name="central-fcfs", pregeneration="virtual-link"))["pairs"]
    both = pairs["owner"] == 1
    assert (pairs["outcome"][both] == PairOutcome.SWAPPED.code).all()
    assert len(np.unique(pairs["end_s"][both])) == 1
    # That swap failed, and yet a pair was made in the end.
    assert not np.isin(pairs["first_parent"], pairs["pair"][both]).any()
    assert (pairs["outcome"] == PairOutcome.DELIVERED.code).any()


@pytest.mark.parametrize("repeat_until_deadline", ["no", "pair", "link"])
def test_a_pair_made_round_about_does_not_lend_its_qubits_to_a_link(repeat_until_deadline):
    """Each link has its own qubits: node 0 owns a pair with its neighbour 1 that came over 3 and 4."""
    grid = Topology(kind="grid", parameters={"rows": 2, "columns": 3, "hop_km": 5.0})
    scenario = _stable(
        _line(topology=grid, per_link=4, q=0.5, repeat_until_deadline=repeat_until_deadline, patience_s=1.9),
        epoch_s=0.01,
    )
    # The ends of a grid of six are 0 and 5.
    tables = _watched(scenario, Blind(order=(0, 3, 4, 1), path=(0, 1, 4, 5)))
    assert (tables["pairs"]["outcome"] == PairOutcome.DELIVERED.code).any()


def test_a_repeating_request_without_end_begins_with_stock():
    """However far its deadline, the stocked pair is as good as ever."""
    scenario = _stable(_line(repeat_until_deadline="pair"), epoch_s=0.01)
    pairs = _watched(scenario, Blind(order=(0, 1)))["pairs"]
    assert pairs["outcome"][pairs["owner"] == 0].tolist() == [PairOutcome.SWAPPED.code]


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [0, 1])
def test_an_audit_follows_pairs_of_one_link_that_are_distilled_end_to_end(tmp_path, rounds):
    """On a link and end to end is then the same place, and the same coins decide both."""
    scenario = replace(
        _line(nodes=2, repeat_until_deadline="pair"), window=Window(warm_up_s=1e-3, measured_s=4.0)
    )
    policy = Blind(plan=Plan(rounds_per_link=rounds, end_rounds=1))
    arm = resolve_arm(_BLIND_ARM).arm
    with RecordWriter(tmp_path / "one.h5", scenario=scenario, arm=arm, seed=3) as writer:
        simulate(scenario, arm, seed=3, recorder=writer, policy=policy)
        writer.close_complete({}, {})
    result = audit(open_record(tmp_path / "one.h5"))
    assert result.distillations > 20
    assert result.findings == ()


def test_late_word_of_a_failure_does_not_reject_what_came_after_it(arrive):
    """Node 0 is away for 1 ms, and asks 0.2 ms later; the controller hears of the failure at 3 ms."""
    unavailable = ScheduledOutage(kind="node", name="n0", from_s=0.5, until_s=0.501)
    arrive([(0.4999, 0, 4), (0.5012, 0, 4)], patience_s=1.0, target_fidelity=0.51)
    scenario = _stable(
        replace(_line(5, hop_km=300.0), outages=Outages(scheduled=(unavailable,))), epoch_s=0.1
    )
    requests = simulate(scenario, Arm(name="central-fcfs"), seed=3).tables["requests"]
    outcomes = dict(zip(requests["request"].tolist(), requests["outcome"].tolist(), strict=True))
    assert outcomes == {0: RequestOutcome.REJECTED.code, 1: RequestOutcome.DELIVERED.code}
