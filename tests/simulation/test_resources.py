"""Sources, repeaters, memories, stock, claims and the clock as units, against laws derived here."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from physics.models.pauli import PauliModel
from qdpem.demand.requests import Requests
from qdpem.events.words import ClaimKind, ClaimOutcome, Purpose
from qdpem.policy.synthetic import small_network
from qdpem.rng import stream
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.messages import MessageCounter
from qdpem.simulation.resources.pairs.inventory import Inventory
from qdpem.simulation.resources.pairs.ledger import Ledger
from qdpem.simulation.resources.pairs.memories import Memories
from qdpem.simulation.resources.queues.claims import ClaimBook
from qdpem.simulation.resources.queues.repeaters import Repeater
from qdpem.simulation.resources.queues.sources import Source
from qdpem.simulation.resources.requests import ArrivedPair, Request, RequestBook

_END_S = 1e6


class Bench:
    """One clock, one book of claims, and sources whose successes are noted."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rows: list[tuple] = []
        self.book = ClaimBook(self.rows.append)
        self.sources: list[Source] = []
        self.granted: list[tuple[int, int, float]] = []

    def source(self, name: str, *, rate_hz: float, probability: dict[int, float], seed: int = 1) -> Source:
        made = Source(
            name=name,
            seed=seed,
            rate_hz=rate_hz,
            probability=probability,
            end_s=_END_S,
            clock=self.clock,
            succeed=self._succeed,
            node=len(self.sources),
        )
        self.sources.append(made)
        return made

    def claim(self, link: int, *, deadline_s: float = math.inf, purpose: Purpose = Purpose.SERVE, owner=None):
        claimant = SimpleNamespace(id=0, purpose=purpose, source=link, expires_s=deadline_s)
        return self.book.make(
            ClaimKind.EMISSION, claimant, node=0, link=link, now_s=self.clock.now_s, owner=owner
        )

    def run(self, until_s: float) -> None:
        while self.clock.next_s <= until_s:
            self.clock.step()

    def _succeed(self, claim, node: int, now_s: float) -> None:
        self.granted.append((claim.id, node, now_s))
        for source in claim.owner:
            source.remove(claim)
        self.book.end(claim, ClaimOutcome.GRANTED, now_s)


def _emissions(name: str, *, rate_hz: float, best: float, until_s: float, seed: int = 1):
    """The emissions of a source as the model defines them: its stream alone, in blocks of 256."""
    generator = stream(seed, f"source/{name}")
    times, marks, last_s = [], [], 0.0
    while last_s < until_s:
        block = last_s + np.cumsum(generator.exponential(1.0 / (rate_hz * best), 256))
        times += block.tolist()
        marks += (generator.random(256) * best).tolist()
        last_s = block[-1]
    return np.array(times), np.array(marks)


@pytest.mark.slow
def test_claims_on_links_of_different_transmissivity_share_a_source_without_bias():
    """Claims of random links and urgencies, one always waiting on each link: those at work succeed as a
    thinned Poisson stream. The wait of a claim AT WORK is exponential of rate g eta, whatever was before.

    Kolmogorov-Smirnov for each link at p > 1e-4.
    """
    bench, rate_hz, probability = Bench(), 100.0, {0: 0.4, 1: 0.07}
    source = bench.source("a", rate_hz=rate_hz, probability=probability)
    draws = np.random.default_rng(5)
    began: dict[int, float] = {}
    for _ in range(4000):
        claim = bench.claim(int(draws.integers(2)), deadline_s=float(draws.random()), owner=(source,))
        source.add(claim)
    while source.claims:
        began.setdefault(source.claims[0].id, bench.clock.now_s)
        bench.clock.step()
    link_of = {row[0]: row[6] for row in bench.rows}
    for link, eta in probability.items():
        waits = [now_s - began[claim] for claim, _, now_s in bench.granted if link_of[claim] == link]
        assert len(waits) > 1000
        assert stats.kstest(waits, "expon", args=(0.0, 1.0 / (rate_hz * eta))).pvalue > 1e-4


