"""How far link pairs reach at best: over how many hops, and how old they may grow, whatever the outcomes.

These are upper limits that no run can pass, not estimates: a bound built on them stays a bound. Three cases:

- **Pauli**: fresh pairs are Bell-diagonal, and memories and swaps act as Pauli channels (checked on the
  model: a channel is what it makes of half a Bell pair). States then stay Bell-diagonal, and along a path the
  three correlations |t_j| multiply: F <= (1 + sum_j prod_i |t_ij|)/4, with a factor for every link pair, swap
  and storage. While a link pair waits, or anything swapped from it, two stored qubits decay.
- **Bell-diagonal at birth**, but memories relax or a measurement is biased: an outcome may then purify.
  Whatever nodes do locally, with any luck, cannot raise F/(1 - F) above the projective robustness of what
  they were given (Regula 2022, Phys. Rev. Lett. 128, 110505): Omega = min max(r/s) max(s/r) over mixtures s
  of states that are unentangled across one of the links. No limit of age follows.
- **Else** (single clicks leave |11>, which filters can take away; models of others): no limit at all.

What was distilled counts as perfect: a hop on which pairs were distilled has taken two fresh ones at least.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from physics.interface import PhysicsModel, State
from physics.states import bell_state, is_bell_diagonal, pauli_table
from qdpem.network.graph import Network

_KNOWN = ("pauli", "qutip", "werner")
"""Models known to follow quantum mechanics, or to know Werner states alone."""

_PROBE_S = 1.0
_MIN_FORCED = 1e-9
_ROUNDING = 1e-9
_BISECTIONS = 60


class FidelityReach:
    """Limits of hops and ages on one network; `case` is "pauli", "bell-diagonal" or "none"."""

    def __init__(self, network: Network, physics: PhysicsModel) -> None:
        self._physics = physics
        self._limit = network.node_count - 1
        self._memories = sorted({one.memory for one in network.hardware}, key=repr)
        self._perfect = physics.from_density_matrix(bell_state(0))
        self._link = self._swap = np.ones(3)
        self.case = self._case(network)

    def hops(self, target_fidelity: float) -> int:
        """Most undistilled hops of a path whose pair can meet the target; at most N - 1."""
        low, high = 0, self._limit
        while low < high:
            middle = (low + high + 1) // 2
            meets = self._fidelity(middle) >= target_fidelity - _ROUNDING
            low, high = (middle, high) if meets else (low, middle - 1)
        return low

    def life_s(self, target_fidelity: float, hops: int) -> float:
        """How long before a delivery over so many single hops its parts may have been made; inf: no limit.

        0 where not even fresh pairs would do.
        """
        if self.case != "pauli" or hops == 0:
            return math.inf

        def meets(age_s: float) -> bool:
            kept = self._link**hops * self._swap ** (hops - 1) * self._stored(age_s)
            return 0.25 * (1.0 + float(kept.sum())) >= target_fidelity - _ROUNDING

        if not meets(0.0):
            return 0.0
        high = 1e-3
        while meets(high):
            high *= 2.0
            if high > 1e9:
                return math.inf
        low = 0.0
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if meets(middle) else (low, middle)
        return high

    def _fidelity(self, hops: int) -> float:
        if hops == 0 or self.case == "none":
            return 1.0
        if self.case == "pauli":
            return 0.25 * (1.0 + float((self._link**hops * self._swap ** (hops - 1)).sum()))
        odds = chain_odds(float(self._link[0]), hops)
        return odds / (1.0 + odds) if math.isfinite(odds) else 1.0

    def _case(self, network: Network) -> str:
        usable = np.flatnonzero(network.link_rate_hz > 0.0).tolist()
        tables = [self._diagonal(network.links[link].fresh) for link in usable]
        if getattr(self._physics, "name", "") not in _KNOWN or not all(map(len, tables)):
            return "none"
        stored = [self._diagonal(self._aged(memory, _PROBE_S)) for memory in self._memories]
        swaps = [table for node in set(network.hardware) for table in self._swaps(node)]
        if all(map(len, stored)) and all(map(len, swaps)):
            self._link = np.max(np.abs(tables), axis=0, initial=0.0)
            self._swap = np.max(np.abs(swaps), axis=0, initial=0.0)
            return "pauli"
        best = max((float(_bell_weights(table).max()) for table in tables), default=0.0)
        self._link = np.full(3, best)
        return "bell-diagonal"

    def _swaps(self, node: object) -> list[NDArray[np.float64]]:
        """What each outcome makes of two perfect pairs: this says what it makes of all."""
        found = []
        for outcome in node.heralded_outcomes:  # type: ignore[attr-defined]
            made = self._physics.swap(self._perfect, self._perfect, node, 0.0, outcome)  # type: ignore[arg-type]
            if made.probability > _MIN_FORCED:
                found.append(self._diagonal(made.state))
        return found

    def _aged(self, memory: object, age_s: float) -> State:
        return self._physics.age(self._perfect, memory, None, age_s)  # type: ignore[arg-type]

    def _stored(self, age_s: float) -> NDArray[np.float64]:
        """Largest |t_j| that two stored qubits keep, the best memory at both ends."""
        one = [np.abs(self._diagonal(self._aged(memory, age_s))) for memory in self._memories]
        return np.asarray(np.max(one, axis=0) ** 2)

    def _diagonal(self, state: State) -> NDArray[np.float64]:
        """(t_x, t_y, t_z) of a Bell-diagonal state; empty if it is none."""
        matrix = self._physics.density_matrix(state)
        return pauli_table(matrix).diagonal()[1:] if is_bell_diagonal(matrix) else np.zeros(0)


def _bell_weights(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the four Bell states in a Bell-diagonal state of these correlations."""
    signs = np.array([(1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, -1)])
    return np.asarray(0.25 * (1.0 + signs @ table))


