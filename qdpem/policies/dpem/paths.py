"""What never changes about the paths between two nodes, worked out once per pair and target."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path, path_along
from qdpem.policy.interface import Context, Floats

PATHS = 6
_KEPT_DETOURS = 4096
WAITING_AGE_S = 0.25
"""How old link pairs are taken to be when they are swapped; one that holds only at age 0 is a last resort."""

_NAMES = (
    "feasible", "hops", "rounds", "margin", "wait_s", "token_s", "next_hop", "life_s", "target_fidelity",
)  # fmt: skip
COLUMNS = {name: column for column, name in enumerate(_NAMES)}


class PathTable:
    """Static features of the first hop (row 0) and of up to PATHS paths (rows 1 + k) of a pair of nodes.

    The paths are those of `Routes` with fewest hops, whichever half they come from.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._blocks: dict[tuple[int, int, float], Floats] = {}
        # What is away changes without end: only the blocks asked for last are kept.
        self._around = lru_cache(_KEPT_DETOURS)(self._find_around)

    def block(
        self, source: int, destination: int, target_fidelity: float, unavailable: Unavailable = ALL_AVAILABLE
    ) -> Floats:
        """Float64 [PATHS + 1, len(COLUMNS)]; rows of paths that do not exist or never reach it: feasible 0.

        `margin` is believed fidelity minus target; `wait_s` the root of the summed squares of the mean time
        each link needs for one pair, 1 / rate times the fresh pairs its distillation eats (between the
        slowest and the sum, as the expected maximum is); `token_s` the seconds that one token of each
        inner node takes to refill, summed; `life_s` how long a stocked pair stays useful. Paths go round what
        is `unavailable`.
        """
        if unavailable:
            return self._around(source, destination, target_fidelity, unavailable)
        key = (source, destination, target_fidelity)
        if key not in self._blocks:
            paths = self._context.routes.paths(source, destination)
            self._blocks[key] = self._rows(paths, target_fidelity)
        return self._blocks[key]

    def nodes(
        self, source: int, destination: int, position: int, unavailable: Unavailable = ALL_AVAILABLE
    ) -> tuple[int, ...]:
        """The nodes of row `position`: of the first hop for 0, of path k for 1 + k."""
        paths = self._context.routes.paths(source, destination, unavailable)
        return paths[0].nodes[:2] if position == 0 else paths[position - 1].nodes

    def next_hop(self, source: int, destination: int, unavailable: Unavailable = ALL_AVAILABLE) -> int:
        """The second node of the first path; -2 without any path."""
        paths = self._context.routes.paths(source, destination, unavailable)
        return paths[0].nodes[1] if paths else -2

    def adjacent(self, source: int, destination: int) -> bool:
        """Whether a link joins the two."""
        return (source, destination) in self._context.network.link_between

    def _find_around(
        self, source: int, destination: int, target_fidelity: float, unavailable: Unavailable
    ) -> Floats:
        routes = self._context.routes
        paths = routes.paths(source, destination, unavailable)
        if paths is routes.paths(source, destination):
            return self.block(source, destination, target_fidelity)
        return self._rows(paths, target_fidelity)

    def _rows(self, paths: tuple[Path, ...], target_fidelity: float) -> Floats:
        rows = np.zeros((PATHS + 1, len(COLUMNS)))
        rows[:, COLUMNS["next_hop"]] = -2
        for position, path in enumerate(paths[:PATHS]):
            rows[1 + position] = self._row(path, target_fidelity)
        if paths and paths[0].hops > 1:
            first = path_along(self._context.network, paths[0].nodes[:2])
            rows[0] = self._row(first, _per_hop(target_fidelity, paths[0].hops))
        return rows

    def _row(self, path: Path, target_fidelity: float) -> Floats:
        estimates, network = self._context.estimates, self._context.network
        row = np.zeros(len(COLUMNS))
        row[COLUMNS["hops"]] = path.hops
        row[COLUMNS["next_hop"]] = path.nodes[1]
        row[COLUMNS["target_fidelity"]] = target_fidelity
        inner = network.repeater_rate_hz[list(path.nodes[1:-1])]
        row[COLUMNS["token_s"]] = float((1.0 / inner).sum())
        rounds = estimates.rounds_for(path, target_fidelity, age_s=WAITING_AGE_S)
        if rounds is None:
            rounds = estimates.rounds_for(path, target_fidelity, age_s=0.0)
        waits = [
            estimates.pairs_per_link(link, rounds=rounds or 0) / max(float(network.link_rate_hz[link]), 1e-9)
            for link in path.links
        ]
        row[COLUMNS["wait_s"]] = math.hypot(*waits)
        if rounds is None or min(network.link_rate_hz[list(path.links)]) <= 0.0:
            return row
        row[COLUMNS["feasible"]] = 1.0
        row[COLUMNS["rounds"]] = rounds
        believed = estimates.fidelity(path, rounds=rounds, age_s=WAITING_AGE_S)
        row[COLUMNS["margin"]] = believed - target_fidelity
        row[COLUMNS["life_s"]] = estimates.useful_life_s(path, target_fidelity, rounds=rounds)
        return row


def _per_hop(target_fidelity: float, hops: int) -> float:
    """Fidelity each of `hops` equal Werner links needs: weights w = (4F - 1)/3 multiply along a path.

    >>> round(_per_hop(0.7, 1), 6)
    0.7
    """
    weight = (4.0 * target_fidelity - 1.0) / 3.0
    return float((1.0 + 3.0 * weight ** (1.0 / hops)) / 4.0)
