"""The queue-aware rule on its own knowledge, with a constant base stock for each of its top peers.

Source, knowledge and work are those of `live` and `base_stock`: a node sees itself, its neighbours' news
as old as the link's delay, and its own book; of repeaters beyond its neighbours it believes a constant.
"""

from __future__ import annotations

from qdpem.baselines.live import CentralLive
from qdpem.scenario.schema import Control, Rights


class LocalStock(CentralLive):
    """Every node serves its own requests by expected finish and keeps remote pairs for its top peers."""

    name = "local-stock"
    control: Control = "local"
    rights: Rights = "remote"
    knowledge = "constant"
