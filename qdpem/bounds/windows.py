"""Windows of time, and the limits on what a link or node supplies in them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.bounds.master import Cut, Span
from qdpem.bounds.seed_supply import SeedSample

_MIN_EXCESS = 1e-3
_LENGTH_STEP = 1.1


class Windows:
    """All windows of whole bins in a run, and the search for those that a flow violates."""

    def __init__(self, sample: SeedSample, *, bin_s: float) -> None:
        self._sample, self._bin_s = sample, bin_s
        self._bins = bins_in(sample.end_s, bin_s)
        self._octaves = _octaves(self._bins)
        self._supply_tables: dict[tuple[bool, int], tuple[Floats, ...]] = {}

    def violated(
        self, index: int, uses: Any, flow: Floats, spans: Ints, *, is_link: bool
    ) -> list[tuple[float, Cut]]:
        """Excess and cut of the windows in which a flow uses most beyond the supply of a link or node.

        One for each octave of length and each block of starts half as long.

        Args:
            index: the link, or the node if `is_link` is false.
            uses: sparse [1, C], how much of it each column takes.
            flow: float64 [C] of the columns.
            spans: int64 [C, 2] of the columns.
            is_link: whether `index` is that of a link.
        """
        amounts = uses.data * flow[uses.indices]
        used = amounts > 0.0
        # A supply is a whole number, and a use of at most 1 is seldom worth a cut.
        if amounts.sum() < 1.0 + _MIN_EXCESS:
            return []
        # use[start, end] becomes the use by spans inside the window from `start` to `end`.
        spans = spans[uses.indices[used]]
        use = np.zeros((self._bins + 1, self._bins + 1))
        np.add.at(use, (spans[:, 0], spans[:, 1]), amounts[used])
        use = np.cumsum(np.cumsum(use[::-1], axis=0)[::-1], axis=1)
        starts, cuts = np.arange(self._bins + 1)[:, None], []
        for lengths in self._octaves:
            ends = np.minimum(starts + lengths, self._bins)
            excess = use[starts, ends] - self._max_supply(index, starts, ends, lengths, is_link=is_link)
            worst, block = excess.max(axis=1), max(int(lengths[0]) // 2, 1)
            # The worst window of each block only: neighbouring windows would give nearly the same cut.
            for first in range(0, self._bins + 1, block):
                start = first + int(worst[first : first + block].argmax())
                if worst[start] > _MIN_EXCESS:
                    window = (start, int(ends[start, excess[start].argmax()]))
                    cut = self._cut(window, index, is_link=is_link)
                    cuts.append((float(use[window]) - cut.maximum, cut))
        return cuts

    def _cut(self, window: Span, index: int, *, is_link: bool) -> Cut:
        from_s, until_s = (self._bin_s * edge for edge in window)
        if is_link:
            return Cut(window, -1, frozenset([index]), self._sample.pairs(index, from_s, until_s))
        return Cut(window, index, frozenset(), self._sample.swaps(index, from_s, until_s))

    def _max_supply(self, index: int, starts: Ints, ends: Ints, lengths: Ints, *, is_link: bool) -> Floats:
        """An upper limit on the supply of a link or node in windows, [starts, lengths]."""
        key = (is_link, index)
        if key not in self._supply_tables:
            self._supply_tables[key] = self._supply_table(index, is_link=is_link)
        table = self._supply_tables[key]
        if len(table) == 2:
            return np.asarray(table[1][ends] - table[0][starts])
        return np.asarray(np.broadcast_to(table[0][lengths], ends.shape))

    def _supply_table(self, index: int, *, is_link: bool) -> tuple[Floats, ...]:
        """Emissions before and up to each bin's edge, or the largest supply of a window of each length."""
        sample, bin_s = self._sample, self._bin_s
        if is_link and sample.levels.of_link[index, 0] >= 0:
            edges = bin_s * np.arange(self._bins + 1, dtype=np.float64)
            return sample.emitted(index, edges)
        supply = np.zeros(self._bins + 1)
        for length in np.unique(np.concatenate(self._octaves)).tolist():
            # The last window of a length is the one before which most tokens and attempts have come.
            last = (max(sample.end_s - length * bin_s, 0.0), sample.end_s)
            supply[length] = (sample.pairs if is_link else sample.swaps)(index, *last)
        return (supply,)


def bins_in(end_s: float, bin_s: float) -> int:
    """Number of bins of `bin_s` that cover [0, end_s]; never one too few, by rounding one too many."""
    return max(math.ceil(end_s / bin_s), 1)


def _octaves(bins: int) -> list[Ints]:
    """Lengths of windows, in whole bins, that grow by a tenth; those between powers of two together."""
    lengths = [1]
    while lengths[-1] < bins:
        lengths.append(min(max(lengths[-1] + 1, int(lengths[-1] * _LENGTH_STEP)), bins))
    length = np.array(lengths)
    octave = np.floor(np.log2(length)).astype(int)
    return [length[octave == number] for number in np.unique(octave).tolist()]
