"""Levels of peers and links: what is decided, when it holds, and the features against their formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from qdpem.policies.dpem.chooser import Choices, Chooser
from qdpem.policies.dpem.feature_names import LINK_FEATURES, PEER_FEATURES
from qdpem.policies.dpem.link_levels import LEVELS, LinkLevels
from qdpem.policies.dpem.networks import FEATURES
from qdpem.policies.dpem.peer_levels import PeerFacts, PeerLevels
from qdpem.policies.inventory.link_stock import LinkStock
from qdpem.policies.inventory.parameters import StockParameters
from qdpem.policy.interface import FREE_MEMORIES, TOKENS, Observation
from qdpem.policy.synthetic import small_context
from tests.helpers.dpem import opinionated
from tests.helpers.observations import idle_observation, put_in_stock
from tests.policies.test_planned_stock import Peer, expecting

CONTEXT = small_context(pregeneration="end-to-end")
STEP_S = CONTEXT.forecasting.step_s
HORIZON_S = STEP_S * CONTEXT.forecasting.horizon_steps
FACTS = PeerFacts(lookahead_s=4.0, life_s=6.0, unloaded_delay_s=0.5, work_s=0.25)
CONTENTION_WEIGHT = 0.5


class Told(Chooser):
    """Answers every decision as it is told, and keeps what it was asked."""

    def __init__(self, option: int | None = None) -> None:
        super().__init__(opinionated(9), (), temperature=1.0, greedy=True)
        self.option, self.asked, self.teacher = option, [], []

    def choose(self, choices: Choices, teacher: np.ndarray) -> np.ndarray:
        self.asked.append(choices)
        self.teacher.append(teacher)
        return teacher if self.option is None else np.full(len(choices.site), self.option)


def peers(
    told: Told, *, facts: PeerFacts = FACTS, probability: float = 0.3, life_probability: float = 1.1
) -> PeerLevels:
    return PeerLevels(
        CONTEXT,
        told,
        facts=lambda kind: facts,
        contention_weight=CONTENTION_WEIGHT,
        teacher_probability=probability,
        teacher_life_probability=life_probability,
    )


def expected(*about: Peer, requests: tuple[Any, ...] = (), stock: tuple[Any, ...] = (), age_s: float = 0.0):
    """An idle network in which node 0 expects these peers."""
    observations = idle_observation(CONTEXT, *requests, stock=max(len(stock), 1))
    put_in_stock(observations, *stock)
    return expecting(observations, *about, age_s=age_s)


def at(observations: Observation, time_s: float) -> Observation:
    return replace(observations, time_s=time_s)


def column(choices: Choices, name: str, row: int = 0) -> np.ndarray:
    return choices.features[row, :, FEATURES[choices.kind].index(name)]


def test_a_level_is_kept_until_the_next_step_and_falls_with_each_request() -> None:
    told = Told(2)
    levels = peers(told)
    peer = (0, 1, 0.7, 3, {1: 1.0})
    asked = expected(peer, requests=((0, 1, 0.7, 9.0),))
    asked.request_pairs[0, 0] = 3
    quiet = replace(asked, request_id=np.full_like(asked.request_id, -1))

    def needed(observations: Observation) -> list[int]:
        levels.note_requests(observations)
        return [need.pairs for need in levels.of(observations)]

    assert needed(at(quiet, 10.0)) == [6]
    assert needed(at(asked, 10.2)) == [3]
    # The same request waits and is seen again; another one comes.
    assert needed(at(asked, 10.4)) == [3]
    assert needed(at(replace(asked, request_id=asked.request_id + 1), 10.6)) == []
    assert len(told.asked) == 1
    told.option = 1
    assert needed(at(quiet, 10.0 + STEP_S)) == [3]
    assert [choices.time_s for choices in told.asked] == [10.0, 10.0 + STEP_S]


def test_what_one_site_knows_does_not_time_the_decisions_of_another() -> None:
    """Node 4 hears of its peer half a step after node 0, and decides at once, with or without node 0."""
    one = expected((0, 1, 0.7, 1, {1: 1.0}))
    both = expected((0, 1, 0.7, 1, {1: 1.0}))
    for name in (
        "peer_destination",
        "peer_target_fidelity",
        "peer_pairs",
        "peer_scheduled",
        "forecast_age_s",
    ):
        getattr(both, name)[4] = getattr(both, name)[0]
    both.peer_source[4, 0] = 4
    told = Told(1)
    levels = peers(told)
    levels.of(at(one, 10.0))
    levels.of(at(both, 10.0 + 0.5 * STEP_S))
    assert [choices.site.tolist() for choices in told.asked] == [[0], [4]]


def test_peers_that_are_unlikely_to_ask_are_no_decision_unless_they_have_stock() -> None:
    rare = (0, 8, 0.7, 1, {1: 0.04})
    told = Told(1)
    peers(told).of(expected(rare))
    assert told.asked == []
    peers(told).of(expected(rare, stock=((0, 8, 0.9),)))
    assert len(told.asked) == 1


def test_the_teacher_keeps_pairs_for_the_requests_that_are_likely_enough() -> None:
    """Unscheduled requests are Poisson: P(at least n) from its distribution function."""
    for mean in (0.2, 0.5, 1.0, 2.5):
        told = Told()
        observations = expected((0, 1, 0.7, 1, {}))
        observations.peer_unscheduled[0, 0, :4] = mean / 4.0
        peers(told).of(observations)
        likely = [n for n in (1, 2) if poisson.sf(n - 1, mean) >= 0.3]
        assert told.teacher[0].tolist() == [len(likely)]


def test_the_teacher_keeps_pairs_for_requests_that_are_likely_within_the_life_of_a_pair() -> None:
    """The look-ahead is the first four steps, the life of a pair six."""
    for mean in (0.2, 0.5, 1.0, 2.5):
        told = Told()
        observations = expected((0, 1, 0.7, 1, {}))
        observations.peer_unscheduled[0, 0, 4:6] = mean / 2.0
        peers(told, life_probability=0.5).of(observations)
        likely = [n for n in (1, 2) if poisson.sf(n - 1, mean) >= 0.5]
        assert told.teacher[0].tolist() == [len(likely)]


def test_features_of_a_peer_are_their_formulas() -> None:
    observations = expected((0, 1, 0.7, 2, {}), stock=((0, 1, 0.9), (0, 8, 0.9), (0, 1, 0.9), (0, 1, 0.8)))
    # Half a request a step, so that half of those within the look-ahead have come after two steps.
    observations.peer_unscheduled[0, 0, :] = 0.5
    observations.status[0, 0, FREE_MEMORIES], observations.status[0, 0, TOKENS] = 12.0, 0.25
    told = Told(0)
    peers(told).of(observations)
    (choices,) = told.asked
    assert choices.subject.tolist() == [[1.0, 0.7, 2.0]]
    assert choices.mask.all()
    level, wanted = np.arange(3), 2 * np.arange(3)
    quota = np.floor(CONTEXT.network.remote_storage_quota * CONTEXT.network.memories[1])
    life_s = min(FACTS.life_s, HORIZON_S)
    formulas: dict[str, Any] = {
        "none": level == 0,
        "level": level / 2,
        "probable_short": poisson.sf(level - 1, 0.5 * 2.0 / STEP_S),
        "probable_lead": poisson.sf(level - 1, 0.5 * 4.0 / STEP_S),
        "probable_life": poisson.sf(level - 1, 0.5 * life_s / STEP_S),
        "surplus_probability": np.append(poisson.sf([0, 1], 0.5 * 4.0 / STEP_S), 0.0),
        "missing": np.maximum(wanted - 3, 0) / 4,
        "surplus": np.maximum(3 - wanted, 0) / 4,
        "pairs": 2 / 4,
        "life": 6.0 / (6.0 + HORIZON_S),
        "unloaded_delay": 0.5 / (0.5 + 6.0),
        "work": 0.25 * np.maximum(wanted - 3, 0) / (1.0 + 0.25 * np.maximum(wanted - 3, 0)),
        "quota_left": max(quota - 3, 0) / quota,
        "own_tokens": 0.25 / CONTEXT.network.repeater_burst,
        "own_memories": 12.0 / 16.0,
        "own_backlog": 0.0,
        "unscheduled": 0.5 * HORIZON_S / STEP_S / (1.0 + 0.5 * HORIZON_S / STEP_S),
        "reliability": 1.0,
        "contention_weight": CONTENTION_WEIGHT,
    }
    for name, value in formulas.items():
        assert column(choices, name) == pytest.approx(
            np.broadcast_to(value, 3).astype(float), rel=1e-5, abs=1e-6
        ), name
    # The first half of what is expected within four steps has come once two are over.
    due_s = 1.5 * STEP_S
    assert column(choices, "due") == pytest.approx(due_s / (due_s + 4.0))
    assert set(PEER_FEATURES) - set(formulas) <= {"due"}


def links(told: Told, *, level: int = 4, teacher: int = 0) -> tuple[LinkLevels, LinkStock]:
    stock = LinkStock(CONTEXT, parameters=StockParameters(link_base_stock_level=level))
    decided = LinkLevels(CONTEXT, told, stock, contention_weight=CONTENTION_WEIGHT, teacher_level=teacher)
    return decided, stock


def test_a_site_sets_the_levels_of_its_own_links_up_to_what_quotas_allow() -> None:
    for teacher, nearest in ((0, 0), (1, 1), (2, 2), (4, 4)):
        told = Told()
        decided, stock = links(told, teacher=teacher)
        assert not stock.level.any()
        decided.decide(idle_observation(CONTEXT))
        (choices,) = told.asked
        owner, partner = stock.max_level.nonzero()
        assert set(zip(choices.site.tolist(), choices.subject[:, 0].tolist(), strict=True)) == set(
            zip(owner.tolist(), partner.tolist(), strict=True)
        )
        for site, neighbour, mask in zip(
            choices.site.tolist(), choices.subject[:, 0].astype(int).tolist(), choices.mask, strict=True
        ):
            most = stock.max_level[site, neighbour]
            assert mask.tolist() == [level <= most for level in LEVELS]
            kept = max(level for level in LEVELS if level <= min(nearest, most))
            assert stock.level[site, neighbour] == kept
        assert ((stock.level > 0) <= (stock.max_level > 0)).all()


def test_features_of_a_link_are_their_formulas() -> None:
    told, network = Told(0), CONTEXT.network
    decided, stock = links(told)
    owner, partner = (int(ends[0]) for ends in stock.max_level.nonzero())
    link = network.link_between[owner, partner]
    observations = idle_observation(CONTEXT, stock=2)
    observations.stock_owner[owner], observations.stock_partner[owner] = owner, (partner, 8)
    observations.peer_source[owner], observations.peer_pairs[owner] = (owner, -1, -1, -1), (2, 0, 0, 0)
    observations.peer_scheduled[owner], observations.peer_unscheduled[owner] = 0.0, 0.0
    observations.peer_scheduled[owner, 0, [0, 3]] = 0.5
    observations.peer_unscheduled[owner, 0, 0] = 1.0
    place = observations.observed_node[owner].tolist().index(partner)
    observations.carried_count[owner, place] = 30
    observations.status[owner, place, TOKENS] = 0.5
    decided.decide(observations)
    (choices,) = told.asked
    (row,) = np.flatnonzero((choices.site == owner) & (choices.subject[:, 0] == partner)).tolist()
    levels, life_s = np.array(LEVELS), min(stock.life_s(link), 1e6)
    rate_hz, repeater_hz = network.link_rate_hz[link], network.repeater_rate_hz[owner]
    quota = np.floor(network.remote_storage_quota * network.memories[partner])
    formulas: dict[str, Any] = {
        "none": levels == 0,
        "level": levels / 4,
        "missing": np.maximum(levels - 1, 0) / 4,
        "surplus": np.maximum(1 - levels, 0) / 4,
        "life": life_s / (life_s + 8.0),
        "rate": rate_hz / (1.0 + rate_hz),
        "traffic": 3.0 / (1.0 + 3.0),
        "own_demand": 2.0 / (1.0 + 2.0),
        "scheduled_share": 0.5,
        "pairs_per_request": 2.0 / 4.0,
        "quota_left": (quota - 1) / quota,
        "own_tokens": 1.0,
        "own_memories": 1.0,
        "own_backlog": 0.0,
        "neighbour_tokens": 0.5 / network.repeater_burst,
        "neighbour_memories": 1.0,
        "neighbour_backlog": 0.0,
        "repeater_rate": repeater_hz / (1.0 + repeater_hz),
        "stock_share": 2 / 16,
        "contention_weight": CONTENTION_WEIGHT,
    }
    assert set(formulas) == set(LINK_FEATURES)
    for name, value in formulas.items():
        found = column(choices, name, row)
        assert found == pytest.approx(np.broadcast_to(value, 4).astype(float), rel=1e-5, abs=1e-6), name
