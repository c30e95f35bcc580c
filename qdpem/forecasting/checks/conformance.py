"""The laws that every forecaster must keep: `qdpem check forecaster NAME`.

>>> from qdpem.forecasting.checks.conformance import check_named_forecaster
>>> all(check.passed for check in check_named_forecaster("ewma"))
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from qdpem import registry
from qdpem.demand.peers import PeerTable
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.errors import ForecastError
from qdpem.forecasting.checks.reference_demand import (
    by_step,
    forecast_context,
    scenario_arrivals,
    small_scenario,
)
from qdpem.forecasting.checks.trial_demand import (
    Steps,
    TrialDemand,
    frozen_demand,
    views_of_one_array,
    with_other_nodes,
)
from qdpem.policy.checks import (
    Check,
    RuleViolationError,
    evenly_spaced,
    identical,
    require_same_arrays,
    run_check,
)
from qdpem.policy.forecast_validation import valid_forecast
from qdpem.policy.forecaster import ForecastContext, Forecaster

ForecasterFactory: TypeAlias = Callable[[], Forecaster]

_TRIED_NODES = 2
_STEPS = 24
_HISTORY_STEPS = 240
"""The fewest of which the recurrent forecaster holds out a part, without which it does not fit."""
_MAX_PEERS = 3
"""Few, because each law fits several times; other peers ask too, and are not listed."""


def check_named_forecaster(name: str, *, seed: int = 0) -> tuple[Check, ...]:
    """Run `check_forecaster` on the forecaster registered as `name`, with its default parameters.

    The requests are those of `reference_demand.small_scenario` under `seed`, and under the seed after it
    where a law changes them. Raises UnknownNameError for a name that is not registered.
    """
    factory = registry.load("forecaster", name)
    scenario = small_scenario()
    step_s = scenario.forecasting.step_s
    first, second = (scenario_arrivals(scenario, seed=each)[0] for each in (seed, seed + 1))
    demands = [
        TrialDemand(
            history=arrivals.history.between(-_HISTORY_STEPS * step_s, 0.0),
            steps=by_step(arrivals.requests, step_s=step_s, steps=_STEPS),
        )
        for arrivals in (first, second)
    ]
    context = forecast_context(first, scenario.forecasting, nodes=9, seed=seed, truth=factory.oracle)
    # The laws are tried on the end of the history, and a forecaster is told no other length.
    context = replace(context, history_s=_HISTORY_STEPS * step_s, max_peers=_MAX_PEERS)
    return check_forecaster(
        lambda: factory(factory.Parameters()), context, demand=demands[0], other=demands[1]
    )


def check_forecaster(
    forecaster_factory: ForecasterFactory,
    context: ForecastContext,
    *,
    demand: TrialDemand,
    other: TrialDemand,
) -> tuple[Check, ...]:
    """Run every law on fresh forecasters of `forecaster_factory`; a law whose run raises is broken.

    There are 4 steps or more. A forecaster is given read-only arrays, so one that alters its input breaks the
    law in which it does. `other` is demand of another seed, which takes the place of a part of `demand`.

    - shape: every forecast keeps the rules of a run (`forecast_validation`), before `fit`, after it, after
      every `update`, after a `fit` without requests, and with peers that become known during the run.
    - determinism: two copies, and one reset and run again, give the same forecasts to the bit.
    - own requests: a node's forecasts stay the same to the bit when the requests of all other nodes change.
      Oracles are exempt because they are given the truth, and so are a declared `placebo` and a declared
      `pooled` fit, whose weights come from the requests of all nodes.
    - no future: forecasts stay the same to the bit when later requests change, and an array that `forecast`
      returned does not change afterwards.
    - fit first: `fit` begins afresh: an earlier fit and earlier updates leave no trace.
    - state: `load_state` takes what `state` gave, `state` returns it again, and the copy continues as the
      original does.
    """
    trial = _ForecasterTrial(
        forecaster_factory=forecaster_factory,
        context=context,
        demand=frozen_demand(demand),
        other=frozen_demand(other),
    )
    laws: dict[str, Callable[[], str]] = {"shape": trial.shape, "determinism": trial.determinism}
    if not is_exempt_from_own_requests(forecaster_factory()):
        laws["own requests"] = trial.own_requests
    laws |= {"no future": trial.no_future, "fit first": trial.fit_first, "state": trial.state}
    return tuple(run_check(law, check) for law, check in laws.items())


def is_exempt_from_own_requests(forecaster: Forecaster) -> bool:
    """Whether its forecasts may depend on other nodes: an oracle's, a placebo's, a pooled fit's."""
    return forecaster.oracle or any(getattr(forecaster, name, False) for name in ("placebo", "pooled"))


