"""Candidate allocations of a site: options that one small network scores, instead of a fixed action space.

A site has slots: its most urgent pending requests and, at an epoch, its top pairs. Every slot offers options,
and a short row of features describes each option. The same weights therefore fit any node degree, any number
of nodes and any topology.
Letters in shapes: S sites of the observation, M slots in use, O options, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.plans import Plan
from qdpem.arrays import Floats, Ints
from qdpem.policies.dpem.features import FEATURES, MAX_STOCK_S, OPTIONS, FeatureEncoder
from qdpem.policies.dpem.paths import COLUMNS, PATHS, PathTable
from qdpem.policies.dpem.slots import SLOTS, Slot, SlotFinder
from qdpem.policy.interface import FREE_MEMORIES, Allocation, Context, Observation
from qdpem.scenario.words import Pregeneration

MIN_LIFE_S = 0.2
"""Stock that stays useful for less than this is not offered."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The padded options of the sites of one observation.

    - `features`: float32 [S, SLOTS, OPTIONS, F].
    - `mask`: bool [S, SLOTS, OPTIONS]; which options are allowed, all False where a slot has no choice.
    - `site_features`: float32 [S, len(SITE_FEATURES)], the critic's inputs.
    - `slots`: the M slots in use.
    - `static`: float64 [M, PATHS + 1, len(COLUMNS)], the block of `PathTable` of each slot.
    """

    features: NDArray[np.float32]
    mask: NDArray[np.bool_]
    site_features: NDArray[np.float32]
    slots: tuple[Slot, ...]
    static: Floats


class CandidateBuilder:
    """Builds candidates during one run; its only memory is that of `finder`."""

    def __init__(self, context: Context) -> None:
        self._paths = PathTable(context)
        self.finder = SlotFinder(context, self._paths)
        self._encoder = FeatureEncoder(context)
        self._pregeneration = context.pregeneration

    def build(self, observations: Observation) -> Candidates:
        """The options of every site in `observations`, each from the site's own row and its own past only."""
        slots = self.finder.slots(observations)
        own = self._encoder.own(observations)
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
            numbers = np.array([slot.number for slot in slots])
            allowed = self._allowed(observations, rows, slots, static)
            # Option 0, nothing, is always allowed. A slot where only it is allowed has no choice: mask all.
            mask[rows, numbers] = allowed & np.any(allowed[:, 1:], axis=1, keepdims=True)
            features[rows, numbers] = self._encoder.options(observations, rows, slots, static, own)
        return Candidates(features, mask, self._encoder.sites(observations, own), tuple(slots), static)

    def allocation(self, candidates: Candidates, index: int, option: int, now_s: float) -> Allocation | None:
        """The allocation of `option` of the slot `candidates.slots[index]`; None for option 0, nothing."""
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
        # Remembered when ordered, not when granted: a refused order must not return at every epoch.
        self.finder.note_order(path[0], path[-1], now_s=now_s)
        return Allocation(
            source=path[0],
            destination=path[-1],
            target_fidelity=float(candidates.static[index, position, COLUMNS["target_fidelity"]]),
            path=path,
            expires_s=now_s + min(float(life_s), MAX_STOCK_S),
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
        """The options that rules, physics and the site's free memory allow, bool [M, O]."""
        serves = np.array([slot.request >= 0 for slot in slots])
        pairs = np.array([slot.pairs for slot in slots])
        free = observations.status[rows, 0, FREE_MEMORIES] >= pairs
        hops = static[:, :, COLUMNS["hops"]]
        feasible = (static[:, :, COLUMNS["feasible"]] > 0) & free[:, None]
        links = self._pregeneration.at_least(Pregeneration.LINK)
        end_to_end = self._pregeneration.at_least(Pregeneration.END_TO_END)
        may_order = np.array([slot.may_order_destination for slot in slots])
        lasting = static[:, :, COLUMNS["life_s"]] >= MIN_LIFE_S
        permitted = np.where(hops > 1, end_to_end, links)
        stockable = feasible & lasting & permitted & may_order[:, None]
        stockable[:, 0] = (
            feasible[:, 0] & lasting[:, 0] & links & np.array([slot.may_order_first_hop for slot in slots])
        )
        allowed = np.ones((len(slots), OPTIONS), dtype=np.bool_)
        allowed[:, 1:] = np.where(serves[:, None], feasible, stockable)
        apart = np.array([not self._paths.adjacent(slot.source, slot.destination) for slot in slots])
        stocked = np.array([slot.ready for slot in slots]) >= pairs
        # Option 1 differs by slot: from stock for a request, the first hop for a top pair.
        allowed[:, 1] = np.where(serves, stocked & apart & end_to_end, stockable[:, 0])
        return allowed
