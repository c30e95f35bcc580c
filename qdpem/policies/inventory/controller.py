"""All stock of an arm with pregeneration: end-to-end pairs by a rule, and link pairs for paths.

Link pairs are kept with any pregeneration, end-to-end pairs from "end-to-end" on. With "none" nothing is
kept, and calls cost no time. Sources, knowledge and work are those of `base_stock` or `planned_stock`, and
`link_stock`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policies.inventory.end_to_end_rule import EndToEndRule
from qdpem.policies.inventory.link_stock import LinkStock
from qdpem.policies.inventory.parameters import StockParameters
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.stocked_pairs import StockByEnds, ready_stock
from qdpem.policy.interface import FREE_MEMORIES, Allocation, Context, Observation


class InventoryController:
    """Orders stock and lists the pairs that are ready.

    `is_active`: whether the arm has pregeneration. `links`: its stock of link pairs.
    """

    def __init__(self, context: Context, rule: EndToEndRule, *, parameters: StockParameters) -> None:
        self._rule = rule
        self._min_path_memories = parameters.min_path_memories
        self.links = LinkStock(context, parameters=parameters)
        self.is_active = context.pregeneration != "none"

    def sites_to_act(self, observations: Observation) -> Iterator[tuple[Observation, list[Any]]]:
        """Sites with pending requests or lacking stock: the observation of each, and what it lacks.

        The forecasts of all sites are taken in before the first one is yielded.
        """
        has_requests = np.any(observations.request_id >= 0, axis=1).tolist()
        lacking: list[list[Any]] = [[] for _ in has_requests]
        if self.is_active:
            lacking = self._rule.lacks(observations)
        for row, (pending, lacks) in enumerate(zip(has_requests, lacking, strict=True)):
            if pending or lacks:
                yield observations[row], lacks

    def ready_stock(self, observation: Observation) -> StockByEnds:
        """The ready pairs that one site observes; empty without pregeneration."""
        return ready_stock(observation) if self.is_active else {}

    def reserved(self, source: int, destination: int, pairs: int) -> int:
        """Pairs in stock that a request for `pairs` must leave to others."""
        return self._rule.reserved(source, destination, pairs) if self.is_active else 0

    def replenish(self, lacks: list[Any], backlog: Backlog, observation: Observation) -> list[Allocation]:
        """Orders for what one site lacks; `backlog` counts their work."""
        unavailable = observation.unavailable()
        if self._min_path_memories and (full := self._full_nodes(observation)):
            unavailable = replace(unavailable, nodes=unavailable.nodes | full)
        return list(self._rule.replenish(lacks, backlog, now_s=observation.time_s, unavailable=unavailable))

    def link_orders(self, observations: Observation) -> list[Allocation]:
        """Orders of link pairs, at most one for each node."""
        return self.links.orders(observations) if self.is_active else []

    def _full_nodes(self, observation: Observation) -> frozenset[int]:
        """Nodes of which one site knows that they have too few free memories for an order to pass."""
        # A node that is unavailable reports NaN, which is no number of memories.
        full = observation.status[0, :, FREE_MEMORIES] < self._min_path_memories
        return frozenset(observation.observed_node[0, full].tolist())

    def state(self) -> dict[str, NDArray[Any]]:
        """Times of the last orders, and what the rule remembers; everything else follows from the map."""
        return {"links_ordered_s": self.links.ordered_s.copy(), **self._rule.state()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self.links.ordered_s = np.array(state["links_ordered_s"], dtype=np.float64)
        self._rule.load_state(state)