def test_a_claim_that_waits_at_two_sources_takes_the_first_success_of_either():
    """Event by event: the grants are the merged successes of the two drawn streams."""
    bench, rates, eta = Bench(), {"a": 30.0, "b": 70.0}, 0.1
    sources = [bench.source(name, rate_hz=rate, probability={0: eta, 1: 0.5}) for name, rate in rates.items()]
    for _ in range(200):
        claim = bench.claim(0, owner=sources)
        for source in sources:
            source.add(claim)
    bench.run(200.0)
    expected = []
    for name, rate_hz in rates.items():
        times, marks = _emissions(name, rate_hz=rate_hz, best=0.5, until_s=200.0)
        expected += times[marks < eta].tolist()
    got = [now_s for _, _, now_s in bench.granted]
    assert len(got) == 200
    assert np.allclose(got, sorted(expected)[:200], rtol=0.0, atol=1e-9)


def test_the_order_in_which_claims_join_changes_nothing():
    """The same claims added in every order at one moment are granted at the same times."""
    outcomes = set()
    for order in itertools.permutations(range(4)):
        bench = Bench()
        source = bench.source("a", rate_hz=10.0, probability={0: 0.5, 1: 0.2})
        claims = [bench.claim(place % 2, deadline_s=5.0 - place, owner=(source,)) for place in range(4)]
        for place in order:
            source.add(claims[place])
        bench.run(1000.0)
        outcomes.add(tuple(bench.granted))
    assert len(outcomes) == 1


@pytest.mark.slow
def test_a_more_urgent_claim_preempts_and_the_other_loses_from_the_next_emission_on():
    """The claim put aside contends from the first drawn emission after it lost its place."""
    bench = Bench()
    source = bench.source("a", rate_hz=10.0, probability={0: 0.5, 1: 1e-9})
    waiting = bench.claim(0, deadline_s=9.0, owner=(source,))
    urgent = bench.claim(1, deadline_s=1.0, owner=(source,))
    source.add(waiting)
    source.add(urgent)
    bench.clock.after(2.0, source.remove, urgent)
    bench.run(2.0)
    times, marks = _emissions("a", rate_hz=10.0, best=0.5, until_s=50.0)
    bench.run(50.0)
    assert bench.granted[0][2] == pytest.approx(times[(times > 2.0) & (marks < 0.5)][0], abs=1e-12)
    row = next(row for row in bench.rows if row[0] == waiting.id)
    assert row[10] == 1
    assert row[8] - row[11] == pytest.approx(times[0], abs=1e-12)


@pytest.mark.slow
def test_contention_begins_at_the_earliest_loss_of_either_source():
    """Losses at two sources are noted late and in any order; the seconds count from the earliest."""
    bench = Bench()
    busy = [bench.source(name, rate_hz=5.0, probability={0: 1.0, 1: 1e-12}) for name in ("a", "b")]
    firsts = [_emissions(name, rate_hz=5.0, best=1.0, until_s=1.0)[0][0] for name in ("a", "b")]
    early, late = sorted(range(2), key=firsts.__getitem__)
    waiting = bench.claim(0, deadline_s=9.0, owner=busy)
    for source in busy:
        source.add(bench.claim(1, deadline_s=1.0, owner=(source,)))
        source.add(waiting)
    # The source that lost later is looked at first.
    bench.clock.after(10.0, busy[late].remove, waiting)
    bench.clock.after(11.0, busy[early].remove, waiting)
    bench.run(11.0)
    assert waiting.contended_from_s == pytest.approx(firsts[early], abs=1e-12)


class Bucket:
    """A repeater alone; notes when each claim got its token."""

    def __init__(self, *, rate_hz: float, burst: float) -> None:
        self.bench = Bench()
        self.grants: list[tuple[int, float]] = []
        self.repeater = Repeater(
            rate_hz=rate_hz, burst=burst, swap_time_s=0.0, clock=self.bench.clock, grant=self._grant
        )

    def ask(self, deadline_s: float, purpose: Purpose = Purpose.SERVE):
        claim = self.bench.claim(0, deadline_s=deadline_s, purpose=purpose)
        self.repeater.add(claim)
        return claim

    def _grant(self, claim) -> None:
        self.grants.append((claim.id, self.bench.clock.now_s))


