"""The order in which the repeaters of a path swap: as soon as possible, or by a fixed plan."""

from __future__ import annotations

from qdpem.scenario.words import SwapOrder

Span = tuple[int, int]


class SwapOrders:
    """Which span a node's two pairs must cover before the node swaps, for each position of a path."""

    def __init__(self, kind: SwapOrder) -> None:
        self._kind = kind
        self._spans: dict[int, tuple[Span, ...]] = {}

    def spans(self, hops: int) -> tuple[Span, ...] | None:
        """Outer ends that the two pairs at each position must have; None if any two pairs will do.

        The path has `hops` hops. Its two ends do not swap: their entries only keep positions in step.

        >>> SwapOrders("nested").spans(4)
        ((0, 0), (0, 2), (0, 4), (2, 4), (4, 4))
        >>> SwapOrders("left-to-right").spans(3)
        ((0, 0), (0, 2), (0, 3), (3, 3))
        """
        if self._kind == "asap":
            return None
        # Computed once for each length: all paths of that length swap alike.
        if hops not in self._spans:
            spans = {0: (0, 0), hops: (hops, hops)}
            if self._kind == "nested":
                _halve(0, hops, spans)
            else:
                spans.update({position: (0, position + 1) for position in range(1, hops)})
            self._spans[hops] = tuple(spans[position] for position in range(hops + 1))
        return self._spans[hops]


def _halve(first: int, last: int, spans: dict[int, Span]) -> None:
    """Each half is joined first, then the middle joins the halves. The right half has the odd hop."""
    middle = (first + last) // 2
    if first < middle:
        spans[middle] = (first, last)
        _halve(first, middle, spans)
        _halve(middle, last, spans)
