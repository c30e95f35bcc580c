"""Credit against sums over events made by hand, and against the tables of a small run."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import AllocationOutcome, PairOutcome, Purpose, RequestOutcome
from qdpem.metrics.reward import rewards
from qdpem.policies.dpem.agent import Dpem
from qdpem.policies.dpem.chooser import Choices, Chosen
from qdpem.policies.dpem.networks import FEATURES, Kind
from qdpem.policies.dpem.training.credit import Stream, experience_of, returns
from qdpem.policies.dpem.training.experience import OPTIONS
from qdpem.scenario.schema import Arm, Reward, Window
from qdpem.simulation.run import simulate
from tests.helpers.dpem import opinionated, tiny_scenario

WEIGHTS = Reward(delivered=1.0, contended=0.1, expired=0.01)

event = st.tuples(st.integers(0, 3), st.integers(0, 12).map(lambda step: 0.5 * step), st.floats(-2.0, 2.0))


@given(st.lists(event, max_size=12), st.lists(event, max_size=6), st.sampled_from([0.01, 2.0, math.inf]))
def test_returns_are_sums_of_the_subjects_later_rewards(
    events: list[Any], decisions: list[Any], discount_time_s: float
) -> None:
    stream = Stream(
        key=np.array([row[0] for row in events], dtype=np.int64),
        time_s=np.array([row[1] for row in events], dtype=np.float64),
        amount=np.array([row[2] for row in events], dtype=np.float64),
    )
    key = np.array([row[0] for row in decisions], dtype=np.int64)
    time_s = np.array([row[1] for row in decisions], dtype=np.float64)
    expected = [
        sum(
            amount * math.exp(-(at_s - now_s) / discount_time_s)
            for subject, at_s, amount in events
            if subject == own and at_s >= now_s
        )
        for own, now_s, _ in decisions
    ]
    found = returns(stream, key, time_s, discount_time_s=discount_time_s)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def decided(kind: Kind, time_s: float, site: int, subject: float) -> Chosen:
    choices = Choices(
        kind=kind,
        time_s=time_s,
        site=np.array([site]),
        subject=np.array([[subject, 0.0, 0.0]]),
        features=np.zeros((1, OPTIONS[kind], len(FEATURES[kind])), dtype=np.float32),
        mask=np.ones((1, OPTIONS[kind]), dtype=bool),
    )
    one = np.zeros(1, dtype=np.int64)
    probability = choices.mask / OPTIONS[kind]
    return Chosen(choices=choices, option=one, probability=probability, teacher=one)


def tables_by_hand() -> dict[str, dict[str, np.ndarray]]:
    """Four nodes in a line. Node 0 asks 2 twice (requests 0 and 1), node 1 asks 0 (2), and 3 asks 0 (3).

    Request 0 is delivered over 0-1-2 (allocation 10) after a claim was lost, 1 from stock that allocation 11
    made, 2 fails, 3 is open. A link pair of 0 with 1 expired, and one that is nobody's.
    """
    delivered, failed = RequestOutcome.DELIVERED.code, RequestOutcome.EXPIRED.code
    done = AllocationOutcome.DONE.code
    serve, stock = Purpose.SERVE.code, Purpose.STOCK.code
    return {
        "requests": {
            "request": np.array([0, 1, 2, 3]),
            "source": np.array([0, 0, 1, 3]),
            "destination": np.array([2, 2, 0, 0]),
            "outcome": np.array([delivered, delivered, failed, RequestOutcome.OPEN.code]),
            "end_s": np.array([2.0, 6.0, 4.0, np.nan]),
        },
        "allocations": {
            "allocation": np.array([10, 11, 12, 13, 14]),
            "request": np.array([0, -1, 1, 2, -1]),
            "source": np.array([0, 0, 0, 1, 0]),
            "destination": np.array([2, 2, 2, 0, 1]),
            "purpose": np.array([serve, stock, serve, serve, stock]),
            "outcome": np.array([done, done, done, AllocationOutcome.EXPIRED.code, done]),
            "end_s": np.array([2.0, 3.0, 6.0, 4.0, 1.0]),
        },
        "path_steps": {
            "allocation": np.array([10, 10, 10, 11, 11, 11, 12, 12, 13, 13, 14, 14]),
            "node": np.array([0, 1, 2, 0, 1, 2, 0, 2, 1, 0, 0, 1]),
        },
        "claims": {
            "allocation": np.array([10, 10, 11, 13, 14]),
            "contended": np.array([1, 0, 1, 1, 1]),
            "source": np.array([0, 0, 0, 1, 0]),
            "rival": np.array([1, 0, 1, 0, 3]),
            "end_s": np.array([1.5, 1.6, 2.5, 3.5, 0.5]),
        },
        "pairs": {
            "first": np.array([1, 0, 2]),
            "second": np.array([0, 1, 0]),
            "owner": np.array([0, -1, 0]),
            "outcome": np.array([PairOutcome.EXPIRED.code] * 3),
            "end_s": np.array([5.0, 5.5, 9.0]),
        },
    }


def credited(*log: Chosen, end_s: float = 20.0, credit: str = "lineage") -> dict[Kind, list[float]]:
    made = experience_of(
        log, tables_by_hand(), weights=WEIGHTS, credit=credit, discount_time_s=8.0, end_s=end_s, nodes=4
    )
    return {kind: part.gain.tolist() for kind, part in made.items()}


def faded(*events: tuple[float, float], since_s: float) -> float:
    return sum(amount * math.exp(-(at_s - since_s) / 8.0) for at_s, amount in events)


def test_a_decision_about_a_request_has_its_delivery_and_its_own_claims_undiscounted() -> None:
    log = [decided(Kind.SERVE, at_s, site, request) for at_s, site, request in
           [(1.0, 0, 0), (1.8, 0, 0), (5.0, 0, 1), (3.0, 1, 2), (3.0, 3, 3)]]  # fmt: skip
    # Of the open request nothing is known yet, and it is left out.
    assert credited(*log)[Kind.SERVE] == pytest.approx([1.0 - 0.1, 1.0, 1.0, -0.1])


def test_a_decision_about_a_peer_has_all_that_came_of_its_stock_and_its_requests() -> None:
    found = credited(
        decided(Kind.PEER, 0.0, 0, 2), decided(Kind.PEER, 4.0, 0, 2), decided(Kind.PEER, 0.0, 1, 3)
    )[Kind.PEER]
    events = (1.5, -0.1), (2.0, 1.0), (2.5, -0.1), (6.0, 1.0), (9.0, -0.01)
    assert found == pytest.approx([faded(*events, since_s=0.0), faded(*events[3:], since_s=4.0), 0.0])


def test_a_decision_about_a_link_has_the_requests_that_crossed_it_and_its_stock() -> None:
    found = credited(
        decided(Kind.LINK, 0.0, 0, 1), decided(Kind.LINK, 0.0, 2, 1), decided(Kind.LINK, 0.0, 2, 3)
    )[Kind.LINK]
    # Request 1 came from stock, but other pairs between its ends crossed the link.
    both = (2.0, 1.0), (6.0, 1.0)
    own = (0.5, -0.1), (5.0, -0.01)
    assert found == pytest.approx([faded(*own, *both, since_s=0.0), faded(*both, since_s=0.0), 0.0])


def test_what_the_end_of_the_episode_cut_off_is_left_out() -> None:
    log = [decided(kind, at_s, 0, 2) for kind in (Kind.PEER, Kind.LINK) for at_s in (1.9, 2.0, 2.1)]
    found = credited(*log, end_s=10.0)
    assert [len(found[kind]) for kind in Kind] == [0, 2, 2]


def test_the_rewards_of_a_node_are_those_of_the_metrics() -> None:
    log = [decided(kind, 1.0, site, 2) for kind in Kind for site in range(4)]
    found = credited(*log, credit="discounted")
    earned = rewards(tables_by_hand(), weights=WEIGHTS)
    expected = [
        faded(
            *(
                (at_s, amount)
                for at_s, owner, amount in zip(earned.time_s, earned.site, earned.amount, strict=True)
                if owner == site and at_s >= 1.0
            ),
            since_s=1.0,
        )
        for site in range(4)
    ]
    assert all(found[kind] == pytest.approx(expected) for kind in Kind)


def test_without_decisions_or_events_there_is_no_experience() -> None:
    assert {kind: len(gains) for kind, gains in credited().items()} == dict.fromkeys(Kind, 0)
    empty = {
        table: {name: column[:0] for name, column in columns.items()}
        for table, columns in tables_by_hand().items()
    }
    made = experience_of(
        [decided(Kind.PEER, 0.0, 0, 2)],
        empty,
        weights=WEIGHTS,
        credit="lineage",
        discount_time_s=8.0,
        end_s=20.0,
        nodes=4,
    )
    assert made[Kind.PEER].gain.tolist() == [0.0]


@pytest.fixture(scope="module")
def played() -> tuple[list[Chosen], Any]:
    """Twelve seconds on four nodes, with a policy of strong opinions."""
    scenario = replace(tiny_scenario(), window=Window(warm_up_s=0.0, measured_s=12.0))
    log: list[Chosen] = []
    recorder = MemoryRecorder()
    policy = Dpem(weights=opinionated(4), log=log)
    simulate(scenario, Arm(name="dpem", forecaster="ewma"), seed=3, recorder=recorder, policy=policy)
    return log, recorder.tables()


def lineage(tables: Any, kind: Kind, chosen: Chosen, row: int, *, discount_time_s: float) -> float:
    """The return of one decision, by a loop over all rows of the tables."""
    choices = chosen.choices
    site, subject, now_s = int(choices.site[row]), int(choices.subject[row, 0]), choices.time_s
    allocations = {
        item[0]: item[1:]
        for item in zip(
            *(
                tables["allocations"][name].tolist()
                for name in ("allocation", "request", "source", "destination")
            ),
            strict=True,
        )
    }
    steps = tables["path_steps"]
    crossings: set[tuple[int, int, int, int]] = set()
    for one, two in pairwise(zip(steps["allocation"].tolist(), steps["node"].tolist(), strict=True)):
        if one[0] == two[0]:
            ends = allocations[one[0]][1:]
            crossings |= {(*ends, one[1], two[1]), (*ends, two[1], one[1])}
    total = 0.0

    def add(at_s: float, amount: float) -> None:
        nonlocal total
        if at_s >= now_s:
            total += amount * (1.0 if kind == Kind.SERVE else math.exp(-(at_s - now_s) / discount_time_s))

    columns = tables["requests"]
    for request, source, destination, outcome, end_s in zip(
        *(columns[name].tolist() for name in ("request", "source", "destination", "outcome", "end_s")),
        strict=True,
    ):
        if outcome != RequestOutcome.DELIVERED.code:
            continue
        concerns = {
            Kind.SERVE: request == subject,
            Kind.PEER: (source, destination) == (site, subject),
            Kind.LINK: (source, destination, site, subject) in crossings,
        }
        if concerns[kind]:
            add(end_s, WEIGHTS.delivered)
    columns = tables["claims"]
    for allocation, contended, end_s in zip(
        *(columns[name].tolist() for name in ("allocation", "contended", "end_s")), strict=True
    ):
        request, source, destination = allocations[allocation]
        concerns = {
            Kind.SERVE: request == subject,
            Kind.PEER: (source, destination) == (site, subject),
            Kind.LINK: request < 0 and (source, destination) == (site, subject),
        }
        if contended == 1 and concerns[kind]:
            add(end_s, -WEIGHTS.contended)
    columns = tables["pairs"]
    for first, second, owner, outcome, end_s in zip(
        *(columns[name].tolist() for name in ("first", "second", "owner", "outcome", "end_s")), strict=True
    ):
        expired = outcome == PairOutcome.EXPIRED.code and owner == site
        if expired and kind != Kind.SERVE and {first, second} == {site, subject}:
            add(end_s, -WEIGHTS.expired)
    return total


def test_credit_of_a_run_equals_a_loop_over_its_tables(played: tuple[list[Chosen], Any]) -> None:
    log, tables = played
    made = experience_of(
        log, tables, weights=WEIGHTS, credit="lineage", discount_time_s=3.0, end_s=12.0, nodes=4
    )
    open_ids = set(
        tables["requests"]["request"][tables["requests"]["outcome"] == RequestOutcome.OPEN.code].tolist()
    )
    for kind in Kind:
        expected = [
            lineage(tables, kind, chosen, row, discount_time_s=3.0)
            for chosen in log
            if chosen.choices.kind == kind
            for row in range(len(chosen.option))
            if (
                int(chosen.choices.subject[row, 0]) not in open_ids
                if kind == Kind.SERVE
                else chosen.choices.time_s <= 9.0
            )
        ]
        assert made[kind].gain == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert len(set(np.round(made[kind].gain, 9))) > 1, kind
