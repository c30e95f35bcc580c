"""External costs against charges worked out by hand, and against laws that hold in every run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import ClaimKind, ClaimOutcome, Purpose, RequestOutcome
from qdpem.policies.dpem.agent import Dpem
from qdpem.policies.dpem.training.external_cost import external_costs
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate
from tests.helpers.dpem import opinionated, tiny_scenario

TOKEN, EMISSION = ClaimKind.TOKEN.code, ClaimKind.EMISSION.code
GRANTED, WITHDRAWN = ClaimOutcome.GRANTED.code, ClaimOutcome.WITHDRAWN.code


def columns(names: str, *rows: tuple[float, ...]) -> dict[str, np.ndarray]:
    values = zip(*rows, strict=True) if rows else [()] * len(names.split())
    return {name: np.array(list(column)) for name, column in zip(names.split(), values, strict=True)}


def tables_by_hand(*, outcome: int = RequestOutcome.EXPIRED.code) -> dict[str, Any]:
    """Request 0 of node 0 for node 2 came at 10 s and ended at 11 s; 1 and 2 are those of others.

    Allocation 20 serves request 0: it waits for the token of node 1 from 10.0 to 11.0 s and for an emission
    on link 0 from 10.0 to 10.5 s. Allocation 21 was to stock a pair for it, from 7 s on.
    """
    delivered = RequestOutcome.DELIVERED.code
    serve, stock = Purpose.SERVE.code, Purpose.STOCK.code
    return {
        "requests": columns(
            "request source destination time_s outcome",
            (0, 0, 2, 10.0, outcome),
            (1, 3, 0, 9.0, delivered),
            (2, 1, 3, 9.0, delivered),
        ),
        "allocations": columns(
            "allocation request purpose source destination time_s",
            (20, 0, serve, 0, 2, 10.0),
            (21, -1, stock, 0, 2, 7.0),
            (30, 1, serve, 3, 0, 9.0),
            (31, 2, serve, 1, 3, 9.0),
        ),
        "links": columns("link first second", (0, 0, 1), (1, 1, 2), (2, 2, 3)),
        "claims": columns(
            "claim allocation kind node link time_s end_s outcome contended",
            (0, 20, TOKEN, 1, -1, 10.0, 11.0, WITHDRAWN, 1),
            (1, 20, EMISSION, 0, 0, 10.0, 10.5, GRANTED, 1),
            (2, 21, TOKEN, 1, -1, 7.0, 8.0, WITHDRAWN, 1),
            # Its own claims took things too while others of its own waited: it is not charged for itself.
            (9, 20, TOKEN, 1, -1, 10.0, 10.4, GRANTED, 0),
            (10, 20, EMISSION, 1, 1, 10.0, 10.1, GRANTED, 0),
            # Took the token while claim 0 waited, and another one before that.
            (3, 30, TOKEN, 1, -1, 9.5, 10.5, GRANTED, 0),
            (4, 30, TOKEN, 1, -1, 9.0, 9.6, GRANTED, 0),
            # The source of node 1 worked for link 1 while claim 1 waited, that of node 2 for link 2.
            (5, 31, EMISSION, 1, 1, 9.0, 10.2, GRANTED, 0),
            (6, 31, EMISSION, 2, 2, 9.0, 10.3, GRANTED, 0),
            # Both took the token while the order for stock waited.
            (7, 30, TOKEN, 1, -1, 6.0, 7.5, GRANTED, 0),
            (8, 31, TOKEN, 1, -1, 6.0, 7.6, GRANTED, 0),
        ),
    }


def charged(tables: dict[str, Any], *, reach_s: float) -> dict[tuple[int, float], float]:
    costs = zip(*external_costs(tables, nodes=4, reach_s=reach_s), strict=True)
    found: dict[tuple[int, float], float] = {}
    for allocation, time_s, cost in costs:
        found[int(allocation), float(time_s)] = found.get((int(allocation), float(time_s)), 0.0) + float(cost)
    return found


def test_those_that_took_what_a_failed_request_waited_for_share_its_cost() -> None:
    # Three of its claims lost a resource: a third each, the last one halved between two takers.
    expected = {(30, 9.5): 1 / 3, (31, 9.0): 1 / 3, (30, 6.0): 1 / 6, (31, 6.0): 1 / 6}
    assert charged(tables_by_hand(), reach_s=8.0) == pytest.approx(expected)
    # The order for stock is older than the reach.
    assert charged(tables_by_hand(), reach_s=2.0) == pytest.approx({(30, 9.5): 0.5, (31, 9.0): 0.5})


@pytest.mark.parametrize("outcome", [RequestOutcome.DELIVERED, RequestOutcome.OPEN])
def test_a_request_that_did_not_fail_charges_nobody(outcome: RequestOutcome) -> None:
    assert charged(tables_by_hand(outcome=outcome.code), reach_s=8.0) == {}


def test_no_run_charges_more_than_its_failed_requests() -> None:
    scenario = tiny_scenario("demand.rate_hz=20", "window.warm_up_s=0", "window.measured_s=12")
    recorder = MemoryRecorder()
    policy: Any = Dpem(weights=opinionated(4))
    simulate(scenario, Arm(name="dpem", forecaster="ewma"), seed=0, recorder=recorder, policy=policy)
    tables = recorder.tables()
    allocation, time_s, cost = external_costs(tables, nodes=4, reach_s=2.0)
    closed = tables["requests"]["outcome"]
    failed = ~np.isin(closed, [RequestOutcome.OPEN.code, RequestOutcome.DELIVERED.code])
    assert 0.0 < cost.sum() <= failed.sum() * (1.0 + 1e-12)
    assert np.all(cost > 0.0)
    assert np.isin(allocation, tables["allocations"]["allocation"]).all()
    assert np.all((time_s >= 0.0) & (time_s <= 12.0))
