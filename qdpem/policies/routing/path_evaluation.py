"""When would a path that is given deliver, and with how many rounds of distillation?

For arms that find their paths themselves: the formulas and beliefs are those of `expected_finish`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from physics.plans import Plan, Rounds, compact_rounds
from qdpem.network.path import Path, path_along
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policies.routing.delay_model import Backlog, Floats, PathFeatures, path_features
from qdpem.policies.routing.distillation import LoadedPath, add_rounds, remove_surplus
from qdpem.policies.routing.stocked_pairs import Taken
from qdpem.policy.interface import Context

_KEPT = 4096


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """A path with the rounds that bring it to a target, its expected finish, and its links' fresh pairs.

    Stock that may stand in for its links is not counted on.
    """

    path: Path
    rounds: Rounds
    finish_s: float
    need: Floats
    lanes: int = 1
    taken: Taken = ()

    @property
    def plan(self) -> Plan:
        """What an allocation says of it."""
        return Plan(rounds_per_link=self.rounds)


class PathEvaluator:
    """Judges given paths; keeps the features of those asked for last."""

    def __init__(self, context: Context, *, storage_fraction: float) -> None:
        self._context = context
        self._wait_fraction = storage_fraction
        self._idle = Backlog.idle(context.network)
        self._options = lru_cache(_KEPT)(self._over)

    def along(self, nodes: tuple[int, ...]) -> Path:
        """The path over these nodes, neighbours all."""
        return path_along(self._context.network, nodes)

    def fits(
        self,
        ways: Sequence[tuple[int, ...]],
        load: Backlog,
        *,
        target_fidelity: float,
        within_s: float = np.inf,
        pairs: int = 1,
        min_rounds: Sequence[int],
    ) -> list[Fit | None]:
        """For each of these ways between the same two nodes, given by their nodes, the fewest rounds alike on
        all links, from its `min_rounds` on, that bring it to the target, as for `Planner.choose`: believed
        age of link pairs is `storage_fraction` of the expected finish, or none where no number of rounds makes up
        for it. None for a way that no rounds bring there, or of which even an idle network is not expected
        to be done within `within_s`.
        """
        options = self._options(tuple(ways))
        finish_s = options.finish_s(load, pairs=pairs)
        hopeful = options.finish_s(self._idle, pairs=pairs) <= within_s
        found: list[Fit | None] = []
        for row, path in enumerate(options.paths):
            allowed = [rounds for rounds in range(min_rounds[row], MAX_ROUNDS + 1) if hopeful[rounds, row]]
            rounds = self._rounds(path, allowed, finish_s[:, row], target_fidelity)
            found.append(
                None
                if rounds is None
                else Fit(
                    path=path,
                    rounds=rounds,
                    finish_s=float(finish_s[rounds, row]),
                    need=options.need[rounds, row, : path.hops],
                )
            )
        return found

    def with_distillation(
        self, nodes: tuple[int, ...], load: Backlog, *, target_fidelity: float, pairs: int = 1
    ) -> Fit | None:
        """This way with rounds added one at a time where the path gains most, until it meets the target, less
        those that it then can spare.

        None if it does not with the most rounds on all links, not even with fresh pairs.
        """
        options = self._options((nodes,))
        loaded = LoadedPath(options, 0, options.waits(load, pairs=pairs))
        fidelity = self._context.estimates.fidelity
        for fraction in (self._wait_fraction, 0.0):

            def meets(each: tuple[int, ...], fraction: float = fraction) -> bool:
                age_s = fraction * loaded.finish_s(each)
                return fidelity(loaded.path, rounds=compact_rounds(each), age_s=age_s) >= target_fidelity

            for each in add_rounds(loaded, lambda rounds: fidelity(loaded.path, rounds=rounds)):
                if meets(each):
                    # Where pairs must not wait at all, what seems too pure is not.
                    minimum = remove_surplus(loaded, each, meets) if fraction else each
                    return Fit(
                        path=loaded.path,
                        rounds=compact_rounds(minimum),
                        finish_s=loaded.finish_s(minimum),
                        need=loaded.need(minimum),
                    )
        return None

    def _rounds(self, path: Path, allowed: list[int], finish_s: Floats, target: float) -> int | None:
        for fraction in (self._wait_fraction, 0.0):
            for rounds in allowed:
                age_s = fraction * float(finish_s[rounds])
                if self._context.estimates.fidelity(path, rounds=rounds, age_s=age_s) >= target:
                    return rounds
        return None

    def _over(self, ways: tuple[tuple[int, ...], ...]) -> PathFeatures:
        return path_features(tuple(self.along(nodes) for nodes in ways), self._context)
