"""The words of coded columns, one enumeration per column; a column stores the `code` of a word."""

from __future__ import annotations

from qdpem.scenario.words import Word


class RequestOutcome(Word):
    """How a request ended.

    `OPEN`: not at all, the run was over first. `EXPIRED`: its deadline came. `REJECTED`: no retries were
    left. `LOW_FIDELITY`: its pairs arrived in time but below the target, and no retries were left.
    """

    OPEN = "open"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    REJECTED = "rejected"
    LOW_FIDELITY = "low_fidelity"


class Purpose(Word):
    """Whether an allocation serves a request or generates pairs for stock."""

    SERVE = "serve"
    STOCK = "stock"


class ClaimKind(Word):
    """The resource that a claim asks for: a photon-pair emission, a swap token, or qubits of a memory."""

    EMISSION = "emission"
    TOKEN = "token"
    MEMORY = "memory"


class ClaimOutcome(Word):
    """How a claim ended."""

    OPEN = "open"
    GRANTED = "granted"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"


class AllocationOutcome(Word):
    """How an allocation ended.

    `DONE`: it made all its pairs, whatever became of them. `REFUSED`: a node refused it, for the reason in
    the column `cause`.
    """

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    FAILED_SWAP = "failed_swap"


class RefusalCause(Word):
    """Why a node refused an allocation.

    `STALE`: a stocked pair that it relied on is not there. `CAPACITY`: the quota for other nodes' stock is
    used up. `MEMORY`: too few qubits are free. `OUTAGE`: something it needs is unavailable.
    """

    NONE = "none"
    STALE = "stale"
    CAPACITY = "capacity"
    MEMORY = "memory"
    OUTAGE = "outage"
    PRE_EMPTION = "pre-emption"


class PairOutcome(Word):
    """How a pair ended; at any moment the pairs born are the sum of all of these.

    `EXPIRED`: it grew too old, was below the target of its request, or its owner dropped it unused. `LOST`:
    to a failure, or because stock gave up its qubit to a live request.
    """

    LIVE = "live"
    DELIVERED = "delivered"
    SWAPPED = "swapped"
    DISTILLED = "distilled"
    EXPIRED = "expired"
    LOST = "lost"


class MessageKind(Word):
    """The subject of a message between nodes."""

    REQUEST = "request"
    RESERVE = "reserve"
    GRANT = "grant"
    REFUSE = "refuse"
    RELEASE = "release"
    HERALD = "herald"
    CORRECTION = "correction"
    DISTILLATION = "distillation"
    STOCK = "stock"
    REPORT = "report"
    OUTAGE = "outage"


class DecisionReason(Word):
    """Why a site was asked to decide."""

    ARRIVAL = "arrival"
    REFUSAL = "refusal"
    PAIR = "pair"
    EPOCH = "epoch"
    OUTAGE = "outage"
