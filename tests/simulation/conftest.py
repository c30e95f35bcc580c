"""Small scenarios for tests of the simulation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Scenario

_LINE = """
name = "line"
[topology]
kind = "line"
parameters = {{ nodes = {nodes}, hop_km = {hop_km} }}
[nodes]
source_rate_hz = {source_rate_hz}
repeater_rate_hz = {repeater_rate_hz}
memories = {memories}
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = {depolarising_s} }}
swap_success_probability = {swap_success_probability}
[links]
fresh_fidelity = 0.98
[demand]
rate_hz = {rate_hz}
[[demand.classes]]
application = "{application}"
share = 1.0
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
