"""The event tables: name, type, unit and meaning of every column.

The simulation writes rows, and records, metrics and reward read columns, by the names of the columns. A coded
column stores small integers, and its `words` lists the word of each code. A node or id that does not exist is
-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from numpy.typing import NDArray

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES
from qdpem.events.columns import TEXT as TEXT
from qdpem.events.columns import Column as Column
from qdpem.events.columns import Table as Table
from qdpem.events.columns import (
    code_column,
    count_column,
    id_column,
    node_column,
    real_column,
    time_column,
)
from qdpem.events.full_tables import (
    DECIDED_ALLOCATIONS,
    DECIDED_STEPS,
    DISCARDS,
    EXPECTED_DEMAND,
    OUTPUT_LABELS,
    POLICY,
    REWARDS,
)
from qdpem.events.words import (
    AllocationOutcome,
    ClaimKind,
    ClaimOutcome,
    DecisionReason,
    MessageKind,
    PairOutcome,
    Purpose,
    RefusalCause,
    RequestOutcome,
)
from qdpem.scenario.words import Application, OutageKind, RecordLevel, Repetition

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""The columns of one table by name, each one-dimensional, all of one length."""

Tables: TypeAlias = Mapping[str, Columns]
"""The columns of several tables, by the name of the table."""


NODES = Table(
    "nodes",
    (
        node_column("node", "index of the node"),
        real_column("x_km", "east coordinate of the node", "km"),
        real_column("y_km", "north coordinate of the node", "km"),
        real_column("source_rate_hz", "rate at which the source emits photon pairs, before loss", "Hz"),
        real_column("repeater_rate_hz", "rate of swaps: of new tokens, or of a server without pause", "Hz"),
        count_column("memories", "number of qubits, summed over all links of the node"),
        Column("name", TEXT, "", "name of the node in the topology"),
    ),
    level=RecordLevel.REQUESTS,
)

LINKS = Table(
    "links",
    (
        id_column("link", "index of the link"),
        node_column("first", "node at the end with the lower index"),
        node_column("second", "node at the other end"),
        real_column("length_km", "length of the fibre", "km"),
        real_column("success_probability", "probability that one attempt succeeds, herald included"),
        real_column("fresh_fidelity", "fidelity of a pair just generated"),
        time_column("delay_s", "one-way delay of a classical message"),
    ),
    level=RecordLevel.REQUESTS,
)

DEMAND = Table(
    "demand",
    (
        real_column("rate_hz", "mean rate of requests of the whole network", "Hz"),
        real_column("peak_rate_hz", "rate of requests while all regions burst", "Hz"),
        real_column(
            "capacity_hz", "largest rate that the network could serve, to which load_factor refers", "Hz"
        ),
    ),
    level=RecordLevel.REQUESTS,
)

DEMAND_MATRIX = Table(
    "demand_matrix",
    (
        node_column("source", "node at one end"),
        node_column("destination", "node at the other end"),
        real_column(
            "weight", "weight of their demand in the demand matrix of the map, where the scenario uses it"
        ),
    ),
    level=RecordLevel.REQUESTS,
)

PROCESSES = Table(
    "processes",
    (
        count_column("process", "index of the demand process"),
        real_column("rate_hz", "mean rate of its requests", "Hz"),
        Column("name", TEXT, "", "name of the process in the scenario"),
    ),
    level=RecordLevel.REQUESTS,
)

REQUESTS = Table(
    "requests",
    (
        id_column("request", "id of the request"),
        time_column("time_s", "time of arrival at the source"),
        node_column("source", "node that makes the request"),
        node_column("destination", "node at the other end of the requested pairs"),
        real_column("target_fidelity", "lowest true fidelity that satisfies the request"),
        count_column("pairs", "number of pairs requested"),
        time_column("deadline_s", "time at which the request expires"),
        code_column("application", Application, "application that uses the pairs"),
        code_column("outcome", RequestOutcome, "how the request ended"),
        time_column("end_s", "time at which it ended; the end of the run if it is open"),
        real_column("fidelity", "mean true fidelity of its pairs; NaN without pairs"),
        count_column("pairs_delivered", "number of pairs that met the target in time"),
        count_column("attempts", "number of allocations made for it"),
        count_column(
            "hops",
            "number of links of the path that served it; 0 for end-to-end stock, -1 if not delivered",
        ),
        code_column(
            "repeat_until_deadline",
            Repetition,
            "generation that starts again by itself until the deadline: none, that of the next pair after"
            " each delivery, or that of every link as soon as its qubits are free",
        ),
        count_column("process", "index of the demand process that made it"),
    ),
    level=RecordLevel.REQUESTS,
)

ALLOCATIONS = Table(
    "allocations",
    (
        id_column("allocation", "id of the allocation"),
        time_column("time_s", "time of the decision"),
        node_column("deciding_node", "node that decided; -1 for the controller"),
        id_column("request", "id of the request it serves; -1 for stock"),
        code_column("purpose", Purpose, "whether it serves a request or generates pairs for stock"),
        node_column("source", "first node of the path, which owns the pairs of stock"),
        node_column("destination", "last node of the path"),
        real_column("target_fidelity", "fidelity requested of each pair"),
        count_column("pairs", "number of pairs requested"),
        count_column("end_rounds", "number of distillation rounds between the ends of the path"),
        code_column(
            "schedule",
            SCHEDULES,
            "schedule of distillation on a link: each round consumes an equal pair, or a fresh one",
        ),
        code_column("protocol", PROTOCOLS, "distillation protocol"),
        count_column("hops", "number of steps of its path"),
        time_column("expires_s", "time at which all resources that it holds are released"),
        time_column("end_s", "time at which it ended"),
        code_column("outcome", AllocationOutcome, "how the allocation ended"),
        code_column("cause", RefusalCause, "why a node refused it"),
        node_column("refused_at", "node that refused it; -1 if none did"),
    ),
)

