"""The furthest that link pairs reach: over how many hops and up to what age they can meet a target.

These are upper limits that no run can exceed, whatever the outcomes, and not estimates. A bound built on them
stays a bound. There are three noise models:

- **"pauli"**: fresh pairs are Bell-diagonal, and memories and swaps act as Pauli channels. (The check ages
  half a Bell pair, whose state afterwards determines the channel.) States then stay Bell-diagonal, and along
  a path the three correlations |t_j| multiply: F <= (1 + sum_j prod_i |t_ij|)/4, with a factor for every link
  pair, swap and storage. While a link pair waits, or anything swapped from it, two stored qubits decay.
- **"bell-diagonal"**: fresh pairs are Bell-diagonal, but memories relax or a measurement is biased, so that
  an outcome may purify. No local operation of the nodes, whatever its outcome, can raise F/(1 - F) above the
  projective robustness of the pairs (Regula 2022, Phys. Rev. Lett. 128, 110505): Omega = min max(r/s)
  max(s/r) over mixtures s of states that are unentangled across one of the links. No limit of age follows.
- **"other"**: no limit at all. Single clicks leave |11>, which filters can remove, and models of third
  parties are unknown.

Distilled pairs count as perfect: a hop on which pairs were distilled has taken at least two fresh ones.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from physics.interface import PhysicsModel, State
from physics.qubits.states import bell_state, is_bell_diagonal, pauli_table
from qdpem.arrays import Floats
from qdpem.network.graph import Network

NoiseModel: TypeAlias = Literal["pauli", "bell-diagonal", "other"]

_KNOWN_MODELS = ("pauli", "qutip", "werner")
"""Physics models known to follow quantum mechanics, or to hold Werner states only."""

_PROBE_S = 1.0
_MIN_PROBABILITY = 1e-9
_ROUNDING = 1e-9
_BISECTIONS = 60


class FidelityReach:
    """Limits on hops and ages in one network, under its `noise_model`."""

    def __init__(self, network: Network, physics: PhysicsModel) -> None:
        self._physics = physics
        self._limit = network.node_count - 1
        self._memories = sorted({node.memory for node in network.hardware}, key=repr)
        self._perfect = physics.from_density_matrix(bell_state(0))
        self._link = self._swap = np.ones(3)
        self.noise_model = self._find_noise_model(network)

    def hops(self, target_fidelity: float) -> int:
        """Largest number of undistilled hops of a path whose pair can meet the target; at most N - 1."""
        # Fidelity falls with every hop, so bisection finds the largest number.
        low, high = 0, self._limit
        while low < high:
            middle = (low + high + 1) // 2
            meets = self._fidelity(middle) >= target_fidelity - _ROUNDING
            low, high = (middle, high) if meets else (low, middle - 1)
        return low

    def max_age_s(self, target_fidelity: float, hops: int) -> float:
        """Largest age of the parts of a delivery over `hops` single hops; inf without a limit.

        0 where not even fresh pairs meet the target.
        """
        if self.noise_model != "pauli" or hops == 0:
            return math.inf

        def meets(age_s: float) -> bool:
            correlations = self._link**hops * self._swap ** (hops - 1) * self._stored(age_s)
            return 0.25 * (1.0 + float(correlations.sum())) >= target_fidelity - _ROUNDING

        if not meets(0.0):
            return 0.0
        # Doubling from 1 ms brackets the age; beyond 1e9 s (30 years) it counts as unlimited.
        high = 1e-3
        while meets(high):
            high *= 2.0
            if high > 1e9:
                return math.inf
        low = 0.0
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if meets(middle) else (low, middle)
        # The upper end of the bracket: a limit that is too large is still a limit.
        return high

    def _fidelity(self, hops: int) -> float:
        """The largest fidelity over so many hops of fresh pairs."""
        if hops == 0 or self.noise_model == "other":
            return 1.0
        if self.noise_model == "pauli":
            return 0.25 * (1.0 + float((self._link**hops * self._swap ** (hops - 1)).sum()))
        ratio = max_fidelity_ratio(float(self._link[0]), hops)
        return ratio / (1.0 + ratio) if math.isfinite(ratio) else 1.0

    def _find_noise_model(self, network: Network) -> NoiseModel:
        """The first model that holds; sets the largest correlations of link pairs and swaps with it."""
        usable = np.flatnonzero(network.link_rate_hz > 0.0).tolist()
        fresh = [self._correlations(network.links[link].fresh) for link in usable]
        # `_correlations` is empty for a state that is not Bell-diagonal.
        if getattr(self._physics, "name", "") not in _KNOWN_MODELS or not all(map(len, fresh)):
            return "other"
        stored = [self._correlations(self._aged(memory, _PROBE_S)) for memory in self._memories]
        swaps = [outcome for node in set(network.hardware) for outcome in self._swap_outcomes(node)]
        if all(map(len, stored)) and all(map(len, swaps)):
            self._link = np.max(np.abs(fresh), axis=0, initial=0.0)
            self._swap = np.max(np.abs(swaps), axis=0, initial=0.0)
            return "pauli"
        best = max((float(_bell_weights(correlations).max()) for correlations in fresh), default=0.0)
        self._link = np.full(3, best)
        return "bell-diagonal"

    def _swap_outcomes(self, node: object) -> list[Floats]:
        """Correlations after each outcome of a swap of perfect pairs, which determine those of any pairs."""
        outcomes = []
        for outcome in node.heralded_outcomes:  # type: ignore[attr-defined]
            swapped = self._physics.swap(self._perfect, self._perfect, node, 0.0, outcome)  # type: ignore[arg-type]
            # The state of an outcome that never occurs is undefined.
            if swapped.probability > _MIN_PROBABILITY:
                outcomes.append(self._correlations(swapped.state))
        return outcomes

    def _aged(self, memory: object, age_s: float) -> State:
        return self._physics.age(self._perfect, memory, None, age_s)  # type: ignore[arg-type]

    def _stored(self, age_s: float) -> Floats:
        """Largest |t_j| that two stored qubits keep, the best memory at both ends."""
        # The memories of the ends are unknown here, so each axis gets the best memory at both ends.
        kept = [np.abs(self._correlations(self._aged(memory, age_s))) for memory in self._memories]
        return np.asarray(np.max(kept, axis=0) ** 2)

    def _correlations(self, state: State) -> Floats:
        """(t_x, t_y, t_z) of a Bell-diagonal state; empty if it is not one."""
        matrix = self._physics.density_matrix(state)
        return pauli_table(matrix).diagonal()[1:] if is_bell_diagonal(matrix) else np.zeros(0)


def _bell_weights(correlations: Floats) -> Floats:
    """Weights of the four Bell states in a Bell-diagonal state of these correlations."""
    signs = np.array([(1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, -1)])
    return np.asarray(0.25 * (1.0 + signs @ correlations))


@cache
def max_fidelity_ratio(fidelity: float, hops: int) -> float:
    """Largest F/(1 - F) that local operations can make from `hops` Bell-diagonal pairs in a row.

    It holds for every outcome of these operations.

    `fidelity` is the largest Bell weight of each. With k errors among n pairs the state has the eigenvalue
    r_k ~ F^(n-k) (1-F)^k. s mixes, over the links, an unentangled pair (weight 1/2) on one of them with any
    state t of the others: s_k / r_k = ((1 - k/n) a_k + (k/n) O a_(k-1))/2 for any a >= 0, O = F/(1-F).
    Omega is the minimum over a of the largest of these divided by the smallest, a small linear programme. Any
    a gives a limit, so the solver's tolerance does no harm.

    >>> round(max_fidelity_ratio(0.9, 1), 6), round(max_fidelity_ratio(0.9, 2), 6)
    (9.0, 4.555556)
    """
    if fidelity >= 1.0:
        return math.inf
    if fidelity <= 0.5:
        return 1.0
    from scipy.optimize import linprog

    count, ratio_of_pair = np.arange(hops + 1), fidelity / (1.0 - fidelity)
    mixture = np.zeros((hops + 1, hops))
    mixture[count[:-1], count[:-1]] = 0.5 * (1.0 - count[:-1] / hops)
    mixture[count[1:], count[:-1]] = 0.5 * ratio_of_pair * count[1:] / hops
    # Scaled so that the smallest ratio is at least 1; the last variable is the largest one.
    rows = np.block([[-mixture, np.zeros((hops + 1, 1))], [mixture, -np.ones((hops + 1, 1))]])
    limits = np.concatenate([-np.ones(hops + 1), np.zeros(hops + 1)])
    result = linprog(np.append(np.zeros(hops), 1.0), A_ub=rows, b_ub=limits, method="highs")
    if result.status != 0:
        return ratio_of_pair
    # The ratios of the solver's own solution, not its optimum: they are exact for whatever it found.
    ratios = mixture @ np.maximum(result.x[:-1], 0.0)
    # Negated, so that NaN is caught too.
    if not ratios.min() > 0.0:
        return ratio_of_pair
    return min(ratio_of_pair, float(ratios.max() / ratios.min()))
