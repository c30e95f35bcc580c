"""Which nodes report in a round of a training. No draw depends on the nodes' data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Flags
from qdpem.rng import stream
from qdpem.scenario.tables.federation import Participation
from qdpem.scenario.words import Sampling


@dataclass(frozen=True, eq=False, kw_only=True)
class Attendance:
    """What each of N nodes does in one round, as flags [N]; each implies those before it.

    - `learns`: it has joined and has not left; its critics learn.
    - `asked`: it is drawn for the round.
    - `sent`: its update left it, perhaps too late.
    - `arrived`: its update came before the cut, and is aggregated. None is in a round without an aggregator.

    `expected`: mean number of nodes asked, by which sums are divided. It depends on nobody's data.
    """

    learns: Flags
    asked: Flags
    sent: Flags
    arrived: Flags
    expected: float


def attendance(participation: Participation, *, nodes: int, seed: int, round_number: int) -> Attendance:
    """Who takes part in round `round_number`, from 0, by streams of the root seed.

    >>> all_of_them = attendance(Participation(), nodes=3, seed=0, round_number=0)
    >>> all_of_them.arrived.tolist(), all_of_them.expected
    ([True, True, True], 3.0)
    """
    learns = _members(participation, nodes, seed, round_number)
    members = int(learns.sum())
    generator = stream(seed, f"federation/participation/{round_number}")
    order, fails, late = generator.random(nodes), generator.random(nodes), generator.random(nodes)
    if participation.sampling == Sampling.POISSON:
        asked, expected = learns & (order < participation.share), participation.share * members
    else:
        count = min(max(round(participation.share * members), 1), members)
        # The nodes with the lowest numbers; those outside the training come last.
        drawn = np.argsort(np.where(learns, order, 2.0), kind="stable")[:count]
        asked, expected = np.isin(np.arange(nodes), drawn), float(count)
    has_aggregator = round_number not in participation.outage_rounds
    sent = asked & (fails >= participation.failure_probability) & has_aggregator
    arrived = sent & (late >= participation.straggler_probability)
    return Attendance(learns=learns, asked=asked, sent=sent, arrived=arrived, expected=expected)


def most_rounds(participation: Participation, *, nodes: int, seed: int, rounds: int) -> int:
    """The number of rounds, at least 1, for which the node that is drawn most often is asked.

    Membership and sampling are known before the training, so the noise is set for this number. Failures,
    stragglers and outages are not foreseen: they lower what is spent, and not the noise.
    """
    asked = [
        attendance(participation, nodes=nodes, seed=seed, round_number=number).asked
        for number in range(rounds)
    ]
    return max(int(np.sum(asked, axis=0).max()), 1) if asked else 1


def _members(participation: Participation, nodes: int, seed: int, round_number: int) -> Flags:
    """Nodes that have joined the training and have not left it."""
    joiners, leavers = participation.joiners, participation.leavers
    order = stream(seed, "federation/turnover").permutation(nodes)
    late = np.isin(np.arange(nodes), order[: round(joiners.share * nodes)])
    early = np.isin(np.arange(nodes), order[nodes - round(leavers.share * nodes) :])
    return ~(late & (round_number < joiners.round)) & ~(early & (round_number >= leavers.round))
