"""The laws that every forecaster must keep: `qdpem check forecaster NAME`.

>>> from qdpem.forecasting.checks.conformance import check_named_forecaster
>>> all(check.passed for check in check_named_forecaster("ewma"))
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem import registry
from qdpem.arrays import Floats
from qdpem.forecasting.checks.reference_demand import scenario_arrivals, small_scenario, step_counts
from qdpem.policy.checks import (
    Check,
    RuleViolationError,
    evenly_spaced,
    identical,
    require_same_arrays,
    run_check,
)
from qdpem.policy.interface import ForecastContext, Forecaster
from qdpem.rng import stream

ForecasterFactory: TypeAlias = Callable[[], Forecaster]
Counts: TypeAlias = NDArray[np.int64]

_TRIED_NODES = 3
_STEPS = 24
_HISTORY_STEPS = 120
"""Enough for the recurrent forecaster to hold out a part; each law fits several times."""


def check_named_forecaster(name: str, *, seed: int = 0) -> tuple[Check, ...]:
    """Run `check_forecaster` on the forecaster registered as `name`, with its default parameters.

    The counts are those of `reference_demand.small_scenario` under `seed`. Raises UnknownNameError for a name
    that is not registered.
    """
    factory = registry.load("forecaster", name)
    scenario = small_scenario()
    arrivals = scenario_arrivals(scenario, seed=seed)
    counts = step_counts(arrivals, forecasting=scenario.forecasting, end_s=scenario.window.end_s)
    context = ForecastContext(
        node_count=counts.run.shape[1],
        step_s=scenario.forecasting.step_s,
        horizon_steps=scenario.forecasting.horizon_steps,
        seed=seed,
        truth=arrivals if factory.oracle else None,
    )
    return check_forecaster(
        lambda: factory(factory.Parameters()),
        context,
        history=counts.history[-_HISTORY_STEPS:],
        counts=counts.run[:_STEPS],
    )


def check_forecaster(
    forecaster_factory: ForecasterFactory, context: ForecastContext, *, history: Counts, counts: Counts
) -> tuple[Check, ...]:
    """Run every law on fresh forecasters of `forecaster_factory`; a law whose run raises is broken.

    `history` int64 [T', N] ends at t = 0, `counts` int64 [T, N] begin there; T is 4 or more. A forecaster is
    given read-only arrays, so one that alters its input breaks the law in which it does.

    - shape: every forecast is float64 [N, H], and either finite and not negative or NaN throughout, before
      `fit`, after it, after every `update`, and after a `fit` on an empty history.
    - determinism: two copies, and one reset and run again, give the same forecasts to the bit.
    - own counts: a node's forecasts stay the same to the bit when the history and counts of all other nodes
      change. Oracles are exempt because they are given the truth, and so is a declared `placebo`.
    - no future: forecasts stay the same to the bit when later counts change, and an array that `forecast`
      returned does not change afterwards.
    - fit first: `fit` begins afresh: an earlier fit and earlier updates leave no trace.
    - state: `load_state` takes what `state` gave, `state` returns it again, and the copy continues as the
      original does.
    """
    trial = _ForecasterTrial(
        forecaster_factory=forecaster_factory,
        context=context,
        history=_read_only(history),
        counts=_read_only(counts),
    )
    laws: dict[str, Callable[[], str]] = {"shape": trial.shape, "determinism": trial.determinism}
    if not is_exempt_from_own_counts(forecaster_factory()):
        laws["own counts"] = trial.own_counts
    laws |= {"no future": trial.no_future, "fit first": trial.fit_first, "state": trial.state}
    return tuple(run_check(law, check) for law, check in laws.items())


def is_exempt_from_own_counts(forecaster: Forecaster) -> bool:
    """Whether its forecasts may depend on other nodes: an oracle's or a declared placebo's may."""
    return forecaster.oracle or bool(getattr(forecaster, "placebo", False))


@dataclass(frozen=True, eq=False, kw_only=True)
class _ForecasterTrial:
    forecaster_factory: ForecasterFactory
    context: ForecastContext
    history: Counts
    counts: Counts

    def begin(self, history: Counts | None = None) -> Forecaster:
        """A new forecaster, reset and fitted."""
        forecaster = self.forecaster_factory()
        forecaster.reset(self.context)
        forecaster.fit(self.history if history is None else history)
        return forecaster

    def shape(self) -> str:
        forecaster = self.forecaster_factory()
        forecaster.reset(self.context)
        self._require_valid(forecaster.forecast(), "the forecast before fit")
        for history, moment in ((self.history[:0], "an empty history"), (self.history, "the history")):
            forecaster.fit(history)
            for step, forecast in enumerate(_rolling_forecasts(forecaster, self.counts)):
                self._require_valid(forecast, f"forecast {step} after a fit on {moment}")
        size = (self.context.node_count, self.context.horizon_steps)
        return f"{2 * len(self.counts) + 3} forecasts float64 {size}"

    def determinism(self) -> str:
        first = self.begin()
        expected = _rolling_forecasts(first, self.counts)
        _require_same(expected, _rolling_forecasts(self.begin(), self.counts), "of a second copy")
        # The used copy is reset too: leftovers of its first run would show.
        first.reset(self.context)
        first.fit(self.history)
        _require_same(expected, _rolling_forecasts(first, self.counts), "after reset")
        return f"{len(expected)} forecasts, three runs, the same to the bit"

    def own_counts(self) -> str:
        expected = _rolling_forecasts(self.begin(), self.counts)
        draws = stream(self.context.seed, "conformance/forecaster/others")
        nodes = evenly_spaced(self.context.node_count, _TRIED_NODES)
        for node in nodes:
            history, counts = (
                _read_only(_with_other_nodes(own, node, draws)) for own in (self.history, self.counts)
            )
            forecasts = _rolling_forecasts(self.begin(history), counts)
            _require_same(
                [forecast[node] for forecast in expected],
                [forecast[node] for forecast in forecasts],
                f"of node {node} when only the other nodes' counts change",
            )
        return f"{len(nodes)} nodes with other neighbours, the same to the bit"

    def no_future(self) -> str:
        cut = len(self.counts) // 2
        later = stream(self.context.seed, "conformance/forecaster/future").poisson(
            3.0, self.counts[cut:].shape
        )
        changed = _read_only(np.concatenate([self.counts[:cut], later]))
        runs = []
        for counts in (self.counts, changed):
            # The history is a view of everything: a forecaster that reads the view's base sees the future.
            everything = _read_only(np.concatenate([self.history, counts]))
            forecaster = self.begin(everything[: len(self.history)])
            runs.append(_rolling_forecasts(forecaster, counts, copy=False)[: cut + 1])
        _require_same(runs[0], runs[1], "when only later counts change")
        return f"{cut + 1} forecasts with two futures, the same to the bit"

    def fit_first(self) -> str:
        expected = _rolling_forecasts(self.begin(), self.counts)
        used = self.begin(self.history[: len(self.history) // 2])
        _rolling_forecasts(used, self.counts[::-1])
        used.fit(self.history)
        _require_same(expected, _rolling_forecasts(used, self.counts), "after a second fit")
        return f"{len(expected)} forecasts after a second fit, the same to the bit"

    def state(self) -> str:
        cut = len(self.counts) // 2
        original = self.begin()
        _rolling_forecasts(original, self.counts[:cut])
        saved = {name: array.copy() for name, array in original.state().items()}
        fresh, used = self.forecaster_factory(), self.begin()
        fresh.reset(self.context)
        _rolling_forecasts(used, self.counts[::-1])
        for copy in (fresh, used):
            copy.load_state(saved)
            require_same_arrays(saved, copy.state(), "the state given back")
        expected = _rolling_forecasts(original, self.counts[cut:])
        for copy in (fresh, used):
            _require_same(
                expected, _rolling_forecasts(copy, self.counts[cut:]), "of a copy with the saved state"
            )
        return f"{len(saved)} arrays, the same after a round trip"

    def _require_valid(self, forecast: Floats, subject: str) -> None:
        shape = (self.context.node_count, self.context.horizon_steps)
        if forecast.dtype != np.float64 or forecast.shape != shape:
            raise RuleViolationError(
                f"{subject} is {forecast.dtype} {forecast.shape}; it must be float64 {shape}"
            )
        if not (np.isnan(forecast).all() or (np.isfinite(forecast) & (forecast >= 0.0)).all()):
            raise RuleViolationError(
                f"{subject} must be finite and not negative, or NaN throughout; it ranges from"
                f" {forecast.min():g} to {forecast.max():g}"
            )


def _rolling_forecasts(forecaster: Forecaster, counts: Counts, *, copy: bool = True) -> list[Floats]:
    """The forecasts made before each row of `counts`, and the one after the last row."""
    forecasts = [forecaster.forecast()]
    for row in counts:
        # Without a copy, an array that the forecaster changes later shows in the comparison.
        forecasts[-1] = forecasts[-1].copy() if copy else forecasts[-1]
        forecaster.update(row)
        forecasts.append(forecaster.forecast())
    return forecasts


def _with_other_nodes(own: Counts, node: int, draws: np.random.Generator) -> Counts:
    """New counts for every node but `node`."""
    changed = draws.poisson(2.0, own.shape)
    changed[:, node] = own[:, node]
    return changed


def _read_only(counts: Counts) -> Counts:
    copied = np.array(counts, dtype=np.int64)
    copied.setflags(write=False)
    return copied


def _require_same(first: list[Floats], second: list[Floats], circumstance: str) -> None:
    for step, (mine, theirs) in enumerate(zip(first, second, strict=True)):
        if not identical(mine, theirs):
            raise RuleViolationError(f"forecast {step} differs {circumstance}")
