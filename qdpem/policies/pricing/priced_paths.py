"""Choice of a path and plan by delivery probability minus price."""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats
from qdpem.network.outages import Unavailable
from qdpem.policies.pricing.price_table import REPEATER, SOURCE
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.delivery_probability import best_route, delivery_probability
from qdpem.policies.routing.path_features import PathFeatureCache, PathFeatures
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Context


class PricedPaths:
    """Finds the route whose delivery probability exceeds its price most."""

    def __init__(self, context: Context, *, delay_weight_per_s: float, storage_fraction: float) -> None:
        """The parameters are those of `best_route`."""
        self._features = PathFeatureCache(context)
        self._estimates = context.estimates
        self._pair_time_s = context.network.pair_time_s
        self._delay_weight_per_s = delay_weight_per_s
        self._storage_fraction = storage_fraction

    def best(
        self,
        request: PendingRequest,
        backlog: Backlog,
        prices: Floats,
        *,
        now_s: float,
        unavailable: Unavailable,
    ) -> RoutePlan | None:
        """The route of largest utility minus price that reaches the target; None if none is above 0.

        Args:
            request: the request to serve; its utility is the probability of delivery in time.
            backlog: work ahead.
            prices: float64 [N, 2], believed price of a job at each node's repeater and source.
            now_s: time of the decision.
            unavailable: nodes and links to avoid.
        """
        features = self._features.between(request.source, request.destination, unavailable)
        if features is None:
            return None
        slack_s = request.deadline_s - now_s
        utility = delivery_probability(features, backlog, pairs=request.pairs, slack_s=slack_s)
        best = best_route(
            request,
            features,
            utility - request.pairs * self._price(features, prices),
            backlog,
            estimates=self._estimates,
            min_gain=0.0,
            delay_weight_per_s=self._delay_weight_per_s,
            storage_fraction=self._storage_fraction,
        )
        return best[0] if best else None

    def _price(self, features: PathFeatures, prices: Floats) -> Floats:
        """Price of one pair over each path and plan, [3, K]; a job at a source is one of its mean pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            per_s = np.nan_to_num(prices[:, SOURCE] / self._pair_time_s)
            work_s = np.where(features.is_link, features.fresh_pairs / features.link_rate_hz, 0.0)
        swaps = np.where(features.is_inner, prices[:, REPEATER][features.inner], 0.0).sum(axis=1)
        per_link = np.where(features.is_link, per_s[features.first] + per_s[features.second], 0.0)
        # inf x 0 on a link without a rate at price 0 is NaN; such a path must never look cheap.
        return np.asarray(swaps + np.nan_to_num(work_s * per_link, nan=np.inf).sum(axis=2))
