"""Repeaters in both readings: the law of the token bucket, and the server beside it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdpem.events.words import ClaimKind, ClaimOutcome, Purpose, RequestOutcome
from qdpem.policy.interface import Allocation, Decisions
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.queues.claims import ClaimBook
from qdpem.simulation.resources.queues.repeaters import Repeater, Server
from qdpem.simulation.run import simulate

BORROWED = 1e-9
"""What a swap may lack of a whole token: a wake-up is due when the refill is whole but for rounding."""


class Station:
    """One repeater alone; `starts` notes which claim was granted when."""

    def __init__(self, kind: str, *, rate_hz: float, burst: float = 1.0) -> None:
        self.clock, self.rows = Clock(), []
        self.book = ClaimBook(self.rows.append)
        self.starts: list[tuple[int, float]] = []
        if kind == "server":
            self.repeater: Repeater = Server(rate_hz=rate_hz, clock=self.clock, grant=self._grant)
        else:
            self.repeater = Repeater(
                rate_hz=rate_hz, burst=burst, swap_time_s=0.0, clock=self.clock, grant=self._grant
            )

    def ask(self, *, deadline_s: float = math.inf, withdrawn_s: float = math.inf) -> None:
        """A swap asks now; it gives up at `withdrawn_s` if it still waits then."""
        now_s = self.clock.now_s
        claimant = SimpleNamespace(id=0, purpose=Purpose.SERVE, source=0, expires_s=deadline_s)
        claim = self.book.make(ClaimKind.TOKEN, claimant, node=0, now_s=now_s, owner=None)
        self.repeater.add(claim)
        if claim.open and withdrawn_s < math.inf:
            self.clock.at(withdrawn_s, self._withdraw, claim)

    def run(self, until_s: float = math.inf) -> np.ndarray:
        """All starts up to `until_s`, in order."""
        while self.clock.next_s < math.inf and self.clock.next_s <= until_s:
            self.clock.step()
        return np.array([start_s for _, start_s in self.starts])

    def _grant(self, claim) -> None:
        self.starts.append((claim.id, self.clock.now_s))
        self.book.end(claim, ClaimOutcome.GRANTED, self.clock.now_s)

    def _withdraw(self, claim) -> None:
        if claim.open:
            self.repeater.remove(claim)
            self.book.end(claim, ClaimOutcome.WITHDRAWN, self.clock.now_s)


asked = st.lists(
    st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 40.0), st.floats(0.0, 10.0) | st.none()),
    min_size=1,
    max_size=60,
)
rates = st.floats(0.05, 50.0)


def play(station: Station, swaps) -> np.ndarray:
    """Swaps (asked_s, deadline_s, patience_s or None) put to a station; its starts."""
    for asked_s, deadline_s, patience_s in swaps:
        withdrawn_s = math.inf if patience_s is None else asked_s + patience_s
        station.clock.at(
            asked_s, lambda d=deadline_s, w=withdrawn_s: station.ask(deadline_s=d, withdrawn_s=w)
        )
    return station.run()


@settings(deadline=None, max_examples=200)
@given(swaps=asked, rate_hz=rates, burst=st.floats(1.0, 6.0))
def test_no_window_sees_more_swaps_than_the_bucket_holds_and_gets(swaps, rate_hz, burst):
    """Swaps begun in [t1, t2] <= burst + c (t2 - t1), for every window, whatever is asked and given up."""
    starts = play(Station("token-bucket", rate_hz=rate_hz, burst=burst), swaps)
    first, last = np.triu_indices(len(starts))
    allowed = burst + rate_hz * (starts[last] - starts[first])
    assert (last - first + 1 <= allowed + (BORROWED + 1e-12) * len(starts)).all()


@settings(deadline=None, max_examples=50)
@given(rate_hz=rates, burst=st.floats(1.0, 6.0))
def test_a_saturated_bucket_departs_at_its_rate_exactly(rate_hz, burst):
    """With all asked at t = 0 the k-th swap begins when k tokens have been there: max(0, (k - burst)/c)."""
    station = Station("token-bucket", rate_hz=rate_hz, burst=burst)
    for _ in range(400):
        station.ask()
    due = np.maximum(np.arange(1, 401) - burst, 0.0) / rate_hz
    assert np.allclose(station.run(), due, rtol=400 * 1e-15, atol=400 * BORROWED / rate_hz)


def test_a_refill_shorter_than_the_clock_can_tell_apart_comes_to_an_end():
    """At 1000 s doubles are 1.1e-13 s apart, in which 1e9 tokens per second make 1.1e-4 of a token."""
    station = Station("token-bucket", rate_hz=1e9)
    for place in range(200):
        station.clock.at(1000.0 + place * 3.7e-10, station.ask)
    starts = station.run()
    assert len(starts) == 200
    assert (np.diff(starts) >= 1e-9 - 2e-13).all()
    assert starts[-1] <= 1000.0 + 200 * (1e-9 + 2e-13)


@settings(deadline=None, max_examples=100)
@given(swaps=asked, rate_hz=rates)
def test_a_server_begins_swaps_when_a_bucket_of_one_token_would(swaps, rate_hz):
    """Claim by claim, at the same times, and it has contended claims alike; never two at once."""
    server, bucket = (Station(kind, rate_hz=rate_hz) for kind in ("server", "token-bucket"))
    starts = play(server, swaps)
    play(bucket, swaps)
    assert server.starts == bucket.starts
    assert server.rows == bucket.rows
    assert (np.diff(starts) >= server.repeater.swap_time_s * (1.0 - 1e-8)).all()


def test_a_server_tells_how_much_of_its_swap_is_done():
    """Free: 1; else the share done. A swap given up by its allocation keeps it busy all the same."""
    station = Station("server", rate_hz=4.0)
    tokens = station.repeater.tokens
    assert (station.repeater.swap_time_s, tokens(0.0)) == (0.25, 1.0)
    station.ask()
    assert [tokens(time_s) for time_s in (0.0, 0.05, 0.25, 9.0)] == [0.0, 0.2, 1.0, 1.0]
    station.clock.at(0.1, station.ask)
    assert station.run().tolist() == [0.0, 0.25]


def test_a_server_of_rate_zero_never_ends_a_swap():
    """Such a node is no inner node; the first swap would have no end, and no other begins."""
    station = Station("server", rate_hz=0.0)
    for _ in range(3):
        station.ask()
    assert station.run().tolist() == [0.0]
    assert station.repeater.swap_time_s == math.inf


CHAIN = """
name = "chain of three"
topology = {{ kind = "line", parameters = {{ nodes = 3, hop_km = 20.0 }} }}
[nodes]
repeater_rate_hz = 4.0
repeater_kind = "{kind}"
swap_time_s = 0.01
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 60.0 }}
[links]
processing_delay_s = 0.0
[links.hardware]
kind = "direct"
success_probability = 1.0
attempt_period_s = 1e-3
fresh_weights = [0.97, 0.01, 0.01, 0.01]
[demand]
rate_hz = 1.0
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.6
patience_s = 5.0
[forecasting]
history_s = 10
[window]
warm_up_s = 0
measured_s = 9
"""
HOP_S, ATTEMPT_S = 1e-4, 1e-3


def serve(observations):
    """Serve each request over the whole chain."""
    return Decisions(
        allocations=tuple(
            Allocation(
                source=0,
                destination=2,
                target_fidelity=0.6,
                path=(0, 1, 2),
                expires_s=float(due),
                request=int(one),
            )
            for one, due in zip(observations.request_id[0], observations.request_deadline_s[0], strict=True)
            if one >= 0
        )
    )


@pytest.mark.parametrize(("kind", "result_s"), [("server", 0.25), ("token-bucket", 0.01)])
def test_two_requests_at_one_repeater_event_by_event(kind, result_s, script, arrive):
    """Both readings begin the second swap 1/c after the first; the result comes 1/c or swap_time_s later."""
    arrive([(1.0, 0, 2), (1.05, 0, 2)], target_fidelity=0.6)
    run = simulate(
        parse_scenario(CHAIN.format(kind=kind)), Arm(name="local-minhop"), seed=1, policy=script(serve)
    )
    # Link 0 attempts when node 0 has 1's grant, link 1 when node 1 has 2's; each succeeds at once.
    asked_s = np.array([1.0, 1.05]) + 3 * HOP_S + ATTEMPT_S
    begun_s = np.array([asked_s[0], asked_s[0] + 0.25])
    claims, requests = run.tables["claims"], run.tables["requests"]
    token = claims["kind"] == ClaimKind.TOKEN.code
    assert claims["time_s"][token] == pytest.approx(asked_s, abs=1e-12)
    assert claims["end_s"][token] == pytest.approx(begun_s, abs=1e-12)
    assert claims["contended"][token].tolist() == [0, 1]
    assert claims["contended_s"][token] == pytest.approx([0.0, 0.2], abs=1e-12)
    assert (requests["outcome"] == RequestOutcome.DELIVERED.code).all()
    swapped_s = begun_s + result_s
    assert requests["end_s"] == pytest.approx(swapped_s + HOP_S, abs=1e-12)
    # All four halves are stored until the result, the outer two until the correction has come.
    stored_s = 2 * (swapped_s - asked_s) + 2 * (swapped_s - asked_s + HOP_S) + 2 * HOP_S
    weight = ((4 * 0.97 - 1) / 3) ** 2 * np.exp(-stored_s / 60.0)
    assert requests["fidelity"] == pytest.approx((1 + 3 * weight) / 4, abs=1e-12)
