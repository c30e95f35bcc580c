"""What every metric is: its name, unit, meaning, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qdpem.events.words import ClaimKind, Purpose, RefusalCause
from qdpem.scenario.words import Word


@dataclass(frozen=True)
class Metric:
    """One number of `measure`: its unit ("" for a pure number), meaning, and which direction is better."""

    name: str
    unit: str
    meaning: str
    better: Literal["higher", "lower", ""] = ""


def cause_name(cause: str) -> str:
    """A cause of refusals as part of the name of a metric."""
    return "other" if cause == "none" else cause.replace("-", "")


def _split(stem: str, unit: str, meaning: str) -> tuple[Metric, ...]:
    parts: list[tuple[Word, str]] = [(word, f"only {word} claims") for word in ClaimKind]
    parts += [(word, f"only claims made to {word}") for word in Purpose]
    return tuple(
        Metric(f"contended_{word}_{stem}_per_request", unit, f"{meaning}, {which}", "lower")
        for word, which in parts
    )


METRICS: tuple[Metric, ...] = (
    Metric("delivery_ratio", "", "measured requests delivered / measured requests", "higher"),
    Metric(
        "pairs_ratio",
        "",
        "pairs that met target and deadline / pairs requested, over measured requests",
        "higher",
    ),
    Metric(
        "contended_claims_per_request",
        "",
        "claims made in the window whose resource went to another claim meanwhile / requests arrived",
        "lower",
    ),
    *_split("claims", "", "contended claims / requests arrived"),
    Metric(
        "contended_s_per_request",
        "s",
        "seconds from first losing the resource to the end of the claim, summed / requests arrived",
        "lower",
    ),
    *_split("s", "s", "contended seconds / requests arrived"),
    Metric(
        "admission_delay_s_per_request",
        "s",
        "seconds from arrival to the first allocation, or to its end without one, summed / requests arrived",
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
            f"refusals_{cause_name(cause)}_per_request",
            "",
            f"allocations refused with cause {cause} / requests arrived",
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
        "pairs_per_s",
        "1/s",
        "pairs delivered to requests that ended in the window / length of the window",
        "higher",
    ),
    Metric(
        "latency_p50_s",
        "s",
        "median time from arrival to delivery, over measured requests delivered",
        "lower",
    ),
    Metric(
        "latency_p95_s",
        "s",
        "95th percentile of the time from arrival to delivery, over measured requests delivered",
        "lower",
    ),
    Metric("delivered_fidelity", "", "mean true fidelity of measured requests delivered", "higher"),
    Metric("key_fraction", "", "mean BBM92 key fraction of measured qkd requests delivered", "higher"),
    Metric(
        "key_bits_per_s",
        "bit/s",
        "secret bits per second from the qkd requests delivered that ended in the window: for each its pairs"
        " times the BBM92 key fraction at their mean fidelity, sifting not counted",
        "higher",
    ),
    Metric(
        "teleportation_fidelity",
        "",
        "mean fidelity (2F + 1)/3 of a state teleported through the pairs of measured teleportation requests"
        " delivered",
        "higher",
    ),
    Metric(
        "computing_delivery_ratio",
        "",
        "measured computing requests with all their pairs alive together in time / measured computing"
        " requests",
        "higher",
    ),
    Metric(
        "pair_waiting_s",
        "s",
        "mean time from request to delivery of the pairs delivered in the window; for a repeating request"
        " the time from one delivery to the next, times the number of pairs generated at a time",
        "lower",
    ),
    Metric("pair_waiting_error_s", "s", "standard error of pair_waiting_s, from 20 batches"),
    Metric("pair_fidelity", "", "mean true fidelity of the pairs delivered in the window", "higher"),
    Metric("pair_fidelity_error", "", "standard error of pair_fidelity, from 20 batches"),
    Metric(
        "jain_index", "", "Jain index of the delivery ratios of all sources with measured requests", "higher"
    ),
    Metric(
        "pairs_wasted_fraction",
        "",
        "fraction of the fresh pairs born in the window that expired or were lost",
        "lower",
    ),
    Metric(
        "messages_per_request", "", "messages in the window, counted once per hop / requests arrived", "lower"
    ),
    Metric("bytes_per_request", "B", "bytes of these messages / requests arrived", "lower"),
    Metric("requests_arrived", "", "requests that arrived in the window"),
    Metric("requests_measured", "", "requests that arrived in the window with a deadline inside it"),
)
"""Every metric of `measure`, in the order of its result."""
