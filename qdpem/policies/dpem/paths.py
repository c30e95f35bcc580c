"""The features of the paths between two nodes that do not change in a run, cached per pair and target."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from physics.werner_figures import fidelity_from_weight, werner_weight
from qdpem.arrays import Floats
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path, path_along
from qdpem.policy.interface import Context

PATHS = 6
_MAX_DETOUR_BLOCKS = 4096
WAITING_AGE_S = 0.25
"""Assumed age of link pairs when they are swapped. Plans that need age 0 are a last resort."""

_NAMES = (
    "feasible", "hops", "rounds", "margin", "wait_s", "token_s", "next_hop", "life_s", "target_fidelity",
)  # fmt: skip
COLUMNS = {name: column for column, name in enumerate(_NAMES)}


class PathTable:
    """Static features of a node pair: its first hop (row 0) and up to PATHS paths (rows 1 + k).

    The paths are the PATHS with fewest hops that `Routes` offers.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._blocks: dict[tuple[int, int, float], Floats] = {}
        # The set of unavailable nodes and links keeps changing, so this cache is bounded.
        self._detours = lru_cache(_MAX_DETOUR_BLOCKS)(self._find_detours)

    def block(
        self, source: int, destination: int, target_fidelity: float, unavailable: Unavailable = ALL_AVAILABLE
    ) -> Floats:
        """The features of one node pair, float64 [PATHS + 1, len(COLUMNS)].

        - `feasible`: 0 in the row of a path that does not exist or never reaches the target.
        - `margin`: believed fidelity minus target.
        - `wait_s`: sqrt(sum over links of t^2), with t = 1 / rate times the fresh pairs that distillation
          consumes. It lies between the slowest link and the sum, as the expected maximum does.
        - `token_s`: the sum over inner nodes of the time that one token takes to refill.
        - `life_s`: how long a stocked pair stays useful.

        The paths avoid what is `unavailable`.
        """
        if unavailable:
            return self._detours(source, destination, target_fidelity, unavailable)
        key = (source, destination, target_fidelity)
        if key not in self._blocks:
            paths = self._context.routes.paths(source, destination)
            self._blocks[key] = self._rows(paths, target_fidelity)
        return self._blocks[key]

    def nodes(
        self, source: int, destination: int, position: int, unavailable: Unavailable = ALL_AVAILABLE
    ) -> tuple[int, ...]:
        """The nodes of row `position`: those of the first hop for 0, of path k for 1 + k."""
        paths = self._context.routes.paths(source, destination, unavailable)
        return paths[0].nodes[:2] if position == 0 else paths[position - 1].nodes

    def next_hop(self, source: int, destination: int, unavailable: Unavailable = ALL_AVAILABLE) -> int:
        """The second node of the first path; -2 without a path, which matches no padding."""
        paths = self._context.routes.paths(source, destination, unavailable)
        return paths[0].nodes[1] if paths else -2

    def adjacent(self, source: int, destination: int) -> bool:
        """Whether a link joins the two nodes."""
        return (source, destination) in self._context.network.link_between

    def _find_detours(
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
        # Waits are filled in for infeasible paths too, so that their features stay finite.
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
    """The fidelity that each of `hops` equal Werner links needs: weights multiply along a path.

    >>> round(_per_hop(0.7, 1), 6)
    0.7
    """
    return fidelity_from_weight(float(werner_weight(target_fidelity) ** (1.0 / hops)))
