"""The field's usual simplification: every state replaced by the Werner state of its fidelity, one number."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, TypeAlias

import numpy as np

from physics import links, states
from physics.hardware import HERALDED_SHARES, DepolarisingMemory, LinkHardware, Memory, NodeHardware
from physics.interface import FAILED_SWAP, NO_ATTEMPTS, CompiledLink, DensityMatrix, Distilled, Swapped
from physics.sampling import (
    after_success,
    check_attempts,
    check_duration,
    check_outcome,
    check_possible,
    check_protocol,
    choose,
    succeeds,
)
from physics.werner_figures import fidelity_from_weight_unchecked, twirled_weight, werner_weight_unchecked

WernerWeight: TypeAlias = float
"""w of the Werner state w |Phi+><Phi+| + (1-w) I/4, from -1/3 (F = 0) to 1; F = (1 + 3w)/4."""

_CompiledRound: TypeAlias = tuple[float, float, float, float, float, float, float, float]


class WernerModel:
    """Pairs as their Werner weight, a float: not exact, but what much of the field computes with.

    Every operation is the exact one followed by a twirl, the mean over U (x) U* at both ends, which keeps the
    fidelity and nothing else (Bennett et al. 1996, Phys. Rev. A 54, 3824). Exact for Werner links with
    depolarising memories and swaps with noisy gates and perfect readout; fidelities are right, too, after one
    such swap with noisy readout, any rounds of BBPSSW and a first round of DEJMPS. Elsewhere it forgets which
    error is the likely one: later rounds of DEJMPS gain less, and
    with T1 and T2 it is right only at first, and only of Werner pairs.

    >>> model = WernerModel()
    >>> pair = model.from_density_matrix(states.werner(0.95))
    >>> node = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    >>> round(model.fidelity(model.swap(pair, pair, node, 0.0).state), 6)
    0.903333
    """

    name = "werner"
    reference: ClassVar[str | None] = None

    def __init__(self) -> None:
        self._rounds: dict[tuple[NodeHardware, NodeHardware, str], _CompiledRound] = {}

    def link(self, hardware: LinkHardware, length_km: float) -> CompiledLink:
        """Success probability and timing; the heralded state twirled. ValueError for a wrong length."""
        found = links.compile_link(hardware, length_km)
        return replace(found, fresh=_weight(found.fresh))

    def age(
        self,
        state: WernerWeight,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> WernerWeight:
        """w -> w e^(-rate x t - loss x attempts), both ends' added. ValueError for a wrong time or attempts.

        A depolarising end has the rate 1/T and loses 1/N an attempt: exact. Any other has the mean of its
        three Paulis' rates, (2/T2 + 1/T1)/3, and 2/(3N): the generator of its decay twirled, right to first
        order in t and a semigroup, which the twirl of each stretch of decay is not.
        """
        if not 0.0 < duration_s < math.inf:
            check_duration(duration_s)
            if attempts is NO_ATTEMPTS:
                return state
        decay = duration_s * (_rate_hz(first) + _rate_hz(second))
        if attempts is not NO_ATTEMPTS:
            check_attempts(attempts)
            decay += attempts[0] * _loss_per_attempt(first) + attempts[1] * _loss_per_attempt(second)
        return state * math.exp(-decay)

    def swap(
        self,
        left: WernerWeight,
        right: WernerWeight,
        node: NodeHardware,
        u: float,
        outcome: int | None = None,
    ) -> Swapped:
        """w = w_left w_right g (4 m^2 - 1)/3; the four outcomes are alike. Outcome -1 when it failed.

        g depolarises; a wrong reading, 1 - m^2, is a wrong correction, after which F = (1 - w)/4. `u` first
        decides success, what is left of it the outcome; one that the node's Bell measurement cannot tell from
        others fails. Raises ValueError for a forced outcome outside 0..3 or of probability 0.
        """
        shares = HERALDED_SHARES[node.bell_measurement]
        if outcome is None:
            remainder = after_success(u, node.swap_success_probability)
            if remainder is None:
                return FAILED_SWAP
            outcome = choose(remainder, [0.25 * share for share in shares])
            if outcome is None:
                return FAILED_SWAP
        else:
            check_outcome(outcome)
            check_possible(outcome, 0.25 * shares[outcome])
        m = node.readout_fidelity
        kept = node.gate_fidelity * (4.0 * m * m - 1.0) / 3.0
        probability = 0.25 * shares[outcome] * node.swap_success_probability
        return Swapped(success=True, outcome=outcome, probability=probability, state=left * right * kept)

    def distil(
        self,
        kept: WernerWeight,
        spent: WernerWeight,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: float,
    ) -> Distilled:
        """One round on Werner pairs, then a twirl; success when u < p. ValueError for another protocol.

        Without noise both protocols are the recurrence of Bennett et al. 1996.
        """
        compiled = self._rounds.get((first, second, protocol)) or self._compile(first, second, protocol)
        p0, p_kept, p_spent, p_both, w0, w_kept, w_spent, w_both = compiled
        both = kept * spent
        probability = p0 + p_kept * kept + p_spent * spent + p_both * both
        if not succeeds(u, probability):
            return Distilled(success=False, success_probability=probability, state=None)
        weight = (w0 + w_kept * kept + w_spent * spent + w_both * both) / probability
        return Distilled(success=True, success_probability=probability, state=weight)

    def flip(self, state: WernerWeight) -> WernerWeight:
        """The same pair with its ends exchanged: Werner states are symmetric."""
        return state

    def fidelity(self, state: WernerWeight) -> float:
        """<Phi+| rho |Phi+> = (1 + 3w)/4."""
        return fidelity_from_weight_unchecked(state)

    def density_matrix(self, state: WernerWeight) -> DensityMatrix:
        """The 4x4 complex128 density matrix."""
        return state * states.bell_state(0) + 0.25 * (1.0 - state) * np.eye(4)

    def from_density_matrix(self, matrix: DensityMatrix) -> WernerWeight:
        """The twirl of a density matrix; raises ValueError unless Hermitian, positive, trace 1."""
        return _weight(states.checked_density_matrix(matrix))

    def _compile(self, first: NodeHardware, second: NodeHardware, protocol: str) -> _CompiledRound:
        """Success probability, and that times the new weight, each as what 1, w, v and w v give to it."""
        from physics import compilation

        check_protocol(protocol)
        table = compilation.werner_distillation_map(first, second, protocol)
        weight = twirled_weight(table[:, 5], table[:, 10], table[:, 15])
        p0, p_kept, p_spent, p_both = table[:, 0].tolist()
        w0, w_kept, w_spent, w_both = weight.tolist()
        compiled = (p0, p_kept, p_spent, p_both, w0, w_kept, w_spent, w_both)
        self._rounds[first, second, protocol] = compiled
        return compiled


def _weight(matrix: DensityMatrix) -> WernerWeight:
    """That of the Werner state of the same fidelity."""
    fidelity = float(np.vdot(states.bell_state(0), matrix).real)
    return werner_weight_unchecked(fidelity)


def _rate_hz(memory: Memory | None) -> float:
    """How fast one stored end loses weight."""
    if memory is None:
        return 0.0
    if isinstance(memory, DepolarisingMemory):
        return 1.0 / memory.depolarising_s
    return (2.0 / memory.dephasing_s + 1.0 / memory.relaxation_s) / 3.0


def _loss_per_attempt(memory: Memory | None) -> float:
    """Logarithm of weight that one stored end loses with an entangling attempt at its node."""
    if memory is None:
        return 0.0
    paulis = 1.0 if isinstance(memory, DepolarisingMemory) else 2.0 / 3.0
    return paulis / memory.coherence_attempts
