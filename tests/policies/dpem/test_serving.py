"""The options of a request: their features against their formulas, and which the imitated rule takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdpem.network.outages import ALL_AVAILABLE
from qdpem.policies.dpem.feature_names import SERVE_FEATURES
from qdpem.policies.dpem.serving import (
    COMBINED,
    FIRST_ROUTE,
    ROUTES,
    SEPARATE,
    STOCK,
    WAIT,
    Offer,
    ServeOptions,
    Situation,
)
from qdpem.policies.dpem.teacher import Teacher
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import CostedRoute, Planner
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.synthetic import small_context

CONTEXT = small_context(pregeneration="end-to-end")
PLANNER = Planner(CONTEXT, storage_fraction=0.1, resource_weight=0.1, end_rounds=True)
OWN = np.array([0.25, 0.5, 0.75])


def situation(
    *, pairs: int = 2, slack_s: float = 2.0, reserved: int = 0, destination: int = 8, **changes: Any
) -> Situation:
    request = PendingRequest(
        id=1,
        source=0,
        destination=destination,
        target_fidelity=0.7,
        pairs=pairs,
        deadline_s=10.0 + slack_s,
        **changes,
    )
    return Situation(
        request=request,
        slack_s=slack_s,
        reserved=reserved,
        ordered=3,
        own=OWN,
        contention_weight=0.5,
        unavailable=ALL_AVAILABLE,
    )


def offered(about: Situation, *stocked: float) -> Offer:
    stock = {(0, about.request.destination): list(stocked)} if stocked else {}
    backlog = Backlog.idle(CONTEXT.network)
    return ServeOptions(PLANNER, fidelity_margin=0.01).offer(about, backlog, stock)


def feature(offer: Offer, name: str) -> np.ndarray:
    return offer.features[:, SERVE_FEATURES.index(name)]


def test_stock_is_offered_where_it_holds_enough_usable_pairs() -> None:
    for stocked, whole, part in (((), 0, 0), ((0.9,), 0, 1), ((0.9, 0.7), 0, 1), ((0.9, 0.8), 1, 1)):
        offer = offered(situation(), *stocked)
        assert (offer.mask[WAIT], offer.mask[STOCK], offer.mask[COMBINED]) == (True, whole, part)
        assert offer.mask[FIRST_ROUTE:].sum() == len(offer.routes) > 1
    # A repeating request takes no stock; one of a single pair has nothing to combine.
    assert not offered(situation(repeats=True), 0.9, 0.9).mask[[STOCK, COMBINED]].any()
    assert offered(situation(pairs=1), 0.9).mask[[STOCK, COMBINED]].tolist() == [True, False]


def test_without_time_only_stock_is_offered() -> None:
    offer = offered(situation(slack_s=1e-4), 0.9, 0.9)
    assert offer.mask.nonzero()[0].tolist() == [WAIT, STOCK]


def test_features_of_all_options_are_their_formulas() -> None:
    about = situation(pairs=2, reserved=3, attempts=5)
    offer = offered(about, 0.9, 0.9, 0.71)
    routes, options = np.arange(ROUTES) + FIRST_ROUTE, np.arange(len(offer.mask))
    for option, name in ((WAIT, "wait"), (STOCK, "stock"), (COMBINED, "combined"), (SEPARATE, "separate")):
        assert feature(offer, name).tolist() == (options == option).tolist()
    assert feature(offer, "route").tolist() == (options >= FIRST_ROUTE).tolist()
    # Three pairs are held: two are taken, or one.
    assert feature(offer, "stock_left")[[STOCK, COMBINED]].tolist() == [1 / 4, 2 / 4]
    assert feature(offer, "reserved_lack")[[STOCK, COMBINED]].tolist() == [2 / 4, 1 / 4]
    same = {"slack": 2.0 / 3.0, "pairs": 2 / 4, "attempts": 5 / 4, "ordered": 3 / 4, "contention_weight": 0.5}
    for name, value in same.items():
        assert feature(offer, name) == pytest.approx(np.full(len(options), value)), name
    assert np.array_equal(
        offer.features[:, SERVE_FEATURES.index("own_tokens") :][:, :3], np.tile(OWN, (8, 1))
    )
    assert len(offer.routes) == ROUTES
    first_cost_s = offer.routes[0].cost_s
    for rank, (option, costed) in enumerate(zip(routes.tolist(), offer.routes, strict=True)):
        _check_route(offer, option, costed, pairs=2, extra_s=costed.cost_s - first_cost_s)
        assert feature(offer, "rank")[option] == rank / ROUTES
    assert offer.combined is not None
    _check_route(offer, COMBINED, offer.combined, pairs=1, extra_s=0.0)


def _check_route(offer: Offer, option: int, costed: CostedRoute, *, pairs: int, extra_s: float) -> None:
    route, slack_s = costed.route, 2.0
    path = route.path
    fidelity = CONTEXT.estimates.fidelity(path, rounds=route.rounds, age_s=0.1 * route.expected_delay_s)
    waits_s = max(route.expected_delay_s - costed.unloaded_delay_s, 0.0)
    formulas = {
        "loaded_delay": route.expected_delay_s / (route.expected_delay_s + slack_s),
        "unloaded_delay": costed.unloaded_delay_s / (costed.unloaded_delay_s + slack_s),
        "extra_cost": extra_s / (extra_s + slack_s),
        "work": pairs * costed.work_s / (1.0 + pairs * costed.work_s),
        "hops": path.hops / 4.0,
        "rounds": route.rounds / 2.0,
        "stocked_hops": 0.0,
        "fidelity_margin": 5.0 * (fidelity - 0.7),
        "token_wait": waits_s / (waits_s + slack_s),
    }
    for name, value in formulas.items():
        clipped = np.clip(value, -1.0, 2.0)
        assert feature(offer, name)[option] == pytest.approx(clipped, rel=1e-6, abs=1e-8), (option, name)


def test_the_rule_takes_stock_then_both_then_the_first_route_in_time_and_else_waits() -> None:
    rule = Teacher()

    def taken(about: Situation, *stocked: float, teacher: Teacher = rule) -> int:
        return teacher.serve(offered(about, *stocked), about, held=len(stocked))

    assert taken(situation(), 0.9, 0.9) == STOCK
    assert taken(situation(), 0.9) == COMBINED
    assert taken(situation()) == FIRST_ROUTE
    assert taken(situation(), teacher=Teacher(separate_paths=True)) == SEPARATE
    # What larger requests need is left alone.
    assert taken(situation(reserved=1), 0.9, 0.9) == COMBINED
    assert taken(situation(reserved=2), 0.9, 0.9) == FIRST_ROUTE
    strict = Teacher(max_unloaded_delay=1e-9)
    assert taken(situation(), teacher=strict) == WAIT
    assert taken(situation(), 0.9, teacher=strict) == WAIT
    assert taken(situation(), 0.9, 0.9, teacher=strict) == STOCK
