"""The built-in arms, one of every kind."""

from __future__ import annotations

import pytest

from qdpem.scenario.schema import Arm

ARMS = (
    Arm(name="local-minhop"),
    Arm(name="local-stock"),
    Arm(name="central-fcfs"),
    Arm(name="central-live"),
    Arm(name="central-stock", policy="central-live", rights="remote", knowledge="constant"),
    Arm(name="dpem"),
)
in_every_arm = pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
