"""Fidelity budget: aged stock is admitted to a path as long as the path can still meet its target."""

from __future__ import annotations

import math

from physics.figures_of_merit.werner_figures import werner_weight_unchecked
from physics.plans import Rounds, compact_rounds
from qdpem.network.graph import Network
from qdpem.network.path import Path, path_along
from qdpem.network.path_estimates import ASSUMED_WAIT_FRACTION
from qdpem.policy.interface import Allocation
from qdpem.simulation.execution.link_generation import LinkGeneration
from qdpem.simulation.resources.pairs.ledger import Pair
from qdpem.simulation.resources.state import SimulationState


class FidelityBudget:
    """The logarithm of believed path weight over target weight, of one generation.

    Every stocked pair that is admitted takes its part of it. Weights are Werner weights w = (4F - 1)/3,
    which multiply along a path of swapped Werner pairs (Briegel et al. 1998). Fresh link pairs are assumed
    to wait for ASSUMED_WAIT_FRACTION of the time left; for a repeating request, which has no time limit for
    one pair, they are assumed not to wait.
    """

    def __init__(
        self, state: SimulationState, allocation: Allocation, hops: list[LinkGeneration], *, repeating: bool
    ) -> None:
        self._state = state
        left_s = 0.0 if repeating else max(allocation.expires_s - state.clock.now_s, 0.0)
        wait_s = ASSUMED_WAIT_FRACTION * left_s
        self._left = -_log_weight(allocation.target_fidelity)
        for path, rounds in _parts_over_links(state.network, allocation.path, hops):
            self._left += _log_weight(state.estimates.fidelity(path, rounds=rounds, age_s=wait_s))

    def admits(self, pair: Pair, hop: LinkGeneration) -> bool:
        """Whether the path still meets its target with this aged pair on `hop`; if so, the budget shrinks."""
        state = self._state
        aged = _log_weight(state.ledger.fidelity(pair, state.clock.now_s + hop.delay_s))
        # The weight of a fresh pair of the link is part of the budget already. A virtual link has none.
        fresh = 0.0
        if hop.link >= 0:
            fresh = _log_weight(state.physics.fidelity(state.network.links[hop.link].fresh))
        if fresh - aged > self._left:
            return False
        # A pair better than a fresh one gives no credit: it may be lost, and the link then makes a fresh one.
        self._left -= max(fresh - aged, 0.0)
        return True


def _log_weight(fidelity: float) -> float:
    weight = werner_weight_unchecked(fidelity)
    # Logarithms turn the product of weights along a path into a sum. No target can be met from weight 0.
    return math.log(weight) if weight > 0.0 else -math.inf


def _parts_over_links(
    network: Network, nodes: tuple[int, ...], hops: list[LinkGeneration]
) -> list[tuple[Path, Rounds]]:
    """The parts of a path between its virtual links, each with the distillation rounds of its links."""
    parts: list[tuple[Path, Rounds]] = []
    first = 0
    for position in range(len(hops) + 1):
        if position == len(hops) or hops[position].link < 0:
            if position > first:
                # A virtual link ends one part, and the next part starts at its other end.
                path = path_along(network, nodes[first : position + 1])
                parts.append((path, compact_rounds(tuple(hop.rounds for hop in hops[first:position]))))
            first = position + 1
    return parts
