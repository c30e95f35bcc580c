"""What bounds are compared with: deliveries of a whole run, warm-up included, from the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import REQUEST_OUTCOMES


def deliveries(requests: Mapping[str, NDArray[Any]]) -> float:
    """Requests delivered by the run's end; pairs that met their target, where any request asks without end.

    `requests` are the columns of that table.
    """
    if (requests["persistence"] > 0).any():
        return float(requests["pairs_delivered"].sum(dtype=np.int64))
    return float((requests["outcome"] == REQUEST_OUTCOMES.index("delivered")).sum())
