"""Constant base stock: keep so many remote pairs for each of the pairs of nodes most asked for.

Source: base-stock (order-up-to) control of perishable goods (Nahmias 2011), with entangled pairs that
expire when they no longer meet a target. What is missing is ordered only where it disturbs nobody:
tokens that lie idle are lost anyway, an emission or qubit that a live request wants is not touched.
Knowledge: how often each pair was asked for so far. Work: one choice of path for each pair that is short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from qdpem.baselines.expected_finish import Choice, Load, Planner
from qdpem.baselines.waiting import Waiting
from qdpem.policy.interface import FREE_MEMORIES, Allocation, Context, Plan, Views

_LONGEST_LIFE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class BaseStockRule:
    """How much is kept, for whom, at what quality, and how far it yields."""

    base: int = 1
    """Pairs kept or on order for each peer."""
    peers: int = 6
    """For how many of the peers most asked for at a site; central: times the number of nodes."""
    target_fidelity: float = 0.7
    """Stock is kept while it is believed to meet this."""
    margin: float = 0.01
    """A stocked pair serves a request if believed this much above its target."""
    least_life_s: float = 1.0
    """No pair is stocked that would be useful for less."""
    backlog: float = 0.0
    """Pairs that may be ahead at the sources of the path's ends when stock is ordered."""
    free_memories: int = 4
    """Free qubits that the ends must have, known or believed."""


def ready_stock(view: Views) -> dict[tuple[int, int], list[float]]:
    """Believed fidelities of the pairs on the shelf of a view of one site, by (owner, partner)."""
    found: dict[tuple[int, int], list[float]] = {}
    columns = (view.stock_owner[0], view.stock_partner[0], view.stock_ready[0], view.stock_fidelity[0])
    for owner, partner, ready, fidelity in zip(*(column.tolist() for column in columns), strict=True):
        if owner >= 0 and ready == 1:
            found.setdefault((owner, partner), []).append(fidelity)
    return found


def serve_from_stock(
    request: Waiting, shelf: dict[tuple[int, int], list[float]], *, margin: float
) -> Allocation | None:
    """Take the worst pairs on the shelf that are good enough for a request; None if there are too few.

    What is taken leaves `shelf`.
    """
    kept = shelf.get((request.source, request.destination), [])
    good = sorted(value for value in kept if value >= request.target_fidelity + margin)[: request.pairs]
    if len(good) < request.pairs:
        return None
    for value in good:
        kept.remove(value)
    return request.allocation((request.source, request.destination))


def replenish(
    view: Views, load: Load, context: Context, planner: Planner, *, rule: BaseStockRule
) -> Iterator[Allocation]:
    """Orders that fill the stock of the top peers of a view of one site up to `rule.base`.

    Each goes over the path of least expected finish whose repeaters are all idle.
    """
    on_hand = Counter(zip(view.stock_owner[0].tolist(), view.stock_partner[0].tolist(), strict=True))
    free = _free_memories(view)
    for source, destination in _top_peers(view, context, rule.peers):
        short = rule.base - on_hand[source, destination]
        if short <= 0 or min(free.get(source, 99), free.get(destination, 99)) < rule.free_memories:
            continue
        choice = _quiet_choice(source, destination, load, planner, rule)
        if choice is None:
            continue
        order = _order(choice, view.time_s, context, rule)
        if order is not None:
            load.add(choice)
            yield order


def _top_peers(view: Views, context: Context, peers: int) -> list[tuple[int, int]]:
    count = peers if context.control == "local" else peers * context.network.node_count
    ends = zip(view.peer_source[0, :count].tolist(), view.peer_destination[0, :count].tolist(), strict=True)
    wanted = [(source, destination) for source, destination in ends if source >= 0]
    if context.rights == "elementary":
        return [pair for pair in wanted if pair in context.network.link_between]
    return wanted


def _quiet_choice(
    source: int, destination: int, load: Load, planner: Planner, rule: BaseStockRule
) -> Choice | None:
    if not (
        load.source_idle(source, pairs=rule.backlog) and load.source_idle(destination, pairs=rule.backlog)
    ):
        return None
    return planner.choose(
        source,
        destination,
        load,
        target_fidelity=rule.target_fidelity,
        within_s=float("inf"),
        quiet=True,
    )


def _order(choice: Choice, now_s: float, context: Context, rule: BaseStockRule) -> Allocation | None:
    path = choice.path
    life_s = context.estimates.useful_life_s(path, rule.target_fidelity, rounds=choice.rounds)
    if life_s < rule.least_life_s or (context.rights == "elementary" and path.hops > 1):
        return None
    return Allocation(
        source=path.nodes[0],
        destination=path.nodes[-1],
        target_fidelity=rule.target_fidelity,
        path=path.nodes,
        expires_s=now_s + choice.finish_s + min(life_s, _LONGEST_LIFE_S),
        plan=Plan(rounds_per_link=choice.rounds),
        purpose="stock",
    )


def _free_memories(view: Views) -> dict[int, float]:
    known, free = view.known[0].tolist(), view.status[0, :, FREE_MEMORIES].tolist()
    return {node: count for node, count in zip(known, free, strict=True) if node >= 0}
