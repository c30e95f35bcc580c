"""A run: one scenario, one arm, one seed. Steppable, so that loops other than `simulate` can drive it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qdpem.demand.offered_load import OfferedLoad, find_offered_load, with_rate
from qdpem.demand.requests import Arrivals
from qdpem.demand.streams import generate_arrivals
from qdpem.events.recorder import MemoryRecorder, Recorder, Tables
from qdpem.events.tables import ALLOCATIONS, DECISIONS, FORECASTS, OUTAGES, PATH_STEPS
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.network.outages import draw_outages
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.interface import CONTROLLER, Context, Decisions, ForecastContext, Observation, Policy
from qdpem.policy.validation import validate
from qdpem.rng import stream
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import ResolvedArm, build_forecaster, resolve_arm
from qdpem.simulation.control.control_plane import EPOCH, ControlPlane
from qdpem.simulation.control.outages import Outages
from qdpem.simulation.observation.build_observation import build_observation
from qdpem.simulation.observation.reports import StateReports
from qdpem.simulation.resources.build import build_state
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.topology_tables import write_offered_load, write_topology

_COLLECTED_AFTER = 20_000
_TICK_S = 1.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """What a run leaves: its arm made whole, its events if kept in memory, and what it cost.

    `load` says how much was asked for. `events` counts scheduler events, `asked` the sites asked, `decide_s`
    the wall seconds spent deciding.
    """

    arm: Arm
    seed: int
    network: Network
    arrivals: Arrivals
    load: OfferedLoad
    tables: Tables | None
    events: int
    asked: int
    decide_s: float


def simulate(
    scenario: Scenario,
    arm: Arm | ResolvedArm,
    *,
    seed: int,
    recorder: Recorder | None = None,
    policy: Policy | None = None,
    network: Network | None = None,
    load: OfferedLoad | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Run:
    """Run one arm on one seed from t = 0 to the end of the scenario's window.

    Without `recorder` the events stay in memory and come back as `Run.tables`; without `policy` it is built
    from the arm. `network` and `load` may be ones already made for this scenario and seed. `on_progress` is
    told the simulated second, once each. Raises ScenarioError, UnknownNameError, PolicyError.
    """
    memory = MemoryRecorder()
    simulation = Simulation(
        scenario,
        arm,
        seed=seed,
        recorder=memory if recorder is None else recorder,
        policy=policy,
        network=network,
        load=load,
        on_progress=on_progress,
    )
    asked, decide_s = 0, 0.0
    with frozen_gc():
        while (observations := simulation.advance()) is not None:
            began = time.perf_counter()
            decisions = simulation.policy.act(observations)
            decide_s += time.perf_counter() - began
            asked += len(observations)
            simulation.apply(decisions)
    return Run(
        arm=simulation.arm,
        seed=seed,
        network=simulation.network,
        arrivals=simulation.arrivals,
        load=simulation.load,
        tables=memory.tables() if recorder is None else None,
        events=simulation.events,
        asked=asked,
        decide_s=decide_s,
    )


@contextmanager
def frozen_gc() -> Iterator[None]:
    """What exists when a run begins outlives it: the collector of cycles need not look through it. It comes
    seldom, for what a run throws away is rarely in cycles.

    What the run before left is collected first: frozen, it would stay for good.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class Simulation:
    """One run that stops whenever a site must decide.

    `advance()` runs the clock to the next such moment and returns the observations, None at the end;
    `apply(decisions)` carries out what was decided. The two alternate.
    """

    def __init__(
        self,
        scenario: Scenario,
        arm: Arm | ResolvedArm,
        *,
        seed: int,
        recorder: Recorder,
        policy: Policy | None = None,
        network: Network | None = None,
        load: OfferedLoad | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        resolved = resolve_arm(arm)
        self.arm = resolved.arm
        self.policy = policy or resolved.build_policy()
        physics = build_physics(scenario)
        self.network = network or build_network(scenario, physics, seed=seed)
        self.load = load or find_offered_load(scenario, self.network, physics, seed=seed)
        self.scenario = with_rate(scenario, self.load)
        self.arrivals = generate_arrivals(self.scenario, self.network, seed=seed)
        self._recorder = recorder
        self._on_progress = on_progress
        self._end_s = scenario.window.end_s
        self._state = build_state(
            self.network,
            physics,
            seed=seed,
            end_s=self._end_s,
            recorder=recorder,
            estimates=Estimates(self.network, physics),
        )
        self.context = self._context(seed)
        self._control_plane = ControlPlane(
            state=self._state,
            control=self.context.control,
            plane=scenario.control,
            seed=seed,
            heard=lambda request: self._reports.heard(request),
            write=recorder.appender(ALLOCATIONS),
            write_step=recorder.appender(PATH_STEPS),
        )
        self._observations: Observation | None = None
        self._finished = False
        self._write_decision = recorder.appender(DECISIONS)
        self._write_forecast = recorder.appender(FORECASTS)
        write_topology(self.network, physics, recorder)
        write_offered_load(self.load, recorder)
        self.policy.reset(self.context)
        self._reports = self._prepare_reports(seed)
        self._outages = Outages(
            draw_outages(scenario.outages, self.network, seed=seed, end_s=self._end_s),
            state=self._state,
            control_plane=self._control_plane,
            check=self.check,
            write=recorder.appender(OUTAGES),
        )
        self._schedule()

    @property
    def now_s(self) -> float:
        """The present simulated second."""
        return self._state.clock.now_s

    @property
    def events(self) -> int:
        """Scheduler events so far."""
        return self._state.clock.events

    def advance(self) -> Observation | None:
        """Run to the next moment at which a site must decide; None when the run is over.

        Raises RuntimeError when the last observations were not answered by `apply`.
        """
        if self._observations is not None:
            raise RuntimeError("advance() was called before apply() answered the last observations")
        if self._finished:
            return None
        clock, awake = self._state.clock, self._control_plane.awake
        if not clock.serve(until_s=self._end_s, stop=awake):
            self._finish()
            return None
        self._observations = build_observation(
            state=self._state,
            control_plane=self._control_plane,
            reports=self._reports,
            outages=self._outages,
            awake=awake,
        )
        awake.clear()
        return self._observations

    def apply(self, decisions: Decisions) -> None:
        """Carry out decisions for the observations last returned. Raises PolicyError when they break a rule."""
        observations = self._observations
        if observations is None:
            raise RuntimeError("apply() was called without observations to answer: call advance() first")
        validate(decisions, observations, self.context, policy_name=self.policy.name)
        self._observations = None
        self._note(decisions, observations)
        self._drop(decisions.discards, observations)
        for allocation in decisions.allocations:
            self._control_plane.start(allocation)
        if decisions.messages is not None:
            self._reports.say(observations.site, decisions.messages)

    def check(self) -> None:
        """Assert that nothing leaked: pairs are conserved, every qubit in use has a holder.

        A node that is away holds none.
        """
        state = self._state
        state.ledger.check()
        held = [0] * state.memories.pools
        for shelf in state.inventory.owned:
            for pair in shelf.values():
                for pool in state.inventory.pools_of(pair):
                    held[pool] += 1
        for reservation in self._control_plane.holding():
            for pool, count in reservation.held:
                held[pool] += count
        for pool, count in enumerate(held):
            in_use = state.memories.held(pool) - len(state.inventory.leaving[pool])
            assert in_use == count, (pool, in_use, count, self.now_s)
        state.memories.check()
        for node in state.availability.nodes:
            in_use = sum(map(state.memories.held, state.memories.pools_at(node)))
            assert in_use == state.memories.foreign[node] == 0, (node, self.now_s)

    def _context(self, seed: int) -> Context:
        arm = self.arm
        assert arm.control is not None
        assert arm.pregeneration is not None
        return Context(
            network=self.network,
            routes=Routes(self.network),
            estimates=self._state.estimates,
            control=arm.control,
            pregeneration=arm.pregeneration,
            plane=self.scenario.control,
            forecasting=self.scenario.forecasting,
            site_stream=lambda site: stream(seed, f"policy/{self._site_name(site)}"),
        )

    def _site_name(self, site: int) -> str:
        return "controller" if site == CONTROLLER else self.network.graph.node_names[site]

    def _prepare_reports(self, seed: int) -> StateReports:
        scenario, arrivals = self.scenario, self.arrivals
        forecaster = build_forecaster(self.arm.forecaster or "none")
        settings = scenario.forecasting
        nodes = self.network.node_count
        forecaster.reset(
            ForecastContext(
                node_count=nodes,
                step_s=settings.step_s,
                horizon_steps=settings.horizon_steps,
                seed=seed,
                truth=arrivals if forecaster.oracle else None,
            )
        )
        steps = int(arrivals.history_s / settings.step_s + 1e-9)
        start_s = -steps * settings.step_s
        forecaster.fit(
            arrivals.history.counts(nodes=nodes, start_s=start_s, step_s=settings.step_s, steps=steps)
        )
        return StateReports(
            state=self._state,
            control_plane=self._control_plane,
            context=self.context,
            forecaster=forecaster,
            arrivals=arrivals,
            message_width=self.policy.message_width,
        )

    def _schedule(self) -> None:
        self._reports.refresh_forecast()
        self._epoch(0)
        clock = self._state.clock
        clock.at(self.scenario.forecasting.step_s, self._forecast_step, 1)
        clock.at(_TICK_S, self._tick, 1)
        # The last event of all, so that what is still open ends at the run's end.
        clock.at(self._end_s, lambda: None)
        self._arrive(0)

    def _arrive(self, row: int) -> None:
        """Schedule request `row`; it schedules the next, so that only one waits in the queue of events."""
        if row < len(self.arrivals.requests):
            self._state.clock.at(float(self.arrivals.requests.time_s[row]), self._arrival, row)

    def _arrival(self, row: int) -> None:
        self._control_plane.submit(Request(self.arrivals.requests, row))
        self._arrive(row + 1)

    def _epoch(self, count: int) -> None:
        self._reports.next_epoch()
        if self.policy.acts_every_epoch:
            for site in self.context.sites:
                self._control_plane.wake(site, EPOCH)
        self._state.clock.at((count + 1) * self.scenario.control.decision_epoch_s, self._epoch, count + 1)

    def _forecast_step(self, count: int) -> None:
        forecast = self._reports.next_step()
        now_s = self.now_s
        # No forecast (NaN) leaves no rows.
        for site, means in enumerate(forecast.tolist()):
            for step, mean in enumerate(means, start=1):
                if mean == mean:
                    self._write_forecast((now_s, site, step, mean))
        self._state.clock.at((count + 1) * self.scenario.forecasting.step_s, self._forecast_step, count + 1)

    def _tick(self, count: int) -> None:
        self._state.message_counter.flush(self.now_s)
        self._recorder.tick(self.now_s)
        if self._on_progress is not None:
            self._on_progress(self.now_s)
        self._state.clock.at((count + 1) * _TICK_S, self._tick, count + 1)

    def _drop(self, discards: tuple[int, ...], observations: Observation) -> None:
        if discards:
            ids, owners = observations.stock_id.ravel().tolist(), observations.stock_owner.ravel().tolist()
            owner_of = dict(zip(ids, owners, strict=True))
            for pair_id in discards:
                self._control_plane.drop(pair_id, owner_of[pair_id])

    def _note(self, decisions: Decisions, observations: Observation) -> None:
        made = dict.fromkeys(observations.site.tolist(), 0)
        for allocation in decisions.allocations:
            made[allocation.source if self._control_plane.local else CONTROLLER] += 1
        waiting = (observations.request_id >= 0).sum(axis=1).tolist()
        reasons = observations.reason.tolist()
        for row, site in enumerate(observations.site.tolist()):
            self._write_decision((observations.time_s, site, reasons[row], waiting[row], made[site]))
        self._recorder.policy_outputs(decisions.info)

    def _finish(self) -> None:
        """Write what is still open, and check that nothing leaked."""
        self._finished = True
        self.check()
        state = self._state
        state.requests.close()
        self._control_plane.close()
        for source in state.sources:
            source.account()
        for attempts in state.attempts.values():
            attempts.account()
        state.claims.close(state.clock.now_s)
        state.ledger.close(state.clock.now_s)
        state.message_counter.flush(state.clock.now_s)
