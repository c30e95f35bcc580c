"""Metrics: one definition each, from the event tables alone, the same counter for every arm.

Windows. A rate or a "per request" counts what happened in [start_s, end_s) over the requests that
ARRIVED in it; that number is the same for every arm of a seed, so idle padding cannot dilute it. Shares
of requests (delivery, latency, fairness) count the MEASURED ones: arrived in the window with a deadline
not after its end. A request still open only because the run ends is thus neither success nor failure.
A standing one asks for no number of pairs and is over at no other time than its deadline: it has no share
of pairs and no latency.
A metric whose table the record does not keep, or that would divide by zero, is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from physics.werner_figures import key_fraction
from qdpem.events.tables import Columns, Tables
from qdpem.events.words import (
    AllocationOutcome,
    ClaimKind,
    PairOutcome,
    Purpose,
    RefusalCause,
    RequestOutcome,
)
from qdpem.metrics.pair_statistics import pair_statistics
from qdpem.scenario.words import Application, Word

Mask = NDArray[np.bool_]

_DELIVERED = RequestOutcome.DELIVERED.code


@dataclass(frozen=True)
class Metric:
    """What one number of `measure` is: its unit ("" for a pure number), meaning, and which way is better."""

    name: str
    unit: str
    meaning: str
    better: Literal["higher", "lower", ""] = ""


def _cause_name(cause: str) -> str:
    return "other" if cause == "none" else cause.replace("-", "")


def _split(stem: str, unit: str, meaning: str) -> tuple[Metric, ...]:
    parts: list[tuple[Word, str]] = [(word, f"{word} claims alone") for word in ClaimKind]
    parts += [(word, f"claims made to {word} alone") for word in Purpose]
    return tuple(
        Metric(f"contended_{word}_{stem}_per_request", unit, f"{meaning}, {which}", "lower")
        for word, which in parts
    )


METRICS: tuple[Metric, ...] = (
    Metric("delivery_ratio", "", "measured requests delivered / measured requests", "higher"),
    Metric(
        "pairs_ratio", "", "pairs that met target and deadline / pairs asked, measured requests", "higher"
    ),
    Metric(
        "contended_claims_per_request",
        "",
        "claims made in the window whose resource went to another claim / requests arrived",
        "lower",
    ),
    *_split("claims", "", "contended claims / requests arrived"),
    Metric(
        "contended_s_per_request",
        "s",
        "seconds from first losing the resource to the claim's end, summed / requests arrived",
        "lower",
    ),
    *_split("s", "s", "contended seconds / requests arrived"),
    Metric(
        "admission_delay_s_per_request",
        "s",
        "seconds from arrival to the first allocation, or to the end without one, summed / requests arrived",
        "lower",
    ),
    Metric(
        "refusals_per_request",
        "",
        "allocations refused or undone by a failed swap in the window / requests arrived",
        "lower",
    ),
    *(
        Metric(
            f"refusals_{_cause_name(cause)}_per_request",
            "",
            f"allocations refused, cause {cause} / requests arrived",
            "lower",
        )
        for cause in RefusalCause
    ),
    Metric(
        "refusals_failed_swap_per_request",
        "",
        "allocations undone by a failed swap / requests arrived",
        "lower",
    ),
    Metric(
        "pairs_per_s", "1/s", "pairs delivered by requests that ended in the window / its length", "higher"
    ),
    Metric("latency_p50_s", "s", "median of arrival to delivery, measured requests delivered", "lower"),
    Metric("latency_p95_s", "s", "95th percentile of arrival to delivery", "lower"),
    Metric("delivered_fidelity", "", "mean true fidelity of measured requests delivered", "higher"),
    Metric("key_fraction", "", "mean BBM92 key fraction of measured qkd requests delivered", "higher"),
    Metric(
        "pair_waiting_s",
        "s",
        "mean time from request to delivery of the pairs delivered in the window; of a standing request from"
        " one delivery to the next, times the pairs made at a time",
        "lower",
    ),
    Metric("pair_waiting_error_s", "s", "its standard error, from 20 batches"),
    Metric("pair_fidelity", "", "mean true fidelity of the pairs delivered in the window", "higher"),
    Metric("pair_fidelity_error", "", "its standard error, from 20 batches"),
    Metric("jain_index", "", "Jain index of the delivery ratios of all sources that asked", "higher"),
    Metric("pairs_wasted_fraction", "", "fresh pairs born in the window that expired or were lost", "lower"),
    Metric("messages_per_request", "", "messages in the window, one per hop / requests arrived", "lower"),
    Metric("bytes_per_request", "B", "their bytes / requests arrived", "lower"),
    Metric("requests_arrived", "", "requests that arrived in the window"),
    Metric("requests_measured", "", "those of them with a deadline inside the window"),
)
"""Every metric of `measure`, in its order."""


def measure(tables: Tables, *, start_s: float, end_s: float) -> dict[str, float]:
    """All METRICS of the window [start_s, end_s), by name, in the order of METRICS.

    `tables`: table name -> column name -> array; missing tables give NaN for what they would say.
    Row order does not matter. Raises ValueError for an empty window.
    """
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
    if (requests["persistence"] > 0).any():
        values["pairs_per_s"] = _handed_over_per_s(tables.get("pairs"), window)
    values |= _messages(tables.get("messages"), window, arrived)
    values["requests_arrived"] = float(arrived)
    return {metric.name: values.get(metric.name, math.nan) for metric in METRICS}


def measured_requests(requests: Columns, *, start_s: float, end_s: float) -> Mask:
    """Which rows of `requests` shares are taken over: arrived in [start_s, end_s), deadline <= end_s."""
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
    """Exactly rounded, so that the order of rows changes nothing."""
    return math.fsum(values.tolist())


def _mean(values: NDArray[Any]) -> float:
    return _ratio(_sum(values), len(values))


def _percentile_s(times_s: NDArray[Any], fraction: float) -> float:
    return float(np.percentile(times_s, fraction)) if len(times_s) else math.nan


def _requests(requests: Columns, window: _Window) -> dict[str, float]:
    measured = measured_requests(requests, start_s=window.start_s, end_s=window.end_s)
    delivered = measured & (requests["outcome"] == _DELIVERED)
    once = requests["persistence"] == 0
    asked = measured & once
    latency_s = (requests["end_s"] - requests["time_s"])[delivered & once]
    qkd = delivered & (requests["application"] == Application.QKD.code)
    ended = window.holds(requests["end_s"])
    return {
        "requests_measured": float(measured.sum()),
        "delivery_ratio": _ratio(delivered.sum(), measured.sum()),
        "pairs_ratio": _ratio(requests["pairs_delivered"][asked].sum(), requests["pairs"][asked].sum()),
        "pairs_per_s": _ratio(requests["pairs_delivered"][ended].sum(), window.length_s),
        "latency_p50_s": _percentile_s(latency_s, 50.0),
        "latency_p95_s": _percentile_s(latency_s, 95.0),
        "delivered_fidelity": _mean(requests["fidelity"][delivered]),
        "key_fraction": _mean(np.asarray(key_fraction(requests["fidelity"][qkd]))),
        "jain_index": _jain(requests["source"][measured], delivered[measured]),
    }


def _jain(sources: NDArray[Any], delivered: Mask) -> float:
    """(sum x)^2 / (n sum x^2) of the delivery ratio x of each source (Jain, Chiu and Hawe, 1984)."""
    _, place = np.unique(sources, return_inverse=True)
    asked = np.bincount(place)
    ratios = np.bincount(place[delivered], minlength=len(asked)) / asked
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
        f"refusals_{_cause_name(cause)}_per_request": _ratio(
            (refused & (allocations["cause"] == code)).sum(), arrived
        )
        for code, cause in enumerate(RefusalCause)
    }
    values["refusals_failed_swap_per_request"] = _ratio(failed, arrived)
    values["refusals_per_request"] = _ratio(int(refused.sum()) + failed, arrived)
    return values


def _admission_delay(requests: Columns, allocations: Columns | None, window: _Window) -> dict[str, float]:
    """What contention cannot see: a request that waits uncommitted makes no claim."""
    if allocations is None:
        return {}
    first_s = dict(zip(requests["request"].tolist(), requests["end_s"].tolist(), strict=True))
    for request, time_s in zip(allocations["request"].tolist(), allocations["time_s"].tolist(), strict=True):
        if request >= 0:
            first_s[request] = min(first_s.get(request, math.inf), time_s)
    arrived = window.holds(requests["time_s"])
    begun_s = np.array([first_s[request] for request in requests["request"][arrived].tolist()])
    return {"admission_delay_s_per_request": _mean(begun_s - requests["time_s"][arrived])}


def _handed_over_per_s(pairs: Columns | None, window: _Window) -> float:
    """Of standing requests, which may outlast the window: every pair handed over in it counts."""
    if pairs is None:
        return math.nan
    delivered = (pairs["outcome"] == PairOutcome.DELIVERED.code) & window.holds(pairs["end_s"])
    return _ratio(delivered.sum(), window.length_s)


def _waste(pairs: Columns | None, window: _Window) -> dict[str, float]:
    if pairs is None:
        return {}
    fresh = window.holds(pairs["born_s"]) & (pairs["link"] >= 0) & (pairs["first_parent"] < 0)
    wasted = np.isin(pairs["outcome"], [PairOutcome.EXPIRED.code, PairOutcome.LOST.code])
    return {"pairs_wasted_fraction": _ratio((fresh & wasted).sum(), fresh.sum())}


def _messages(messages: Columns | None, window: _Window, arrived: int) -> dict[str, float]:
    """Rows carry the END of the second they count, hence the window (start, end]."""
    if messages is None:
        return {}
    chosen = (messages["time_s"] > window.start_s) & (messages["time_s"] <= window.end_s)
    return {
        "messages_per_request": _ratio(messages["count"][chosen].sum(), arrived),
        "bytes_per_request": _ratio(messages["bytes"][chosen].sum(), arrived),
    }
