"""Small scenarios for tests of the simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdpem.demand.requests import Requests
from qdpem.policy.interface import Decisions, Observation
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Scenario
from qdpem.simulation import simulation

_LINE = """
name = "line"
[topology]
kind = "line"
parameters = {{ nodes = {nodes}, hop_km = {hop_km} }}
[nodes]
source_rate_hz = {source_rate_hz}
repeater_rate_hz = {repeater_rate_hz}
repeater_kind = "{repeater_kind}"
{memory_reading} = {memories}
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = {depolarising_s} }}
swap_success_probability = {swap_success_probability}
[links.hardware]
fresh_fidelity = 0.98
[demand]
rate_hz = {rate_hz}
[[demand.classes]]
application = "{application}"
fraction = 1.0
target_fidelity = {target_fidelity}
patience_s = {patience_s}
pairs = {pairs}
[forecasting]
history_s = 20
[control]
back_off_s = 0.02
retries = 3
[window]
warm_up_s = 1
measured_s = {measured_s}
"""

_DEFAULTS = {
    "nodes": 4,
    "hop_km": 20.0,
    "source_rate_hz": 60.0,
    "repeater_rate_hz": 30.0,
    "repeater_kind": "token-bucket",
    "memory_reading": "memories",
    "memories": 16,
    "depolarising_s": 60.0,
    "swap_success_probability": 1.0,
    "rate_hz": 6.0,
    "application": "teleportation",
    "target_fidelity": 0.7,
    "patience_s": 1.0,
    "pairs": 1,
    "measured_s": 20.0,
}


@pytest.fixture
def line() -> Callable[..., Scenario]:
    """A line of nodes with uniform demand; keyword arguments change its numbers."""

    def build(**changes: object) -> Scenario:
        assert set(changes) <= set(_DEFAULTS)
        return parse_scenario(_LINE.format(**{**_DEFAULTS, **changes}))

    return build


_CHAIN = """
name = "chain"
[topology]
kind = "line"
parameters = {{ nodes = {nodes}, hop_km = {hop_km} }}
[nodes]
repeater_rate_hz = {repeater_rate_hz}
repeater_burst = {repeater_burst}
swap_time_s = {swap_time_s}
distillation_time_s = 0.0
swap_order = "{swap_order}"
memories = {memories}
{cutoff}
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = {depolarising_s} }}
swap_success_probability = {swap_success_probability}
[links]
processing_delay_s = 0.0
light_delay = {light_delay}
slotted = true
[links.hardware]
kind = "direct"
success_probability = {success_probability}
attempt_period_s = 0.001
modes = {modes}
fresh_weights = [0.97, 0.01, 0.01, 0.01]
[demand]
arrivals = "batch"
weights = "endpoints"
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.51
repeat_until_deadline = "{repeat_until_deadline}"
pairs = {pairs}
patience_s = {patience_s}
[forecasting]
history_s = 10.0
[control]
retries = {retries}
[window]
warm_up_s = 0.001
measured_s = {measured_s}
"""

_CHAIN_DEFAULTS = {
    "nodes": 3,
    "hop_km": 20.0,
    "repeater_rate_hz": 1e9,
    "repeater_burst": 1e9,
    "swap_time_s": 0.0,
    "swap_order": "asap",
    "memories": 2,
    "cutoff_s": None,
    "depolarising_s": 1.0,
    "swap_success_probability": 1.0,
    "light_delay": False,
    "success_probability": 0.5,
    "modes": 1,
    "repeat_until_deadline": "pair",
    "pairs": 1,
    "patience_s": 1000.0,
    "retries": 4,
    "measured_s": 20.0,
}


@pytest.fixture
def chain() -> Callable[..., Scenario]:
    """A line whose links attempt in slots of 1 ms, and one request between its ends; changed by keyword."""

    def build(**changes: object) -> Scenario:
        assert set(changes) <= set(_CHAIN_DEFAULTS)
        given = {**_CHAIN_DEFAULTS, **changes}
        given["light_delay"] = str(given["light_delay"]).lower()
        cutoff_s = given.pop("cutoff_s")
        return parse_scenario(_CHAIN.format(cutoff=f"cutoff_s = {cutoff_s}" if cutoff_s else "", **given))

    return build


class Script:
    """A policy that answers with `rule(observations)` and keeps the views it saw."""

    name = "script"
    acts_every_epoch = False
    message_width = 0

    def __init__(self, rule: Callable[[Observation], Decisions]) -> None:
        self._rule = rule
        self.seen: list[Observation] = []

    def reset(self, context: Any) -> None:
        self.context = context

    def act(self, observations: Observation) -> Decisions:
        self.seen.append(observations)
        return self._rule(observations)


@pytest.fixture
def script() -> Callable[[Callable[[Observation], Decisions]], Script]:
    """A policy from a rule."""
    return Script


@pytest.fixture
def arrive(monkeypatch) -> Callable[..., None]:
    """Replace the run's requests by given ones: (time_s, source, destination) and common numbers."""

    def at(
        rows: Sequence[tuple[float, int, int]],
        *,
        patience_s: float = 5.0,
        target_fidelity: float = 0.7,
        pairs: int = 1,
        application: int = 0,
    ) -> None:
        time_s, source, destination = zip(*rows, strict=True)
        count = len(rows)
        requests = Requests(
            id=np.arange(count),
            time_s=np.array(time_s),
            source=np.array(source),
            destination=np.array(destination),
            target_fidelity=np.full(count, target_fidelity),
            pairs=np.full(count, pairs),
            deadline_s=np.array(time_s) + patience_s,
            application=np.full(count, application),
            repeat_until_deadline=np.zeros(count, dtype=int),
            process=np.zeros(count, dtype=int),
        )
        drawn = simulation.generate_arrivals
        monkeypatch.setattr(
            simulation,
            "generate_arrivals",
            lambda *args, **keys: replace(drawn(*args, **keys), requests=requests),
        )

    return at
