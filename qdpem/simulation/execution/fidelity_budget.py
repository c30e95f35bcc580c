"""What ageing may still cost a path: aged stock is admitted as long as the target can be met."""

from __future__ import annotations

import math

from physics.plans import Rounds, compact_rounds
from qdpem.network.graph import Network
from qdpem.network.path import Path, path_along
from qdpem.policy.interface import Allocation
from qdpem.simulation.execution.link_generation import LinkGeneration
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.state import SimulationState

_WAITING_FRACTION = 0.3
"""Share of the time left that fresh link pairs are believed to wait."""


class FidelityBudget:
    """ln of believed path weight over target weight, of one lane; every stocked pair admitted takes its part.

    Weights are Werner weights w = (4F - 1)/3, which multiply along a path of swapped Werner pairs.
    """

    def __init__(
        self, state: SimulationState, allocation: Allocation, hops: list[LinkGeneration], *, persistence: bool
    ) -> None:
        self._state = state
        # The end of a standing request says nothing of how long one pair of it takes.
        left_s = 0.0 if persistence else max(allocation.expires_s - state.clock.now_s, 0.0)
        wait_s = _WAITING_FRACTION * left_s
        self._left = -_log_weight(allocation.target_fidelity)
        for path, rounds in _stretches(state.network, allocation.path, hops):
            self._left += _log_weight(state.estimates.fidelity(path, rounds=rounds, age_s=wait_s))

    def admits(self, pair: Pair, hop: LinkGeneration) -> bool:
        """Whether the path still meets its target with this aged pair on `hop` in place of a fresh one."""
        state = self._state
        aged = _log_weight(state.ledger.fidelity(pair, state.clock.now_s + hop.delay_s))
        fresh = 0.0
        if hop.link >= 0:
            fresh = _log_weight(state.physics.fidelity(state.network.links[hop.link].fresh))
        if fresh - aged > self._left:
            return False
        self._left -= max(fresh - aged, 0.0)
        return True


def _log_weight(fidelity: float) -> float:
    weight = (4.0 * fidelity - 1.0) / 3.0
    return math.log(weight) if weight > 0.0 else -math.inf


def _stretches(
    network: Network, nodes: tuple[int, ...], hops: list[LinkGeneration]
) -> list[tuple[Path, Rounds]]:
    """The stretches of a path over links, between steps over stocked remote pairs, and their rounds."""
    stretches: list[tuple[Path, Rounds]] = []
    first = 0
    for position in range(len(hops) + 1):
        if position == len(hops) or hops[position].link < 0:
            if position > first:
                path = path_along(network, nodes[first : position + 1])
                stretches.append((path, compact_rounds(tuple(hop.rounds for hop in hops[first:position]))))
            first = position + 1
    return stretches
