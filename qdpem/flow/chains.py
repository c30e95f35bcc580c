"""Chains of commodities between the same ends, in which each allows every path that the next one allows."""

from __future__ import annotations

from qdpem.flow.commodities import Commodity, DistillationOption


def chained_commodities(commodities: tuple[Commodity, ...]) -> list[tuple[int, ...]]:
    """For each commodity itself and its successors in the chain: each allows all that the next one allows."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for index, commodity in enumerate(commodities):
        groups.setdefault((commodity.source, commodity.destination, commodity.pairs), []).append(index)
    chains: list[tuple[int, ...]] = [()] * len(commodities)
    for group in groups.values():
        chain: tuple[int, ...] = ()
        # From the tightest to the most permissive, so that each chain can grow at its front.
        for index in sorted(group, key=lambda index: max(commodities[index].options, default=(0, 0.0))):
            tighter = commodities[chain[0]].options if chain else ()
            allows_all = all(allows_option(commodities[index].options, option) for option in tighter)
            chain = (index, *chain) if allows_all else (index,)
            chains[index] = chain
    return chains


def using_commodities(chains: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """For each commodity those whose chains hold it, itself included, tightest first."""
    users: list[list[int]] = [[] for _ in chains]
    for index, chain in sorted(enumerate(chains), key=lambda pair: len(pair[1])):
        for member in chain:
            users[member].append(index)
    return [tuple(indices) for indices in users]


def allows_option(options: tuple[DistillationOption, ...], needed: DistillationOption) -> bool:
    """Whether some option allows as many hops for no more fresh pairs."""
    return any(
        option.max_hops >= needed.max_hops and option.pairs_per_link <= needed.pairs_per_link
        for option in options
    )
