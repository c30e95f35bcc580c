"""The order in which the repeaters of a path swap: as soon as they can, or only what is due."""

from __future__ import annotations

from qdpem.scenario.words import SwapOrder

Span = tuple[int, int]


class SwapOrders:
    """What each inner position of a path must have on its two sides before it swaps, by number of hops."""

    def __init__(self, kind: SwapOrder) -> None:
        self._kind = kind
        self._made: dict[int, tuple[Span, ...]] = {}

    def spans(self, hops: int) -> tuple[Span, ...] | None:
        """For each position the ends of the two pairs together; None: whatever is there.

        >>> SwapOrders("nested").spans(4)
        ((0, 0), (0, 2), (0, 4), (2, 4), (4, 4))
        >>> SwapOrders("left-to-right").spans(3)
        ((0, 0), (0, 2), (0, 3), (3, 3))
        """
        if self._kind == "asap":
            return None
        if hops not in self._made:
            spans = {0: (0, 0), hops: (hops, hops)}
            if self._kind == "nested":
                _halve(0, hops, spans)
            else:
                spans.update({position: (0, position + 1) for position in range(1, hops)})
            self._made[hops] = tuple(spans[position] for position in range(hops + 1))
        return self._made[hops]


def _halve(first: int, last: int, spans: dict[int, Span]) -> None:
    """Halves first, then the middle joins them; of an odd number of hops the right half has one more."""
    middle = (first + last) // 2
    if first < middle:
        spans[middle] = (first, last)
        _halve(first, middle, spans)
        _halve(middle, last, spans)
