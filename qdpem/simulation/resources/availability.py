"""What is away at this moment: a few flags that the parts of a run look at before they act."""

from __future__ import annotations

from qdpem.network.graph import Network


class Availability:
    """Whether each site is away, [N + 1], and each link, [L].

    Sites are the nodes and, last, the controller, whose index CONTROLLER = -1 finds it there. `nodes` are
    those that are away, ascending.
    """

    __slots__ = ("links", "nodes", "sites")

    def __init__(self, network: Network) -> None:
        self.sites = [False] * (network.node_count + 1)
        self.links = [False] * network.link_count
        self.nodes: list[int] = []

    def set_site(self, site: int, unavailable: bool) -> None:
        """A node or the controller goes, or is back."""
        self.sites[site] = unavailable
        self.nodes = [node for node, gone in enumerate(self.sites[:-1]) if gone]
