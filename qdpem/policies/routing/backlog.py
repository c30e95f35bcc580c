"""The work believed to be ahead of a new request at every source and repeater."""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Flags, Floats
from qdpem.network.graph import Network
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policy.interface import (
    EMISSION_BACKLOG,
    ORDERED_PAIRS,
    ORDERED_SWAPS,
    TOKEN_BACKLOG,
    TOKENS,
    Observation,
)


class Backlog:
    """One site's belief about the work ahead at every node; `add` counts each plan that it decides on.

    `pairs` float64 [N]: pairs that each source has yet to emit. `swaps` [N]: swaps that wait at each
    repeater. `tokens` [N]: swaps that each repeater can make at once. `unobserved` bool [N]: nodes without a
    report.
    """

    def __init__(
        self,
        network: Network,
        *,
        pairs: Floats,
        swaps: Floats,
        tokens: Floats,
        unobserved: Flags | None = None,
    ) -> None:
        self._network = network
        self._unobserved = np.zeros(network.node_count, dtype=np.bool_) if unobserved is None else unobserved
        self._pairs, self._swaps, self._tokens = pairs, swaps, tokens
        # All requests between two plans see the same waits.
        self._source_wait_s: Floats | None = None
        self._token_wait_s: dict[int, Floats] = {}

    @classmethod
    def idle(cls, network: Network) -> Backlog:
        """The backlog of an idle network with full token buckets."""
        pairs, swaps, tokens = np.zeros((3, network.node_count))
        return cls(network, pairs=pairs, swaps=swaps, tokens=tokens + network.repeater_burst)

    @classmethod
    def of_observation(
        cls,
        observation: Observation,
        network: Network,
        *,
        unobserved_backlog: float = 0.0,
        unobserved_tokens: float = 1.0,
    ) -> Backlog:
        """The belief of the one site in `observation`.

        A node's reported backlog and the site's own book of orders count the same work twice, so the larger
        of the two is used. A token bucket refills, and a server works on, while its report ages.

        Args:
            observation: the observation of one site.
            network: the network it observes.
            unobserved_backlog: pairs assumed ahead at each source without a report.
            unobserved_tokens: tokens assumed at each repeater without a report.
        """
        known = observation.observed_node[0]
        nodes = known[known >= 0]
        status = observation.status[0, known >= 0]
        age_s = observation.status_age_s[0, known >= 0]
        pairs, swaps = np.full(network.node_count, unobserved_backlog), np.zeros(network.node_count)
        # fmax ignores NaN: where one of the two numbers is missing, the other is used.
        pairs[nodes] = np.fmax(np.fmax(status[:, EMISSION_BACKLOG], status[:, ORDERED_PAIRS]), 0.0)
        swaps[nodes] = np.fmax(np.fmax(status[:, TOKEN_BACKLOG], status[:, ORDERED_SWAPS]), 0.0)
        tokens = np.full(network.node_count, min(unobserved_tokens, network.repeater_burst))
        refilled = status[:, TOKENS] + network.repeater_rate_hz[nodes] * age_s
        # Tokens do not accumulate beyond the bucket, however old the report is.
        tokens[nodes] = np.fmin(refilled, network.repeater_burst)
        unobserved = np.ones(network.node_count, dtype=np.bool_)
        unobserved[nodes] = False
        return cls(network, pairs=pairs, swaps=swaps, tokens=tokens, unobserved=unobserved)

    def copy(self) -> Backlog:
        """The same belief, to try plans on."""
        return Backlog(
            self._network,
            pairs=self._pairs.copy(),
            swaps=self._swaps.copy(),
            tokens=self._tokens,
            unobserved=self._unobserved,
        )

    @property
    def source_wait_s(self) -> Floats:
        """Seconds until each source has emitted the pairs ahead, [N]; read-only."""
        if self._source_wait_s is None:
            self._source_wait_s = self._pairs * self._network.pair_time_s
        return self._source_wait_s

    def token_wait_s(self, pairs: int = 1) -> Floats:
        """Seconds until each repeater has tokens for `pairs` more swaps, [N]; inf where it never swaps.

        Read-only.
        """
        if pairs not in self._token_wait_s:
            lacking = np.maximum(self._swaps + pairs - self._tokens, 0.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                wait_s = np.where(lacking > 0.0, lacking / self._network.repeater_rate_hz, 0.0)
            self._token_wait_s[pairs] = wait_s
        return self._token_wait_s[pairs]

    @property
    def repeaters_idle(self) -> Flags:
        """Repeaters with a token and no swap ahead, and those without a report, [N]."""
        return ((self._tokens >= 1.0) & (self._swaps <= 0.0)) | self._unobserved

    def sources_idle(self, *, pairs: float) -> Flags:
        """Sources with at most `pairs` pairs ahead, and those without a report, [N]."""
        return (self._pairs <= pairs) | self._unobserved

    def add(self, route: RoutePlan, *, pairs: int = 1) -> None:
        """Count the work of a plan that was just decided, for `pairs` delivered pairs."""
        self._source_wait_s, self._token_wait_s = None, {}
        # Reports of this work arrive later; until then the next decisions of this call must know of it.
        np.add.at(self._pairs, list(route.path.nodes[:-1]), pairs * route.fresh_pairs)
        np.add.at(self._pairs, list(route.path.nodes[1:]), pairs * route.fresh_pairs)
        np.add.at(self._swaps, list(route.path.nodes[1:-1]), pairs * route.parallel_pairs)
