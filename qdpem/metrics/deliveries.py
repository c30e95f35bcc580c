"""What bounds are compared with: deliveries of a whole run, warm-up included, from the record alone."""

from __future__ import annotations

import numpy as np

from qdpem.events.tables import Columns
from qdpem.events.words import RequestOutcome


def deliveries(requests: Columns) -> float:
    """Requests delivered by the run's end; pairs that met their target, where any request asks without end.

    `requests` are the columns of that table.
    """
    if (requests["persistence"] > 0).any():
        return float(requests["pairs_delivered"].sum(dtype=np.int64))
    return float((requests["outcome"] == RequestOutcome.DELIVERED.code).sum())
