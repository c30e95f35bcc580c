"""Networks of attempt-limited links: every kind event by event, waiting times, ageing, arms, audit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from physics.plugins.load import load_physics
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import ClaimKind, ClaimOutcome, PairOutcome, RequestOutcome
from qdpem.policy.interface import EMISSION_BACKLOG, Decisions
from qdpem.records.audit.audit import audit
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.rng import stream
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate
from qdpem.simulation.simulation import Simulation
from tests.helpers.arms import ARMS, in_every_arm
from tests.helpers.scripts import serving_the_line

BASE = """
name = "attempts"
[topology]
kind = "line"
parameters = { nodes = 3, hop_km = 20.0 }
[nodes]
repeater_rate_hz = 1e6
repeater_burst = 1e6
swap_time_s = 0.0
memories = 400
[nodes.hardware]
memory = { kind = "depolarising", depolarising_s = 60.0 }
[links]
processing_delay_s = 0.0
[links.hardware]
kind = "direct"
success_probability = 0.2
attempt_period_s = 1e-3
[demand]
rate_hz = 40.0
weights = "endpoints"
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.51
patience_s = 5.0
[forecasting]
history_s = 10
[window]
warm_up_s = 0
measured_s = 10
"""
AT_ONCE = ["control.zero_delay=true"]
DELIVERED = RequestOutcome.DELIVERED.code
EMISSION, GRANTED = ClaimKind.EMISSION.code, ClaimOutcome.GRANTED.code
KINDS = {
    "midpoint-source": "kind = 'midpoint-source', pair_probability = 0.4, reset_time_s = 3e-5",
    "double-click": "kind = 'double-click', rounds = 2, station_position = 0.2, reset_time_s = 3e-5",
    "single-click": "kind = 'single-click', bright_population = 0.2, station_position = 0.9,"
    " visibility = 0.95",
    "direct": "kind = 'direct', success_probability = 0.2, attempt_period_s = 3e-4,"
    " fresh_weights = [0.9, 0.05, 0.03, 0.02]",
}


def scenario_of(*overrides: str):
    return parse_scenario(BASE, overrides=overrides)


def granted_of(tables, link=None):
    """Claims on links that had their success: allocation, link, when made and when the attempt started."""
    claims = tables["claims"]
    chosen = (claims["kind"] == EMISSION) & (claims["outcome"] == GRANTED)
    if link is not None:
        chosen &= claims["link"] == link
    return {name: claims[name][chosen] for name in ("allocation", "link", "time_s", "end_s")}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("ends", [(0, 1), (1, 0)])
def test_one_success_of_each_kind_event_by_event(kind, ends, arrive, script):
    """Reserve and grant, so many attempts as drawn, birth when the first end knows, delivery when both do.

    The state at delivery is the reference model's: fresh, then each half stored from its own moment until
    the destination knows, in memories of different T1 and T2 effects on the two ends of the state.
    """
    arrive([(1.0, *ends)])
    memory = "{ kind = 'relaxing', relaxation_s = 2e-3, dephasing_s = 1e-3 }"
    scenario = scenario_of(
        "topology.parameters.nodes=2", f"links.hardware={{{KINDS[kind]}}}", f"nodes.hardware.memory={memory}"
    )
    run = simulate(scenario, Arm(name="local-minhop"), seed=4, policy=script(serving_the_line()))
    reference = load_physics("qutip")
    link = reference.link(scenario.links.hardware, 20.0)
    number = int(stream(4, "link/n0/n1/0").geometric(link.success_probability, 64)[0])
    start_s = 1.0 + 2 * 20.0 / 2e5 + (number - 1) * link.attempt_period_s
    claims, pairs, requests = (run.tables[name] for name in ("claims", "pairs", "requests"))
    assert claims["end_s"][0] == pytest.approx(start_s, abs=1e-12)
    assert pairs["born_s"][0] == pytest.approx(start_s + min(link.known_s), abs=1e-12)
    assert pairs["sender"][0] == -1
    assert requests["end_s"][0] == pytest.approx(start_s + max(link.known_s), abs=1e-12)
    assert pairs["outcome"][0] == PairOutcome.DELIVERED.code
    ready_s = start_s + link.known_s[ends[1]]
    stored_s = [link.known_s[ends[1]] - since_s for since_s in link.stored_from_s]
    held = scenario.nodes.hardware.memory
    state = reference.age(link.fresh, held, None, stored_s[0])
    state = reference.age(state, None, held, stored_s[1])
    assert pairs["fidelity_s"][0] == pytest.approx(ready_s, abs=1e-12)
    assert pairs["fidelity"][0] == pytest.approx(reference.fidelity(state), abs=1e-12)


@pytest.mark.mostly_slow
@pytest.mark.parametrize(("links", "mean"), [(1, 10.0), (2, 14.736842), (3, 17.900563), (4, 20.273378)])
def test_all_links_of_a_path_wait_for_the_slowest(links, mean):
    """Attempts until n links, begun together, have all succeeded: E = sum (-1)^(k+1) C(n,k)/(1 - (1-p)^k).

    p = 0.1, modes enough for every request, central control without delays. Within 4.9 standard errors
    (false alarm 1e-6); the variance comes from P(max <= k) = (1 - (1-p)^k)^n.
    """
    scenario = scenario_of(
        f"topology.parameters.nodes={links + 1}",
        "links.hardware={kind='direct',success_probability=0.1,attempt_period_s=1e-4,modes=40}",
        "demand.rate_hz=300.0",
        *AT_ONCE,
    )
    tables = simulate(scenario, Arm(name="central-fcfs"), seed=links).tables
    claims = granted_of(tables)
    attempts = np.round((claims["end_s"] - claims["time_s"]) / 1e-4) + 1
    assert np.allclose((claims["end_s"] - claims["time_s"]) / 1e-4 + 1, attempts, atol=1e-6)
    orders, place, count = np.unique(claims["allocation"], return_inverse=True, return_counts=True)
    slowest = np.zeros(len(orders))
    np.maximum.at(slowest, place, attempts)
    slowest = slowest[count == links]
    assert len(slowest) > 2500
    within = (1.0 - 0.9 ** np.arange(400)) ** links
    exact = float((1.0 - within).sum())
    assert exact == pytest.approx(mean, abs=1e-6)
    variance = float(((2 * np.arange(400) + 1) * (1.0 - within)).sum()) - exact**2
    assert abs(slowest.mean() - exact) <= 4.9 * math.sqrt(variance / len(slowest))
    assert not tables["claims"]["contended"].any()


@pytest.mark.slow
@pytest.mark.parametrize(("probability", "periods", "mean"), [(0.1, 10.0, 0.514378), (0.1, 100.0, 0.913483)])
def test_the_first_link_decays_while_it_waits_for_the_second(probability, periods, mean, script):
    """E[q^|n1-n2|] = p/(2-p) (1+x)/(1-x), x = (1-p) q, q = e^(-period/T), T the pair's time, from fidelities.

    Two perfect links that begin together, swapped in no time: the Werner weight delivered is q^|n1-n2|, but
    for the correction's way, 0.1 km. Within 4.9 standard errors of the closed form (false alarm 1e-6).
    """
    period_s = 1e-2
    scenario = scenario_of(
        "topology.parameters.hop_km=0.1",
        f"links.hardware={{kind='direct',success_probability={probability},attempt_period_s={period_s},modes=80}}",
        f"nodes.hardware.memory.depolarising_s={2 * periods * period_s}",
        "demand.rate_hz=150.0",
        "window.measured_s=20",
        *AT_ONCE,
    )
    tables = simulate(scenario, Arm(name="central-fcfs"), seed=9, policy=script(serving_the_line())).tables
    # All requests but the last ended in a pair: none that waited long is missing.
    early = tables["requests"]["time_s"] < 15.0
    assert set(tables["requests"]["outcome"][early]) <= {DELIVERED, RequestOutcome.LOW_FIDELITY.code}
    pairs = tables["pairs"]
    done = pairs["outcome"] == PairOutcome.DELIVERED.code
    fidelity = pairs["fidelity"][done & (pairs["allocation"] < early.sum())]
    q = math.exp(-1.0 / periods)
    x = (1.0 - probability) * q
    exact = probability / (2.0 - probability) * (1.0 + x) / (1.0 - x)
    assert exact == pytest.approx(mean, abs=1e-6)
    weight = (4.0 * fidelity - 1.0) / 3.0
    assert len(weight) > 2000
    assert abs(weight.mean() - exact) <= 4.9 * weight.std() / math.sqrt(len(weight)) + 1e-6


def test_claims_that_wait_are_a_nodes_backlog_and_those_open_at_the_end_have_their_losses_counted(
    arrive, script
):
    """Sixteen pairs asked of one mode that never succeeds: fifteen wait, either node has sixteen ahead."""
    arrive([(1.0, 0, 1), (3.0, 0, 1)], patience_s=100.0, pairs=16)
    scenario = scenario_of(
        "topology.parameters.nodes=2", "links.hardware.success_probability=1e-9", "window.measured_s=4"
    )
    seen = []

    def once(observations):
        seen.append(observations.status[0, 0, EMISSION_BACKLOG])
        return serving_the_line()(observations) if len(seen) == 1 else Decisions()

    claims = simulate(scenario, Arm(name="local-minhop"), seed=1, policy=script(once)).tables["claims"]
    assert seen == [0.0, 16.0]
    assert (claims["outcome"] == ClaimOutcome.OPEN.code).all()
    assert sorted(claims["contended"].tolist()) == [0] + [1] * 15
    began_s = 1.0 + 2 * 20.0 / 2e5
    lost_s = (claims["end_s"] - claims["contended_s"])[claims["contended"] == 1]
    assert np.allclose(lost_s, began_s, rtol=0.0, atol=1e-12)


def chain_by_hand(hops, *, count, probability, period_s, delay_s, time_s, rng):
    """Latency and Werner weight of `count` pairs over a chain, drawn without any simulation.

    Link j starts when node j has node j + 1's grant, (j + 2) delays after the request. A node swaps as soon
    as its two pairs are there; each stored half loses e^(-t/T); both ends are stored until the destination
    has the last correction.
    """
    place = np.arange(hops)
    there_s = (place + 2) * delay_s + period_s * rng.geometric(probability, (count, hops))
    swaps_s = np.maximum(there_s[:, 1:], there_s[:, :-1])
    inner = np.arange(1, hops)
    known_s = (
        [there_s[:, :1], swaps_s + inner * delay_s],
        [there_s[:, -1:], swaps_s + (hops - inner) * delay_s],
    )
    source_s, destination_s = (np.concatenate(one, axis=1).max(axis=1) for one in known_s)
    stored_s = (swaps_s - there_s[:, :-1]).sum(axis=1) + (swaps_s - there_s[:, 1:]).sum(axis=1)
    stored_s += 2.0 * destination_s - there_s[:, 0] - there_s[:, -1]
    return np.maximum(source_s, destination_s), np.exp(-stored_s / time_s)


@pytest.mark.slow
@pytest.mark.parametrize("hops", [2, 4, 8])
def test_a_chain_has_the_latency_and_fidelity_of_one_drawn_by_hand(hops, script):
    """20 km hops, p = 0.131 in 201 us, T = 1 s, Werner 0.98, requests that do not meet.

    Means within 4.9 standard errors of 200,000 draws by hand (false alarm 1e-6 each).
    """
    probability, period_s = 0.131, 2.01e-4
    scenario = scenario_of(
        f"topology.parameters.nodes={hops + 1}",
        f"links.hardware={{kind='direct',success_probability={probability},attempt_period_s={period_s},modes=20}}",
        "links.hardware.fresh_weights=[0.97, 0.01, 0.01, 0.01]",
        "nodes.hardware.memory.depolarising_s=1.0",
        "demand.rate_hz=150",
    )
    tables = simulate(scenario, Arm(name="local-minhop"), seed=hops, policy=script(serving_the_line())).tables
    requests = tables["requests"]
    done = requests["outcome"] == DELIVERED
    assert done.sum() > 1200
    assert not tables["claims"]["contended"].any()
    latency_s, decay = chain_by_hand(
        hops,
        count=200_000,
        probability=probability,
        period_s=period_s,
        delay_s=1e-4,
        time_s=1.0,
        rng=np.random.default_rng(7),
    )
    fidelity = 0.25 + 0.75 * ((4.0 * 0.97 - 1.0) / 3.0) ** hops * decay
    waited_s = (requests["end_s"] - requests["time_s"])[done]
    for found, drawn in ((waited_s, latency_s), (requests["fidelity"][done], fidelity)):
        error = math.sqrt(found.var() / len(found) + drawn.var() / len(drawn))
        assert abs(found.mean() - drawn.mean()) <= 4.9 * error


def test_the_first_success_of_every_link_is_the_one_drawn_in_every_arm():
    """One seed: whatever the arm, the first success of a link is the attempt its stream says.

    Requests are few and patient, so that the first claim on a link has all its attempts up to the success.
    """
    rare = ["links.hardware.success_probability=0.05", "demand.rate_hz=1.0", "demand.weights=uniform"]
    drawn = [int(stream(6, f"link/n{link}/n{link + 1}/0").geometric(0.05, 64)[0]) for link in (0, 1)]
    for arm in ARMS:
        claims = granted_of(simulate(scenario_of(*rare), arm, seed=6).tables)
        for link in (0, 1):
            mine = np.flatnonzero(claims["link"] == link)
            first = mine[claims["end_s"][mine].argmin()]
            waited_s = claims["end_s"][first] - claims["time_s"][first]
            assert waited_s == pytest.approx((drawn[link] - 1) * 1e-3, abs=1e-9), arm.name


@pytest.mark.mostly_repeated(8)
@pytest.mark.mostly_slow
@in_every_arm
@pytest.mark.parametrize(
    "changes",
    [
        ["nodes.memories=3", "demand.rate_hz=60"],
        ["nodes.hardware.swap_success_probability=0.6", "demand.classes.0.pairs=2", "nodes.memories=8"],
        ["demand.classes.0.target_fidelity=0.93", "links.hardware.fresh_weights=[0.95,0.02,0.02,0.01]"],
        ["nodes.hardware.memory.depolarising_s=0.2", "links.hardware.modes=3"],
    ],
    ids=["memory short", "swaps fail", "distilled", "short-lived"],
)
def test_every_arm_runs_and_nothing_leaks(arm, changes):
    """Conservation of pairs and qubits at every decision; no link makes more pairs than it can attempt."""
    scenario = scenario_of(
        "topology.parameters.nodes=5",
        "demand.weights=uniform",
        "nodes.memories=16",
        "window.measured_s=6",
        "links.hardware.attempt_period_s=5e-3",
        "demand.classes.0.patience_s=1",
        *changes,
    )
    recorder = MemoryRecorder()
    simulation = Simulation(scenario, arm, seed=8, recorder=recorder)
    while (observations := simulation.advance()) is not None:
        simulation.check()
        simulation.apply(simulation.policy.act(observations))
    tables = recorder.tables()
    assert (tables["requests"]["outcome"] == DELIVERED).sum() > 10
    granted, modes = granted_of(tables), scenario.links.hardware.modes
    for link in range(4):
        starts_s = np.sort(granted["end_s"][granted["link"] == link])
        assert len(starts_s) > 5
        # Of any modes + 1 successes in a row, the last starts a period or more after the first.
        assert (starts_s[modes:] - starts_s[:-modes] >= 5e-3 - 1e-9).all()


@pytest.mark.mostly_slow
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("arm", ["local-minhop", "central-expected-delay"])
def test_a_record_is_replayed_by_the_reference(kind, arm, tmp_path):
    """Every pair lived again under QuTiP: births by each kind's own times, in memories with T1 and T2."""
    scenario = scenario_of(
        f"links.hardware={{{KINDS[kind]}}}",
        "nodes.hardware.memory={ kind = 'relaxing', relaxation_s = 5.0, dephasing_s = 3.0 }",
        "nodes.hardware.gate_fidelity=0.99",
        "demand.weights=uniform",
        "window.measured_s=3",
        "record.level='events'",
    )
    with RecordWriter(tmp_path / "run.h5", scenario=scenario, arm=Arm(name=arm), seed=3) as writer:
        simulate(scenario, Arm(name=arm), seed=3, recorder=writer)
        writer.close_complete({}, {})
    found = audit(open_record(tmp_path / "run.h5"), against="qutip")
    assert found.findings == ()
    assert found.worst < 1e-12
    assert found.swaps > 10
    assert found.compared == found.pairs > 60