@pytest.mark.parametrize(("rate_hz", "burst"), [(4.0, 1.0), (0.7, 3.0), (2.5, 2.5)])
def test_token_bucket_departures_follow_their_recursion(rate_hz, burst):
    """First come first served: tokens x_k = min(b, x + c dt); a swap leaves when x reaches 1.

    d_k = max(a_k, d_{k-1}) if a token is there, else when it is; recomputed here in exact order.
    """
    bucket, draws = Bucket(rate_hz=rate_hz, burst=burst), np.random.default_rng(8)
    arrivals = np.cumsum(draws.exponential(1.1 / rate_hz, 500))
    for place, time_s in enumerate(arrivals):
        bucket.bench.clock.at(time_s, bucket.ask, float(place))
    bucket.bench.run(1e5)
    tokens, stamp_s, expected = burst, 0.0, []
    for arrival_s in arrivals:
        start_s = max(arrival_s, stamp_s)
        tokens = min(burst, tokens + rate_hz * (start_s - stamp_s))
        leave_s = start_s + max(1.0 - tokens, 0.0) / rate_hz
        tokens = max(tokens - 1.0, 0.0)
        stamp_s = leave_s
        expected.append(leave_s)
    assert np.allclose([now_s for _, now_s in bucket.grants], expected, rtol=0.0, atol=1e-6)


def test_tokens_go_to_the_most_urgent_and_stock_waits_behind_all():
    bucket = Bucket(rate_hz=1.0, burst=1.0)
    bucket.ask(0.0)
    stock, late, soon = bucket.ask(0.0, purpose=Purpose.STOCK), bucket.ask(9.0), bucket.ask(5.0)
    withdrawn = bucket.ask(1.0)
    bucket.repeater.remove(withdrawn)
    bucket.bench.run(10.0)
    assert [claim for claim, _ in bucket.grants[1:]] == [soon.id, late.id, stock.id]
    assert [round(now_s, 6) for _, now_s in bucket.grants] == [0.0, 1.0, 2.0, 3.0]


def test_a_withdrawn_wait_leaves_its_token_in_the_bucket():
    """A refill that nobody took is there for the next swap, and the old alarm grants nothing twice."""
    bucket = Bucket(rate_hz=1.0, burst=1.0)
    bucket.ask(0.0)
    bucket.repeater.remove(bucket.ask(1.0))
    bucket.bench.clock.at(0.5, bucket.ask, 2.0)
    bucket.bench.clock.at(0.6, bucket.ask, 3.0)
    bucket.bench.run(10.0)
    assert [round(now_s, 6) for _, now_s in bucket.grants] == [0.0, 1.0, 2.0]


def test_what_is_due_at_one_time_happens_at_one_time():
    """A deadline asked for from different moments is one number on the clock, in the order asked for."""
    clock, seen = Clock(), []
    due_s = 0.7
    for k, start_s in enumerate((0.0, 0.1, 0.2, 0.3)):
        clock.at(start_s, lambda k=k: clock.at(due_s, lambda: seen.append((k, clock.now_s))))
    while clock.next_s < math.inf:
        clock.step()
    assert seen == [(k, due_s) for k in range(4)]


class Stocked:
    """Inventory on the 3 x 3 grid of the synthetic network, with pairs made by hand."""

    def __init__(self) -> None:
        self.physics = PauliModel()
        self.network = small_network(self.physics)
        self.clock, self.rows = Clock(), []
        self.ledger = Ledger(self.network, self.physics, self.rows.append)
        self.memories = Memories(self.network, headroom_fraction=0.25)
        self.inventory = Inventory(
            network=self.network,
            clock=self.clock,
            ledger=self.ledger,
            memories=self.memories,
            message_counter=MessageCounter(lambda _: None),
        )

    def keep(self, first: int, second: int, until_s: float = 100.0):
        link = self.network.link_between[first, second]
        pair = self.ledger.birth(
            link, sender=first, ends=(first, second), now_s=self.clock.now_s, allocation=0
        )
        for node in (first, second):
            assert self.memories.take(node, 1, inventory=True)
        assert self.memories.admit_remote(second, 1)
        self.inventory.store(pair, owner=first, until_s=until_s)
        return pair


def test_stock_that_cannot_make_room_enough_is_not_thrown_away():
    """A live request that needs more qubits than stock could ever free leaves the stock alone."""
    shelf = Stocked()
    pair = shelf.keep(0, 1)
    assert shelf.memories.take(0, 14, inventory=False)
    assert not shelf.inventory.make_room(0, {0: 3})
    assert shelf.inventory.owned[0] == {pair.id: pair}
    assert shelf.inventory.make_room(0, {0: 2})
    assert shelf.inventory.owned[0] == {}


