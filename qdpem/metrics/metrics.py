"""Metrics: one definition each, from the event tables only, counted alike for every arm.

- A rate or a "per request" counts events in [start_s, end_s) and divides them by the requests that ARRIVED in
  it. The divisor is the same for every arm of a seed, so no arm can dilute a figure by padding.
- Fractions of requests (delivery, latency, fairness) count the MEASURED requests: those that arrived in the
  window with a deadline not after its end. A request that is open only because the run ends counts neither
  way.
- A repeating request asks for no fixed number of pairs and ends only at its deadline. It has no fraction of
  pairs delivered and no latency.
- A metric is NaN if the record does not keep its table, or if it would divide by zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics.figures_of_merit.werner_figures import key_fraction, teleportation_fidelity
from qdpem.events.tables import Columns, Tables
from qdpem.events.words import (
    AllocationOutcome,
    ClaimKind,
    PairOutcome,
    Purpose,
    RefusalCause,
    RequestOutcome,
)
from qdpem.metrics.definitions import METRICS, cause_name
from qdpem.metrics.pair_statistics import pair_statistics
from qdpem.scenario.words import Application

Mask = NDArray[np.bool_]

_DELIVERED = RequestOutcome.DELIVERED.code


def measure(tables: Tables, *, start_s: float, end_s: float) -> dict[str, float]:
    """All METRICS of the window [start_s, end_s), by name, in the order of METRICS.

    Metrics whose table is missing from `tables` are NaN. The order of rows does not matter. Raises ValueError
    for an empty window.
    """
    # Negated, so that NaN is refused as well.
    if not end_s > start_s:
        raise ValueError(f"the window [{start_s:g}, {end_s:g}) is empty; end_s must be above start_s")
    window = _Window(start_s, end_s)
    requests = tables["requests"]
    arrived = int(window.holds(requests["time_s"]).sum())
    values = _requests(requests, window)
    values |= _contention(tables.get("claims"), window, arrived)
    values |= _refusals(tables.get("allocations"), window, arrived)
    values |= _admission_delay(requests, tables.get("allocations"), window)
    values |= pair_statistics(tables, start_s=start_s, end_s=end_s)
    values |= _waste(tables.get("pairs"), window)
    if (requests["repeat_until_deadline"] > 0).any():
        # A repeating request may end after the window, so its pairs are counted one by one instead.
        values["pairs_per_s"] = _delivered_pairs_per_s(tables.get("pairs"), window)
    values |= _messages(tables.get("messages"), window, arrived)
    values["requests_arrived"] = float(arrived)
    return {metric.name: values.get(metric.name, math.nan) for metric in METRICS}


def measured_requests(requests: Columns, *, start_s: float, end_s: float) -> Mask:
    """Mask of the rows of `requests` that fractions count: arrived in [start_s, end_s), deadline <= end_s."""
    times_s = requests["time_s"]
    return np.asarray((times_s >= start_s) & (times_s < end_s) & (requests["deadline_s"] <= end_s))


@dataclass(frozen=True)
class _Window:
    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    def holds(self, times_s: NDArray[Any]) -> Mask:
        return np.asarray((times_s >= self.start_s) & (times_s < self.end_s))


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan


def _sum(values: NDArray[Any]) -> float:
    """The exactly rounded sum, which does not depend on the order of rows."""
    return math.fsum(values.tolist())


def _mean(values: NDArray[Any]) -> float:
    return _ratio(_sum(values), len(values))


def _percentile_s(times_s: NDArray[Any], fraction: float) -> float:
    return float(np.percentile(times_s, fraction)) if len(times_s) else math.nan


def _requests(requests: Columns, window: _Window) -> dict[str, float]:
    measured = measured_requests(requests, start_s=window.start_s, end_s=window.end_s)
    delivered = measured & (requests["outcome"] == _DELIVERED)
    not_repeating = requests["repeat_until_deadline"] == 0
    countable = measured & not_repeating
    latency_s = (requests["end_s"] - requests["time_s"])[delivered & not_repeating]
    qkd = delivered & (requests["application"] == Application.QKD.code)
    ended = window.holds(requests["end_s"])
    return {
        "requests_measured": float(measured.sum()),
        "delivery_ratio": _ratio(delivered.sum(), measured.sum()),
        "pairs_ratio": _ratio(
            requests["pairs_delivered"][countable].sum(), requests["pairs"][countable].sum()
        ),
        "pairs_per_s": _ratio(requests["pairs_delivered"][ended].sum(), window.length_s),
        "latency_p50_s": _percentile_s(latency_s, 50.0),
        "latency_p95_s": _percentile_s(latency_s, 95.0),
        "delivered_fidelity": _mean(requests["fidelity"][delivered]),
        "key_fraction": _mean(np.asarray(key_fraction(requests["fidelity"][qkd]))),
        "jain_index": _jain(requests["source"][measured], delivered[measured]),
    } | _applications(requests, window, measured)


def _applications(requests: Columns, window: _Window, measured: Mask) -> dict[str, float]:
    """The figure of merit of each application; NaN for one that nobody asked for.

    Bits per sifted pair: r(F) = max(0, 1 - 2 h(2 (1 - F)/3)) (Bennett, Brassard and Mermin 1992; Shor and
    Preskill 2000). The sifted fraction tends to 1 if both ends nearly always choose one basis (Lo, Chau and
    Ardehali 2005). Teleportation: Horodecki, Horodecki and Horodecki 1999.
    """
    delivered = requests["outcome"] == _DELIVERED

    def of(application: Application) -> Mask:
        return np.asarray(requests["application"] == application.code)

    key = of(Application.QKD) & delivered & window.holds(requests["end_s"])
    bits = requests["pairs_delivered"][key] * np.asarray(key_fraction(requests["fidelity"][key]))
    teleported = of(Application.TELEPORTATION) & measured & delivered
    jobs = of(Application.COMPUTING) & measured
    return {
        "key_bits_per_s": _sum(bits) / window.length_s if of(Application.QKD).any() else math.nan,
        "teleportation_fidelity": _mean(np.asarray(teleportation_fidelity(requests["fidelity"][teleported]))),
        "computing_delivery_ratio": _ratio((jobs & delivered).sum(), jobs.sum()),
    }


def _jain(sources: NDArray[Any], delivered: Mask) -> float:
    """(sum x)^2 / (n sum x^2) of the delivery ratio x of each source (Jain, Chiu and Hawe, 1984)."""
    # Sources numbered without gaps: one without measured requests has no delivery ratio.
    _, group = np.unique(sources, return_inverse=True)
    requests = np.bincount(group)
    ratios = np.bincount(group[delivered], minlength=len(requests)) / requests
    return _ratio(_sum(ratios) ** 2, len(ratios) * _sum(ratios**2))


def _contention(claims: Columns | None, window: _Window, arrived: int) -> dict[str, float]:
    if claims is None:
        return {}
    contended = (claims["contended"] == 1) & window.holds(claims["time_s"])
    kind, purpose = claims["kind"][contended], claims["purpose"][contended]
    seconds = claims["contended_s"][contended]
    values = {
        "contended_claims_per_request": _ratio(len(seconds), arrived),
        "contended_s_per_request": _ratio(_sum(seconds), arrived),
    }
    for words, codes in ((ClaimKind, kind), (Purpose, purpose)):
        # Codes are the positions of the words.
        for code, word in enumerate(words):
            chosen = codes == code
            values[f"contended_{word}_claims_per_request"] = _ratio(chosen.sum(), arrived)
            values[f"contended_{word}_s_per_request"] = _ratio(_sum(seconds[chosen]), arrived)
    return values


def _refusals(allocations: Columns | None, window: _Window, arrived: int) -> dict[str, float]:
    if allocations is None:
        return {}
    ended = window.holds(allocations["end_s"])
    refused = ended & (allocations["outcome"] == AllocationOutcome.REFUSED.code)
    failed = int((ended & (allocations["outcome"] == AllocationOutcome.FAILED_SWAP.code)).sum())
    values = {
        f"refusals_{cause_name(cause)}_per_request": _ratio(
            (refused & (allocations["cause"] == code)).sum(), arrived
        )
        for code, cause in enumerate(RefusalCause)
    }
    values["refusals_failed_swap_per_request"] = _ratio(failed, arrived)
    values["refusals_per_request"] = _ratio(int(refused.sum()) + failed, arrived)
    return values


def _admission_delay(requests: Columns, allocations: Columns | None, window: _Window) -> dict[str, float]:
    """Delay that contention does not show, because a request that waits for its allocation makes no claim."""
    if allocations is None:
        return {}
    # The end of a request stands until an allocation comes before it.
    first_s = dict(zip(requests["request"].tolist(), requests["end_s"].tolist(), strict=True))
    for request, time_s in zip(allocations["request"].tolist(), allocations["time_s"].tolist(), strict=True):
        if request >= 0:
            first_s[request] = min(first_s.get(request, math.inf), time_s)
    arrived = window.holds(requests["time_s"])
    allocated_s = np.array([first_s[request] for request in requests["request"][arrived].tolist()])
    return {"admission_delay_s_per_request": _mean(allocated_s - requests["time_s"][arrived])}


def _delivered_pairs_per_s(pairs: Columns | None, window: _Window) -> float:
    """Pairs per second of repeating requests, which may outlast the window: each delivery in it counts."""
    if pairs is None:
        return math.nan
    delivered = (pairs["outcome"] == PairOutcome.DELIVERED.code) & window.holds(pairs["end_s"])
    return _ratio(delivered.sum(), window.length_s)


def _waste(pairs: Columns | None, window: _Window) -> dict[str, float]:
    if pairs is None:
        return {}
    # Distilled pairs have a link as well, but they have parents.
    fresh = window.holds(pairs["born_s"]) & (pairs["link"] >= 0) & (pairs["first_parent"] < 0)
    wasted = np.isin(pairs["outcome"], [PairOutcome.EXPIRED.code, PairOutcome.LOST.code])
    return {"pairs_wasted_fraction": _ratio((fresh & wasted).sum(), fresh.sum())}


def _messages(messages: Columns | None, window: _Window, arrived: int) -> dict[str, float]:
    """Rows carry the END of the second that they count, so the window is (start_s, end_s]."""
    if messages is None:
        return {}
    chosen = (messages["time_s"] > window.start_s) & (messages["time_s"] <= window.end_s)
    return {
        "messages_per_request": _ratio(messages["count"][chosen].sum(), arrived),
        "bytes_per_request": _ratio(messages["bytes"][chosen].sum(), arrived),
    }