@cache
def chain_odds(fidelity: float, hops: int) -> float:
    """Largest F/(1 - F) that local operations can leave of `hops` Bell-diagonal pairs in a row, by any luck.

    `fidelity` is the largest Bell weight of each. With k errors among n pairs the state has the eigenvalue
    r_k ~ F^(n-k) (1-F)^k; s mixes, over the links, an unentangled pair (weight 1/2) on one of them with any
    state t of the others: s_k / r_k = ((1 - k/n) a_k + (k/n) O a_(k-1))/2 for any a >= 0, O = F/(1-F).
    Omega is the least ratio of the largest to the smallest of these, a small linear programme; any a gives
    a limit, so the solver's tolerance does no harm.

    >>> round(chain_odds(0.9, 1), 6), round(chain_odds(0.9, 2), 6)
    (9.0, 4.555556)
    """
    if fidelity >= 1.0:
        return math.inf
    if fidelity <= 0.5:
        return 1.0
    from scipy.optimize import linprog

    count, odds = np.arange(hops + 1), fidelity / (1.0 - fidelity)
    ratio = np.zeros((hops + 1, hops))
    ratio[count[:-1], count[:-1]] = 0.5 * (1.0 - count[:-1] / hops)
    ratio[count[1:], count[:-1]] = 0.5 * odds * count[1:] / hops
    rows = np.block([[-ratio, np.zeros((hops + 1, 1))], [ratio, -np.ones((hops + 1, 1))]])
    limits = np.concatenate([-np.ones(hops + 1), np.zeros(hops + 1)])
    found = linprog(np.append(np.zeros(hops), 1.0), A_ub=rows, b_ub=limits, method="highs")
    if found.status != 0:
        return odds
    reached = ratio @ np.maximum(found.x[:-1], 0.0)
    return min(odds, float(reached.max() / reached.min())) if reached.min() > 0.0 else odds
