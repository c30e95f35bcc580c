"""Runs that are stopped at given times to be looked at, with given parts unavailable."""

from __future__ import annotations

from dataclasses import replace

from physics.plans import Plan
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import DecisionReason
from qdpem.policy.interface import Allocation, Decisions
from qdpem.scenario.schema import Arm, Outages, ScheduledOutage
from qdpem.simulation.simulation import Simulation

DELAY_S = 20.0 / 2e5 + 1e-5
"""Of a message over a link of the scenario `line`."""
LOCAL, CENTRAL = (
    Arm(name="local-minhop", pregeneration="virtual-link"),
    Arm(name="central-fcfs", pregeneration="virtual-link"),
)


def cut_off(scenario, kind, name, from_s, until_s=None):
    outage = ScheduledOutage(kind=kind, name=name, from_s=from_s, until_s=until_s)
    return replace(scenario, outages=Outages(scheduled=(*scenario.outages.scheduled, outage)))


def _serve(observations, path, *, pairs=1):
    """Serve the one request that waits over `path`, until its deadline."""
    return Allocation(
        source=path[0],
        destination=path[-1],
        target_fidelity=0.7,
        path=path,
        expires_s=float(observations.request_deadline_s[0, 0]),
        plan=Plan(),
        pairs=pairs,
        request=int(observations.request_id[0, 0]),
    )


def on_arrival(path, *, pairs=1):
    """A rule that serves each request once, when it arrives, and leaves it alone afterwards."""
    return lambda observations: (
        Decisions(allocations=(_serve(observations, path, pairs=pairs),))
        if observations.reason[0] == DecisionReason.ARRIVAL.code
        else Decisions()
    )


def stock_on_arrival(path, *, expires_s):
    """A rule that stocks one pair over `path` when a request arrives, and serves nobody."""
    order = {"source": path[0], "destination": path[-1], "path": path, "expires_s": expires_s}
    return lambda observations: (
        Decisions(allocations=(Allocation(target_fidelity=0.7, purpose="stock", **order),))
        if observations.reason[0] == DecisionReason.ARRIVAL.code
        else Decisions()
    )


class Halted:
    """A run with a rule, stopped at given times to be looked at."""

    def __init__(self, scenario, arm, policy, *, seed=0):
        self.recorder = MemoryRecorder()
        self.simulation = Simulation(scenario, arm, seed=seed, recorder=self.recorder, policy=policy)
        self.state = self.simulation._state
        self._policy = policy

    def until(self, time_s):
        """Run up to and with everything due at `time_s`."""
        stop = []
        self.state.clock.at(time_s, stop.append, True)
        while not stop:
            woken = self.simulation._control_plane.woken
            if not woken:
                self.state.clock.step()
            else:
                self.simulation.apply(self._policy.act(self.simulation.advance()))
        return self

    def finish(self):
        while (observations := self.simulation.advance()) is not None:
            self.simulation.apply(self._policy.act(observations))
        return self.recorder.tables()

    @property
    def held(self):
        return [self.state.memories.held(node) for node in range(self.simulation.network.node_count)]

    @property
    def believed(self):
        return list(self.simulation._outages.believed)
