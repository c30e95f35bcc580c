"""Metrics in detail: curves over time and the use of each repeater, from the event tables only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import Tables
from qdpem.events.words import ClaimKind, ClaimOutcome, RequestOutcome


def series(tables: Tables, *, start_s: float, end_s: float, bin_s: float) -> dict[str, NDArray[Any]]:
    """Curves over time, with one value for each bin of `bin_s`; the last bin may be shorter.

    - `time_s`, float64 [bins]: the start of each bin.
    - `arrivals`, int64 [bins]: requests that arrived in the bin.
    - `delivered`, int64 [bins]: how many of these were delivered, at any time.
    - `contended`, int64 [bins]: contended claims made in the bin. Missing without a `claims` table.

    Raises ValueError if `bin_s` is not positive.
    """
    # Negated, so that NaN is refused as well.
    if not bin_s > 0.0:
        raise ValueError(f"bin_s is {bin_s:g}; it must be above 0")
    # A window of whole bins may divide to slightly more than their number; that is no further bin.
    starts = start_s + bin_s * np.arange(max(math.ceil((end_s - start_s) / bin_s - 1e-9), 1))

    def count(times_s: NDArray[Any]) -> NDArray[np.int64]:
        inside_s = times_s[(times_s >= start_s) & (times_s < end_s)]
        # Right: a time at the start of a bin belongs to that bin.
        bins = np.searchsorted(starts, inside_s, side="right") - 1
        return np.bincount(bins, minlength=len(starts))

    requests = tables["requests"]
    curves: dict[str, NDArray[Any]] = {
        "time_s": starts,
        "arrivals": count(requests["time_s"]),
        "delivered": count(requests["time_s"][requests["outcome"] == RequestOutcome.DELIVERED.code]),
    }
    if claims := tables.get("claims"):
        curves["contended"] = count(claims["time_s"][claims["contended"] == 1])
    return curves


def repeater_use(
    tables: Tables, nodes: int, *, start_s: float = 0.0, end_s: float = math.inf
) -> dict[str, NDArray[Any]]:
    """The use of each repeater by token claims made in [start_s, end_s).

    `tokens`, int64 [nodes]: swap tokens granted. `claims`, int64 [nodes]: tokens asked for. `wait_s`, float64
    [nodes]: time from making a claim to its end, summed over all claims.
    """
    claims = tables["claims"]
    inside = (claims["time_s"] >= start_s) & (claims["time_s"] < end_s)
    chosen = (claims["kind"] == ClaimKind.TOKEN.code) & inside
    node = claims["node"][chosen]
    granted = claims["outcome"][chosen] == ClaimOutcome.GRANTED.code
    wait_s = claims["end_s"][chosen] - claims["time_s"][chosen]
    return {
        "tokens": np.bincount(node[granted], minlength=nodes),
        "claims": np.bincount(node, minlength=nodes),
        "wait_s": np.bincount(node, weights=wait_s, minlength=nodes),
    }
