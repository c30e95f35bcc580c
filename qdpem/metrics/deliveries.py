"""The deliveries of a whole run, warm-up included, which bounds are compared with."""

from __future__ import annotations

import numpy as np

from qdpem.events.tables import Columns
from qdpem.events.words import RequestOutcome


def deliveries(requests: Columns) -> float:
    """The number of requests delivered by the end of the run, from the columns of the table `requests`.

    With repeating requests it is the number of pairs that met their target.
    """
    if (requests["repeat_until_deadline"] > 0).any():
        return float(requests["pairs_delivered"].sum(dtype=np.int64))
    return float((requests["outcome"] == RequestOutcome.DELIVERED.code).sum())
