"""Conformance passes every registered forecaster and catches each way to break a law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdpem.errors import UnknownNameError
from qdpem.forecasting.checks.conformance import check_forecaster, check_named_forecaster
from qdpem.forecasting.gru import GruForecast
from qdpem.policy.checks import Check
from qdpem.policy.interface import ForecastContext, Forecaster
from qdpem.registry import list_names

CONTEXT = ForecastContext(node_count=4, step_s=1.0, horizon_steps=3, seed=5)
LAWS = {"shape", "determinism", "own counts", "no future", "fit first", "state"}
SLOW = ("gru", "shuffled")


@dataclass(frozen=True, kw_only=True)
class NoParameters:
    pass


class Honest:
    """A stranger's forecaster in a few lines: the mean of the last three counts of each node."""

    Parameters = NoParameters
    name = "honest"
    oracle = False

    def reset(self, context: ForecastContext) -> None:
        self.context = context
        self.recent = np.zeros((3, context.node_count))

    def fit(self, history: NDArray[np.int64]) -> None:
        padded = np.concatenate([np.zeros((3, self.context.node_count)), history])
        self.recent = padded[-3:].copy()

    def update(self, counts: NDArray[np.int64]) -> None:
        self.recent = np.concatenate([self.recent[1:], counts[None]])

    def forecast(self) -> NDArray[np.float64]:
        return np.repeat(self.recent.mean(axis=0)[:, None], self.context.horizon_steps, axis=1)

    def state(self) -> dict[str, NDArray[Any]]:
        return {"recent": self.recent.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.recent = state["recent"].copy()


class TurnsItsAxes(Honest):
    def forecast(self) -> NDArray[np.float64]:
        return super().forecast().T


class ForecastsBelowZero(Honest):
    def forecast(self) -> NDArray[np.float64]:
        return super().forecast() - 1.0


class ForecastsSomeNodesOnly(Honest):
    def forecast(self) -> NDArray[np.float64]:
        forecast = super().forecast()
        forecast[0] = np.nan
        return forecast


class RoundsToSinglePrecision(Honest):
    def forecast(self) -> NDArray[Any]:
        return super().forecast().astype(np.float32)


class NeedsAHistory(Honest):
    """Divides by the steps of the history, which may be none."""

    def fit(self, history: NDArray[np.int64]) -> None:
        super().fit(history)
        self.recent += sum(history[:, 0].tolist()) / len(history)


class DrawsAfresh(Honest):
    """Draws from a generator that no seed fixes."""

    def forecast(self) -> NDArray[np.float64]:
        return super().forecast() * np.random.default_rng().random()


class PeeksAtOthers(Honest):
    """Smooths each node's mean with the network's."""

    def forecast(self) -> NDArray[np.float64]:
        own = super().forecast()
        return 0.5 * (own + own.mean(axis=0))


class FitsOnOthers(Honest):
    """Uses the history of node 0 everywhere."""

    def fit(self, history: NDArray[np.int64]) -> None:
        super().fit(np.repeat(history[:, :1], self.context.node_count, axis=1))


class ReadsThroughTheView(Honest):
    """Finds the array that the history is a view of, and in it the counts to come."""

    def fit(self, history: NDArray[np.int64]) -> None:
        super().fit(history if history.base is None else history.base)


class ReturnsItsBuffer(Honest):
    """Returns the array that later updates overwrite."""

    def reset(self, context: ForecastContext) -> None:
        super().reset(context)
        self.buffer = np.zeros((context.node_count, context.horizon_steps))

    def forecast(self) -> NDArray[np.float64]:
        self.buffer[:] = super().forecast()
        return self.buffer


class AddsUpItsFits(Honest):
    """Adds each history to the one before."""

    def reset(self, context: ForecastContext) -> None:
        super().reset(context)
        self.total = np.zeros(context.node_count)

    def fit(self, history: NDArray[np.int64]) -> None:
        self.total = self.total + history.sum(axis=0)
        self.recent = np.repeat(self.total[None], 3, axis=0)


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
    def update(self, counts: NDArray[np.int64]) -> None:
        counts += 1
        super().update(counts)


class Placebo(PeeksAtOthers):
    placebo = True


class Oracle(PeeksAtOthers):
    oracle = True


def checks_of(forecaster: type[Honest]) -> tuple[Check, ...]:
    generator = np.random.default_rng(3)
    return check_forecaster(
        forecaster,
        CONTEXT,
        history=generator.poisson(2.0, (30, 4)),
        counts=generator.poisson(2.0, (12, 4)),
    )


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
    ("forecaster", "law"),
    [
        (TurnsItsAxes, "shape"),
        (ForecastsBelowZero, "shape"),
        (ForecastsSomeNodesOnly, "shape"),
        (RoundsToSinglePrecision, "shape"),
        (NeedsAHistory, "shape"),
        (AltersItsInput, "shape"),
        (DrawsAfresh, "determinism"),
        (PeeksAtOthers, "own counts"),
        (FitsOnOthers, "own counts"),
        (ReadsThroughTheView, "no future"),
        (ReturnsItsBuffer, "no future"),
        (AddsUpItsFits, "fit first"),
        (ForgetsItsState, "state"),
        (SavesHalfOfItsState, "state"),
    ],
)
def test_each_broken_law_is_found(forecaster: type[Honest], law: str) -> None:
    assert law in broken(forecaster)


@pytest.mark.parametrize("forecaster", [Placebo, Oracle])
def test_oracles_and_declared_placebos_may_depend_on_other_nodes(forecaster: type[Honest]) -> None:
    assert {check.rule for check in checks_of(forecaster)} == LAWS - {"own counts"}
    assert broken(forecaster) == set()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in list_names("forecaster")
    ],
)
def test_every_registered_forecaster_conforms(name: str) -> None:
    assert [check for check in check_named_forecaster(name) if not check.passed] == []


def test_a_briefly_fitted_gru_conforms() -> None:
    generator = np.random.default_rng(4)
    checks = check_forecaster(
        lambda: GruForecast(GruForecast.Parameters(epochs=2)),
        CONTEXT,
        history=generator.poisson(2.0, (80, 4)),
        counts=generator.poisson(2.0, (8, 4)),
    )
    assert {check.rule for check in checks if check.passed} == LAWS


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ewma'"):
        check_named_forecaster("ewmaa")
