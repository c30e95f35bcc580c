"""All stock of an arm with pregeneration: end-to-end pairs for frequent peers, link pairs for its paths.

Link pairs are kept with any pregeneration, end-to-end pairs from "end-to-end" on. With "none" nothing is
kept, and calls cost no time. Sources, knowledge and work are those of `base_stock`, `link_stock` and
`stock_levels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policies.inventory.base_stock import BaseStock, BaseStockParameters
from qdpem.policies.inventory.link_stock import LinkStock
from qdpem.policies.inventory.stock_levels import DemandFactor
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import Planner
from qdpem.policies.routing.stocked_pairs import StockByEnds, ready_stock
from qdpem.policy.interface import Allocation, Context, Observation


class InventoryController:
    """Orders stock and lists the pairs that are ready; `is_active` is whether the arm has pregeneration."""

    def __init__(self, context: Context, planner: Planner, *, parameters: BaseStockParameters) -> None:
        self._demand_factor = DemandFactor(context)
        self._end_to_end = BaseStock(
            context, planner, parameters=parameters, demand_factor=self._demand_factor
        )
        self._links = LinkStock(context, parameters=parameters)
        self.is_active = context.pregeneration != "none"

    def sites_to_act(self, observations: Observation) -> Iterator[tuple[Observation, list[tuple[int, int]]]]:
        """Sites with pending requests or understocked peers: the observation of each, and those peers.

        Peers are (source, destination), the most frequent first. The forecasts of all sites are taken in
        before the first one is yielded.
        """
        has_requests = np.any(observations.request_id >= 0, axis=1).tolist()
        understocked: list[list[tuple[int, int]]] = [[] for _ in has_requests]
        if self.is_active:
            # Levels depend on the demand factor, so forecasts come first.
            self._demand_factor.update(observations)
            understocked = self._end_to_end.understocked(observations)
        for row, (pending, peers) in enumerate(zip(has_requests, understocked, strict=True)):
            if pending or peers:
                yield observations[row], peers

    def ready_stock(self, observation: Observation) -> StockByEnds:
        """The ready pairs that one site observes; empty without pregeneration."""
        return ready_stock(observation) if self.is_active else {}

    def replenish(
        self, understocked: list[tuple[int, int]], backlog: Backlog, observation: Observation
    ) -> list[Allocation]:
        """Orders for understocked peers where they disturb no request; `backlog` counts their work."""
        return list(
            self._end_to_end.replenish(
                understocked, backlog, now_s=observation.time_s, unavailable=observation.unavailable()
            )
        )

    def link_orders(self, observations: Observation) -> list[Allocation]:
        """Orders of link pairs, at most one for each node."""
        return self._links.orders(observations) if self.is_active else []

    def state(self) -> dict[str, NDArray[Any]]:
        """Times of the last orders, and the forecasts so far; everything else follows from the map."""
        return {
            "ordered_s": self._end_to_end.ordered_s.copy(),
            "links_ordered_s": self._links.ordered_s.copy(),
            **self._demand_factor.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self._end_to_end.ordered_s = np.array(state["ordered_s"], dtype=np.float64)
        self._links.ordered_s = np.array(state["links_ordered_s"], dtype=np.float64)
        self._demand_factor.load_state(state)
