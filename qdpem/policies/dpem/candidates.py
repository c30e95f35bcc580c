"""What a site may choose from: options scored by one small network instead of enumerated actions.

A site has slots: its oldest waiting requests and, at an epoch, the pairs most asked for there. Every slot
offers options, each described by one short row of numbers. The same weights then fit any degree, any
number of nodes and any topology.
Letters: S sites asked, M slots in use, O options, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.plans import Plan
from qdpem.policies.dpem.features import FEATURES, LONGEST_STOCK_S, OPTIONS, FeatureEncoder
from qdpem.policies.dpem.paths import COLUMNS, PATHS, PathTable
from qdpem.policies.dpem.slots import SLOTS, Slot, SlotFinder
from qdpem.policy.interface import FREE_MEMORIES, Allocation, Context, Floats, Ints, Observation
from qdpem.scenario.words import Pregeneration

MIN_LIFE_S = 0.2
"""Stock that would be useless sooner than this is not offered."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Padded options of the sites asked.

    `features` float32 [S, SLOTS, OPTIONS, F]; `mask` bool [S, SLOTS, OPTIONS], all False where a slot has
    nothing to decide; `site_features` float32 [S, len(SITE_FEATURES)].
    """

    features: NDArray[np.float32]
    mask: NDArray[np.bool_]
    site_features: NDArray[np.float32]
    slots: tuple[Slot, ...]
    static: Floats


class CandidateBuilder:
    """Builds candidates for one run; `finder` holds all it remembers."""

    def __init__(self, context: Context) -> None:
        self._paths = PathTable(context)
        self.finder = SlotFinder(context, self._paths)
        self._describer = FeatureEncoder(context)
        self._pregeneration = context.pregeneration

    def build(self, observations: Observation) -> Candidates:
        """The options of every site in `observations`; each row depends on that row and its own past alone."""
        slots = self.finder.slots(observations)
        own = self._describer.own(observations)
        features = np.zeros((len(observations), SLOTS, OPTIONS, len(FEATURES)), dtype=np.float32)
        mask = np.zeros((len(observations), SLOTS, OPTIONS), dtype=np.bool_)
        static = np.zeros((0, PATHS + 1, len(COLUMNS)))
        if slots:
            static = np.array(
                [
                    self._paths.block(slot.source, slot.destination, slot.target_fidelity, slot.unavailable)
                    for slot in slots
                ]
            )
            rows = np.array([slot.row for slot in slots])
            places = np.array([slot.place for slot in slots])
            allowed = self._allowed(observations, rows, slots, static)
            mask[rows, places] = allowed & np.any(allowed[:, 1:], axis=1, keepdims=True)
            features[rows, places] = self._describer.options(observations, rows, slots, static, own)
        return Candidates(features, mask, self._describer.sites(observations, own), tuple(slots), static)

    def allocation(self, candidates: Candidates, index: int, option: int, now_s: float) -> Allocation | None:
        """What option `option` (>= 0) of the slot `candidates.slots[index]` says; None for nothing."""
        if option == 0:
            return None
        slot = candidates.slots[index]
        serves = slot.request >= 0
        if option == 1 and serves:
            return self._serve(slot, path=(slot.source, slot.destination), rounds=0)
        position = option - 1
        rounds, life_s = candidates.static[index, position, [COLUMNS["rounds"], COLUMNS["life_s"]]]
        path = self._paths.nodes(slot.source, slot.destination, position, slot.unavailable)
        if serves:
            return self._serve(slot, path=path, rounds=int(rounds))
        self.finder.ordered(path[0], path[-1], now_s=now_s)
        return Allocation(
            source=path[0],
            destination=path[-1],
            target_fidelity=float(candidates.static[index, position, COLUMNS["target_fidelity"]]),
            path=path,
            expires_s=now_s + min(float(life_s), LONGEST_STOCK_S),
            plan=Plan(rounds_per_link=int(rounds)),
            purpose="stock",
        )

    def _serve(self, slot: Slot, *, path: tuple[int, ...], rounds: int) -> Allocation:
        return Allocation(
            source=slot.source,
            destination=slot.destination,
            target_fidelity=slot.target_fidelity,
            path=path,
            expires_s=slot.expires_s,
            plan=Plan(rounds_per_link=rounds),
            pairs=slot.pairs,
            request=slot.request,
        )

    def _allowed(
        self, observations: Observation, rows: Ints, slots: list[Slot], static: Floats
    ) -> NDArray[np.bool_]:
        """Which options the rules, the physics and the site's free memory leave, bool [M, O]."""
        serves = np.array([slot.request >= 0 for slot in slots])
        pairs = np.array([slot.pairs for slot in slots])
        free = observations.status[rows, 0, FREE_MEMORIES] >= pairs
        hops = static[:, :, COLUMNS["hops"]]
        feasible = (static[:, :, COLUMNS["feasible"]] > 0) & free[:, None]
        may_stock_links = self._pregeneration.at_least(Pregeneration.LINK)
        may_stock_end_to_end = self._pregeneration.at_least(Pregeneration.END_TO_END)
        room = np.array([slot.may_order for slot in slots])
        lasting = static[:, :, COLUMNS["life_s"]] >= MIN_LIFE_S
        right = np.where(hops > 1, may_stock_end_to_end, may_stock_links)
        stockable = feasible & lasting & right & room[:, None]
        stockable[:, 0] = (
            feasible[:, 0] & lasting[:, 0] & may_stock_links & np.array([slot.way_free for slot in slots])
        )
        allowed = np.ones((len(slots), OPTIONS), dtype=np.bool_)
        allowed[:, 1:] = np.where(serves[:, None], feasible, stockable)
        far = np.array([not self._paths.adjacent(slot.source, slot.destination) for slot in slots])
        stocked = np.array([slot.on_hand for slot in slots]) >= pairs
        allowed[:, 1] = np.where(serves, stocked & far & may_stock_end_to_end, stockable[:, 0])
        return allowed
