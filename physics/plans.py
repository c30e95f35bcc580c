"""Distillation plans of a path, and the average result and cost of a plan.

Estimates use only the operations of `PhysicsModel`, so they are as exact as their model. Expected pairs count
restarts. A failed round loses both its pairs, which are made again from fresh pairs. Nested rounds take
C_k = 2 C_(k-1) / p_k pairs and pumping rounds C_k = (C_(k-1) + 1) / p_k, with C_0 = 1 and p_k the success
probability of round k. A failed swap loses the pairs of all links of the path: each link takes C / q pairs, q
the probability that all swaps succeed. A failed end round loses both end-to-end pairs. The same two laws hold
for it, with end-to-end pairs in the place of fresh ones. (Wald 1944, Ann. Math. Stat. 15, 283: tries are
independent.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np

from physics.hardware import NodeHardware
from physics.interface import CompiledLink, PhysicsModel, State, Swapped
from physics.qubits.states import is_bell_diagonal
from physics.sampling import check_protocol

Schedule: TypeAlias = Literal["nested", "pumping"]

SCHEDULES: Final[tuple[Schedule, ...]] = ("nested", "pumping")

Rounds: TypeAlias = int | tuple[int, ...]
"""Rounds of distillation on the links of a path: one number for all, or one a link from the source on."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Distil every link `rounds_per_link` times, swap along the path, distil end to end `end_rounds` times.

    `rounds_per_link` is one number for all links, or one for each, from the first node of the path on.
    `schedule` selects the pair that a round spends. A "nested" round spends a pair that has had as many
    rounds, so k rounds take at least 2^k pairs (Briegel et al. 1998, Phys. Rev. Lett. 81, 5932). A "pumping"
    round spends an undistilled pair, so k rounds take at least k + 1 pairs, and two memories at each end are
    enough (Duer et al. 1999, Phys. Rev. A 59, 169). `protocol` is one of `interface.PROTOCOLS`.

    Raises ValueError for another protocol or schedule, and for rounds that are no whole number of 0 or more.

    >>> Plan(rounds_per_link=1, schedule="pumping").end_rounds
    0
    >>> Plan(rounds_per_link=(0, 2, 1)).rounds_on(1)
    2
    """

    protocol: str = "dejmps"
    rounds_per_link: Rounds = 0
    end_rounds: int = 0
    schedule: Schedule = "nested"

    def __post_init__(self) -> None:
        check_protocol(self.protocol)
        if not _is_count(self.end_rounds):
            raise ValueError(f"end_rounds is {self.end_rounds!r}; it must be a whole number of 0 or more")
        rounds = self.rounds_per_link
        if not (_is_count(rounds) or (isinstance(rounds, tuple) and rounds and all(map(_is_count, rounds)))):
            raise ValueError(
                f"rounds_per_link is {rounds!r}; it must be a whole number of 0 or more, or a tuple of them,"
                " one for each link"
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; it must be one of {SCHEDULES}")

    def rounds_on(self, position: int) -> int:
        """The rounds on link `position` of the path, from 0."""
        return rounds_on(self.rounds_per_link, position)

    def fits(self, hops: int) -> bool:
        """Whether the plan has rounds for each link of a path of `hops` links."""
        return isinstance(self.rounds_per_link, int) or len(self.rounds_per_link) == hops


def rounds_on(rounds: Rounds, position: int) -> int:
    """The rounds on link `position` of a path, from 0.

    >>> rounds_on(1, 5), rounds_on((2, 0), 0)
    (1, 2)
    """
    return rounds if isinstance(rounds, int) else rounds[position]


def compact_rounds(rounds: tuple[int, ...]) -> Rounds:
    """The same rounds, as one number if all links have equally many.

    >>> compact_rounds((1, 1)), compact_rounds((1, 0))
    (1, (1, 0))
    """
    return rounds[0] if len(set(rounds)) == 1 else rounds


def _is_count(rounds: object) -> bool:
    # True is an int, but no number of rounds.
    return isinstance(rounds, int) and not isinstance(rounds, bool) and rounds >= 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimate:
    """The result of a plan on a path, and the expected fresh pairs it takes on each link, failures included.

    `swap_success_probability` is that of all swaps of one try. `pairs_per_link` are inf where it is 0.
    """

    state: State
    fidelity: float
    swap_success_probability: float
    pairs_per_link: tuple[float, ...]


def estimate(
    plan: Plan,
    *,
    model: PhysicsModel,
    links: Sequence[CompiledLink],
    nodes: Sequence[NodeHardware],
    ages_s: Sequence[float],
) -> Estimate:
    """State, fidelity and cost of `plan` over `links` in a row, link i from node i to node i + 1.

    Each link's pair is distilled fresh, stored at both ends for the link's own age, and swapped, from the
    first node to the last. The state is the mean over the outcomes that the nodes herald. An end round takes
    two such pairs. No pair waits otherwise. The docstring of this module has the laws of the expected pairs.

    Raises ValueError unless there are at least one link, one more node than links and as many ages as links,
    for a plan with rounds for another number of links, for a round that never succeeds on its pairs, and for
    a swap that almost never does.

    Args:
        plan: the rounds on each link and between the ends.
        model: the physics model whose operations are used.
        links: the links, compiled by `model`; the caller flips the state of one built the other way round.
        nodes: the hardware of each node, one more than links.
        ages_s: seconds that each link's pair is stored at both ends before the swaps.

    >>> from physics.hardware import DepolarisingMemory, SourceLink
    >>> from physics.models.pauli import PauliModel
    >>> model, node = PauliModel(), NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    >>> link = model.link(SourceLink(fresh_fidelity=0.9), 20.0)
    >>> plan = Plan(rounds_per_link=1)
    >>> result = estimate(plan, model=model, links=[link] * 2, nodes=[node] * 3, ages_s=[0.01, 0.0])
    >>> round(result.fidelity, 6), [round(pairs, 6) for pairs in result.pairs_per_link]
    (0.850782, [2.284264, 2.284264])
    """
    _check_lengths(plan, len(links), len(nodes), len(ages_s))
    link_pairs = [
        distilled(link.fresh, plan.rounds_on(position), plan=plan, model=model, first=first, second=second)
        for position, (link, (first, second)) in enumerate(zip(links, pairwise(nodes), strict=True))
    ]
    aged = [
        model.age(state, first.memory, second.memory, age_s)
        for (state, _), (first, second), age_s in zip(link_pairs, pairwise(nodes), ages_s, strict=True)
    ]
    joined, q = swapped(aged, model=model, nodes=nodes)
    state, end_pairs = distilled(
        joined, plan.end_rounds, plan=plan, model=model, first=nodes[0], second=nodes[-1]
    )
    tries = end_pairs / q if q > 0.0 else math.inf
    return Estimate(
        state=state,
        fidelity=model.fidelity(state),
        swap_success_probability=q,
        pairs_per_link=tuple(pairs * tries for _, pairs in link_pairs),
    )


def _check_lengths(plan: Plan, links: int, nodes: int, ages: int) -> None:
    if not links or nodes != links + 1 or ages != links:
        raise ValueError(
            f"links, nodes and ages_s are {links}, {nodes} and {ages}; "
            "they must be n, n + 1 and n, n at least 1"
        )
    if not plan.fits(links):
        raise ValueError(f"rounds_per_link is {plan.rounds_per_link}; there are {links} links")


def distilled(
    pair: State, rounds: int, *, plan: Plan, model: PhysicsModel, first: NodeHardware, second: NodeHardware
) -> tuple[State, float]:
    """The state after `rounds` by the plan's protocol and schedule, and the expected pairs they take.

    No pair waits. Raises ValueError for a round that never succeeds on its pairs.

    Args:
        pair: the state of every pair at the start.
        rounds: the number of rounds.
        plan: gives protocol and schedule; its own rounds are not used.
        model: the physics model whose operations are used.
        first: the hardware at the first end of the pairs.
        second: the hardware at the second end.
    """
    kept, cost = pair, 1.0
    for number in range(1, rounds + 1):
        spent, spent_cost = (kept, cost) if plan.schedule == "nested" else (pair, 1.0)
        # u = 0 succeeds whenever a round can: no draw is needed for its probability and state.
        result = model.distil(kept, spent, first, second, plan.protocol, 0.0)
        if not result.success:
            raise ValueError(f"round {number} of {plan.protocol!r} never succeeds on these pairs")
        kept, cost = result.state, (cost + spent_cost) / result.success_probability
    return kept, cost


def swapped(
    pairs: Sequence[State],
    *,
    model: PhysicsModel,
    nodes: Sequence[NodeHardware],
    bell_diagonal: bool | None = None,
) -> tuple[State, float]:
    """The mean state over the heralded outcomes, and the probability that all swaps succeed.

    Pair i joins node i and node i + 1. `bell_diagonal` tells whether all pairs are Bell-diagonal; None finds
    out. Raises ValueError when a swap almost never succeeds.
    """
    joined: State = None
    success, all_diagonal = 1.0, bell_diagonal is not False
    for position, pair in enumerate(pairs):
        node = nodes[position]
        if bell_diagonal is None:
            all_diagonal = all_diagonal and is_bell_diagonal(model.density_matrix(pair))
        if position == 0:
            joined = pair
        elif all_diagonal:
            # With Bell-diagonal pairs all outcomes leave the same state and are equally likely.
            joined = model.swap(joined, pair, node, 0.0, node.heralded_outcomes[0]).state
            success *= node.mean_swap_success_probability
        else:
            joined, probability = _mean_swap(joined, pair, node, model=model)
            success *= probability
    return joined, success


def _mean_swap(left: State, right: State, node: NodeHardware, *, model: PhysicsModel) -> tuple[State, float]:
    """The mean state over the heralded outcomes, and the probability that one is heralded."""
    results: list[Swapped] = []
    refused: ValueError | None = None
    for outcome in node.heralded_outcomes:
        try:
            results.append(model.swap(left, right, node, 0.0, outcome))
        except ValueError as error:
            # An outcome too unlikely to be forced is too unlikely to matter, unless all outcomes are.
            refused = error
    success = sum(result.probability for result in results)
    if not success > 0.0:
        sentence = "a swap of this plan almost never succeeds on the pairs it gets"
        raise ValueError(f"{sentence}: {refused}") from refused
    weights = [result.probability / success for result in results]
    matrices = [model.density_matrix(result.state) for result in results]
    return model.from_density_matrix(np.tensordot(weights, matrices, axes=1)), success
