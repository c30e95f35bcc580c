"""The peers of a node: who is listed, in which order, and that no place is ever given away."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qdpem.demand.peers import Peers, PeerTable
from qdpem.demand.requests import Requests

NODES = 4

asked = st.lists(
    st.tuples(
        st.integers(0, NODES - 1), st.integers(1, NODES - 1), st.sampled_from([0.7, 0.9]), st.integers(1, 2)
    ),
    max_size=40,
)
"""Source, steps round the ring to the destination, target fidelity and pairs of each request."""


def requests(rows: list[tuple[int, int, float, int]]) -> Requests:
    source, offset, target, pairs = (
        (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0, int)] * 4
    )
    count = len(rows)
    return Requests(
        id=np.arange(count),
        time_s=np.arange(count) + 0.5,
        source=source,
        destination=(source + offset) % NODES,
        target_fidelity=np.asarray(target, dtype=float),
        pairs=pairs,
        deadline_s=np.arange(count) + 1.5,
        application=np.zeros(count, dtype=int),
        repeat_until_deadline=np.zeros(count, dtype=int),
        process=np.zeros(count, dtype=int),
    )


def listed(peers: Peers, node: int) -> list[tuple[int, float, int]]:
    columns = (peers.destination[node], peers.target_fidelity[node], peers.pairs[node])
    return [row for row in zip(*(column.tolist() for column in columns), strict=True) if row[0] >= 0]


def kinds(rows: list[tuple[int, int, float, int]], node: int) -> list[tuple[int, float, int]]:
    return [
        ((node + offset) % NODES, target, pairs) for source, offset, target, pairs in rows if source == node
    ]


@settings(max_examples=60, deadline=None)
@given(history=asked, first=asked, second=asked, places=st.integers(1, 6))
def test_frequent_peers_of_the_history_come_first_and_keep_their_places(
    history, first, second, places
) -> None:
    table = PeerTable(nodes=NODES, max_peers=places)
    table.begin(requests(history))
    for node in range(NODES):
        counts = Counter(kinds(history, node))
        assert listed(table.peers, node) == sorted(counts, key=lambda kind: (-counts[kind], kind))[:places]
    before = table.peers
    at_first = [listed(before, node) for node in range(NODES)]
    for later in (first, second):
        old = [listed(table.peers, node) for node in range(NODES)]
        table.add(requests(later))
        for node in range(NODES):
            new = dict.fromkeys(kind for kind in kinds(later, node) if kind not in old[node])
            assert listed(table.peers, node) == [*old[node], *new][:places]
    # A forecaster may keep the list that it was given: it does not change under it.
    assert [listed(before, node) for node in range(NODES)] == at_first


@settings(max_examples=60, deadline=None)
@given(rows=asked, places=st.integers(1, 12))
def test_places_and_counts_find_every_request_of_a_listed_peer(rows, places) -> None:
    table = PeerTable(nodes=NODES, max_peers=places)
    table.begin(requests(rows))
    given_ = requests(rows)
    place = table.peers.places(given_)
    for row, at in enumerate(place.tolist()):
        source, kind = rows[row][0], kinds([rows[row]], rows[row][0])[0]
        own = listed(table.peers, source)
        assert (at == -1 and kind not in own) or own[at] == kind
    counts = table.peers.counts(given_, start_s=0.0, step_s=2.0, steps=20)
    assert counts.shape == (20, NODES, places)
    assert counts.sum() == (place >= 0).sum()
    for row in np.flatnonzero(place >= 0).tolist():
        assert counts[row // 2, rows[row][0], place[row]] > 0
