"""Twenty simulated minutes of the soak: what the simulation holds does not grow."""

from __future__ import annotations

import json

import pytest

from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.resources.queues.claims import ClaimBook

MINUTES = 20
SETTLED = slice(4, 9)
"""Samples after minutes 5 to 9, against those after the last five."""
ORDERS = {
    "stocking_threshold": 0.0,
    "tracked_pairs": 1,
    "min_reorder_interval_s": 10.0,
    "link_base_stock_level": 0,
}
"""Remote stock is full within the first minutes; beside link stock it takes a quarter of an hour."""
LOCAL = Arm(name="soak", policy="local-stock", parameters=ORDERS)
CENTRAL = Arm(
    name="soak",
    policy="central-expected-delay",
    pregeneration="end-to-end",
    forecaster="constant",
    parameters=ORDERS,
)
LIGHTER = ("demand.rate_hz=0.25", "control.decision_epoch_s=2.0")
LINE = (
    "topology.kind=line", "topology.parameters={nodes = 6, hop_km = 20.0}", "topology.length_scale=1.0",
    "demand.weights=uniform", "demand.bursts.regions=2", *LIGHTER,
)  # fmt: skip


@pytest.fixture
def soak(script):
    return script("soak.py", beside=("growth",))


def counts_by_minute(soak, arm, path, *, overrides):
    """What the simulation holds after each minute; conservation is checked as often."""
    seconds = 60.0 * MINUTES + 1.0
    scenario = soak.light_load("scenarios/quickstart.toml", seconds=seconds, overrides=overrides)
    watch = soak.Watch(hours=seconds / soak.HOUR_S, say=lambda line: None, every_s=60.0)
    soak.soak(scenario, resolve_arm(arm).arm, seed=1, path=path, watch=watch)
    assert len(watch.counts) == MINUTES
    return watch.counts


@pytest.mark.parametrize(
    ("arm", "overrides"),
    [
        pytest.param(LOCAL, LIGHTER, id="fifty nodes, local", marks=pytest.mark.slow),
        pytest.param(LOCAL, LINE, id="six nodes, local"),
        pytest.param(CENTRAL, LINE, id="six nodes, central", marks=pytest.mark.slow),
    ],
)
def test_nothing_grows_in_twenty_minutes(soak, script, tmp_path, arm, overrides):
    counts = counts_by_minute(soak, arm, tmp_path / "soak.h5", overrides=overrides)
    assert script("growth.py").grown(counts[SETTLED], counts[-5:]) == {}
    # Something went on: stock was kept, and reservations were at work.
    assert max(one.get("Pair", 0) for one in counts) > 0
    assert max(one.get("Reservation", 0) for one in counts) > 0
    assert min(one["Clock._queue"] for one in counts) > 0


@pytest.mark.slow
def test_a_book_that_forgets_nothing_is_found(soak, script, tmp_path, monkeypatch):
    end = ClaimBook.end

    def keep(self, claim, how, now_s):
        end(self, claim, how, now_s)
        self.__dict__.setdefault("ended", []).append(claim)

    monkeypatch.setattr(ClaimBook, "end", keep)
    counts = counts_by_minute(soak, LOCAL, tmp_path / "soak.h5", overrides=LINE)
    grown = script("growth.py").grown(counts[SETTLED], counts[-5:])
    assert {"Claim", "ClaimBook.ended"} <= set(grown)


def test_an_hour_is_told_with_memory_and_conservation(soak, tmp_path):
    told = []
    overrides = [*LINE, "demand.rate_hz=0.05", "control.decision_epoch_s=10.0"]
    scenario = soak.light_load("scenarios/quickstart.toml", seconds=soak.HOUR_S + 1.0, overrides=overrides)
    watch = soak.Watch(hours=1, say=lambda line: told.append(json.loads(json.dumps(line))))
    arm = resolve_arm(Arm(name="local-minhop")).arm
    soak.soak(scenario, arm, seed=1, path=tmp_path / "soak.h5", watch=watch)
    (line,) = told
    assert watch.lines == told
    assert line["hour"] == 1
    assert line["events"] > 0
    assert line["peak_mb"] > 10.0
    assert line["held"]["all"] > 0
    assert soak.verdict(watch.lines)["grew"] is False


def test_the_verdict_compares_the_last_hour_with_the_first(soak):
    def hour(number, resident_mb, peak_mb):
        return {"hour": number, "resident_mb": resident_mb, "peak_mb": peak_mb}

    found = soak.verdict([hour(1, 200.0, 210.0), hour(2, 400.0, 500.0), hour(3, 230.0, 231.0)])
    assert found["ratio"] == pytest.approx(1.15)
    assert found["peak_ratio"] == pytest.approx(1.1)
    assert found["grew"] is True
    assert soak.verdict([hour(1, 200.0, 210.0), hour(2, 210.0, 400.0)])["grew"] is False
    # Where only the peak is known, the peak decides.
    assert soak.verdict([hour(1, None, 200.0), hour(2, None, 210.0)])["ratio"] == pytest.approx(1.05)
