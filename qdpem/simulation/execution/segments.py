"""Segments: the part of a path that one pair spans, and what nodes know of it."""

from __future__ import annotations

from qdpem.simulation.resources.pairs.ledger import Pair


class Segment:
    """The pair between two positions of a path.

    Args:
        pair: the pair.
        first: position of its left end.
        last: position of its right end.
        known_s: when the nodes at its own two ends know of it.
        path_known_s: when the source and the destination of the path have heard all they must hear about it.
        operated_s: when the last operation on it was done.
        due_s: when the oldest link pair in it reaches the cut-off.
    """

    __slots__ = ("due_s", "first", "known_s", "last", "operated_s", "pair", "path_known_s")

    def __init__(
        self,
        pair: Pair,
        first: int,
        last: int,
        *,
        known_s: tuple[float, float],
        path_known_s: tuple[float, float],
        operated_s: float,
        due_s: float,
    ) -> None:
        self.pair = pair
        self.first = first
        self.last = last
        self.known_s = known_s
        self.path_known_s = path_known_s
        self.operated_s = operated_s
        self.due_s = due_s


def joined(
    left: Segment, right: Segment, pair: Pair, *, delays_s: tuple[float, ...], now_s: float
) -> Segment:
    """The segment of `pair`, which a swap of `left` and `right` has made now.

    Args:
        left: ends at the node that swapped.
        right: begins at that node.
        pair: the pair that the swap made.
        delays_s: message delay from that node to every position of the path.
        now_s: the present simulated second.
    """
    left_known_s, right_known_s = left.path_known_s, right.path_known_s
    return Segment(
        pair,
        left.first,
        right.last,
        known_s=(now_s + delays_s[left.first], now_s + delays_s[right.last]),
        # Messages of earlier swaps may still be on their way to the ends when this one's arrives.
        path_known_s=(
            max(left_known_s[0], right_known_s[0], now_s + delays_s[0]),
            max(left_known_s[1], right_known_s[1], now_s + delays_s[-1]),
        ),
        operated_s=max(left.operated_s, right.operated_s, now_s),
        # The oldest of the link pairs decides, because its noise stays in the joined pair.
        due_s=min(left.due_s, right.due_s),
    )
