"""The outcome of one task of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one task.

    `fault` is a sentence if the task failed, `note` one if an existing record was made again. `asked_hz` is
    the mean rate of requests, equal for all arms of a seed. `decision_ms` is the wall time of one decision of
    one site.
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
