"""The tables of level "full": decisions as they were given, what they saw, forecasts of peers, rewards."""

from __future__ import annotations

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES
from qdpem.events.columns import (
    TEXT,
    Column,
    Table,
    code_column,
    count_column,
    id_column,
    node_column,
    real_column,
    time_column,
)
from qdpem.events.words import Purpose
from qdpem.scenario.words import RecordLevel

POLICY = Table(
    "policy",
    (
        code_column("acts_every_epoch", ("no", "yes"), "whether all sites are asked at every epoch"),
        count_column("message_width", "numbers that each node adds to its reports"),
        real_column(
            "epsilon", "epsilon of differential privacy that its training spent; NaN if it states none"
        ),
        real_column("delta", "delta of differential privacy to which epsilon refers; NaN if it states none"),
    ),
    level=RecordLevel.FULL,
)

OUTPUT_LABELS = Table(
    "output_labels",
    (
        Column("output", TEXT, "", "name of the policy output"),
        count_column("position", "position on its last axis"),
        Column("label", TEXT, "", "meaning of the number at this position"),
    ),
    level=RecordLevel.FULL,
)

EXPECTED_DEMAND = Table(
    "expected_demand",
    (
        time_column("time_s", "time at which the forecast was made"),
        node_column("node", "node whose demand is forecast"),
        node_column("destination", "destination of the peer"),
        real_column("target_fidelity", "target fidelity of the peer's requests"),
        count_column("pairs", "pairs of each of the peer's requests"),
        count_column("step", "number of steps ahead; 1 is the step that begins at time_s"),
        real_column("scheduled", "requests by timetable: this mean, rounded down or up"),
        real_column("unscheduled", "mean of the Poisson number of all others"),
    ),
    level=RecordLevel.FULL,
)

REWARDS = Table(
    "rewards",
    (
        time_column("time_s", "time of the reward"),
        node_column("node", "node that earned it"),
        real_column("amount", "reward, or penalty below 0, by the weights of [reward]"),
    ),
    level=RecordLevel.FULL,
)

DECIDED_ALLOCATIONS = Table(
    "decided_allocations",
    (
        id_column("decision", "row of the table decisions: the time and the site that decided"),
        id_column(
            "allocation",
            "id of the allocation; -1 if it did not begin, because its request had ended meanwhile",
        ),
        id_column("request", "id of the request it serves; -1 for stock"),
        code_column("purpose", Purpose, "whether it serves a request or generates pairs for stock"),
        node_column("source", "first node of the path"),
        node_column("destination", "last node of the path"),
        real_column("target_fidelity", "fidelity requested of each pair"),
        count_column("pairs", "number of pairs requested"),
        count_column("rounds", "number of distillation rounds on each link; -1 if decided_steps states them"),
        count_column("end_rounds", "number of distillation rounds between the ends of the path"),
        code_column("schedule", SCHEDULES, "schedule of distillation on a link"),
        code_column("protocol", PROTOCOLS, "distillation protocol"),
        time_column("expires_s", "time at which all resources that it holds are released"),
        code_column(
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
        id_column("decided_allocation", "row of the table decided_allocations"),
        count_column("position", "position on the path, 0 at the source"),
        node_column("node", "node at this position"),
        count_column("rounds", "number of distillation rounds decided for the step to the next node"),
    ),
    level=RecordLevel.FULL,
)

DISCARDS = Table(
    "discards",
    (
        id_column("decision", "row of the table decisions: the time and the site that decided"),
        id_column("pair", "id of the stocked pair that was discarded"),
    ),
    level=RecordLevel.FULL,
)
