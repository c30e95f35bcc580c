"""Messages name pairs by id: what arrives late, about a pair that is gone, does nothing to what is there now.

Each timeline is forced: a first run shows when something happens, and a second one of the same seed lets the
allocation expire between that moment and the arrival of the message about it. The next request finds the same
qubits, of which there are no more than it needs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physics.hardware import Fibre
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import AllocationOutcome, ClaimKind, PairOutcome, RequestOutcome
from qdpem.policy.interface import Allocation, Decisions
from qdpem.rng import stream
from qdpem.scenario.schema import Arm
from qdpem.simulation.simulation import Simulation
from tests.helpers.scripts import serving_the_line

HOP_KM = 2000.0
DELAY_S = HOP_KM / 2e5 + 1e-5
EXPIRED = PairOutcome.EXPIRED.code


def _long(scenario):
    """Long links of clear fibre, so that messages are under way for 10 ms."""
    link = replace(scenario.links.hardware, fibre=Fibre(loss_db_per_km=0.001))
    return replace(scenario, links=replace(scenario.links, hardware=link))


def _play(scenario, policy, *, arm: str = "local-minhop", pregeneration: str = "none", seed: int):
    """The tables of a run in which nothing leaked at any decision, nor at the end."""
    recorder = MemoryRecorder()
    simulation = Simulation(
        scenario, Arm(name=arm, pregeneration=pregeneration), seed=seed, recorder=recorder, policy=policy
    )
    while (observations := simulation.advance()) is not None:
        simulation.check()
        simulation.apply(policy.act(observations))
        simulation.check()
    return recorder.tables()


def _of(table, allocation: int):
    chosen = table["allocation"] == allocation
    return {name: column[chosen] for name, column in table.items()}


def _emission_s(tables) -> float:
    """When the pair of allocation 0 was sent: its claim's end."""
    return float(_of(tables["claims"], 0)["end_s"].min())


def _token_s(tables) -> float:
    claims = _of(tables["claims"], 0)
    return float(claims["end_s"][claims["kind"] == ClaimKind.TOKEN.code][0])


def _child_s(tables) -> float:
    """When the pair of allocation 0 that has parents was made."""
    pairs = _of(tables["pairs"], 0)
    return float(pairs["born_s"][pairs["first_parent"] >= 0][0])


