"""The typed event tables: every column's name, type, unit and meaning, in one place.

The simulation writes rows in column order; records, metrics and reward read columns by name. Codes are
small integers whose words stand in the column's `words`. A node or id that does not exist is -1.
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
from qdpem.scenario.words import Application, OutageKind, Persistence, RecordLevel

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""The columns of one table by name, each one-dimensional, all of one length."""

Tables: TypeAlias = Mapping[str, Columns]
"""The columns of several tables, by the name of the table."""


@dataclass(frozen=True)
class Column:
    """One column: numpy type, unit ("" for a pure number), meaning, and the words of a code."""

    name: str
    dtype: str
    unit: str
    meaning: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table and the record level from which it is kept."""

    name: str
    columns: tuple[Column, ...]
    level: RecordLevel = RecordLevel.EVENTS

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in row order."""
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
    return Column(name, "int8", "", meaning, tuple(map(str, words)))


NODES = Table(
    "nodes",
    (
        _node("node", "index of the node"),
        _real("x_km", "position, east", "km"),
        _real("y_km", "position, north", "km"),
        _real("source_rate_hz", "photon pairs its source emits, before loss", "Hz"),
        _real("repeater_rate_hz", "swaps per second: tokens refilled, or what a server makes", "Hz"),
        _count("memories", "qubits, of all its links together"),
        Column("name", "S64", "", "name in the topology, UTF-8"),
    ),
    level=RecordLevel.REQUESTS,
)

LINKS = Table(
    "links",
    (
        _id("link", "index of the link"),
        _node("first", "the end with the lower index"),
        _node("second", "the other end"),
        _real("length_km", "fibre length", "km"),
        _real("success_probability", "of one attempt, herald included"),
        _real("fresh_fidelity", "of a pair just made"),
        _time("delay_s", "one-way classical delay"),
    ),
    level=RecordLevel.REQUESTS,
)

DEMAND = Table(
    "demand",
    (
        _real("rate_hz", "mean requests of the whole network", "Hz"),
        _real("peak_rate_hz", "requests while all regions burst", "Hz"),
        _real("capacity_hz", "that the network could carry, by which load_factor is counted", "Hz"),
    ),
    level=RecordLevel.REQUESTS,
)

REQUESTS = Table(
    "requests",
    (
        _id("request", "id"),
        _time("time_s", "arrival at the source"),
        _node("source", "who asks"),
        _node("destination", "with whom"),
        _real("target_fidelity", "least true fidelity"),
        _count("pairs", "pairs asked"),
        _time("deadline_s", "absolute"),
        _code("application", Application, "what for"),
        _code("outcome", RequestOutcome, "how it ended"),
        _time("end_s", "when it ended; the run's end if open"),
        _real("fidelity", "mean true fidelity of its pairs; NaN without any"),
        _count("pairs_delivered", "pairs that met the target in time"),
        _count("attempts", "allocations made for it"),
        _count("hops", "links of the path that served it; 0 from remote stock; -1 if not delivered"),
        _code(
            "persistence",
            Persistence,
            "what it begins again: nothing, each pair when delivered, or every link",
        ),
    ),
    level=RecordLevel.REQUESTS,
)

ALLOCATIONS = Table(
    "allocations",
    (
        _id("allocation", "id"),
        _time("time_s", "when it was decided"),
        _node("deciding_node", "the node that decided; -1 the controller"),
        _id("request", "the request served, -1 for stock"),
        _code("purpose", Purpose, "serve a request or stock for later"),
        _node("source", "first node; owner of stock"),
        _node("destination", "last node"),
        _real("target_fidelity", "asked of the pair"),
        _count("pairs", "pairs asked"),
        _count("end_rounds", "distillation rounds between the ends of the path"),
        _code("schedule", SCHEDULES, "what a round on a link spends: an equal pair, or a fresh one"),
        _code("protocol", PROTOCOLS, "how it distils"),
        _count("hops", "steps of its path"),
        _time("expires_s", "when all it holds is released"),
        _time("end_s", "when it ended"),
        _code("outcome", AllocationOutcome, "how it ended"),
        _code("cause", RefusalCause, "why it was refused"),
        _node("refused_at", "the node that refused, -1 if none"),
    ),
)

