"""Queues of real runs against Pollaczek and Khinchine: the controller, and a repeater read as a server."""

from __future__ import annotations

import numpy as np
import pytest

from qdpem.events.words import ClaimKind, DecisionReason, RequestOutcome
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate

RATE_HZ = 200.0

QUIET = """
name = "nothing but the queue"
topology = {{ kind = "line", parameters = {{ nodes = 3, hop_km = 20.0 }} }}
[nodes]
repeater_rate_hz = {repeater_rate_hz}
repeater_kind = "{repeater_kind}"
swap_time_s = 0.0
memories = 4000
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 600.0 }}
[links.hardware]
kind = "direct"
success_probability = 0.3
attempt_period_s = 1e-4
modes = 20
[demand]
rate_hz = 200.0
weights = "endpoints"
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.51
patience_s = 5.0
[forecasting]
history_s = 10
[control]
service_time_s = {service_time_s}
[window]
warm_up_s = 0
measured_s = 40
"""


def quiet(**numbers):
    """A chain of three where links, light, qubits and time abound; `numbers` make one thing scarce."""
    values = {"repeater_rate_hz": 1e9, "repeater_kind": "token-bucket", "service_time_s": 0.0}
    return parse_scenario(QUIET.format(**(values | numbers)))


def starts_by_hand(arrived_s, service_s):
    """When each customer of one server is begun, in order of arrival: max(arrival, last start + service)."""
    starts, free_s = [], -np.inf
    for one_s in arrived_s.tolist():
        starts.append(max(one_s, free_s))
        free_s = starts[-1] + service_s
    return np.array(starts)


def check_md1(wait_s, *, load, service_s):
    """The mean wait is rho s / (2 (1 - rho)) (Pollaczek and Khinchine) within 4.9 deviations of that mean.

    The deviation is that of 300 means over as many waits, by Lindley's recursion on draws of their own, from
    an empty queue on; 4.9 is a false alarm of 2e-6 for a t of 299 degrees.
    """
    draws = np.random.default_rng(7)
    waits, total = np.zeros(300), np.zeros(300)
    for _ in range(len(wait_s)):
        total += waits
        waits = np.maximum(waits + service_s - draws.exponential(service_s / load, 300), 0.0)
    means = total / len(wait_s)
    expected_s = load * service_s / (2.0 * (1.0 - load))
    bound_s = 4.9 * means.std(ddof=1)
    assert abs(means.mean() - expected_s) < bound_s / 4.0
    assert abs(wait_s.mean() - expected_s) < bound_s
    # Tight enough to tell a fixed service from an exponential one, which doubles the wait.
    assert bound_s < 0.25 * expected_s


@pytest.mark.mostly_repeated(1)
@pytest.mark.mostly_slow
@pytest.mark.parametrize("load", [0.3, 0.6])
def test_the_controllers_queue_is_md1(load):
    """From the record: decisions come `service_time_s` after Lindley's starts, and wait as they should."""
    service_s = load / RATE_HZ
    run = simulate(quiet(service_time_s=service_s), Arm(name="central-fcfs"), seed=1)
    requests, decisions = run.tables["requests"], run.tables["decisions"]
    assert requests["attempts"].max() == 1
    assert (requests["outcome"] == RequestOutcome.DELIVERED.code).sum() > 0.99 * len(requests["time_s"])
    travel_s = run.network.distance_s[requests["source"], run.network.median_node]
    heard_s = np.sort(requests["time_s"] + travel_s)
    decided_s = decisions["time_s"][decisions["reason"] == DecisionReason.ARRIVAL.code]
    heard_s = heard_s[: len(decided_s)]
    assert len(heard_s) > 0.99 * len(requests["time_s"])
    assert np.allclose(decided_s - service_s, starts_by_hand(heard_s, service_s), rtol=0.0, atol=1e-9)
    check_md1(decided_s - service_s - heard_s, load=load, service_s=service_s)


@pytest.mark.mostly_repeated(1)
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "token-bucket"])
def test_swaps_at_a_busy_repeater_wait_as_md1(kind):
    """Requests are Poisson, links take times of their own: swaps are asked for as Poisson (displacement).

    A server of rate c, and a bucket of one token, begin them as M/D/1 does; only the results differ.
    """
    load = 0.6
    rate_hz = RATE_HZ / load
    run = simulate(quiet(repeater_rate_hz=rate_hz, repeater_kind=kind), Arm(name="local-minhop"), seed=2)
    claims, pairs = run.tables["claims"], run.tables["pairs"]
    token = (claims["kind"] == ClaimKind.TOKEN.code) & (claims["outcome"] == 1)
    assert set(claims["node"][token].tolist()) == {1}
    asked_s, begun_s = np.sort(claims["time_s"][token]), np.sort(claims["end_s"][token])
    # Urgency decides who is next, but not when the next begins.
    assert np.allclose(begun_s, starts_by_hand(asked_s, 1.0 / rate_hz), rtol=0.0, atol=1e-9)
    check_md1(claims["end_s"][token] - claims["time_s"][token], load=load, service_s=1.0 / rate_hz)
    # Who had to wait contended, and from the moment of asking.
    waited = claims["end_s"][token] > claims["time_s"][token]
    assert np.array_equal(claims["contended"][token] == 1, waited)
    swapped_s = np.sort(pairs["born_s"][pairs["link"] < 0])
    result_s = 1.0 / rate_hz if kind == "server" else 0.0
    assert np.allclose(swapped_s, begun_s[: len(swapped_s)] + result_s, rtol=0.0, atol=1e-9)