@dataclass(frozen=True, eq=False, kw_only=True)
class _ForecasterTrial:
    forecaster_factory: ForecasterFactory
    context: ForecastContext
    demand: TrialDemand
    other: TrialDemand

    def begin(self, history: Requests | None = None) -> tuple[Forecaster, PeerTable]:
        """A new forecaster, reset and fitted, and the peers it was given."""
        forecaster = self.forecaster_factory()
        forecaster.reset(self.context)
        return forecaster, self.fitted(forecaster, self.demand.history if history is None else history)

    def fitted(self, forecaster: Forecaster, history: Requests) -> PeerTable:
        """Fit to a history, and list its peers."""
        table = PeerTable(nodes=self.context.node_count, max_peers=self.context.max_peers)
        table.begin(history)
        forecaster.fit(history, table.peers)
        return table

    def rolled(self, history: Requests | None = None, steps: Steps | None = None) -> list[ExpectedDemand]:
        """The forecasts of a new forecaster along the steps."""
        return _rolling_forecasts(*self.begin(history), self.demand.steps if steps is None else steps)

    def shape(self) -> str:
        forecaster = self.forecaster_factory()
        forecaster.reset(self.context)
        empty = self.demand.history.at(np.arange(0))
        table = PeerTable(nodes=self.context.node_count, max_peers=self.context.max_peers)
        self._require_valid(forecaster.forecast(), table, "the forecast before fit")
        # Without a history every peer becomes known during the run.
        for history, moment in ((empty, "an empty history"), (self.demand.history, "the history")):
            table = self.fitted(forecaster, history)
            self._require_valid(forecaster.forecast(), table, f"the forecast after a fit on {moment}")
            for index, requests in enumerate(self.demand.steps):
                table.add(requests)
                forecaster.update(requests, table.peers)
                self._require_valid(
                    forecaster.forecast(), table, f"forecast {index + 1} after a fit on {moment}"
                )
        shape = (*table.peers.destination.shape, self.context.horizon_steps)
        return f"{2 * len(self.demand.steps) + 3} forecasts {shape}"

    @cached_property
    def expected(self) -> list[ExpectedDemand]:
        """The forecasts that a new forecaster makes along the steps."""
        return self.rolled()

    def determinism(self) -> str:
        first, table = self.begin()
        expected = self.expected
        _require_same(expected, _rolling_forecasts(first, table, self.demand.steps), "of a second copy")
        # The used copy is reset too: leftovers of its first run would show.
        first.reset(self.context)
        table = self.fitted(first, self.demand.history)
        _require_same(expected, _rolling_forecasts(first, table, self.demand.steps), "after reset")
        return f"{len(expected)} forecasts, three runs, the same to the bit"

    def own_requests(self) -> str:
        expected = self.expected
        nodes = evenly_spaced(self.context.node_count, _TRIED_NODES)
        for node in nodes:
            history = with_other_nodes(self.demand.history, self.other.history, node)
            steps = [
                with_other_nodes(own, other, node)
                for own, other in zip(self.demand.steps, self.other.steps, strict=True)
            ]
            _require_same(
                [_of_node(forecast, node) for forecast in expected],
                [_of_node(forecast, node) for forecast in self.rolled(history, steps)],
                f"of node {node} when only the other nodes' requests change",
            )
        return f"{len(nodes)} nodes with other neighbours, the same to the bit"

    def no_future(self) -> str:
        cut = len(self.demand.steps) // 2
        # All are views of one array: a forecaster that reads the base of what it is given sees the future.
        views = views_of_one_array([self.demand.history, *self.demand.steps[:cut], *self.other.steps[cut:]])
        made = _rolling_forecasts(*self.begin(views[0]), views[1:], copy=False)[: cut + 1]
        _require_same(self.expected[: cut + 1], made, "when only later requests change")
        return f"{cut + 1} forecasts with two futures, the same to the bit"

    def fit_first(self) -> str:
        expected = self.expected
        used, table = self.begin(self.other.history)
        _rolling_forecasts(used, table, self.other.steps)
        table = self.fitted(used, self.demand.history)
        _require_same(expected, _rolling_forecasts(used, table, self.demand.steps), "after a second fit")
        return f"{len(expected)} forecasts after a second fit, the same to the bit"

    def state(self) -> str:
        cut = len(self.demand.steps) // 2
        before, after = self.demand.steps[:cut], self.demand.steps[cut:]
        original, table = self.begin()
        _rolling_forecasts(original, table, before)
        saved = {name: array.copy() for name, array in original.state().items()}
        fresh, (used, used_table) = self.forecaster_factory(), self.begin(self.other.history)
        fresh.reset(self.context)
        _rolling_forecasts(used, used_table, self.other.steps)
        for copy in (fresh, used):
            copy.load_state(saved)
            require_same_arrays(saved, copy.state(), "the state given back")
        expected = _rolling_forecasts(original, _copied(table), after)
        for copy in (fresh, used):
            made = _rolling_forecasts(copy, _copied(table), after)
            _require_same(expected, made, "of a copy with the saved state")
        return f"{len(saved)} arrays, the same after a round trip"

    def _require_valid(self, forecast: ExpectedDemand, table: PeerTable, subject: str) -> None:
        try:
            valid_forecast(
                forecast,
                forecaster=subject,
                time_s=0.0,
                names=[str(node) for node in range(self.context.node_count)],
                peers=table.peers,
                steps=self.context.horizon_steps,
            )
        except ForecastError as error:
            raise RuleViolationError(f"{subject}: {error}") from None
        for name in ("scheduled", "unscheduled"):
            dtype = getattr(forecast, name).dtype
            if dtype != np.float64:
                raise RuleViolationError(f"{subject} has {name} of {dtype}; it must be float64")


