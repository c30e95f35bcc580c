"""The simulation of one scenario, one arm and one seed, which stops whenever a site must decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qdpem.demand.offered_load import OfferedLoad, find_offered_load, with_rate
from qdpem.demand.streams import generate_arrivals
from qdpem.events.recorder import Recorder, named_row
from qdpem.events.tables import ALLOCATIONS, FORECASTS, OUTAGES, PATH_STEPS
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.network.outages import draw_outages
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.interface import CONTROLLER, Context, Decisions, Observation, Policy
from qdpem.policy.validation import validate
from qdpem.rng import stream
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import ResolvedArm, reset_forecaster, resolve_arm
from qdpem.simulation.control.conservation import check_conservation
from qdpem.simulation.control.control_plane import EPOCH, ControlPlane
from qdpem.simulation.control.outages import Outages
from qdpem.simulation.decision_log import DecisionLog, DecisionTable
from qdpem.simulation.observation.build_observation import build_observation
from qdpem.simulation.observation.expected_demand_table import ExpectedDemandTable
from qdpem.simulation.observation.reports import StateReports
from qdpem.simulation.resources.build import build_state
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.topology_tables import (
    record_demand_matrix,
    record_offered_load,
    record_processes,
    record_topology,
)

_TICK_S = 1.0

_forecast_row = named_row(FORECASTS)


class Simulation:
    """One run that stops whenever a site must decide.

    `advance()` runs the clock to the next such moment and returns the observations, or None at the end.
    `apply(decisions)` carries the decisions out. The two alternate.

    Args:
        scenario: network, demand, physics and window.
        arm: policy with its parameters, control, pregeneration and forecaster.
        seed: root seed of all random streams.
        recorder: takes the events.
        policy: used in place of one built from the arm.
        network: one already built for this scenario and seed.
        load: one already found for this scenario and seed.
        on_progress: called with the simulated second, once for each.
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
        self._control_plane = self._build_control_plane(seed)
        self._observations: Observation | None = None
        self._finished = False
        self._decision_table = DecisionTable(recorder)
        self._write_forecast = recorder.appender(FORECASTS)
        self._expected_demand = ExpectedDemandTable(recorder)
        record_topology(self.network, physics, recorder)
        record_offered_load(self.load, recorder)
        record_demand_matrix(self.network, scenario.demand, recorder)
        record_processes(self.arrivals.processes, recorder)
        self.policy.reset(self.context)
        # After `reset`, which may set the width of a message.
        self._decision_log = DecisionLog(recorder, self.policy)
        self._reports = self._state_reports(seed)
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
        clock, woken = self._state.clock, self._control_plane.woken
        if not clock.serve(until_s=self._end_s, stop=woken):
            self._finish()
            return None
        self._observations = build_observation(
            state=self._state,
            control_plane=self._control_plane,
            reports=self._reports,
            outages=self._outages,
            woken=woken,
        )
        # What the decisions set off may wake sites again at this moment.
        woken.clear()
        return self._observations

    def apply(self, decisions: Decisions) -> None:
        """Carry out decisions for the last observations. Raises PolicyError if they break a rule."""
        observations = self._observations
        if observations is None:
            raise RuntimeError("apply() was called without observations to answer: call advance() first")
        decisions = self._decision_log.explained(decisions)
        validate(
            decisions,
            observations,
            self.context,
            policy_name=self.policy.name,
            message_width=self.policy.message_width,
        )
        # Only valid decisions are an answer: after a PolicyError the same observations can be answered again.
        self._observations = None
        rows = self._decision_table.write(decisions, observations, site_of=self._site_of)
        # Discards first, so that allocations decided with them may use the qubits they free.
        self._discard(decisions.discards, observations, rows)
        for allocation in decisions.allocations:
            started = self._control_plane.start(allocation)
            if self._decision_log.active:
                self._decision_log.allocate(rows[self._site_of(allocation.source)], allocation, started)
        if decisions.messages is not None:
            self._reports.set_messages(observations.site, decisions.messages)

    def check(self) -> None:
        """Assert that nothing leaked: pairs are conserved, and every qubit in use has a holder."""
        check_conservation(self._state, self._control_plane)

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
            control_settings=self.scenario.control,
            forecasting=self.scenario.forecasting,
            site_stream=lambda site: stream(seed, f"policy/{self._site_name(site)}"),
        )

    def _site_name(self, site: int) -> str:
        if site == CONTROLLER:
            return "controller"
        name = self.network.graph.node_names[site]
        # A node of this name draws apart from the controller.
        return f"~{name}" if name == "controller" else name

    def _build_control_plane(self, seed: int) -> ControlPlane:
        return ControlPlane(
            state=self._state,
            control=self.context.control,
            settings=self.scenario.control,
            seed=seed,
            # Reports need the control plane, so they exist only after it; no request comes before both do.
            on_request=lambda request: self._reports.count_request(request),
            write=self._recorder.appender(ALLOCATIONS),
            write_step=self._recorder.appender(PATH_STEPS),
        )

    def _state_reports(self, seed: int) -> StateReports:
        nodes = self.network.node_count
        return StateReports(
            state=self._state,
            control_plane=self._control_plane,
            context=self.context,
            forecaster=reset_forecaster(
                self.arm, self.scenario.forecasting, self.arrivals, nodes=nodes, seed=seed
            ),
            arrivals=self.arrivals,
            message_width=self.policy.message_width,
        )

    def _schedule(self) -> None:
        self._reports.forecasts.ask(self.now_s)
        self._expected_demand.write(self._reports.forecasts, self.now_s)
        self._epoch(0)
        clock = self._state.clock
        clock.at(self.scenario.forecasting.step_s, self._forecast_step, 1)
        clock.at(_TICK_S, self._tick, 1)
        # The last event, so that the clock stands at the end of the run when open rows are written.
        clock.at(self._end_s, lambda: None)
        self._arrive(0)

    def _arrive(self, row: int) -> None:
        """Schedule request `row`, which schedules the next one: only one waits in the event queue."""
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
        # A multiple, not a running sum, so that rounding does not build up.
        self._state.clock.at((count + 1) * self.scenario.control.decision_epoch_s, self._epoch, count + 1)

    def _forecast_step(self, count: int) -> None:
        self._reports.next_step()
        now_s = self.now_s
        self._expected_demand.write(self._reports.forecasts, now_s)
        # No forecast (NaN) leaves no rows.
        for site, means in enumerate(self._reports.forecasts.node_mean.tolist()):
            for step, mean in enumerate(means, start=1):
                if mean == mean:
                    self._write_forecast(_forecast_row(time_s=now_s, node=site, step=step, mean=mean))
        self._state.clock.at((count + 1) * self.scenario.forecasting.step_s, self._forecast_step, count + 1)

    def _tick(self, count: int) -> None:
        self._state.message_counter.flush(self.now_s)
        self._recorder.tick(self.now_s)
        if self._on_progress is not None:
            self._on_progress(self.now_s)
        self._state.clock.at((count + 1) * _TICK_S, self._tick, count + 1)

    def _site_of(self, node: int) -> int:
        """The site that decides for `node`."""
        return node if self._control_plane.local else CONTROLLER

    def _discard(self, discards: tuple[int, ...], observations: Observation, rows: Mapping[int, int]) -> None:
        if discards:
            ids, owners = observations.stock_id.ravel().tolist(), observations.stock_owner.ravel().tolist()
            owner_of = dict(zip(ids, owners, strict=True))
            for pair_id in discards:
                owner = owner_of[pair_id]
                self._control_plane.discard(pair_id, owner)
                if self._decision_log.active:
                    self._decision_log.discard(rows[self._site_of(owner)], pair_id)

    def _finish(self) -> None:
        """Check that nothing leaked, and write the rows that are still open."""
        self._finished = True
        self.check()
        state = self._state
        state.requests.close()
        self._control_plane.close()
        # Claims that wait have lost the emissions and attempts since the last change at their resource.
        for source in state.sources:
            source.account()
        for attempts in state.attempts.values():
            attempts.account()
        state.claims.close(state.clock.now_s)
        state.ledger.close(state.clock.now_s)
        state.message_counter.flush(state.clock.now_s)
