"""Hostile nodes, which report false updates so that the shared network gets worse.

They act as all others do, and break the rules of reporting: their reports are neither clipped nor made noisy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qdpem.arrays import Flags, Floats
from qdpem.policies.dpem.networks import Kind
from qdpem.policies.dpem.training.experience import Experience
from qdpem.rng import stream
from qdpem.scenario.tables.federation import Hostile
from qdpem.scenario.words import Attack


def hostile_nodes(hostile: Hostile, *, nodes: int, seed: int) -> Flags:
    """Which nodes are hostile, bool [N]: the same in all rounds.

    >>> int(hostile_nodes(Hostile(share=0.2), nodes=10, seed=0).sum())
    2
    """
    chosen = stream(seed, "federation/hostile").permutation(nodes)[: round(hostile.share * nodes)]
    return np.isin(np.arange(nodes), chosen)


def poisoned(
    experience: Mapping[Kind, Experience], hostile: Hostile, *, nodes: int, seed: int
) -> dict[Kind, Experience]:
    """What nodes learn from: under the attack "poisoned-reward" hostile ones learn the opposite."""
    if hostile.attack != Attack.POISONED_REWARD or not hostile.share:
        return dict(experience)
    chosen = hostile_nodes(hostile, nodes=nodes, seed=seed)
    return {
        kind: replace(part, gain=np.where(chosen[part.site], -hostile.scale * part.gain, part.gain))
        for kind, part in experience.items()
    }


def false_reports(updates: Floats, hostile: Hostile) -> Floats:
    """What the nodes [N, P] would report if they were hostile."""
    factors = {Attack.SIGN_FLIP: -hostile.scale, Attack.SCALED: hostile.scale, Attack.POISONED_REWARD: 1.0}
    return factors[hostile.attack] * updates
