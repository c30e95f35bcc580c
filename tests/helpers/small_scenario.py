"""The least text that is a scenario, and what is wrong with it once it is changed."""

from __future__ import annotations

import pytest

from qdpem.errors import ScenarioError
from qdpem.scenario.load import parse_scenario

SMALL = """
name = "small"
[topology]
kind = "line"
parameters = { nodes = 3, hop_km = 10.0 }
[nodes]
source_rate_hz = 50
repeater_rate_hz = { low = 2.0, high = 10.0 }
hardware = { memory = { kind = "depolarising", depolarising_s = inf } }
[demand]
rate_hz = 5.0
classes = [{ application = "teleportation", fraction = 1.0, target_fidelity = 0.7, patience_s = 1.0 }]
"""


def faults_of(text: str, *overrides: str) -> dict[str, str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, overrides=overrides)
    found = {fault.path: fault.message for fault in caught.value.faults}
    assert len(found) == len(caught.value.faults)
    return found
