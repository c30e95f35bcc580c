"""Memory qubits in both readings: shared by a node's links, or each link its own; and Erlang's loss law."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from physics.models.pauli import PauliModel
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import AllocationOutcome, RefusalCause, RequestOutcome
from qdpem.policy.interface import FREE_MEMORIES, Decisions
from qdpem.policy.synthetic import small_network
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.resources.pairs.memories import Memories
from qdpem.simulation.run import simulate
from qdpem.simulation.simulation import Simulation
from tests.helpers.scripts import order

LOCAL = Arm(name="local-minhop", pregeneration="virtual-link")
GRID = small_network(PauliModel())
OWN = replace(GRID, memories_per_link=4, memories=4 * np.array([len(around) for around in GRID.neighbours]))


@settings(deadline=None)
@given(data=st.data(), network=st.sampled_from((GRID, OWN)))
def test_pools_count_what_is_taken_and_given(data, network):
    """Any sequence of grants and returns: all or none, never overdrawn, a node's free are its pools' free."""
    memories = Memories(network, headroom_fraction=0.25)
    ends = [(node, link) for node, around in enumerate(network.neighbours) for _, link in around]
    size = 16 if network is GRID else 4
    assert {memories.pool(node, link) for node, link in ends} == set(range(memories.pools))
    used = dict.fromkeys(range(memories.pools), 0)
    for _ in range(data.draw(st.integers(1, 30))):
        needs = {
            memories.pool(*end): data.draw(st.integers(0, 5))
            for end in data.draw(st.lists(st.sampled_from(ends), min_size=1, max_size=2))
        }
        stock = data.draw(st.booleans())
        limit = size - (size // 4 if stock else 0)
        fits = all(used[pool] + count <= limit for pool, count in needs.items())
        assert memories.take_all(needs, inventory=stock) == fits
        if fits:
            used |= {pool: used[pool] + count for pool, count in needs.items()}
        pool = data.draw(st.integers(0, memories.pools - 1))
        returned = data.draw(st.integers(0, used[pool]))
        memories.give(pool, returned)
        used[pool] -= returned
        memories.check()
        assert [memories.held(pool) for pool in range(memories.pools)] == list(used.values())


def each(made):
    """A rule that answers the k-th arrival with `made[k](now_s)`."""
    left = list(made)
    return lambda observations: (
        Decisions(allocations=(left.pop(0),)) if observations.reason[0] == 0 and left else Decisions()
    )


def one_qubit_each(line, **changes):
    """A line whose links have one qubit at either end, stock of others being admitted everywhere."""
    scenario = line(memory_reading="memories_per_link", memories=1, **changes)
    return replace(scenario, nodes=replace(scenario.nodes, remote_storage_quota=1.0))


def test_a_long_pair_holds_a_qubit_of_the_links_through_which_it_left(line, script, arrive):
    """One qubit per link and end; 0-2 in stock over 1 holds those of 0-1 at 0 and of 1-2 at 2.

    Stock is refused where it needs one of them, not at 1, whose two are free again, nor beyond 2, where all
    of a node's shared qubits would have been taken. A live request makes the long pair yield.
    """
    arrive([(1.0, 0, 2), (2.0, 2, 3), (3.0, 1, 2), (4.0, 0, 1), (5.0, 0, 1)])
    made = [
        order((0, 1, 2), 19.0),
        order((2, 3), 19.0),
        order((1, 2), 19.0),
        order((0, 1), 19.0),
        order((0, 1), 9.0, request=4),
    ]
    recorder, policy = MemoryRecorder(), script(each(made))
    simulation = Simulation(one_qubit_each(line, nodes=4), LOCAL, seed=5, recorder=recorder, policy=policy)
    while (observations := simulation.advance()) is not None:
        simulation.check()
        simulation.apply(policy.act(observations))
    allocations = recorder.tables()["allocations"]
    by_id = np.argsort(allocations["allocation"])
    ends = [AllocationOutcome.from_code(code) for code in allocations["outcome"][by_id]]
    assert ends == ["done", "done", "refused", "refused", "done"]
    assert allocations["refused_at"][by_id].tolist() == [-1, -1, 2, 0, -1]
    assert set(allocations["cause"][by_id][2:4]) == {RefusalCause.MEMORY.code}
    # Node 0 is asked at each arrival there: all free; then the long pair; so again; and again.
    free = [
        observation.status[0, 0, FREE_MEMORIES] for observation in policy.seen if observation.reason[0] == 0
    ]
    assert free == [1.0, 1.0, 2.0, 0.0, 0.0]


def test_links_with_qubits_of_their_own_do_not_take_each_others(line, script, arrive):
    """Node 1 is asked for both its qubits of link 0-1 and one of link 1-2: only the third is granted."""
    arrive([(1.0, 1, 0), (1.0, 1, 0), (1.0, 1, 2)])
    rule = lambda observations: Decisions(  # noqa: E731
        allocations=tuple(
            order((1, int(there)), 2.0, request=int(one))
            for one, there in zip(
                observations.request_id[0], observations.request_destination[0], strict=True
            )
            if one >= 0
        )
    )
    scenario = one_qubit_each(line, nodes=3, source_rate_hz=1e-6)
    scenario = replace(scenario, control=replace(scenario.control, retries=0))
    requests = simulate(scenario, LOCAL, seed=1, policy=script(rule)).tables["requests"]
    outcome = dict(zip(requests["request"].tolist(), requests["outcome"].tolist(), strict=True))
    assert [RequestOutcome.from_code(outcome[one]) for one in range(3)] == ["expired", "rejected", "expired"]


LOSS = """
name = "loss system"
topology = {{ kind = "line", parameters = {{ nodes = 2, hop_km = 20.0 }} }}
[nodes]
repeater_rate_hz = 1.0
{reading} = {qubits}
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 600.0 }}
[links]
processing_delay_s = 0.0
[links.hardware]
kind = "direct"
success_probability = {probability}
attempt_period_s = {period_s}
modes = 40
[demand]
rate_hz = 1.0
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.51
patience_s = 1000.0
[forecasting]
history_s = 1
step_s = 1000.0
[control]
retries = 0
decision_epoch_s = 1000.0
[window]
warm_up_s = 0
measured_s = {measured_s}
"""
HOP_S, MEAN_HOLD_S, COUNT = 1e-4, 0.1, 10_000


@pytest.mark.mostly_repeated(2)
@pytest.mark.slow
@pytest.mark.parametrize(("law", "reading"), [("geometric", "memories"), ("fixed", "memories_per_link")])
@pytest.mark.parametrize(
    ("load", "qubits", "blocked"), [(3, 4, 0.206107), (2, 4, 0.095238), (8, 10, 0.121661)]
)
def test_poisson_requests_for_a_few_qubits_are_blocked_as_erlang_says(
    law, reading, load, qubits, blocked, arrive
):
    """Erlang B, whatever the law of the holding time (model of arXiv:2405.18066).

    A request holds a qubit at 0 from its arrival, through the grant's way (2 delays), until its link has
    succeeded, a geometric number of attempts or just one; there are modes for all, so holding times are
    independent. One blocked is lost (no retries). At node 1 a qubit is held within that time: it never
    refuses. The mean of 40 batches is within their t-bound at a false alarm of 1e-5.
    """
    k = np.arange(qubits + 1)
    assert load**qubits / math.factorial(qubits) / np.sum(
        [load**i / math.factorial(i) for i in k]
    ) == pytest.approx(blocked, abs=5e-7)
    probability = {"geometric": 0.05, "fixed": 1.0}[law]
    draws = np.random.default_rng(31)
    times_s = np.cumsum(draws.exponential(MEAN_HOLD_S / load, COUNT))
    arrive([(float(time_s), 0, 1) for time_s in times_s], patience_s=1000.0, target_fidelity=0.51)
    scenario = parse_scenario(
        LOSS.format(
            reading=reading,
            qubits=qubits,
            probability=probability,
            period_s=(MEAN_HOLD_S - 2 * HOP_S) * probability,
            measured_s=times_s[-1] + 100.0,
        )
    )
    tables = simulate(scenario, Arm(name="local-minhop"), seed=3).tables
    requests, allocations = tables["requests"], tables["allocations"]
    by_id = np.argsort(requests["request"])
    rejected = (requests["outcome"] == RequestOutcome.REJECTED.code)[by_id]
    delivered = (requests["outcome"] == RequestOutcome.DELIVERED.code)[by_id]
    assert (rejected | delivered).all()
    assert set(allocations["refused_at"][allocations["cause"] == RefusalCause.MEMORY.code].tolist()) == {0}
    held_s = (requests["end_s"] - requests["time_s"])[by_id][delivered]
    assert held_s.mean() == pytest.approx(MEAN_HOLD_S, rel=0.05)
    batches = rejected.reshape(40, -1).mean(axis=1)
    bound = stats.t.ppf(1.0 - 0.5e-5, 39) * batches.std(ddof=1) / math.sqrt(40)
    assert bound < 0.25 * blocked
    assert abs(batches.mean() - blocked) < bound
