"""What one task of a study ended with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One task's end. `fault` is a sentence when it failed, `note` one when a record was kept or redone.

    `asked_hz`: the mean rate of requests, the same for every arm of a seed. `decision_ms`: wall time for each
    site asked.
    """

    arm: str
    seed: int
    path: Path
    metrics: Mapping[str, float] | None = None
    fault: str = ""
    note: str = ""
    reused: bool = False
    asked_hz: float = math.nan
    wall_s: float = math.nan
    decision_ms: float = math.nan
