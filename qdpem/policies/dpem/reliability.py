"""How far a site's forecasts were right so far, as a number that a network can weigh forecasts with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policies.inventory.expected_needs import PeerKind

_KEPT = 0.98
"""Share of the past that one step leaves: half of it is forgotten after 34 steps."""

_PRIOR = 0.05
"""Weight of the belief that forecasts are right, in squared expected requests."""


class Reliability:
    """The slope of the regression through 0 of what came on what was expected one step ahead, for each node.

    1 for forecasts that are right on average, 0 for forecasts that have nothing to do with what comes. The
    past fades, and a site begins at 1.
    """

    def __init__(self, nodes: int) -> None:
        self._came_times_expected = np.full(nodes, _PRIOR)
        self._expected_squared = np.full(nodes, _PRIOR)
        self._expected: list[dict[PeerKind, float]] = [{} for _ in range(nodes)]
        self._came: list[dict[PeerKind, int]] = [{} for _ in range(nodes)]

    def count(self, site: int, kind: PeerKind) -> None:
        """A request of this peer has come to its site."""
        self._came[site][kind] = self._came[site].get(kind, 0) + 1

    def next_step(self, site: int, expected: dict[PeerKind, float]) -> None:
        """A step ended: compare it with what was expected, and note what is `expected` in the next one."""
        came = self._came[site]
        product = sum(mean * came.get(kind, 0) for kind, mean in self._expected[site].items())
        square = sum(mean * mean for mean in self._expected[site].values())
        forgotten = (1.0 - _KEPT) * _PRIOR
        self._came_times_expected[site] = _KEPT * self._came_times_expected[site] + forgotten + product
        self._expected_squared[site] = _KEPT * self._expected_squared[site] + forgotten + square
        self._expected[site], self._came[site] = expected, {}

    def of(self, site: int) -> float:
        """The slope at this site now, 0 to 2."""
        slope = self._came_times_expected[site] / self._expected_squared[site]
        return float(np.clip(slope, 0.0, 2.0))

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums, and the present step of every site."""
        return {
            "reliability_sums": np.stack([self._came_times_expected, self._expected_squared]),
            "reliability_expected": _rows(self._expected),
            "reliability_came": _rows(self._came),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self._came_times_expected, self._expected_squared = np.array(state["reliability_sums"])
        nodes = len(self._expected_squared)
        self._expected, self._came = [{} for _ in range(nodes)], [{} for _ in range(nodes)]
        for kind, mean in _read(state["reliability_expected"]):
            self._expected[kind.source][kind] = mean
        for kind, count in _read(state["reliability_came"]):
            self._came[kind.source][kind] = int(count)


def _rows(by_site: list[dict[PeerKind, Any]]) -> NDArray[np.float64]:
    rows = [(*kind, value) for values in by_site for kind, value in values.items()]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _read(rows: NDArray[Any]) -> list[tuple[PeerKind, float]]:
    return [
        (PeerKind(int(source), int(destination), target, int(pairs)), value)
        for source, destination, target, pairs, value in rows.tolist()
    ]
