"""Carried reservations: what a node sees pass that others have decided.

Teletraffic theory calls the traffic that a link serves its carried traffic (ITU-T E.600).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.network.path import Path


class CarriedReservations:
    """At each node, the reservations for requests of other nodes that it has granted, by link.

    `count`, int64 [N, 1 + D]: column 0 counts all of a node. Column k counts those that use its link with its
    k-th neighbour, in the order of `Network.neighbours`; D is the largest degree. -1 for padding.
    """

    def __init__(self, network: Network) -> None:
        width = 1 + max((len(around) for around in network.neighbours), default=0)
        self.count: NDArray[np.int64] = np.full((network.node_count, width), -1)
        for node, around in enumerate(network.neighbours):
            self.count[node, : len(around) + 1] = 0
        self._column = [
            {link: column for column, (_, link) in enumerate(around, start=1)}
            for around in network.neighbours
        ]

    def add(self, path: Path, position: int) -> None:
        """The node at `position` has granted a reservation that came to it along `path`."""
        node = path.nodes[position]
        count, column = self.count[node], self._column[node]
        count[0] += 1
        for link in path.links[position - 1 : position + 1]:
            # A virtual link is no link of the node.
            if link >= 0:
                count[column[link]] += 1
