"""The attempts of one link as a unit: their law, their order, who contends, against a naive count."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qdpem.draws.attempts import AttemptSequence
from qdpem.events.words import ClaimKind, ClaimOutcome, Purpose
from qdpem.rng import stream
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.queues.attempts import Attempts
from qdpem.simulation.resources.queues.claims import ClaimBook

PERIOD_S = 0.5


class Bench:
    """A clock, a book of claims and one link whose successes are noted as (claim, second)."""

    def __init__(
        self, *, probability: float = 0.2, modes: int = 1, seed: int = 1, end_s: float = 1e6
    ) -> None:
        self.clock = Clock()
        self.rows: list[tuple] = []
        self.book = ClaimBook(self.rows.append)
        self.granted: list[tuple[int, float]] = []
        self.link = Attempts(
            name="a/b",
            seed=seed,
            probability=probability,
            period_s=PERIOD_S,
            modes=modes,
            end_s=end_s,
            clock=self.clock,
            succeed=self._succeed,
        )

    def add(self, *, deadline_s: float = math.inf, site: int = 0):
        claimant = SimpleNamespace(id=0, purpose=Purpose.SERVE, source=site, expires_s=deadline_s)
        claim = self.book.make(
            ClaimKind.EMISSION, claimant, node=0, link=0, now_s=self.clock.now_s, owner=None
        )
        self.link.add(claim)
        return claim

    def remove(self, claim) -> None:
        self.link.remove(claim)
        self.book.end(claim, ClaimOutcome.WITHDRAWN, self.clock.now_s)

    def run(self, until_s: float = math.inf) -> None:
        """Serve all that is due up to and at `until_s`, and stand there."""
        if until_s < math.inf:
            self.clock.at(until_s, lambda: None)
        while self.clock.next_s <= until_s and self.clock.next_s < math.inf:
            self.clock.step()

    def contended(self) -> dict[int, tuple[float, int]]:
        """Claim -> when it first lost an attempt and to which site; those that never did are left out."""
        return {row[0]: (row[8] - row[11], row[12]) for row in self.rows if row[10]}

    def _succeed(self, claim, start_s: float) -> None:
        assert start_s == self.clock.now_s
        self.granted.append((claim.id, self.clock.now_s))
        self.link.remove(claim)
        self.book.end(claim, ClaimOutcome.GRANTED, self.clock.now_s)


def drawn(mode: int = 0, *, probability: float = 0.2, seed: int = 1, count: int = 64) -> list[int]:
    """Attempts up to each success of a mode, as the model defines them: its stream alone, in blocks of 64."""
    return stream(seed, f"link/a/b/{mode}").geometric(probability, count).tolist()


@pytest.mark.mostly_slow
@pytest.mark.parametrize("probability", [0.05, 0.3, 0.9])
def test_attempts_until_a_success_are_geometric(probability):
    """3,000 claims wait from the start and are served one after the other, period after period.

    The mean within 4.9 standard errors of 1/p, the variance within 4.9 of its own (false alarm 1e-6 each,
    the latter by the fourth moment), and chi-square over the numbers themselves at p > 1e-6.
    """
    bench = Bench(probability=probability)
    for _ in range(3000):
        bench.add()
    bench.run()
    starts = np.array([start_s for _, start_s in bench.granted]) / PERIOD_S
    attempts = np.diff(np.concatenate([[-1.0], starts]))
    assert len(attempts) == 3000
    assert np.array_equal(attempts, np.round(attempts))
    law = stats.geom(probability)
    mean, variance, kurtosis = (float(moment) for moment in law.stats(moments="mvk"))
    assert abs(attempts.mean() - mean) <= 4.9 * math.sqrt(variance / 3000)
    assert abs(attempts.var() - variance) <= 4.9 * variance * math.sqrt((kurtosis + 2.0) / 3000)
    numbers = [k for k in range(1, 100) if 3000 * law.sf(k) >= 10]
    seen = np.bincount(np.minimum(attempts, numbers[-1] + 1).astype(int))[1:]
    assert stats.chisquare(seen, 3000 * np.append(law.pmf(numbers), law.sf(numbers[-1]))).pvalue > 1e-6


def test_modes_work_side_by_side_each_through_its_own_draws():
    """Enough claims from the start: success j of a mode starts at (d_1 + ... + d_j - 1) periods."""
    bench = Bench(modes=3)
    for _ in range(60):
        bench.add()
    bench.run()
    of_modes = [(np.cumsum(drawn(mode)) - 1) * PERIOD_S for mode in range(3)]
    # The last three are what the modes were at when no claim was left to follow.
    assert [start_s for _, start_s in bench.granted][:57] == sorted(np.concatenate(of_modes).tolist())[:57]


def test_a_mode_begins_at_once_but_never_before_its_last_period_is_over():
    """Off any grid; and a claim that follows a success, or a claim put aside, waits for the period to end."""
    bench = Bench(probability=1.0)
    bench.run(1.23)
    bench.add()
    bench.run(1.3)
    bench.add()
    bench.run(9.99)
    bench.add()
    bench.run()
    assert [start_s for _, start_s in bench.granted] == [1.23, 1.23 + PERIOD_S, 9.99]


def test_claims_that_come_and_go_get_no_more_attempts_than_one_that_stays():
    """Ever more urgent claims, ten in a period, each left after a tenth: they share the attempts of one."""
    bench = Bench(probability=0.01)
    for step in range(2000):
        claim = bench.add(deadline_s=-float(step))
        bench.run((step + 1) * 0.1 * PERIOD_S)
        if claim.open:
            bench.remove(claim)
    first = drawn(probability=0.01)[0]
    assert first < 200
    assert bench.granted[0][1] == pytest.approx((first - 1) * PERIOD_S, abs=1e-9)


def test_a_claim_that_leaves_early_has_used_up_its_attempts():
    """The second claim succeeds as much sooner as the first one made attempts, whatever lies between."""
    first = drawn(seed=2)[0]
    assert first > 4
    bench = Bench(seed=2)
    left = bench.add()
    bench.run(2.2 * PERIOD_S)  # Attempts 1, 2 and 3 have started.
    bench.remove(left)
    bench.run(100.0)
    bench.add()
    bench.run()
    assert bench.granted == [(1, 100.0 + (first - 3 - 1) * PERIOD_S)]


def test_an_attempt_that_starts_when_its_claim_leaves_is_not_made():
    first = drawn(seed=2)[0]
    bench = Bench(seed=2)
    left = bench.add()
    bench.run(2.0 * PERIOD_S)
    bench.remove(left)
    bench.add()
    bench.run()
    assert bench.granted == [(1, (first - 1) * PERIOD_S)]


def test_two_claims_on_one_mode_contend_and_on_two_modes_do_not():
    """The less urgent one loses the first attempt that starts for the other while it waits."""
    one, two = Bench(seed=2), Bench(seed=2, modes=2)
    for bench in (one, two):
        bench.add(deadline_s=5.0, site=7)
        bench.run(0.1)
        bench.add(deadline_s=6.0, site=8)
        bench.run()
        assert len(bench.granted) == 2
    assert one.contended() == {1: (PERIOD_S, 7)}
    assert two.contended() == {}


def test_a_claim_put_aside_contends_from_the_next_attempt_on():
    bench = Bench(seed=2)
    bench.add(deadline_s=5.0, site=7)
    bench.run(1.2 * PERIOD_S)
    bench.add(deadline_s=4.0, site=8)
    bench.run()
    assert [claim for claim, _ in bench.granted] == [1, 0]
    assert bench.contended() == {0: (pytest.approx(2.0 * PERIOD_S), 8)}


def test_waiting_for_a_period_that_another_began_before_is_no_contention():
    bench = Bench(probability=1.0)
    bench.add()
    bench.run(0.3 * PERIOD_S)
    bench.add()
    bench.run()
    assert bench.granted[1][1] == PERIOD_S
    assert bench.contended() == {}


def test_no_success_after_the_end_is_sought():
    bench = Bench(probability=1e-9, end_s=100.0)
    bench.add()
    assert bench.clock.next_s == math.inf


class Naive:
    """One mode, attempt by attempt: at each the most urgent claim there has it."""

    def __init__(self, draws: list[int]) -> None:
        self.claims: dict[int, SimpleNamespace] = {}
        self.granted: list[tuple[int, float]] = []
        self.contended: dict[int, tuple[float, int]] = {}
        self._draws = draws
        self._left = draws[0]
        self._start_s = 0.0
        self._made = 0

    def run(self, until_s: float, *, now_s: float) -> None:
        """Make the attempts that start from `now_s` on and before `until_s`."""
        while self.claims:
            start_s = self._start_s + self._made * PERIOD_S
            if start_s < now_s:
                self._start_s, self._made, start_s = now_s, 0, now_s
            if start_s >= until_s:
                return
            self._attempt(start_s)

    def _attempt(self, start_s: float) -> None:
        identity = min(self.claims, key=lambda one: (self.claims[one].deadline_s, one))
        for other in self.claims:
            if other != identity:
                self.contended.setdefault(other, (start_s, self.claims[identity].site))
        self._made += 1
        self._left -= 1
        if self._left == 0:
            self._draws.pop(0)
            self._left = self._draws[0]
            self.granted.append((identity, start_s))
            del self.claims[identity]


@settings(deadline=None, max_examples=150)
@given(
    steps=st.lists(
        st.tuples(
            # No sums of these meet the grid of a mode, where the order of what is due at once would decide.
            st.sampled_from((0.0, math.sqrt(2) / 10, math.sqrt(3) / 3, math.sqrt(5), 3.7 * math.pi)),
            st.sampled_from(("add", "add", "remove")),
            st.integers(0, 3),
        ),
        max_size=60,
    ),
    seed=st.integers(0, 50),
)
def test_one_mode_does_what_a_naive_count_of_attempts_does(steps, seed):
    """Claims that come and go at random: the same successes at the same times, the same losses."""
    bench, naive = Bench(probability=0.3, seed=seed), Naive(drawn(probability=0.3, seed=seed))
    now_s = 0.0
    for wait_s, what, number in (*steps, (1e4, "remove", 0)):
        if wait_s:
            naive.run(now_s + wait_s, now_s=now_s)
            now_s += wait_s
            bench.run(now_s)
        _act(bench, naive, what, number)
    assert [claim for claim, _ in bench.granted] == [claim for claim, _ in naive.granted]
    # The clock may miss a time by a rounding.
    assert np.allclose([s for _, s in bench.granted], [s for _, s in naive.granted], rtol=0.0, atol=1e-9)
    assert not bench.link.claims
    found = bench.contended()
    assert found.keys() == naive.contended.keys()
    for claim, (lost_s, site) in naive.contended.items():
        assert found[claim] == (pytest.approx(lost_s, abs=1e-9), site)


def _act(bench, naive, what, number):
    waiting = list(naive.claims)
    if what == "add":
        claim = bench.add(deadline_s=float(number), site=10 + number)
        naive.claims[claim.id] = SimpleNamespace(deadline_s=float(number), site=10 + number, claim=claim)
    elif waiting:
        bench.remove(naive.claims.pop(waiting[number % len(waiting)]).claim)


@given(slot=st.integers(1, 9 * 10**7), period_s=st.sampled_from((1e-3, 2.01e-4, 1.0 / 3.0)))
def test_a_slot_begins_at_the_same_number_of_seconds_for_all(slot, period_s):
    """A claim made when the last attempt is known to have succeeded, or by a cut-off then, loses no slot."""
    mode = AttemptSequence(name="one", seed=1, probability=0.5, period_s=period_s, slotted=True)
    known_s = (slot - 1) * period_s + period_s
    for now_s in (known_s, known_s * (1.0 + 1e-14)):
        mode.begin(now_s)
        assert mode.next_s == slot * period_s
    mode.begin((slot + 0.25) * period_s)
    assert mode.next_s == (slot + 1) * period_s
