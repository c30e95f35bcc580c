"""The event tables: name, type, unit and meaning of every column.

The simulation writes rows in column order. Records, metrics and reward read columns by name. A coded column
stores small integers, and its `words` lists the word of each code. A node or id that does not exist is -1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES
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


TEXT = "str"
"""The type of a column of text: as wide as its longest value in memory, UTF-8 of any length in a record."""


@dataclass(frozen=True)
class Column:
    """One column: its numpy type, unit ("" for a pure number) and meaning, and the words of its codes."""

    name: str
    dtype: str
    unit: str
    meaning: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table, and the lowest record level that keeps it."""

    name: str
    columns: tuple[Column, ...]
    level: RecordLevel = RecordLevel.EVENTS

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of a row."""
        return tuple(column.name for column in self.columns)


def _id(name: str, meaning: str) -> Column:
    return Column(name, "int64", "", meaning)


def _node(name: str, meaning: str) -> Column:
    return Column(name, "int32", "", meaning)


def _time(name: str, meaning: str) -> Column:
    return Column(name, "float64", "s", meaning)


def _real(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, "float64", unit, meaning)


def _count(name: str, meaning: str) -> Column:
    return Column(name, "int32", "", meaning)


def _code(name: str, words: Iterable[str], meaning: str) -> Column:
    # The position of a word is its code, so the order of words is part of the layout of a record.
    return Column(name, "int8", "", meaning, tuple(map(str, words)))


NODES = Table(
    "nodes",
    (
        _node("node", "index of the node"),
        _real("x_km", "east coordinate of the node", "km"),
        _real("y_km", "north coordinate of the node", "km"),
        _real("source_rate_hz", "rate at which the source emits photon pairs, before loss", "Hz"),
        _real("repeater_rate_hz", "rate of swaps: of new tokens, or of a server without pause", "Hz"),
        _count("memories", "number of qubits, summed over all links of the node"),
        Column("name", TEXT, "", "name of the node in the topology"),
    ),
    level=RecordLevel.REQUESTS,
)

LINKS = Table(
    "links",
    (
        _id("link", "index of the link"),
        _node("first", "node at the end with the lower index"),
        _node("second", "node at the other end"),
        _real("length_km", "length of the fibre", "km"),
        _real("success_probability", "probability that one attempt succeeds, herald included"),
        _real("fresh_fidelity", "fidelity of a pair just generated"),
        _time("delay_s", "one-way delay of a classical message"),
    ),
    level=RecordLevel.REQUESTS,
)

DEMAND = Table(
    "demand",
    (
        _real("rate_hz", "mean rate of requests of the whole network", "Hz"),
        _real("peak_rate_hz", "rate of requests while all regions burst", "Hz"),
        _real("capacity_hz", "largest rate that the network could serve, to which load_factor refers", "Hz"),
    ),
    level=RecordLevel.REQUESTS,
)

DEMAND_MATRIX = Table(
    "demand_matrix",
    (
        _node("source", "node at one end"),
        _node("destination", "node at the other end"),
        _real("weight", "weight of their demand in the demand matrix of the map, where the scenario uses it"),
    ),
    level=RecordLevel.REQUESTS,
)

PROCESSES = Table(
    "processes",
    (
        _count("process", "index of the demand process"),
        _real("rate_hz", "mean rate of its requests", "Hz"),
        Column("name", TEXT, "", "name of the process in the scenario"),
    ),
    level=RecordLevel.REQUESTS,
)

REQUESTS = Table(
    "requests",
    (
        _id("request", "id of the request"),
        _time("time_s", "time of arrival at the source"),
        _node("source", "node that makes the request"),
        _node("destination", "node at the other end of the requested pairs"),
        _real("target_fidelity", "lowest true fidelity that satisfies the request"),
        _count("pairs", "number of pairs requested"),
        _time("deadline_s", "time at which the request expires"),
        _code("application", Application, "application that uses the pairs"),
        _code("outcome", RequestOutcome, "how the request ended"),
        _time("end_s", "time at which it ended; the end of the run if it is open"),
        _real("fidelity", "mean true fidelity of its pairs; NaN without pairs"),
        _count("pairs_delivered", "number of pairs that met the target in time"),
        _count("attempts", "number of allocations made for it"),
        _count(
            "hops",
            "number of links of the path that served it; 0 for end-to-end stock, -1 if not delivered",
        ),
        _code(
            "repeat_until_deadline",
            Repetition,
            "generation that starts again by itself until the deadline: none, that of the next pair after"
            " each delivery, or that of every link as soon as its qubits are free",
        ),
        _count("process", "index of the demand process that made it"),
    ),
    level=RecordLevel.REQUESTS,
)

ALLOCATIONS = Table(
    "allocations",
    (
        _id("allocation", "id of the allocation"),
        _time("time_s", "time of the decision"),
        _node("deciding_node", "node that decided; -1 for the controller"),
        _id("request", "id of the request it serves; -1 for stock"),
        _code("purpose", Purpose, "whether it serves a request or generates pairs for stock"),
        _node("source", "first node of the path, which owns the pairs of stock"),
        _node("destination", "last node of the path"),
        _real("target_fidelity", "fidelity requested of each pair"),
        _count("pairs", "number of pairs requested"),
        _count("end_rounds", "number of distillation rounds between the ends of the path"),
        _code(
            "schedule",
            SCHEDULES,
            "schedule of distillation on a link: each round consumes an equal pair, or a fresh one",
        ),
        _code("protocol", PROTOCOLS, "distillation protocol"),
        _count("hops", "number of steps of its path"),
        _time("expires_s", "time at which all resources that it holds are released"),
        _time("end_s", "time at which it ended"),
        _code("outcome", AllocationOutcome, "how the allocation ended"),
        _code("cause", RefusalCause, "why a node refused it"),
        _node("refused_at", "node that refused it; -1 if none did"),
    ),
)

PATH_STEPS = Table(
    "path_steps",
    (
        _id("allocation", "id of the allocation"),
        _count("position", "position on the path, 0 at the source"),
        _node("node", "node at this position"),
        _count("rounds", "number of distillation rounds on the link to the next node; 0 at the last node"),
    ),
)

CLAIMS = Table(
    "claims",
    (
        _id("claim", "id of the claim"),
        _id("allocation", "id of the allocation that made the claim"),
        _code("kind", ClaimKind, "kind of resource that it asks for"),
        _code("purpose", Purpose, "purpose of its allocation"),
        _node("source", "first node of its allocation's path"),
        _node("node", "node that has the resource; for an emission the first end of the link"),
        _id("link", "id of the link, for an emission; else -1"),
        _time("time_s", "time at which the claim was made"),
        _time("end_s", "time at which it was granted, withdrawn or refused"),
        _code("outcome", ClaimOutcome, "how the claim ended"),
        _code("contended", ("no", "yes"), "whether the resource went to another claim meanwhile"),
        _time("contended_s", "time from first losing the resource to the end of the claim"),
        _node("rival", "source of the claim that first took the resource; -1 if none or unknown"),
    ),
)

PAIRS = Table(
    "pairs",
    (
        _id("pair", "id of the pair, never reused"),
        _time(
            "born_s", "time of birth: first known at an end of its link, or end of the swap or distillation"
        ),
        _node("first", "node at the first end, in the final order of its state"),
        _node("second", "node at the second end"),
        _id("link", "id of the link that generated it; -1 if a swap did"),
        _node("sender", "node whose source emitted it; -1 unless fresh from a source-limited link"),
        _id(
            "first_parent",
            "id of the left pair of the swap, or of the kept pair of the distillation; -1 if fresh",
        ),
        _id("second_parent", "id of the right pair of the swap, or of the consumed pair; -1 if fresh"),
        Column("bell_outcome", "int8", "", "Bell state 0 to 3 that its swap reported; -1 unless swapped"),
        _id("allocation", "id of the allocation that ordered it"),
        _node("owner", "node that owned it in stock; -1 if never stocked"),
        _time("end_s", "time at which it ended"),
        _code("outcome", PairOutcome, "how the pair ended"),
        _time(
            "fidelity_s", "time to which `fidelity` refers: its end, or earlier if its end became known later"
        ),
        _real("fidelity", "true fidelity at `fidelity_s`"),
    ),
)

MESSAGES = Table(
    "messages",
    (
        _time("time_s", "end of the second over which messages are counted"),
        _code("kind", MessageKind, "what the messages are about"),
        _id("count", "number of messages, counted once per hop"),
        Column("bytes", "int64", "B", "size of the messages, counted once per hop"),
    ),
)

OUTAGES = Table(
    "outages",
    (
        _code("kind", OutageKind, "what was unavailable"),
        _node("node", "node that was unavailable; -1 for a link or the controller"),
        _id("link", "link that was unavailable; -1 for a node or the controller"),
        _time("from_s", "start of the outage; 0 if it was unavailable from the start"),
        _time("until_s", "end of the outage, or time of joining; inf if it never ends"),
    ),
    level=RecordLevel.REQUESTS,
)

FORECASTS = Table(
    "forecasts",
    (
        _time("time_s", "time at which the forecast was made"),
        _node("node", "node whose demand is forecast"),
        _count("step", "number of steps ahead; 1 is the next step"),
        _real("mean", "expected number of requests in that step"),
    ),
)

DECISIONS = Table(
    "decisions",
    (
        _time("time_s", "time at which the site was asked to decide"),
        _node("deciding_node", "node that was asked; -1 for the controller"),
        _code("reason", DecisionReason, "why the site was asked"),
        _count("waiting", "number of pending requests at the site"),
        _count("allocations", "number of allocations that it made"),
    ),
)

POLICY = Table(
    "policy",
    (
        _code("acts_every_epoch", ("no", "yes"), "whether all sites are asked at every epoch"),
        _count("message_width", "numbers that each node adds to its reports"),
        _real("epsilon", "epsilon of differential privacy that its training spent; NaN if it states none"),
        _real("delta", "delta of differential privacy to which epsilon refers; NaN if it states none"),
    ),
    level=RecordLevel.FULL,
)

OUTPUT_LABELS = Table(
    "output_labels",
    (
        Column("output", TEXT, "", "name of the policy output"),
        _count("position", "position on its last axis"),
        Column("label", TEXT, "", "meaning of the number at this position"),
    ),
    level=RecordLevel.FULL,
)

EXPECTED_DEMAND = Table(
    "expected_demand",
    (
        _time("time_s", "time at which the forecast was made"),
        _node("node", "node whose demand is forecast"),
        _node("destination", "destination of the peer"),
        _real("target_fidelity", "target fidelity of the peer's requests"),
        _count("pairs", "pairs of each of the peer's requests"),
        _count("step", "number of steps ahead; 1 is the step that begins at time_s"),
        _real("scheduled", "requests by timetable: this mean, rounded down or up"),
        _real("unscheduled", "mean of the Poisson number of all others"),
    ),
    level=RecordLevel.FULL,
)

REWARDS = Table(
    "rewards",
    (
        _time("time_s", "time of the reward"),
        _node("node", "node that earned it"),
        _real("amount", "reward, or penalty below 0, by the weights of [reward]"),
    ),
    level=RecordLevel.FULL,
)

DECIDED_ALLOCATIONS = Table(
    "decided_allocations",
    (
        _id("decision", "row of the table decisions: the time and the site that decided"),
        _id(
            "allocation",
            "id of the allocation; -1 if it did not begin, because its request had ended meanwhile",
        ),
        _id("request", "id of the request it serves; -1 for stock"),
        _code("purpose", Purpose, "whether it serves a request or generates pairs for stock"),
        _node("source", "first node of the path"),
        _node("destination", "last node of the path"),
        _real("target_fidelity", "fidelity requested of each pair"),
        _count("pairs", "number of pairs requested"),
        _count("rounds", "number of distillation rounds on each link; -1 if decided_steps states them"),
        _count("end_rounds", "number of distillation rounds between the ends of the path"),
        _code("schedule", SCHEDULES, "schedule of distillation on a link"),
        _code("protocol", PROTOCOLS, "distillation protocol"),
        _time("expires_s", "time at which all resources that it holds are released"),
        _code(
            "retry_low_fidelity",
            ("no", "yes"),
            "whether a pair below the target is discarded and made again, or delivered",
        ),
    ),
    level=RecordLevel.FULL,
)

DECIDED_STEPS = Table(
    "decided_steps",
    (
        _id("decided_allocation", "row of the table decided_allocations"),
        _count("position", "position on the path, 0 at the source"),
        _node("node", "node at this position"),
        _count("rounds", "number of distillation rounds decided for the step to the next node"),
    ),
    level=RecordLevel.FULL,
)

DISCARDS = Table(
    "discards",
    (
        _id("decision", "row of the table decisions: the time and the site that decided"),
        _id("pair", "id of the stocked pair that was discarded"),
    ),
    level=RecordLevel.FULL,
)

TABLES: tuple[Table, ...] = (
    NODES, LINKS, DEMAND, DEMAND_MATRIX, PROCESSES, REQUESTS, ALLOCATIONS, PATH_STEPS, CLAIMS, PAIRS,
    MESSAGES, OUTAGES, FORECASTS, DECISIONS, POLICY, OUTPUT_LABELS, DECIDED_ALLOCATIONS, DECIDED_STEPS,
    DISCARDS, EXPECTED_DEMAND, REWARDS,
)  # fmt: skip


def kept_at(level: str) -> tuple[Table, ...]:
    """The tables that a record of this level keeps."""
    return tuple(table for table in TABLES if RecordLevel(level).at_least(table.level))
