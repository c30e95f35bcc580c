"""Rounds of distillation for each link of a path, where links may differ.

`add_rounds` starts without distillation and adds one round at a time where end-to-end fidelity gains most, as
Q-PATH does (Li et al. 2022, IEEE Transactions on Communications 70, 6748). There a round takes one more pair;
here it takes as many as went into the pair it improves, so gains count for each fresh pair. `remove_surplus`
removes rounds that a plan does not need. The result is a heuristic: the best of 3^hops plans is not searched
for. A plan without surplus misses the target sooner than a uniform plan if pairs wait longer than assumed.
Work: O(hops) fidelity estimates for each round added or removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from physics.plans import Rounds, compact_rounds
from qdpem.arrays import Floats
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policies.routing.path_features import PathFeatures, Waits

_GAIN_DIGITS = 9
"""Gains of fidelity are equal if they agree to this many digits."""


class LoadedPath:
    """One path behind a backlog, and the cost of rounds on each of its links.

    `link_s` [3, hops]: expected seconds until each link is ready with 0, 1 or 2 rounds.
    """

    def __init__(self, features: PathFeatures, row: int, waits: Waits) -> None:
        self.path = features.paths[row]
        self.hops = self.path.hops
        self.link_s: Floats = waits.link_s[:, row, : self.hops]
        self._fresh_pairs = features.fresh_pairs[:, row, : self.hops]
        self._squared_token_s2 = float(waits.squared_token_s2[row])
        self._fixed_delay_s = features.fixed_delay_s[:, row]

    def fresh_pairs(self, rounds: tuple[int, ...]) -> Floats:
        """Fresh pairs expected on each link for one pair delivered, [hops]."""
        return np.asarray(self._fresh_pairs[list(rounds), range(self.hops)])

    def expected_delay_s(self, rounds: tuple[int, ...]) -> float:
        """Expected seconds until delivery; for uniform rounds equal to `PathFeatures.expected_delay_s`."""
        link_s = self.link_s[list(rounds), range(self.hops)]
        return float(self._fixed_delay_s[max(rounds)] + np.sqrt((link_s**2).sum() + self._squared_token_s2))


def add_rounds(loaded: LoadedPath, fidelity: Callable[[Rounds], float]) -> Iterator[tuple[int, ...]]:
    """Plans with one round more each, from none, added where fidelity gains most for each fresh pair.

    Of links with equal gains, the one that delays the path least is chosen. `fidelity` gives the end-to-end
    fidelity of the path for given rounds.
    """
    rounds = (0,) * loaded.hops
    yield rounds
    while min(rounds) < MAX_ROUNDS:
        current, pairs = fidelity(compact_rounds(rounds)), float(loaded.fresh_pairs(rounds).sum())
        ranked = []
        for hop in range(loaded.hops):
            if rounds[hop] < MAX_ROUNDS:
                more = _changed(rounds, hop, 1)
                gain = (fidelity(compact_rounds(more)) - current) / (
                    float(loaded.fresh_pairs(more).sum()) - pairs
                )
                # Rounded, because equal links differ in the last bits and the delay should then decide.
                ranked.append((-round(gain, _GAIN_DIGITS), loaded.expected_delay_s(more), more))
        rounds = min(ranked)[2]
        yield rounds


def remove_surplus(
    loaded: LoadedPath, rounds: tuple[int, ...], meets: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...]:
    """Remove rounds from a plan that `meets` the target, one at a time, first where that saves most time."""
    while True:
        saving_s = {
            hop: float(loaded.link_s[rounds[hop], hop] - loaded.link_s[rounds[hop] - 1, hop])
            for hop in range(loaded.hops)
            if rounds[hop]
        }
        for hop in sorted(saving_s, key=lambda hop: -saving_s[hop]):
            fewer = _changed(rounds, hop, -1)
            if meets(fewer):
                rounds = fewer
                break
        else:
            return rounds


def _changed(rounds: tuple[int, ...], hop: int, by: int) -> tuple[int, ...]:
    return (*rounds[:hop], rounds[hop] + by, *rounds[hop + 1 :])
