"""Which sites and links are unavailable at this moment; the parts of a run ask before they act."""

from __future__ import annotations

from qdpem.network.graph import Network


class Availability:
    """Whether each site, [N + 1], and each link, [L], is unavailable now.

    Sites are the nodes and then the controller: its index CONTROLLER = -1 finds the last entry.
    `unavailable_nodes`: the nodes among them, ascending.
    """

    __slots__ = ("link_unavailable", "site_unavailable", "unavailable_nodes")

    def __init__(self, network: Network) -> None:
        self.site_unavailable = [False] * (network.node_count + 1)
        self.link_unavailable = [False] * network.link_count
        self.unavailable_nodes: list[int] = []

    def mark_site(self, site: int, *, unavailable: bool) -> None:
        """A node or the controller fails or is repaired."""
        self.site_unavailable[site] = unavailable
        self.unavailable_nodes = [
            node for node, unavailable in enumerate(self.site_unavailable[:-1]) if unavailable
        ]

    def mark_link(self, link: int, *, unavailable: bool) -> None:
        """A link fails or is repaired."""
        self.link_unavailable[link] = unavailable
