"""The built-in arms, one of every kind."""

from __future__ import annotations

import pytest

from qdpem.scenario.schema import Arm

ARMS = (
    Arm(name="local-minhop"),
    Arm(name="local-stock"),
    Arm(name="central-fcfs"),
    Arm(name="central-expected-delay"),
    Arm(
        name="central-stock",
        policy="central-expected-delay",
        pregeneration="end-to-end",
        forecaster="constant",
    ),
    Arm(name="dpem"),
)
in_every_arm = pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