def _rolling_forecasts(
    forecaster: Forecaster, table: PeerTable, steps: Steps, *, copy: bool = True
) -> list[ExpectedDemand]:
    """The forecasts made before each step, and the one after the last; new peers are added to `table`."""
    forecasts = [forecaster.forecast()]
    for requests in steps:
        if copy:
            # Without a copy, an array that the forecaster changes later shows in the comparison.
            last = forecasts[-1]
            forecasts[-1] = ExpectedDemand(
                scheduled=last.scheduled.copy(), unscheduled=last.unscheduled.copy()
            )
        table.add(requests)
        forecaster.update(requests, table.peers)
        forecasts.append(forecaster.forecast())
    return forecasts


def _copied(table: PeerTable) -> PeerTable:
    copy = PeerTable(nodes=len(table.peers.destination), max_peers=table.peers.destination.shape[1])
    copy.peers = table.peers
    return copy


def _of_node(forecast: ExpectedDemand, node: int) -> ExpectedDemand:
    return ExpectedDemand(
        scheduled=forecast.scheduled[node].copy(), unscheduled=forecast.unscheduled[node].copy()
    )


def _require_same(first: list[ExpectedDemand], second: list[ExpectedDemand], circumstance: str) -> None:
    for step, (mine, theirs) in enumerate(zip(first, second, strict=True)):
        for name in ("scheduled", "unscheduled"):
            if not identical(getattr(mine, name), getattr(theirs, name)):
                raise RuleViolationError(f"forecast {step} differs {circumstance}")