PATH_STEPS = Table(
    "path_steps",
    (
        _id("allocation", "id"),
        _count("position", "0 at the source"),
        _node("node", "the node there"),
        _count("rounds", "distillation rounds on the link from here to the next node; 0 at the last"),
    ),
)

CLAIMS = Table(
    "claims",
    (
        _id("claim", "id"),
        _id("allocation", "whose claim"),
        _code("kind", ClaimKind, "the resource wanted"),
        _code("purpose", Purpose, "of its allocation"),
        _node("source", "source of its allocation's path"),
        _node("node", "where the resource is; for emissions the link's first end"),
        _id("link", "for emissions, else -1"),
        _time("time_s", "when it was made"),
        _time("end_s", "when it was granted, withdrawn or refused"),
        _code("outcome", ClaimOutcome, "how it ended"),
        _code("contended", ("no", "yes"), "1 if the resource went to another claim"),
        _time("contended_s", "from first losing the resource to its end"),
        _node("rival", "source of the claim that first took the resource, -1 if none or unknown"),
    ),
)

PAIRS = Table(
    "pairs",
    (
        _id("pair", "id, never reused"),
        _time("born_s", "first known at an end of its link, or end of the swap or distillation"),
        _node("first", "one end: the first of its state, as it was in the end"),
        _node("second", "the other end"),
        _id("link", "the link that made it, -1 if swapped"),
        _node("sender", "the end whose source made it, -1 unless fresh from a source-limited link"),
        _id("first_parent", "pair it was made from (left of a swap, kept of a distillation), -1 if fresh"),
        _id("second_parent", "the other one"),
        Column("bell_outcome", "int8", "", "Bell state 0 to 3 reported by the swap that made it, else -1"),
        _id("allocation", "that ordered it"),
        _node("owner", "owner while in stock, -1 if never stocked"),
        _time("end_s", "when it ended"),
        _code("outcome", PairOutcome, "how it ended"),
        _time("fidelity_s", "the moment its fidelity is of: its end, or before when word of it came later"),
        _real("fidelity", "true fidelity"),
    ),
)

MESSAGES = Table(
    "messages",
    (
        _time("time_s", "end of the second counted"),
        _code("kind", MessageKind, "what it says"),
        _id("count", "messages sent, one per hop travelled"),
        Column("bytes", "int64", "B", "their size"),
    ),
)

OUTAGES = Table(
    "outages",
    (
        _code("kind", OutageKind, "what was away"),
        _node("node", "which node, -1 for a link or the controller"),
        _id("link", "which link, -1 for a node or the controller"),
        _time("from_s", "when it went; 0 if it was not there from the start"),
        _time("until_s", "when it comes back or joins; inf if never"),
    ),
    level=RecordLevel.REQUESTS,
)

FORECASTS = Table(
    "forecasts",
    (
        _time("time_s", "when it was made"),
        _node("node", "the node whose demand is forecast"),
        _count("step", "steps ahead, 1 is the next"),
        _real("mean", "expected requests in that step"),
    ),
)

DECISIONS = Table(
    "decisions",
    (
        _time("time_s", "when the site was asked"),
        _node("deciding_node", "the node asked to decide; -1 the controller"),
        _code("reason", DecisionReason, "why"),
        _count("waiting", "requests it saw waiting"),
        _count("allocations", "allocations it made"),
    ),
)

TABLES: tuple[Table, ...] = (
    NODES, LINKS, DEMAND, REQUESTS, ALLOCATIONS, PATH_STEPS, CLAIMS, PAIRS, MESSAGES, OUTAGES, FORECASTS,
    DECISIONS,
)  # fmt: skip


def kept_at(level: str) -> tuple[Table, ...]:
    """The tables that a record of this level keeps."""
    return tuple(table for table in TABLES if RecordLevel(level).at_least(table.level))