def test_a_partners_quota_counts_a_half_until_the_word_that_frees_it_has_come():
    """Quota 4: while a half is still held, no fifth is admitted."""
    shelf = Stocked()
    pairs = [shelf.keep(0, 1) for _ in range(4)]
    assert not shelf.memories.admit_remote(1, 1)
    shelf.inventory.discard(pairs[0].id, 0)
    assert shelf.memories.held(1) == 4
    assert not shelf.memories.admit_remote(1, 1)
    shelf.clock.step()
    assert shelf.memories.held(1) == 3
    assert shelf.memories.admit_remote(1, 1)


def test_an_owner_hears_of_a_pair_its_partner_gave_up_one_delay_later():
    """Until the word comes the owner still believes in it; what it drops of it does nothing."""
    shelf = Stocked()
    pair = shelf.keep(0, 1)
    shelf.memories.take(1, 15, inventory=False)
    assert shelf.inventory.make_room(1, {1: 1})
    assert pair.id in shelf.inventory.reported[0]
    shelf.inventory.discard(pair.id, 0)
    heard_s = shelf.clock.now_s + float(shelf.network.distance_s[0, 1])
    while shelf.clock.next_s <= heard_s:
        shelf.clock.step()
    assert pair.id not in shelf.inventory.reported[0]
    assert shelf.memories.free[0] == 16
    shelf.ledger.check()


def test_expiry_is_one_clock_time_at_both_ends_and_the_oldest_is_found_first():
    shelf = Stocked()
    old, new = shelf.keep(0, 1, until_s=2.0), shelf.keep(0, 1, until_s=3.0)
    assert shelf.inventory.find(0, 1, lambda _: True) is old
    shelf.inventory.take(old)
    assert shelf.inventory.find(0, 1, lambda _: True) is new
    shelf.inventory.put_back(old)
    assert shelf.inventory.find(0, 1, lambda _: True) is old
    shelf.clock.step()
    assert (shelf.clock.now_s, shelf.memories.free[0], shelf.memories.free[1]) == (2.0, 15, 15)
    shelf.clock.step()
    assert (shelf.clock.now_s, shelf.memories.free[0], shelf.memories.remote[1]) == (3.0, 16, 0)


def test_what_stock_holds_has_its_limits():
    """16 qubits: stock leaves 4 to live requests, and other nodes' stock holds at most 4."""
    shelf = Stocked()
    assert not shelf.memories.take(0, 13, inventory=True)
    assert shelf.memories.take(0, 12, inventory=True)
    assert not shelf.memories.take(0, 1, inventory=True)
    assert shelf.memories.take(0, 4, inventory=False)
    assert not shelf.memories.take(0, 1, inventory=False)
    assert shelf.memories.admit_remote(0, 4)
    assert not shelf.memories.admit_remote(0, 1)


def test_pairs_that_waited_have_aged_until_the_last_of_all_was_ready():
    """A pair heard of last may itself have been ready first: none ages less than until all were ready."""
    shelf = Stocked()
    written: list[tuple] = []
    book = RequestBook(clock=shelf.clock, ledger=shelf.ledger, append=written.append)
    one = np.zeros(1, dtype=np.int64)
    request = Request(
        Requests(
            id=one,
            time_s=np.zeros(1),
            source=one,
            destination=one + 1,
            target_fidelity=np.full(1, 0.6),
            pairs=one + 2,
            deadline_s=np.full(1, 50.0),
            application=one,
            repeat_until_deadline=0 * one,
            process=0 * one,
        ),
        0,
    )
    book.arrive(request)
    pairs = [
        shelf.ledger.birth(0, sender=0, ends=(0, 1), now_s=0.0, allocation=0),
        shelf.ledger.birth(0, sender=0, ends=(0, 1), now_s=0.0, allocation=0),
    ]
    due = [shelf.ledger.fidelity(pair, 3.0) for pair in pairs]
    for pair, ready_s in zip(pairs, (3.0, 2.0), strict=True):
        arrived = ArrivedPair(pair, 0, 1, ready_s, 1.0, retry_low_fidelity=True, release=lambda: None)
        book.receive(request, arrived)
    assert [row[-1] for row in shelf.rows] == pytest.approx(due, abs=1e-15)
    assert len(written) == 1
