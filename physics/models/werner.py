"""The usual simplification of the field: every state is replaced by the Werner state of its fidelity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, TypeAlias

import numpy as np

from physics.figures_of_merit.werner_figures import (
    fidelity_from_weight_unchecked,
    twirled_weight,
    werner_weight_unchecked,
)
from physics.hardware import HERALDED_FRACTIONS, DepolarisingMemory, LinkHardware, Memory, NodeHardware
from physics.interface import FAILED_SWAP, NO_ATTEMPTS, CompiledLink, DensityMatrix, Distilled, Swapped
from physics.links import elementary
from physics.models import compilation
from physics.qubits import states
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

WernerWeight: TypeAlias = float
"""w of the Werner state w |Phi+><Phi+| + (1-w) I/4, from -1/3 (F = 0) to 1; F = (1 + 3w)/4."""

_CompiledRound: TypeAlias = tuple[float, float, float, float, float, float, float, float]


class WernerModel:
    """Pairs as their Werner weight, a float: not exact, but common in the field.

    Every operation is the exact one followed by a twirl, the mean over U (x) U* at both ends, which keeps
    only the fidelity (Bennett et al. 1996, Phys. Rev. A 54, 3824). The model is exact for Werner links with
    depolarising memories and for swaps with noisy gates and perfect readout. Fidelities are also right after
    one such swap with noisy readout, any number of BBPSSW rounds and a first DEJMPS round. Elsewhere it
    forgets which error is the likely one: later rounds of DEJMPS gain less, and storage with T1 and T2 is
    right only at first, and only for Werner pairs.

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
        """Success probability, timing and twirled state. Raises ValueError for an invalid length."""
        compiled = elementary.compile_link(hardware, length_km)
        return replace(compiled, fresh=_weight(compiled.fresh))

    def age(
        self,
        state: WernerWeight,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> WernerWeight:
        """w -> w e^(-rate x t - loss x attempts), summed over both ends.

        A depolarising end has the rate 1/T and loses 1/N an attempt, which is exact. Any other end has the
        mean of the rates of its three Paulis, (2/T2 + 1/T1)/3, and loses 2/(3N): the twirled generator of its
        decay. That is right to first order in t and a semigroup; twirling after each storage is not. Raises
        ValueError for a time or attempts below 0 or not finite.

        Args:
            state: the pair.
            first: the memory at the first end; None for an end that does not decay.
            second: the memory at the second end.
            duration_s: seconds of storage.
            attempts: the entangling attempts made meanwhile at the first and the second end's node.
        """
        # The most frequent call passes this one comparison, and NaN fails it.
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
        """w = w_left w_right g (4 m^2 - 1)/3 for each of the four outcomes. A failed swap has outcome -1.

        The gate depolarises by g. A wrong reading, of probability 1 - m^2, leads to a wrong correction, after
        which F = (1 - w)/4. `u` decides success first and, rescaled, the outcome. An outcome that the node's
        Bell measurement cannot identify fails. Raises ValueError for a forced outcome outside 0..3 or of
        probability 0.

        Args:
            left: the pair that ends at `node`.
            right: the pair that begins at `node`.
            node: the hardware that measures.
            u: uniform on [0, 1).
            outcome: 0..3 to force a success with this outcome; None to draw it.
        """
        fractions = HERALDED_FRACTIONS[node.bell_measurement]
        if outcome is None:
            remainder = after_success(u, node.swap_success_probability)
            if remainder is None:
                return FAILED_SWAP
            # The inner qubits of Werner pairs are maximally mixed, so the outcomes are equally likely.
            outcome = choose(remainder, [0.25 * fraction for fraction in fractions])
            if outcome is None:
                return FAILED_SWAP
        else:
            check_outcome(outcome)
            check_possible(outcome, 0.25 * fractions[outcome])
        m = node.readout_fidelity
        # A wrong correction turns w into -w/3, so the readout gives m^2 - (1 - m^2)/3.
        factor = node.gate_fidelity * (4.0 * m * m - 1.0) / 3.0
        probability = 0.25 * fractions[outcome] * node.swap_success_probability
        return Swapped(success=True, outcome=outcome, probability=probability, state=left * right * factor)

    def distil(
        self,
        kept: WernerWeight,
        spent: WernerWeight,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: float,
    ) -> Distilled:
        """One round on Werner pairs, then a twirl; succeeds when u < p.

        Without noise both protocols give the recurrence of Bennett et al. 1996. Raises ValueError for another
        protocol.

        Args:
            kept: the pair that stays on success.
            spent: the pair that is measured.
            first: the hardware at the first end of both pairs.
            second: the hardware at the second end.
            protocol: one of `interface.PROTOCOLS`.
            u: uniform on [0, 1).
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
        """The twirl of a density matrix. Raises ValueError unless Hermitian, positive, trace 1."""
        return _weight(states.checked_density_matrix(matrix))

    def _compile(self, first: NodeHardware, second: NodeHardware, protocol: str) -> _CompiledRound:
        """Success probability, and that times the new weight, as coefficients of 1, w, v and w v."""
        check_protocol(protocol)
        table = compilation.werner_distillation_map(first, second, protocol)
        weight = twirled_weight(table[:, 5], table[:, 10], table[:, 15])
        p0, p_kept, p_spent, p_both = table[:, 0].tolist()
        w0, w_kept, w_spent, w_both = weight.tolist()
        compiled = (p0, p_kept, p_spent, p_both, w0, w_kept, w_spent, w_both)
        self._rounds[first, second, protocol] = compiled
        return compiled


def _weight(matrix: DensityMatrix) -> WernerWeight:
    """The weight of the Werner state of the same fidelity."""
    fidelity = float(np.vdot(states.bell_state(0), matrix).real)
    return werner_weight_unchecked(fidelity)


def _rate_hz(memory: Memory | None) -> float:
    """The rate at which one stored end loses weight."""
    if memory is None:
        return 0.0
    if isinstance(memory, DepolarisingMemory):
        return 1.0 / memory.depolarising_s
    return (2.0 / memory.dephasing_s + 1.0 / memory.relaxation_s) / 3.0


def _loss_per_attempt(memory: Memory | None) -> float:
    """The logarithm of weight that one stored end loses in an entangling attempt at its node."""
    if memory is None:
        return 0.0
    # Attempts dephase other memories: X and Y decay, Z does not.
    paulis = 1.0 if isinstance(memory, DepolarisingMemory) else 2.0 / 3.0
    return paulis / memory.coherence_attempts
