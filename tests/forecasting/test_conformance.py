"""Conformance passes every registered forecaster and names each broken law instead of failing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.errors import UnknownNameError
from qdpem.forecasting.checks.conformance import check_forecaster, check_named_forecaster
from qdpem.forecasting.checks.reference_demand import by_step
from qdpem.forecasting.checks.trial_demand import TrialDemand
from qdpem.policy.checks import Check
from qdpem.policy.forecaster import ForecastContext, Forecaster
from qdpem.registry import list_names
from tests.helpers.forecasting import context_of, requests_of_counts

NODES, PLACES, HISTORY, STEPS = 4, 3, 30, 12
CONTEXT = context_of(NODES, PLACES, history_s=float(HISTORY), horizon=3)
LAWS = {"shape", "determinism", "own requests", "no future", "fit first", "state"}
SLOW = ("gru", "gru-global", "ridge", "shuffled")


def trial(seed: int) -> TrialDemand:
    generator = np.random.default_rng(seed)
    history = generator.poisson(0.5, (HISTORY, NODES, PLACES))
    # The last peer of each node becomes known during the run.
    history[..., -1] = 0
    counts = generator.poisson(0.5, (STEPS, NODES, PLACES))
    return TrialDemand(
        history=requests_of_counts(history, first_step=-HISTORY),
        steps=by_step(requests_of_counts(counts), step_s=1.0, steps=STEPS),
    )


@dataclass(frozen=True, kw_only=True)
class NoParameters:
    pass


class Honest:
    """A stranger's forecaster in a few lines: the mean of the last three counts of each peer."""

    Parameters = NoParameters
    name = "honest"
    oracle = False

    def reset(self, context: ForecastContext) -> None:
        self.context = context
        self.recent = np.zeros((3, context.node_count, context.max_peers))

    def fit(self, history: Requests, peers: Peers) -> None:
        self.recent = peers.counts(history, start_s=-3.0, step_s=1.0, steps=3).astype(float)

    def update(self, requests: Requests, peers: Peers) -> None:
        counts = np.zeros(peers.destination.shape)
        place = peers.places(requests)
        np.add.at(counts, (requests.source[place >= 0], place[place >= 0]), 1.0)
        self.recent = np.concatenate([self.recent[1:], counts[None]])

    def mean(self) -> NDArray[np.float64]:
        return np.repeat(self.recent.mean(axis=0)[..., None], self.context.horizon_steps, axis=2)

    def forecast(self) -> ExpectedDemand:
        mean = self.mean()
        return ExpectedDemand(scheduled=0.25 * mean, unscheduled=0.75 * mean)

    def state(self) -> dict[str, NDArray[Any]]:
        return {"recent": self.recent.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.recent = state["recent"].copy()


class TurnsItsAxes(Honest):
    def mean(self) -> NDArray[np.float64]:
        return super().mean().T


class ForecastsBelowZero(Honest):
    def mean(self) -> NDArray[np.float64]:
        return super().mean() - 1.0


class ForecastsSomeNodesOnly(Honest):
    def mean(self) -> NDArray[np.float64]:
        mean = super().mean()
        mean[0] = np.nan
        return mean


class ForecastsFreePlaces(Honest):
    """Expects requests of peers that do not exist."""

    def mean(self) -> NDArray[np.float64]:
        return super().mean() + 0.1


class RoundsToSinglePrecision(Honest):
    def mean(self) -> NDArray[Any]:
        return super().mean().astype(np.float32)


class NeedsAHistory(Honest):
    """Divides by the number of requests of the history, which may be none."""

    def fit(self, history: Requests, peers: Peers) -> None:
        super().fit(history, peers)
        self.recent += sum(history.time_s.tolist()) / len(history) * 0.0


class DrawsAfresh(Honest):
    """Draws from a generator that no seed fixes."""

    def mean(self) -> NDArray[np.float64]:
        return super().mean() * np.random.default_rng().random()


class PeeksAtOthers(Honest):
    """Scales each node's forecast by the network's."""

    def mean(self) -> NDArray[np.float64]:
        own = super().mean()
        return own * (1.0 + own.mean())


class FitsOnOthers(Honest):
    """Scales by the number of all requests of the history."""

    def fit(self, history: Requests, peers: Peers) -> None:
        super().fit(history, peers)
        self.recent *= len(history)


class ReadsThroughTheView(Honest):
    """Finds the array that the history is a view of, and in it the requests to come."""

    def fit(self, history: Requests, peers: Peers) -> None:
        super().fit(history, peers)
        whole = history.time_s if history.time_s.base is None else history.time_s.base
        self.recent *= 1.0 + np.abs(whole).sum()


class ReturnsItsBuffer(Honest):
    """Returns the arrays that later forecasts overwrite."""

    def reset(self, context: ForecastContext) -> None:
        super().reset(context)
        self.buffer = np.zeros((context.node_count, context.max_peers, context.horizon_steps))

    def mean(self) -> NDArray[np.float64]:
        self.buffer[:] = super().mean()
        return self.buffer

    def forecast(self) -> ExpectedDemand:
        return ExpectedDemand(scheduled=0.0 * self.mean(), unscheduled=self.mean())


class AddsUpItsFits(Honest):
    """Adds each history to the one before, whose peers the new one may not have."""

    def fit(self, history: Requests, peers: Peers) -> None:
        before = self.recent
        super().fit(history, peers)
        self.recent = self.recent + before


class ForgetsItsState(Honest):
    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        pass


class SavesHalfOfItsState(Honest):
    """Saves the mean only, so that the copy drops other counts than the original."""

    def state(self) -> dict[str, NDArray[Any]]:
        return {"mean": self.recent.mean(axis=0)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.recent = np.repeat(state["mean"][None], 3, axis=0)


class AltersItsInput(Honest):
    def update(self, requests: Requests, peers: Peers) -> None:
        requests.time_s[:] = 0.0
        super().update(requests, peers)


class Raises(Honest):
    """Has a bug of its own."""

    def forecast(self) -> ExpectedDemand:
        raise ZeroDivisionError("a bug")


class Placebo(PeeksAtOthers):
    placebo = True


class Oracle(PeeksAtOthers):
    oracle = True


def checks_of(forecaster: type[Honest]) -> tuple[Check, ...]:
    return check_forecaster(forecaster, CONTEXT, demand=trial(3), other=trial(4))


def broken(forecaster: type[Honest]) -> set[str]:
    checks = checks_of(forecaster)
    assert all(check.detail for check in checks)
    return {check.rule for check in checks if not check.passed}


def test_an_honest_forecaster_passes() -> None:
    forecaster: Forecaster = Honest()
    assert forecaster.name == "honest"
    assert {check.rule for check in checks_of(Honest)} == LAWS
    assert broken(Honest) == set()


@pytest.mark.parametrize(
    ("forecaster", "laws"),
    [
        (TurnsItsAxes, {"shape", "own requests"}),
        (ForecastsBelowZero, {"shape"}),
        (ForecastsSomeNodesOnly, {"shape"}),
        (ForecastsFreePlaces, {"shape"}),
        (RoundsToSinglePrecision, {"shape"}),
        (NeedsAHistory, {"shape"}),
        (AltersItsInput, LAWS),
        (DrawsAfresh, LAWS - {"shape"}),
        (PeeksAtOthers, {"own requests"}),
        (FitsOnOthers, {"own requests"}),
        (ReadsThroughTheView, {"own requests", "no future"}),
        (ReturnsItsBuffer, {"no future"}),
        (AddsUpItsFits, {"shape", "fit first"}),
        (ForgetsItsState, {"state"}),
        (SavesHalfOfItsState, {"state"}),
        (Raises, LAWS),
    ],
)
def test_each_broken_law_is_named(forecaster: type[Honest], laws: set[str]) -> None:
    assert broken(forecaster) == laws


def test_a_bug_of_the_forecaster_is_told_with_its_place() -> None:
    (detail,) = {check.detail for check in checks_of(Raises)}
    assert "ZeroDivisionError" in detail
    assert "a bug" in detail


@pytest.mark.parametrize("forecaster", [Placebo, Oracle])
def test_oracles_and_declared_placebos_may_depend_on_other_nodes(forecaster: type[Honest]) -> None:
    assert {check.rule for check in checks_of(forecaster)} == LAWS - {"own requests"}
    assert broken(forecaster) == set()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in list_names("forecaster")
    ],
)
def test_every_registered_forecaster_conforms(name: str) -> None:
    checks = check_named_forecaster(name)
    assert [check for check in checks if not check.passed] == []
    assert {check.rule for check in checks} >= LAWS - {"own requests"}


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ewma'"):
        check_named_forecaster("ewmaa")
