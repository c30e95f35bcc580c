"""Expected delay and rounds of distillation of paths that a policy finds itself.

The formulas and beliefs are those of `path_features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from physics.plans import compact_rounds
from qdpem.arrays import Floats
from qdpem.network.path import Path, path_along
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.distillation import LoadedPath, add_rounds, remove_surplus
from qdpem.policies.routing.path_features import PathFeatures, path_features
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policy.interface import Context

_CACHED_FEATURES = 4096


class PathEvaluator:
    """Turns given paths into route plans; keeps the features of the paths used most recently."""

    def __init__(self, context: Context, *, storage_fraction: float) -> None:
        """`storage_fraction`: assumed age of link pairs when swapped, as a fraction of the expected delay."""
        self._context = context
        self._storage_fraction = storage_fraction
        self._features = lru_cache(_CACHED_FEATURES)(self._compute_features)
        idle = Backlog.idle(context.network)
        self._idle_delay_s = lru_cache(_CACHED_FEATURES)(
            lambda features, pairs: features.expected_delay_s(idle, pairs=pairs)
        )

    def along(self, nodes: tuple[int, ...]) -> Path:
        """The path over these nodes, each a neighbour of the next."""
        return path_along(self._context.network, nodes)

    def with_uniform_rounds(
        self,
        paths: Sequence[tuple[int, ...]],
        backlog: Backlog,
        *,
        target_fidelity: float,
        max_unloaded_delay_s: float = np.inf,
        pairs: int = 1,
        min_rounds: Sequence[int],
    ) -> list[RoutePlan | None]:
        """For each path the fewest rounds, equal on all its links, that bring it to the target.

        As in `Planner.choose`, link pairs are assumed to age `storage_fraction` of the expected delay, or not
        at all where no number of rounds compensates for that age. None for a path that no rounds bring to the
        target, or whose expected delay exceeds the limit even on an idle network.

        Args:
            paths: nodes of each path, all between the same two nodes.
            backlog: work ahead.
            target_fidelity: of the delivered pairs.
            max_unloaded_delay_s: largest expected delay on an idle network.
            pairs: pairs to deliver.
            min_rounds: fewest rounds to consider on each path.
        """
        features = self._features(tuple(paths))
        delay_s = features.expected_delay_s(backlog, pairs=pairs)
        in_time = self._idle_delay_s(features, pairs) <= max_unloaded_delay_s
        plans: list[RoutePlan | None] = []
        for row, path in enumerate(features.paths):
            allowed = [rounds for rounds in range(min_rounds[row], MAX_ROUNDS + 1) if in_time[rounds, row]]
            rounds = self._fewest_rounds(path, allowed, delay_s[:, row], target_fidelity)
            plans.append(
                None
                if rounds is None
                else RoutePlan(
                    path=path,
                    rounds=rounds,
                    expected_delay_s=float(delay_s[rounds, row]),
                    fresh_pairs=features.fresh_pairs[rounds, row, : path.hops],
                )
            )
        return plans

    def with_distillation(
        self, nodes: tuple[int, ...], backlog: Backlog, *, target_fidelity: float, pairs: int = 1
    ) -> RoutePlan | None:
        """This path with rounds added one at a time where fidelity gains most, until it meets the target.

        Rounds that then prove unnecessary are removed. None if the most rounds on all links do not reach the
        target, even with fresh pairs.
        """
        features = self._features((nodes,))
        loaded = LoadedPath(features, 0, features.waits(backlog, pairs=pairs))
        fidelity = self._context.estimates.fidelity
        for fraction in (self._storage_fraction, 0.0):
            # The default argument binds the fraction of this pass.
            def meets(rounds: tuple[int, ...], fraction: float = fraction) -> bool:
                age_s = fraction * loaded.expected_delay_s(rounds)
                return fidelity(loaded.path, rounds=compact_rounds(rounds), age_s=age_s) >= target_fidelity

            for rounds in add_rounds(loaded, lambda rounds: fidelity(loaded.path, rounds=rounds)):
                if meets(rounds):
                    # Pairs will wait longer than the fallback assumes, so its surplus fidelity is kept.
                    minimum = remove_surplus(loaded, rounds, meets) if fraction else rounds
                    return RoutePlan(
                        path=loaded.path,
                        rounds=compact_rounds(minimum),
                        expected_delay_s=loaded.expected_delay_s(minimum),
                        fresh_pairs=loaded.fresh_pairs(minimum),
                    )
        return None

    def _fewest_rounds(self, path: Path, allowed: list[int], delay_s: Floats, target: float) -> int | None:
        for fraction in (self._storage_fraction, 0.0):
            for rounds in allowed:
                age_s = fraction * float(delay_s[rounds])
                if self._context.estimates.fidelity(path, rounds=rounds, age_s=age_s) >= target:
                    return rounds
        return None

    def _compute_features(self, paths: tuple[tuple[int, ...], ...]) -> PathFeatures:
        return path_features(tuple(self.along(nodes) for nodes in paths), self._context)
