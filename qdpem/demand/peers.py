"""Peers: for every node, the destinations it asks for, each with the kind of its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.requests import Requests


@dataclass(frozen=True, eq=False, kw_only=True)
class Peers:
    """The peers of N nodes, at most P each.

    A peer is a destination together with a target fidelity and a number of pairs: all requests of a node that
    agree in the three go to one peer. `destination`, `pairs` int64 [N, P], `target_fidelity` float64 [N, P].
    A free place has destination -1, 0 pairs and a target of NaN, and only free places follow it.
    """

    destination: Ints
    target_fidelity: Floats
    pairs: Ints

    @property
    def known(self) -> Flags:
        """Which places hold a peer, bool [N, P]."""
        return np.asarray(self.destination >= 0)

    def places(self, requests: Requests) -> Ints:
        """The place of each request's peer at its source, int64 [R]; -1 for a peer that is not listed."""
        source = requests.source
        same = (
            (self.destination[source] == requests.destination[:, None])
            & (self.target_fidelity[source] == requests.target_fidelity[:, None])
            & (self.pairs[source] == requests.pairs[:, None])
        )
        return np.where(same.any(axis=1), same.argmax(axis=1), -1)

    def counts(self, requests: Requests, *, start_s: float, step_s: float, steps: int) -> Ints:
        """Requests per step and peer, int64 [steps, N, P]; the first step begins at `start_s`."""
        place = self.places(requests)
        step = np.floor((requests.time_s - start_s) / step_s).astype(np.int64)
        inside = (step >= 0) & (step < steps) & (place >= 0)
        table = np.zeros((steps, *self.destination.shape), dtype=np.int64)
        # `add.at` counts repeated indices; plain indexed addition would count each once.
        np.add.at(table, (step[inside], requests.source[inside], place[inside]), 1)
        return table


class _Kind(NamedTuple):
    """What the requests of one peer have in common."""

    source: int
    destination: int
    target_fidelity: float
    pairs: int


def no_peers(*, nodes: int, max_peers: int) -> Peers:
    """Free places only."""
    shape = (nodes, max_peers)
    return Peers(
        destination=np.full(shape, -1, dtype=np.int64),
        target_fidelity=np.full(shape, np.nan),
        pairs=np.zeros(shape, dtype=np.int64),
    )


class PeerTable:
    """The peers that have become known so far.

    The peers of the history come first, the most frequent of each node before the others. Later ones take
    free places in the order of their first request. A place is never given to another peer, so that what is
    learned about it stays valid; peers beyond the last place are not listed.
    """

    def __init__(self, *, nodes: int, max_peers: int) -> None:
        self._max_peers = max_peers
        self.peers = no_peers(nodes=nodes, max_peers=max_peers)

    def begin(self, history: Requests) -> None:
        """List the peers of the history, the most frequent first; equal ones by destination and kind."""
        counts = Counter(_kinds(history))
        self._append(sorted(counts, key=lambda kind: (-counts[kind], kind)))

    def add(self, requests: Requests) -> None:
        """List the new peers of these requests, in the order of their first request."""
        new = requests.at(np.flatnonzero(self.peers.places(requests) < 0))
        if len(new):
            self._append(list(dict.fromkeys(_kinds(new))))

    def _append(self, kinds: Sequence[_Kind]) -> None:
        """Put these kinds, in their order, into the first free places of their nodes."""
        destination, pairs = self.peers.destination.copy(), self.peers.pairs.copy()
        target_fidelity = self.peers.target_fidelity.copy()
        used = self.peers.known.sum(axis=1)
        for kind in kinds:
            place = used[kind.source]
            if place < self._max_peers:
                destination[kind.source, place] = kind.destination
                target_fidelity[kind.source, place] = kind.target_fidelity
                pairs[kind.source, place] = kind.pairs
                used[kind.source] += 1
        # A new value, because forecasters and observations may keep the old one.
        self.peers = Peers(destination=destination, target_fidelity=target_fidelity, pairs=pairs)


def _kinds(requests: Requests) -> list[_Kind]:
    """Source and peer of every request."""
    columns = (requests.source, requests.destination, requests.target_fidelity, requests.pairs)
    return [_Kind(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