PATH_STEPS = Table(
    "path_steps",
    (
        id_column("allocation", "id of the allocation"),
        count_column("position", "position on the path, 0 at the source"),
        node_column("node", "node at this position"),
        count_column(
            "rounds", "number of distillation rounds on the link to the next node; 0 at the last node"
        ),
    ),
)

CLAIMS = Table(
    "claims",
    (
        id_column("claim", "id of the claim"),
        id_column("allocation", "id of the allocation that made the claim"),
        code_column("kind", ClaimKind, "kind of resource that it asks for"),
        code_column("purpose", Purpose, "purpose of its allocation"),
        node_column("source", "first node of its allocation's path"),
        node_column("node", "node that has the resource; for an emission the first end of the link"),
        id_column("link", "id of the link, for an emission; else -1"),
        time_column("time_s", "time at which the claim was made"),
        time_column("end_s", "time at which it was granted, withdrawn or refused"),
        code_column("outcome", ClaimOutcome, "how the claim ended"),
        code_column("contended", ("no", "yes"), "whether the resource went to another claim meanwhile"),
        time_column("contended_s", "time from first losing the resource to the end of the claim"),
        node_column("rival", "source of the claim that first took the resource; -1 if none or unknown"),
    ),
)

PAIRS = Table(
    "pairs",
    (
        id_column("pair", "id of the pair, never reused"),
        time_column(
            "born_s", "time of birth: first known at an end of its link, or end of the swap or distillation"
        ),
        node_column("first", "node at the first end, in the final order of its state"),
        node_column("second", "node at the second end"),
        id_column("link", "id of the link that generated it; -1 if a swap did"),
        node_column("sender", "node whose source emitted it; -1 unless fresh from a source-limited link"),
        id_column(
            "first_parent",
            "id of the left pair of the swap, or of the kept pair of the distillation; -1 if fresh",
        ),
        id_column("second_parent", "id of the right pair of the swap, or of the consumed pair; -1 if fresh"),
        Column("bell_outcome", "int8", "", "Bell state 0 to 3 that its swap reported; -1 unless swapped"),
        id_column("allocation", "id of the allocation that ordered it"),
        node_column("owner", "node that owned it in stock; -1 if never stocked"),
        time_column("end_s", "time at which it ended"),
        code_column("outcome", PairOutcome, "how the pair ended"),
        time_column(
            "fidelity_s", "time to which `fidelity` refers: its end, or earlier if its end became known later"
        ),
        real_column("fidelity", "true fidelity at `fidelity_s`"),
    ),
)

MESSAGES = Table(
    "messages",
    (
        time_column("time_s", "end of the second over which messages are counted"),
        code_column("kind", MessageKind, "what the messages are about"),
        id_column("count", "number of messages, counted once per hop"),
        Column("bytes", "int64", "B", "size of the messages, counted once per hop"),
    ),
)

OUTAGES = Table(
    "outages",
    (
        code_column("kind", OutageKind, "what was unavailable"),
        node_column("node", "node that was unavailable; -1 for a link or the controller"),
        id_column("link", "link that was unavailable; -1 for a node or the controller"),
        time_column("from_s", "start of the outage; 0 if it was unavailable from the start"),
        time_column("until_s", "end of the outage, or time of joining; inf if it never ends"),
    ),
    level=RecordLevel.REQUESTS,
)

FORECASTS = Table(
    "forecasts",
    (
        time_column("time_s", "time at which the forecast was made"),
        node_column("node", "node whose demand is forecast"),
        count_column("step", "number of steps ahead; 1 is the next step"),
        real_column("mean", "expected number of requests in that step"),
    ),
)

DECISIONS = Table(
    "decisions",
    (
        time_column("time_s", "time at which the site was asked to decide"),
        node_column("deciding_node", "node that was asked; -1 for the controller"),
        code_column("reason", DecisionReason, "why the site was asked"),
        count_column("waiting", "number of pending requests at the site"),
        count_column("allocations", "number of allocations that it made"),
    ),
)

TABLES: tuple[Table, ...] = (
    NODES, LINKS, DEMAND, DEMAND_MATRIX, PROCESSES, REQUESTS, ALLOCATIONS, PATH_STEPS, CLAIMS, PAIRS,
    MESSAGES, OUTAGES, FORECASTS, DECISIONS, POLICY, OUTPUT_LABELS, DECIDED_ALLOCATIONS, DECIDED_STEPS,
    DISCARDS, EXPECTED_DEMAND, REWARDS,
)  # fmt: skip


def kept_at(level: str) -> tuple[Table, ...]:
    """The tables that a record of this level keeps."""
    return tuple(table for table in TABLES if RecordLevel(level).at_least(table.level))
