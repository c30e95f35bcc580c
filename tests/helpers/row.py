"""The text of a study small enough to run in a test: five nodes in a row, seconds long, two arms."""

from __future__ import annotations

from collections.abc import Sequence

ROW = """
name = "row"
description = "{description}"

[topology]
kind = "line"
parameters = {{ nodes = 5, hop_km = 5.0 }}

[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 6.0
hardware = {{ memory = {{ kind = "depolarising", depolarising_s = 10.0 }} }}

[demand]
rate_hz = 6.0

[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.7
patience_s = 0.5

[forecasting]
history_s = 10.0

[window]
warm_up_s = 1.0
measured_s = {measured_s}

[study]
arms = [{{ name = "central-fcfs" }}, {{ name = "near", policy = "local-minhop" }}]
seeds = {seeds}
reference = "central-fcfs"
engine = "serial"
"""


def row_text(*, description: str, measured_s: float, seeds: Sequence[int]) -> str:
    return ROW.format(description=description, measured_s=measured_s, seeds=list(seeds))
