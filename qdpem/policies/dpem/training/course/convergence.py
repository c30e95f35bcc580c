"""When a training has converged, by its held-out delivery ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qdpem.policies.dpem.training.course.state import CurveRow
from qdpem.scenario.schema import Training

_TOLERANCE = 0.05
_LAST_SHARE = 0.2
_FEWEST = 5


def first_converged(scores: Sequence[float]) -> int | None:
    """Place of the first score from which on all stay within 5 % of the mean of the last fifth, or None.

    None too of fewer than five scores.

    >>> first_converged([0.1, 0.5, 0.69, 0.71, 0.7, 0.7])
    2
    >>> first_converged([0.1, 0.9, 0.1, 0.9, 0.1, 0.9]) is None
    True
    """
    # Of fewer than five scores the last fifth is less than one.
    if len(scores) < _FEWEST:
        return None
    level = float(np.mean(scores[-math.ceil(_LAST_SHARE * len(scores)) :]))
    outside = [place for place, score in enumerate(scores) if abs(score - level) > _TOLERANCE * abs(level)]
    first = outside[-1] + 1 if outside else 0
    return first if first < len(scores) else None


def converged_row(curve: Sequence[CurveRow]) -> CurveRow | None:
    """The row of the round whose held-out score is the first that has converged; None without any."""
    scored = [row for row in curve if not math.isnan(row.held_out_delivery)]
    first = first_converged([row.held_out_delivery for row in scored])
    return None if first is None else scored[first]


def shall_end(curve: Sequence[CurveRow], settings: Training) -> bool:
    """Whether all rounds are over, or the score has stayed converged for `stop_evaluations` held-out scores.

    Held-out episodes belong to nobody's demand, so that stopping by their score costs no privacy.
    """
    if len(curve) >= settings.rounds:
        return True
    scored = [row.held_out_delivery for row in curve if not math.isnan(row.held_out_delivery)]
    first = first_converged(scored)
    return (
        bool(settings.stop_evaluations)
        and first is not None
        and (len(scored) - first >= settings.stop_evaluations)
    )