LATE = {
    # message or event that comes too late: nodes, rounds, what it follows, how soon after it all expires
    "herald": (2, 0, _emission_s, 0.5 * DELAY_S),
    "word of the herald": (2, 0, _emission_s, 1.5 * DELAY_S),
    "swap": (3, 0, _token_s, 0.5e-3),
    "correction": (3, 0, _child_s, 0.5 * DELAY_S),
    "readings": (2, 1, _child_s, 0.5 * DELAY_S),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("late", LATE)
def test_what_comes_after_the_expiry_does_nothing(late, seed, line, arrive, script):
    """Nothing of the expired allocation happens any more, and the request after it is served as if alone."""
    nodes, rounds, follows, after_s = LATE[late]
    memories = (2 if nodes == 3 else 1) * 2**rounds
    scenario = _long(
        line(nodes=nodes, hop_km=HOP_KM, memories=memories, source_rate_hz=200.0, measured_s=3.0)
    )
    arrive([(1.0, 0, nodes - 1)], patience_s=1.5)
    undisturbed = _play(scenario, script(serving_the_line(rounds)), seed=seed)
    expires_s = follows(undisturbed) + after_s
    # The next one arrives when the qubits are free, before the late message does.
    arrive([(1.0, 0, nodes - 1), (expires_s + 1e-5, 0, nodes - 1)], patience_s=1.5)
    tables = _play(scenario, script(serving_the_line(rounds, expires_s={0: expires_s})), seed=seed)
    allocations, requests = tables["allocations"], tables["requests"]
    assert _of(allocations, 0)["outcome"].tolist() == [AllocationOutcome.EXPIRED.code]
    assert (_of(tables["claims"], 0)["end_s"] <= expires_s).all()
    mine = _of(tables["pairs"], 0)
    assert (mine["end_s"] <= expires_s).all()
    dead = mine["end_s"] == expires_s
    assert (mine["outcome"][dead] == EXPIRED).all()
    assert dead.sum() == {"herald": 0, "swap": 2}.get(late, 1)
    # The other has pairs and claims of its own alone, of emissions of its own, and is delivered.
    order = np.argsort(requests["request"])
    assert requests["outcome"][order].tolist() == [
        RequestOutcome.EXPIRED.code,
        RequestOutcome.DELIVERED.code,
    ]
    other = _of(tables["pairs"], 1)
    assert other["born_s"].min() > expires_s
    claims = _of(tables["claims"], 1)
    sent_s = claims["end_s"][claims["kind"] == ClaimKind.EMISSION.code]
    fresh_s = other["born_s"][other["sender"] >= 0]
    assert np.sort(fresh_s) == pytest.approx(np.sort(sent_s) + DELAY_S, abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_a_swap_that_comes_too_late_takes_no_coin(seed, line, arrive, script):
    """The node's first coin is that of its first real swap, so that arms keep sharing it."""
    scenario = _long(
        line(
            nodes=3,
            hop_km=HOP_KM,
            memories=2,
            source_rate_hz=200.0,
            measured_s=3.0,
            swap_success_probability=0.5,
        )
    )
    arrive([(1.0, 0, 2)], patience_s=1.5)
    expires_s = _token_s(_play(scenario, script(serving_the_line(0)), seed=seed)) + 0.5e-3
    arrive([(1.0, 0, 2), (expires_s + 1e-5, 0, 2)], patience_s=1.5)
    tables = _play(scenario, script(serving_the_line(0, expires_s={0: expires_s})), seed=seed)
    pairs = _of(tables["pairs"], 1)
    first_s = pairs["end_s"][pairs["outcome"] == PairOutcome.SWAPPED.code].min()
    made = (pairs["born_s"] == first_s) & (pairs["first_parent"] >= 0)
    assert bool(made.any()) == bool(stream(seed, "repeater/n1").random() < 0.5)


def _stocking(expires_s: float) -> Allocation:
    return Allocation(
        source=0,
        destination=1,
        target_fidelity=0.7,
        path=(0, 1),
        expires_s=expires_s,
        purpose="stock",
    )


def _central(line):
    """Five nodes, the controller in the middle, which decides in no time."""
    scenario = line(nodes=5, measured_s=5.0)
    return replace(scenario, control=replace(scenario.control, service_time_s=0.0))


def _oldest(observations) -> int:
    """The oldest of two pairs that the controller believes to be there."""
    assert observations.stock_ready[0].tolist() == [1, 1]
    return int(observations.stock_id[0][np.argmax(observations.stock_age_s[0])])


SHORT_S = 20.0 / 2e5 + 1e-5


def test_a_drop_that_arrives_after_the_pairs_expiry_leaves_its_neighbour_alone(line, script, arrive):
    """The controller, two hops off, drops a pair that expires while its word travels.

    Another pair lies between the same two nodes; it stays until its own expiry.
    """
    arrive([(1.0, 0, 1), (1.01, 0, 1), (2.0 - SHORT_S, 2, 3)], patience_s=6.0)
    dropped = []

    def rule(observations):
        if observations.reason[0] != 0:
            return Decisions()
        if observations.time_s < 1.5:
            return Decisions(allocations=(_stocking(2.0 if observations.time_s < 1.005 else 3.0),))
        dropped.append((observations.time_s, _oldest(observations)))
        return Decisions(discards=(dropped[0][1],))

    tables = _play(_central(line), script(rule), arm="central-fcfs", pregeneration="link", seed=3)
    pairs = tables["pairs"]
    ((decided_s, pair),) = dropped
    assert decided_s < 2.0 < decided_s + 2 * SHORT_S
    order = np.argsort(pairs["end_s"])
    assert pairs["pair"][order][0] == pair
    assert pairs["outcome"][order].tolist() == [EXPIRED, EXPIRED]
    assert pairs["end_s"][order].tolist() == [2.0, 3.0]


def test_a_drop_that_arrives_after_the_pair_was_used_leaves_its_neighbour_alone(line, script, arrive):
    """The owner takes the pair for a request; before word of that is back the controller drops it.

    Asked at 2 s, decided two delays later, taken after four, delivered after five; the drop, decided after
    five and before word of six, is at the owner after seven.
    """
    arrive([(1.0, 0, 1), (1.01, 0, 1), (2.0, 0, 1), (2.0 + 5 * SHORT_S + 1e-6, 2, 3)], patience_s=2.0)
    dropped = []

    def rule(observations):
        if observations.reason[0] != 0:
            return Decisions()
        if observations.time_s < 1.5:
            return Decisions(allocations=(_stocking(4.0),))
        if observations.time_s < 2.0 + 3 * SHORT_S:
            expected.append(_oldest(observations))
            serve = replace(_stocking(4.0), purpose="serve", request=2)
            return Decisions(allocations=(serve,))
        dropped.append(_oldest(observations))
        return Decisions(discards=(dropped[0],))

    expected: list[int] = []
    tables = _play(_central(line), script(rule), arm="central-fcfs", pregeneration="link", seed=3)
    requests, pairs = tables["requests"], tables["pairs"]
    assert dropped == expected
    served = requests["request"] == 2
    assert requests["outcome"][served].tolist() == [RequestOutcome.DELIVERED.code]
    assert requests["end_s"][served] == pytest.approx([2.0 + 5 * SHORT_S], abs=1e-12)
    used = pairs["pair"] == dropped[0]
    assert pairs["outcome"][used].tolist() == [PairOutcome.DELIVERED.code]
    assert pairs["outcome"][~used].tolist() == [EXPIRED]
    assert pairs["end_s"][~used].tolist() == [4.0]
