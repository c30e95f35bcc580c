"""Decisions with their returns, of one kind, as arrays; M decisions, O options, F features, N nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.policies.dpem.chooser import Chosen
from qdpem.policies.dpem.explanation import OPTIONS
from qdpem.policies.dpem.networks import FEATURES, Kind


@dataclass(frozen=True, eq=False, kw_only=True)
class Experience:
    """M decisions of one kind.

    - `site` int64 [M], `time_s` float64 [M], `subject` float64 [M, 3]: as in `Choices`.
    - `features` float32 [M, O, F], `mask` bool [M, O], `option` and `teacher` int64 [M], `log_probability`
      float64 [M]: as in `Choices` and `Chosen`.
    - `gain` float64 [M]: the return that the decision is credited with.
    """

    site: Ints
    time_s: Floats
    subject: Floats
    features: NDArray[np.float32]
    mask: Flags
    option: Ints
    teacher: Ints
    log_probability: Floats
    gain: Floats

    def __len__(self) -> int:
        return len(self.site)

    @classmethod
    def of(cls, chosen: Chosen) -> Experience:
        """The decisions of one call, whose returns are not known yet."""
        return cls(
            site=chosen.choices.site,
            time_s=np.full(len(chosen.option), chosen.choices.time_s),
            subject=chosen.choices.subject,
            features=chosen.choices.features,
            mask=chosen.choices.mask,
            option=chosen.option,
            teacher=chosen.teacher,
            log_probability=chosen.log_probability,
            gain=np.zeros(len(chosen.option)),
        )

    @classmethod
    def join(cls, kind: Kind, parts: Sequence[Experience]) -> Experience:
        """All decisions of `parts`, in their order; without any, arrays of length 0."""
        if not parts:
            parts = [cls.empty(kind)]
        arrays = {
            item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)
        }
        return cls(**arrays)

    @classmethod
    def empty(cls, kind: Kind) -> Experience:
        """No decisions."""
        none = np.zeros(0, dtype=np.int64)
        return cls(
            site=none,
            time_s=np.zeros(0),
            subject=np.zeros((0, 3)),
            features=np.zeros((0, OPTIONS[kind], len(FEATURES[kind])), dtype=np.float32),
            mask=np.zeros((0, OPTIONS[kind]), dtype=np.bool_),
            option=none,
            teacher=none,
            log_probability=np.zeros(0),
            gain=np.zeros(0),
        )

    def where(self, kept: Flags) -> Experience:
        """The decisions that are `kept`."""
        return Experience(**{item.name: getattr(self, item.name)[kept] for item in fields(self)})

    def by_node(self, nodes: int) -> tuple[dict[str, NDArray[np.float64]], Flags]:
        """Every array padded to [N, B, ...], in the order of decisions, and which rows are valid, [N, B].

        B is the largest number of decisions of a node, at least 1.
        """
        order = np.argsort(self.site, kind="stable")
        site = self.site[order]
        count = np.bincount(site, minlength=nodes)
        place = np.arange(len(site)) - np.repeat(np.cumsum(count) - count, count)
        size = max(int(count.max(initial=0)), 1)
        padded = {}
        for item in fields(self):
            array = getattr(self, item.name)[order]
            table = np.zeros((nodes, size, *array.shape[1:]), dtype=array.dtype)
            table[site, place] = array
            padded[item.name] = table
        valid = np.zeros((nodes, size), dtype=np.bool_)
        valid[site, place] = True
        return padded, valid
