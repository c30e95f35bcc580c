"""How often to distil each link of a path, where plans need not be alike on all of them.

`add_rounds` begins with none and adds one round at a time where the fidelity from end to end gains most, as
Q-PATH does (Li et al. 2022, IEEE Transactions on Communications 70, 6748); there a round takes one more pair,
here as many as went into the pair it is added to, so that gains count for each fresh pair. `remove_surplus` takes
away again what a plan can do without. Together they are not optimal: the best of 3^hops plans is not searched
for.
What is left has no more purity than the target needs, so that pairs that wait longer than believed miss it
sooner than with a plan alike on all links.
Work: O(hops) beliefs for each round added or taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from physics.plans import Rounds, compact_rounds
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policies.routing.delay_model import Floats, PathFeatures, Waits

_ALIKE_DIGITS = 9
"""Gains of fidelity that agree to so many digits are alike."""


class LoadedPath:
    """One path of some options under some load, and what rounds on each of its links would take.

    `made_s` [3, hops]: expected seconds until each link is made with 0, 1 or 2 rounds.
    """

    def __init__(self, options: PathFeatures, row: int, waits: Waits) -> None:
        self.path = options.paths[row]
        self.hops = self.path.hops
        self.made_s: Floats = waits[0][:, row, : self.hops]
        self._need = options.need[:, row, : self.hops]
        self._swapped_s2 = float(waits[1][row])
        self._delay_s = options.delay_s[:, row]

    def need(self, rounds: tuple[int, ...]) -> Floats:
        """Fresh pairs expected on each link for one pair delivered, [hops]."""
        return np.asarray(self._need[list(rounds), range(self.hops)])

    def finish_s(self, rounds: tuple[int, ...]) -> float:
        """Expected seconds until delivery, as of plans alike on all links (`expected_finish`)."""
        made_s = self.made_s[list(rounds), range(self.hops)]
        return float(self._delay_s[max(rounds)] + np.sqrt((made_s**2).sum() + self._swapped_s2))


def add_rounds(loaded: LoadedPath, fidelity: Callable[[Rounds], float]) -> Iterator[tuple[int, ...]]:
    """Plans of ever more rounds, from none: the next is added to the link where the path gains most for each
    fresh pair it takes.

    Of links where it gains alike, to the one where that takes least time. `fidelity` is that of the path with
    some rounds.
    """
    each = (0,) * loaded.hops
    yield each
    while min(each) < MAX_ROUNDS:
        reached, taken = fidelity(compact_rounds(each)), float(loaded.need(each).sum())
        ranked = []
        for hop in range(loaded.hops):
            if each[hop] < MAX_ROUNDS:
                more = _changed(each, hop, 1)
                gain = (fidelity(compact_rounds(more)) - reached) / (float(loaded.need(more).sum()) - taken)
                ranked.append((-round(gain, _ALIKE_DIGITS), loaded.finish_s(more), more))
        each = min(ranked)[2]
        yield each


def remove_surplus(
    loaded: LoadedPath, each: tuple[int, ...], meets: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...]:
    """A plan that `meets` the target less the rounds that it can do without, one at a time, first where that
    saves most time.
    """
    while True:
        saving_s = {
            hop: float(loaded.made_s[each[hop], hop] - loaded.made_s[each[hop] - 1, hop])
            for hop in range(loaded.hops)
            if each[hop]
        }
        for hop in sorted(saving_s, key=lambda hop: -saving_s[hop]):
            fewer = _changed(each, hop, -1)
            if meets(fewer):
                each = fewer
                break
        else:
            return each


def _changed(each: tuple[int, ...], hop: int, by: int) -> tuple[int, ...]:
    return (*each[:hop], each[hop] + by, *each[hop + 1 :])
