"""What every site has ordered and not yet heard the end of."""

from __future__ import annotations

import numpy as np

from qdpem.events.words import Purpose
from qdpem.simulation.execution.reservations import Reservation


class OrderBook:
    """The orders of the nodes with local control, or of the controller.

    `ordered`, int64 [sites, N, 2]: pairs and swaps that a site ordered at each node and whose end it has not
    heard of. `stock_orders`: the reservations for stock among them, by site and id.
    """

    def __init__(self, *, nodes: int, local: bool) -> None:
        self._local = local
        self.ordered = np.zeros((nodes if local else 1, nodes, 2), dtype=np.int64)
        self.stock_orders: dict[int, dict[int, Reservation]] = {}

    def record(self, reservation: Reservation, sign: int) -> None:
        """Add an order to the book of its site, or remove it: pairs at the ends of hops, swaps between."""
        if reservation.purpose is Purpose.STOCK:
            orders = self.stock_orders.setdefault(reservation.deciding_node, {})
            if sign > 0:
                orders[reservation.id] = reservation
            else:
                del orders[reservation.id]
        ordered = self.ordered[reservation.nodes[0] if self._local else 0]
        nodes, generations = reservation.nodes, len(reservation.generations)
        for hop, qubits in enumerate(reservation.qubits):
            pairs = sign * generations * qubits
            ordered[nodes[hop], 0] += pairs
            ordered[nodes[hop + 1], 0] += pairs
        for node in nodes[1:-1]:
            ordered[node, 1] += sign * generations
