"""The decision about each link that a site owns: how many link pairs to keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.policies.dpem.chooser import Choices, Chooser
from qdpem.policies.dpem.feature_names import LINK_FEATURES, columns
from qdpem.policies.dpem.networks import Kind
from qdpem.policies.dpem.own_state import node_status
from qdpem.policies.dpem.scales import finite, saturate, share
from qdpem.policies.inventory.link_stock import LinkStock
from qdpem.policy.interface import Context, Observation

LEVELS = (0, 1, 2, 4)
MAX_LEVEL = LEVELS[-1]
OPTIONS = len(LEVELS)

_STEPS = 4
"""Forecast steps between two decisions about the same link: pairs of links live for several."""

_CLOCK_TOLERANCE = 1e-9
_COLUMN = columns(LINK_FEATURES)


class LinkLevels:
    """Sets the levels of `LinkStock`; its state is that of the levels and `decided_s` float64 [N].

    Args:
        context: of the run.
        chooser: decides; shared by all kinds of decisions.
        stock: whose levels are set.
        contention_weight: as a feature.
        teacher_level: the level of the rule that is imitated.
    """

    def __init__(
        self,
        context: Context,
        chooser: Chooser,
        stock: LinkStock,
        *,
        contention_weight: float,
        teacher_level: int,
    ) -> None:
        self._network = context.network
        self._chooser = chooser
        self._stock = stock
        self._weight = contention_weight
        self._teacher = int(np.argmin(np.abs(np.array(LEVELS) - teacher_level)))
        self._period_s = _STEPS * context.forecasting.step_s
        self._quota = np.maximum(np.floor(self._network.remote_storage_quota * self._network.memories), 1.0)
        self.decided_s = np.full(self._network.node_count, -np.inf)
        # Nothing is kept before the first decision.
        stock.level[:] = 0

    def decide(self, observations: Observation) -> None:
        """Sites whose last decision is old enough decide about all links they own."""
        due = observations.time_s >= self.decided_s[observations.site] + self._period_s - _CLOCK_TOLERANCE
        neighbour = observations.observed_node[:, 1:]
        site = observations.site[:, None]
        owned = (neighbour >= 0) & (self._stock.max_level[site, np.maximum(neighbour, 0)] > 0)
        rows, places = (owned & due[:, None]).nonzero()
        self.decided_s[observations.site[due]] = observations.time_s
        if not len(rows):
            return
        sites, neighbours = observations.site[rows], neighbour[rows, places]
        most = self._stock.max_level[sites, neighbours]
        choices = Choices(
            kind=Kind.LINK,
            time_s=observations.time_s,
            site=sites,
            subject=np.stack([neighbours, np.zeros(len(rows)), np.zeros(len(rows))], axis=1),
            features=self._features(observations, rows, places).astype(np.float32),
            mask=np.array(LEVELS) <= most[:, None],
        )
        # The teacher too cannot keep more than the quotas of the map allow.
        allowed = choices.mask.sum(axis=1) - 1
        chosen = self._chooser.choose(choices, teacher=np.minimum(self._teacher, allowed))
        self._stock.level[sites, neighbours] = np.array(LEVELS)[chosen]

    def _features(self, observations: Observation, rows: Ints, places: Ints) -> Floats:
        """The features of each level of these links, float64 [M, OPTIONS, F]."""
        network, levels = self._network, np.array(LEVELS)
        sites, neighbours = observations.site[rows], observations.observed_node[rows, 1 + places]
        link = network.link_between
        links = np.array([link[ends] for ends in zip(sites.tolist(), neighbours.tolist(), strict=True)])
        table = np.zeros((len(rows), OPTIONS, len(LINK_FEATURES)))
        fill = _filler(table)
        stocked = observations.stock_partner[rows]
        held = ((stocked == neighbours[:, None]) & (observations.stock_owner[rows] == sites[:, None])).sum(
            axis=1
        )[:, None]
        table[:, 0, _COLUMN["none"]] = 1.0
        fill("level", np.broadcast_to(levels / MAX_LEVEL, (len(rows), OPTIONS)))
        fill("missing", np.maximum(levels - held, 0) / 4.0)
        fill("surplus", np.maximum(held - levels, 0) / 4.0)
        life_s = np.array([self._stock.life_s(number) for number in links.tolist()])
        fill("life", share(np.minimum(life_s, 1e6), np.full(len(rows), 8.0)))
        fill("rate", saturate(network.link_rate_hz[links]))
        carried = np.maximum(observations.carried_count[rows, 1 + places], 0)
        fill("traffic", saturate(carried / max(observations.time_s, 1.0)))
        self._fill_demand(fill, observations, rows)
        fill("quota_left", np.maximum(self._quota[neighbours] - held[:, 0], 0.0) / self._quota[neighbours])
        status = node_status(observations, network, slice(None))
        names = ("tokens", "memories", "backlog")
        for number, name in enumerate(names):
            fill(f"own_{name}", status[rows, 0, number])
            fill(f"neighbour_{name}", status[rows, 1 + places, number])
        fill("repeater_rate", saturate(network.repeater_rate_hz[sites]))
        fill("stock_share", (stocked >= 0).sum(axis=1) / np.maximum(network.memories[sites], 1))
        fill("contention_weight", np.full(len(rows), self._weight))
        return np.clip(table, -1.0, 2.0)

    def _fill_demand(
        self, fill: Callable[[str, Floats], None], observations: Observation, rows: Ints
    ) -> None:
        """Columns about the forecasts of a site's own peers."""
        scheduled = finite(observations.peer_scheduled).sum(axis=2)
        unscheduled = finite(observations.peer_unscheduled).sum(axis=2)
        total = scheduled + unscheduled
        requests = total.sum(axis=1)
        pairs = (total * np.maximum(observations.peer_pairs, 0)).sum(axis=1)
        # 1e-9 only avoids 0 / 0.
        fill("own_demand", saturate(requests)[rows])
        fill("scheduled_share", (scheduled.sum(axis=1) / (requests + 1e-9))[rows])
        fill("pairs_per_request", (pairs / (requests + 1e-9))[rows] / 4.0)


def _filler(table: Floats) -> Callable[[str, Floats], None]:
    """A function that fills a column of `table` [M, OPTIONS, F] by name, from values [M] or [M, OPTIONS]."""

    def fill(name: str, value: Floats) -> None:
        table[:, :, _COLUMN[name]] = value if value.ndim == 2 else value[:, None]

    return fill
