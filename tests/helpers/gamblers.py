"""A policy that decides at random within the rules, so that anything that may meet does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from physics.plans import Plan, Rounds
from qdpem.policy.interface import Allocation, Context, Decisions, Observation


class Gambler:
    """Serves, stocks and drops at random: every plan, split and expiry, any path, over stock where it can.

    Stock is ordered until `stock_until_s`, each time for at most `longest_s`.
    """

    name = "gambler"
    acts_every_epoch = True
    message_width = 1

    def __init__(self, seed: int, *, stock_until_s: float = math.inf, longest_s: float = 3.0) -> None:
        self._draws = np.random.default_rng(seed)
        self._stock_until_s, self._longest_s = stock_until_s, longest_s
        self.counts = {"serve": 0, "stock": 0, "drop": 0, "virtual-link": 0}

    def reset(self, context: Context) -> None:
        self._context = context

    def act(self, observations: Observation) -> Decisions:
        allocations, discards = [], []
        for observation in observations:
            allocations += [*self._serve(observation), *self._stock(observation)]
            ready = observation.stock_id[0][observation.stock_ready[0] == 1].tolist()
            discards += [pair for pair in ready if self._happens(0.03)]
        self.counts["drop"] += len(discards)
        messages = self._draws.random((len(observations), 1))
        return Decisions(allocations=tuple(allocations), discards=tuple(discards), messages=messages)

    def _happens(self, probability: float) -> bool:
        return bool(self._draws.random() < probability)

    def _serve(self, observation: Observation) -> Iterator[Allocation]:
        for column, request in enumerate(observation.request_id[0].tolist()):
            deadline_s = float(observation.request_deadline_s[0, column])
            if request < 0 or deadline_s <= observation.time_s or self._happens(0.1):
                continue
            ends = int(observation.request_source[0, column]), int(observation.request_destination[0, column])
            # Sometimes split over several allocations, sometimes fewer pairs than asked for.
            left = int(observation.request_pairs[0, column])
            while left > 0 and self._happens(0.95):
                pairs = int(self._draws.integers(1, left + 1))
                left -= pairs
                self.counts["serve"] += 1
                path = self._path(
                    observation, *ends, over_stock=observation.request_repeat_until_deadline[0, column] == 0
                )
                early_s = (deadline_s - observation.time_s) * max(self._draws.uniform(-3.0, 0.9), 0.0)
                yield Allocation(
                    source=ends[0],
                    destination=ends[1],
                    target_fidelity=float(observation.request_target_fidelity[0, column]),
                    path=path,
                    expires_s=deadline_s - early_s,
                    plan=self._plan(path),
                    pairs=pairs,
                    request=request,
                )

    def _stock(self, observation: Observation) -> Iterator[Allocation]:
        if observation.time_s > self._stock_until_s or self._happens(0.7):
            return
        nodes = self._context.network.node_count
        source = int(observation.site[0]) if observation.site[0] >= 0 else int(self._draws.integers(nodes))
        destination = int(self._draws.choice([node for node in range(nodes) if node != source]))
        path = self._path(observation, source, destination, over_stock=True)
        if len(path) == 2 and path not in self._context.network.link_between:
            return
        self.counts["stock"] += 1
        yield Allocation(
            source=source,
            destination=destination,
            target_fidelity=0.7,
            path=path,
            expires_s=observation.time_s + float(self._draws.uniform(1e-6, self._longest_s)),
            plan=self._plan(path),
            pairs=int(self._draws.integers(1, 4)),
            purpose="stock",
        )

    def _path(
        self, observation: Observation, source: int, destination: int, *, over_stock: bool = True
    ) -> tuple[int, ...]:
        """A path over links, or over one stocked pair where there is one that shortens it."""
        paths = self._context.routes.paths(source, destination)
        path = paths[int(self._draws.integers(len(paths)))].nodes
        owned = observation.stock_ready[0] == 1
        stock = zip(
            observation.stock_owner[0][owned].tolist(),
            observation.stock_partner[0][owned].tolist(),
            strict=True,
        )
        for owner, partner in stock:
            if over_stock and owner in path and partner in path and self._happens(0.7):
                first, second = path.index(owner), path.index(partner)
                if first + 1 < second:
                    self.counts["virtual-link"] += 1
                    return path[: first + 1] + path[second:]
        return path

    def _rounds(self, path: tuple[int, ...]) -> Rounds:
        """One number for all links, or one for each."""
        if self._happens(0.5):
            return int(self._draws.choice(3, p=(0.7, 0.2, 0.1)))
        linked = self._context.network.link_between
        each = self._draws.choice(3, p=(0.7, 0.2, 0.1), size=len(path) - 1).tolist()
        return tuple(
            rounds if step in linked else 0 for step, rounds in zip(pairwise(path), each, strict=True)
        )

    def _plan(self, path: tuple[int, ...]) -> Plan:
        linked = set(pairwise(path)) <= set(self._context.network.link_between)
        return Plan(
            rounds_per_link=self._rounds(path),
            end_rounds=int(linked and self._happens(0.2)),
            schedule=("nested", "pumping")[int(self._draws.integers(2))],
            protocol=("dejmps", "bbpssw")[int(self._draws.integers(2))],
        )
