"""All that an arm with a right to stock keeps: remote pairs for its peers, link pairs for its paths.

Pregeneration decide which of the two: link pairs with any right to stock, remote pairs from "remote" on. Without one
nothing is kept and nothing costs time. Source, knowledge and work are those of `base_stock`, `link_stock` and
`demand_levels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policies.inventory.base_stock import BaseStock, BaseStockParameters
from qdpem.policies.inventory.link_stock import LinkStock
from qdpem.policies.inventory.stock_levels import DemandFactor
from qdpem.policies.routing.delay_model import Backlog
from qdpem.policies.routing.planner import Planner
from qdpem.policies.routing.stocked_pairs import StockByEnds, ready_stock
from qdpem.policy.interface import Allocation, Context, Observation


class InventoryController:
    """Says what to order and what lies on the shelf; `is_open` tells whether there is a right to stock."""

    def __init__(self, context: Context, planner: Planner, *, rule: BaseStockParameters) -> None:
        self._surge = DemandFactor(context)
        self._remote = BaseStock(context, planner, rule=rule, surge=self._surge)
        self._links = LinkStock(context, rule=rule)
        self.is_open = context.pregeneration != "none"

    def occasions(self, observations: Observation) -> Iterator[tuple[Observation, list[tuple[int, int]]]]:
        """Take in what the views forecast; then the view of each site where a request waits or a peer is
        short of remote pairs, with those peers, most asked for first."""
        waiting = np.any(observations.request_id >= 0, axis=1).tolist()
        missing: list[list[tuple[int, int]]] = [[] for _ in waiting]
        if self.is_open:
            self._surge.hear(observations)
            missing = self._remote.missing(observations)
        for row, (waits, short) in enumerate(zip(waiting, missing, strict=True)):
            if waits or short:
                yield observations[row], short

    def shelf(self, observation: Observation) -> StockByEnds:
        """Ready pairs of a view of one site."""
        return ready_stock(observation) if self.is_open else {}

    def replenish(
        self, missing: list[tuple[int, int]], load: Backlog, observation: Observation
    ) -> list[Allocation]:
        """Orders for what is missing, where they disturb nobody; `load` counts their work."""
        return list(
            self._remote.replenish(
                missing, load, now_s=observation.time_s, unavailable=observation.unavailable()
            )
        )

    def link_orders(self, observations: Observation) -> list[Allocation]:
        """Orders of link pairs, at most one for each node that takes part."""
        return self._links.orders(observations) if self.is_open else []

    def state(self) -> dict[str, NDArray[Any]]:
        """When stock was last ordered for each pair of nodes, and forecasts heard; the map says the rest."""
        return {
            "ordered_s": self._remote.ordered_s.copy(),
            "links_ordered_s": self._links.ordered_s.copy(),
            **self._surge.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        self._remote.ordered_s = np.array(state["ordered_s"], dtype=np.float64)
        self._links.ordered_s = np.array(state["links_ordered_s"], dtype=np.float64)
        self._surge.load_state(state)
