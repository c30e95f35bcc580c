"""The number of hops that each number of distillation rounds allows, and the fresh pairs it takes."""

from __future__ import annotations

import numpy as np

from qdpem.flow.commodities import DistillationOption
from qdpem.network.path import path_along
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policy.interface import Context


class DistillationReach:
    """Reach and cost of each number of rounds, on links like the one of median fresh fidelity."""

    def __init__(self, context: Context, *, storage_fraction: float) -> None:
        """`storage_fraction`: assumed age of link pairs when swapped, as a fraction of the idle delay."""
        self._context = context
        self._storage_fraction = storage_fraction
        network = context.network
        fresh = [context.estimates.link_fidelity(link) for link in range(network.link_count)]
        # The median link stands for all: options must not depend on a path that is not yet known.
        self._link = int(np.argsort(fresh, kind="stable")[len(fresh) // 2])
        working_hz = network.link_rate_hz[network.link_rate_hz > 0.0]
        self._pair_s = float(1.0 / np.median(working_hz)) if len(working_hz) else 0.0
        self._pairs_per_link = [
            context.estimates.pairs_per_link(self._link, rounds=rounds) for rounds in range(MAX_ROUNDS + 1)
        ]
        self._options: dict[tuple[float, int], tuple[DistillationOption, ...]] = {}

    def options(self, target_fidelity: float, max_hops: int) -> tuple[DistillationOption, ...]:
        """Each number of rounds that reaches farther than fewer rounds do, within `max_hops`."""
        key = target_fidelity, max_hops
        if key not in self._options:
            options: list[DistillationOption] = []
            for rounds, pairs_per_link in enumerate(self._pairs_per_link):
                hops = self._reach(target_fidelity, rounds, max_hops)
                # Rounds that reach no farther than fewer rounds only cost more pairs.
                if hops > max((option.max_hops for option in options), default=0):
                    options.append(DistillationOption(hops, pairs_per_link))
            self._options[key] = tuple(options)
        return self._options[key]

    def rounds(self, pairs_per_link: float) -> int:
        """The number of rounds that takes this many fresh pairs."""
        # Exact equality holds, because options carry these very numbers.
        return self._pairs_per_link.index(pairs_per_link)

    def _reach(self, target_fidelity: float, rounds: int, max_hops: int) -> int:
        """Most hops over links like the median one that still meet the target after the assumed storage."""
        hops = 0
        while hops < max_hops and self._fidelity(hops + 1, rounds) >= target_fidelity:
            hops += 1
        return hops

    def _fidelity(self, hops: int, rounds: int) -> float:
        """Fidelity of a walk to and fro over the median link, its pairs aged as on an idle network."""
        first, second = self._context.network.graph.link_ends[self._link].tolist()
        nodes = tuple((first, second)[hop % 2] for hop in range(hops + 1))
        walk = path_along(self._context.network, nodes)
        # sqrt(hops) x the time of one link: the delay model of `path_features` on an idle network.
        age_s = self._storage_fraction * np.sqrt(hops) * self._pairs_per_link[rounds] * self._pair_s
        return self._context.estimates.fidelity(walk, rounds=rounds, age_s=float(age_s))
