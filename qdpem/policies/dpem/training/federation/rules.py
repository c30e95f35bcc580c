"""Rules that make one update of many."""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats
from qdpem.scenario.words import Aggregation


def combine(reports: Floats, rule: Aggregation, *, trimmed_share: float, expected: float) -> Floats:
    """One update [P] of K reports [K, P], K at least 1.

    - Mean: their sum over `expected`, the number of nodes that were to report. What is absent counts 0.
    - Trimmed mean: of each coordinate, without its floor(K `trimmed_share`) smallest and as many largest
      (Yin et al. 2018, definition 2).
    - Coordinate median: of each coordinate (Yin et al. 2018, definition 1).

    >>> reports = np.array([[0.0], [1.0], [2.0], [90.0], [2.0]])
    >>> [
    ...     float(combine(reports, rule, trimmed_share=0.2, expected=5)[0])
    ...     for rule in (Aggregation.MEAN, Aggregation.TRIMMED_MEAN, Aggregation.COORDINATE_MEDIAN)
    ... ]
    [19.0, 1.6666666666666667, 2.0]
    """
    if rule == Aggregation.TRIMMED_MEAN:
        cut = int(len(reports) * trimmed_share)
        return np.asarray(np.sort(reports, axis=0)[cut : len(reports) - cut].mean(axis=0))
    if rule == Aggregation.COORDINATE_MEDIAN:
        return np.asarray(np.median(reports, axis=0))
    return np.asarray(reports.sum(axis=0) / expected)
