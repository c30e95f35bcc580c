"""The believed chance that a path delivers in time, which rules by price and by weight both go by.

Pairs of a link come as a Poisson stream, so a link that is expected to take m for what it must make has it
within t with chance 1 - exp(-t/m); all links must, and swaps wait for the slowest token. m is the time that
the work ahead at the freer of its ends takes, and that of its own pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qdpem.policies.routing.delay_model import Backlog, PathFeatureCache, PathFeatures
from qdpem.policies.routing.planner import Choice
from qdpem.policy.allocation import PendingRequest

Floats = NDArray[np.float64]


class DeliveryOffers(PathFeatureCache):
    """The options between nodes, and the best of them for a request by a given gain."""

    def first_good(
        self,
        request: PendingRequest,
        options: PathFeatures,
        gain: Floats,
        load: Backlog,
        *,
        min_gain: float,
        delay_weight_per_s: float,
        storage_fraction: float,
    ) -> tuple[Choice, int] | None:
        """Of the options with a `gain` [3, K] above `min_gain` the best that reaches the target; else None.

        The best has the largest gain - `delay_weight_per_s` x (seconds until it is expected to finish + seconds of
        sources and repeaters that it takes from others); its flat index comes with it. Link pairs are
        believed to age `storage_fraction` of the expected finish; where no option meets the target then, the first
        that does with fresh pairs is taken.
        """
        finish_s = options.finish_s(load, pairs=request.pairs)
        given_up = delay_weight_per_s * (finish_s + request.pairs * options.work_s)
        ranked = np.where(gain > min_gain, given_up - gain, np.inf)
        for fraction in (0.0 if request.persistent else storage_fraction, 0.0):
            for index in _ascending(ranked.ravel()):
                rounds, row = divmod(index, len(options.paths))
                path, wait_s = options.paths[row], float(finish_s[rounds, row])
                believed = self._context.estimates.fidelity(path, rounds=rounds, age_s=fraction * wait_s)
                if believed >= request.target_fidelity:
                    need = options.need[rounds, row, : path.hops]
                    cost_s = float(ranked[rounds, row])
                    return Choice(path=path, rounds=rounds, finish_s=wait_s, need=need, cost_s=cost_s), index
        return None


def link_hz(options: PathFeatures) -> Floats:
    """Pairs/s that each link of each path makes when all its ends work for it, [K, H]."""
    both_hz = options.rate_first_hz + options.rate_second_hz
    return np.where(options.is_attempting, options.rate_first_hz, both_hz)


def delivery_probability(
    options: PathFeatures,
    load: Backlog,
    *,
    pairs: int,
    slack_s: float,
    there: NDArray[np.bool_] | None = None,
) -> Floats:
    """Believed chance that `pairs` pairs are delivered within `slack_s`, [3, K].

    `there` [K, H]: links for which a stocked pair is; without distillation they need nothing more.
    """
    ready_s = load.ready_s
    token_s = np.where(options.is_inner, load.token_wait_s(pairs)[options.inner], 0.0).max(axis=1)
    left_s = np.maximum(slack_s - options.delay_s - token_s, 0.0)
    with np.errstate(divide="ignore"):
        mean_s = pairs * options.need / link_hz(options)
    mean_s = mean_s + np.minimum(ready_s[options.first], ready_s[options.second])
    each = np.where(options.is_link, -np.expm1(-left_s[:, :, None] / mean_s), 1.0)
    if there is not None:
        each[0, there] = left_s[0].repeat(there.sum(axis=1)) > 0.0
    return np.asarray(each.prod(axis=2))


def _ascending(ranked: Floats) -> Iterator[int]:
    order = np.argsort(ranked, kind="stable")
    yield from order[: np.isfinite(ranked).sum()].tolist()
