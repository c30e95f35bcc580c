"""How a path makes its pair: distillation plans, and what one gives and costs on average.

Everything goes through the seam's own operations, so an estimate is as exact as its physics model.
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
from physics.sampling import check_protocol
from physics.states import is_bell_diagonal

Schedule: TypeAlias = Literal["nested", "pumping"]

SCHEDULES: Final[tuple[Schedule, ...]] = ("nested", "pumping")

Rounds: TypeAlias = int | tuple[int, ...]
"""Rounds of distillation on the links of a path: one number for all, or one for each from the source on."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Distil every link `rounds_per_link` times, swap along the path, distil end to end `end_rounds` times.

    `rounds_per_link` is one number for all links, or one for each, from the first node of the path on.
    `schedule` says what a round spends on the pair it keeps. "nested": another pair that went through the
    same rounds, so k rounds take 2^k pairs at least (Briegel et al. 1998, Phys. Rev. Lett. 81, 5932).
    "pumping": one pair that went through none, so they take k + 1 at least, and two memories at either end
    are enough (Duer et al. 1999, Phys. Rev. A 59, 169). `protocol` is one of `interface.PROTOCOLS`.

    Raises ValueError for another protocol or schedule and for rounds that are no whole number of 0 or more.

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
        each = self.rounds_per_link
        if not (_is_count(each) or (isinstance(each, tuple) and each and all(map(_is_count, each)))):
            raise ValueError(
                f"rounds_per_link is {each!r}; it must be a whole number of 0 or more, or a tuple of them,"
                " one for each link"
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; it must be one of {SCHEDULES}")

    def rounds_on(self, position: int) -> int:
        """Rounds on one link of the path, 0 the first."""
        return rounds_on(self.rounds_per_link, position)

    def fits(self, hops: int) -> bool:
        """Whether it says what to do on each link of a path of so many."""
        return isinstance(self.rounds_per_link, int) or len(self.rounds_per_link) == hops


def rounds_on(rounds: Rounds, position: int) -> int:
    """Rounds on link `position` of a path, 0 the first.

    >>> rounds_on(1, 5), rounds_on((2, 0), 0)
    (1, 2)
    """
    return rounds if isinstance(rounds, int) else rounds[position]


def one_number(rounds: tuple[int, ...]) -> Rounds:
    """The same rounds, said by one number where all links have as many.

    >>> one_number((1, 1)), one_number((1, 0))
    (1, (1, 0))
    """
    return rounds[0] if len(set(rounds)) == 1 else rounds


def _is_count(rounds: object) -> bool:
    return isinstance(rounds, int) and not isinstance(rounds, bool) and rounds >= 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimate:
    """What a plan gives on a path, and the expected fresh pairs it takes on each link, failures included.

    `swap_success_probability` is that of all swaps of one try; `pairs_per_link` are inf where it is 0.
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

    Each link pair is distilled fresh, stored at both ends for its own of `ages_s` (seconds), and swapped
    from the first node to the last; the state is the mean over the outcomes that nodes herald, and end rounds
    take two such pairs. Nothing else waits. A link built the other way round is to be flipped by the caller.

    Expected pairs count these restarts. A failed round loses both its pairs, and what went into either is
    made again from fresh pairs: nested rounds take C_k = 2 C_(k-1) / p_k pairs, pumping ones
    C_k = (C_(k-1) + 1) / p_k, with C_0 = 1 and p_k the success probability of round k. A failed swap loses
    the pairs of all links of the path: each takes C / q, q the probability that all swaps succeed. A failed
    end round loses both end-to-end pairs, and the same two laws hold, end-to-end pairs in the place of fresh
    ones. (Wald 1944, Ann. Math. Stat. 15, 283: tries are independent.)

    Raises ValueError unless there are at least one link, one more node than links and as many ages as links,
    for a plan that has rounds for another number of links, and for a round that never, or a swap that all but
    never, succeeds on the pairs it gets.

    >>> from physics.hardware import DepolarisingMemory, SourceLink
    >>> from physics.pauli import PauliModel
    >>> model, node = PauliModel(), NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    >>> link = model.link(SourceLink(fresh_fidelity=0.9), 20.0)
    >>> plan = Plan(rounds_per_link=1)
    >>> found = estimate(plan, model=model, links=[link] * 2, nodes=[node] * 3, ages_s=[0.01, 0.0])
    >>> round(found.fidelity, 6), [round(pairs, 6) for pairs in found.pairs_per_link]
    (0.850782, [2.284264, 2.284264])
    """
    if not links or len(nodes) != len(links) + 1 or len(ages_s) != len(links):
        raise ValueError(
            f"links, nodes and ages_s are {len(links)}, {len(nodes)} and {len(ages_s)}; "
            "they must be n, n + 1 and n, n at least 1"
        )
    if not plan.fits(len(links)):
        raise ValueError(f"rounds_per_link is {plan.rounds_per_link}; there are {len(links)} links")
    made = [
        distilled(
            link.fresh,
            plan.rounds_on(position),
            plan=plan,
            model=model,
            first=nodes[position],
            second=nodes[position + 1],
        )
        for position, link in enumerate(links)
    ]
    aged = [
        model.age(state, first.memory, second.memory, age_s)
        for (state, _), (first, second), age_s in zip(made, pairwise(nodes), ages_s, strict=True)
    ]
    joined, q = swapped(aged, model=model, nodes=nodes)
    state, ends = distilled(joined, plan.end_rounds, plan=plan, model=model, first=nodes[0], second=nodes[-1])
    tries = ends / q if q > 0.0 else math.inf
    return Estimate(
        state=state,
        fidelity=model.fidelity(state),
        swap_success_probability=q,
        pairs_per_link=tuple(pairs * tries for _, pairs in made),
    )


def distilled(
    pair: State, rounds: int, *, plan: Plan, model: PhysicsModel, first: NodeHardware, second: NodeHardware
) -> tuple[State, float]:
    """The state after `rounds` by the plan's protocol and schedule, and the expected pairs it takes.

    All pairs are like `pair`, which joins `first` and `second`, and none waits. The number is that of
    `estimate`. Raises ValueError for a round that never succeeds on the pairs it gets.
    """
    kept, cost = pair, 1.0
    for number in range(1, rounds + 1):
        spent, price = (kept, cost) if plan.schedule == "nested" else (pair, 1.0)
        result = model.distil(kept, spent, first, second, plan.protocol, 0.0)
        if not result.success:
            raise ValueError(f"round {number} of {plan.protocol!r} never succeeds on these pairs")
        kept, cost = result.state, (cost + price) / result.success_probability
    return kept, cost


def swapped(
    pairs: Sequence[State],
    *,
    model: PhysicsModel,
    nodes: Sequence[NodeHardware],
    bell_diagonal: bool | None = None,
) -> tuple[State, float]:
    """All swapped, pair i from node i to node i + 1.

    The mean state over the outcomes heralded, and the probability that all swaps succeed. `bell_diagonal`
    says whether all pairs are so, if the caller knows. Raises ValueError when a swap all but
    never succeeds.
    """
    joined: State = None
    success, alike = 1.0, bell_diagonal is not False
    for position, pair in enumerate(pairs):
        node = nodes[position]
        if bell_diagonal is None:
            alike = alike and is_bell_diagonal(model.density_matrix(pair))
        if position == 0:
            joined = pair
        elif alike:
            # Of Bell-diagonal pairs every outcome leaves the same state, and all are equally likely.
            joined = model.swap(joined, pair, node, 0.0, node.heralded_outcomes[0]).state
            success *= node.mean_swap_success_probability
        else:
            joined, probability = _mean_swap(joined, pair, node, model=model)
            success *= probability
    return joined, success


def _mean_swap(left: State, right: State, node: NodeHardware, *, model: PhysicsModel) -> tuple[State, float]:
    """The mean of the states that the heralded outcomes leave, and the probability that one is heralded."""
    found: list[Swapped] = []
    refused: ValueError | None = None
    for outcome in node.heralded_outcomes:
        try:
            found.append(model.swap(left, right, node, 0.0, outcome))
        except ValueError as error:
            # One too unlikely to be forced is too unlikely to matter, unless all are.
            refused = error
    success = sum(one.probability for one in found)
    if not success > 0.0:
        sentence = "a swap of this plan all but never succeeds on the pairs it gets"
        raise ValueError(f"{sentence}: {refused}") from refused
    shares = [one.probability / success for one in found]
    matrices = [model.density_matrix(one.state) for one in found]
    return model.from_density_matrix(np.tensordot(shares, matrices, axes=1)), success
