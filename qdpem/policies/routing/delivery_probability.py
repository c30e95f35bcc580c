"""The believed probability that a path delivers in time, and the best route by a gain made of it.

Price-based, max-weight and continuous policies use both. Pairs of a link arrive as a Poisson stream. A link
with an expected wait m has its pairs within t with probability 1 - exp(-t/m). A delivery needs all links, and
swaps wait for the slowest token. m is the time until the less busy of the link's ends has worked off its
backlog, plus the time of the link's own pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qdpem.arrays import Flags, Floats
from qdpem.network.path_estimates import Estimates
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.path_features import PathFeatures
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policy.allocation import PendingRequest


def delivery_probability(
    features: PathFeatures,
    backlog: Backlog,
    *,
    pairs: int,
    slack_s: float,
    stocked: Flags | None = None,
) -> Floats:
    """Believed probability that `pairs` pairs are delivered within `slack_s`, [3, K].

    Args:
        features: K paths and 3 plans between two nodes.
        backlog: work ahead.
        pairs: pairs to deliver.
        slack_s: seconds until the deadline.
        stocked: bool [K, H], links with stocked pairs. Plans without distillation use them at once.
    """
    source_s = backlog.source_wait_s
    token_s = np.where(features.is_inner, backlog.token_wait_s(pairs)[features.inner], 0.0).max(axis=1)
    remaining_s = np.maximum(slack_s - features.fixed_delay_s - token_s, 0.0)
    with np.errstate(divide="ignore"):
        mean_s = pairs * features.fresh_pairs / features.link_rate_hz
    mean_s = mean_s + np.minimum(source_s[features.first], source_s[features.second])
    # expm1 keeps the digits of small probabilities. A link without a rate has an infinite mean and gets 0.
    by_link = np.where(features.is_link, -np.expm1(-remaining_s[:, :, None] / mean_s), 1.0)
    if stocked is not None:
        # A stocked link is ready at once, in time unless swaps and messages take too long.
        by_link[0, stocked] = remaining_s[0].repeat(stocked.sum(axis=1)) > 0.0
    return np.asarray(by_link.prod(axis=2))


def best_route(
    request: PendingRequest,
    features: PathFeatures,
    gain: Floats,
    backlog: Backlog,
    *,
    estimates: Estimates,
    min_gain: float,
    delay_weight_per_s: float,
    storage_fraction: float,
) -> tuple[RoutePlan, int] | None:
    """The route with a gain above `min_gain` of largest net gain that reaches the target, with its flat
    index.

    The net gain is gain - `delay_weight_per_s` x (expected delay + work of sources and repeaters). If no
    route meets the target at the assumed age of its link pairs, the first that meets it with fresh pairs is
    taken.

    Args:
        request: the request to serve.
        features: K paths and 3 plans between its ends.
        gain: float64 [3, K], the gain of each plan and path.
        backlog: work ahead.
        estimates: believed fidelities of paths.
        min_gain: routes need a larger gain than this.
        delay_weight_per_s: gain given up for each second of delay and of work saved.
        storage_fraction: assumed age of link pairs when swapped, as a fraction of the expected delay.
    """
    is_worthwhile = gain > min_gain
    if not is_worthwhile.any():
        return None
    delay_s = features.expected_delay_s(backlog, pairs=request.pairs)
    penalty = delay_weight_per_s * (delay_s + request.pairs * features.work_s)
    cost = np.where(is_worthwhile, penalty - gain, np.inf)
    for fraction in (0.0 if request.repeats else storage_fraction, 0.0):
        for index in _ascending(cost.ravel()):
            rounds, row = divmod(index, len(features.paths))
            path, wait_s = features.paths[row], float(delay_s[rounds, row])
            if estimates.fidelity(path, rounds=rounds, age_s=fraction * wait_s) >= request.target_fidelity:
                fresh_pairs = features.fresh_pairs[rounds, row, : path.hops]
                route = RoutePlan(path=path, rounds=rounds, expected_delay_s=wait_s, fresh_pairs=fresh_pairs)
                return route, index
    return None


def _ascending(cost: Floats) -> Iterator[int]:
    # Stable: of equal costs the fewest rounds, then the first path, comes first.
    order = np.argsort(cost, kind="stable")
    yield from order[: np.isfinite(cost).sum()].tolist()
