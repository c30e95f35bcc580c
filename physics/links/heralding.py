"""Heralding by clicks at a station between two ends: the probability and the heralded state. NumPy only.

Each end's spin is entangled with the photon that it may emit. The photon would be seen with probability
eta_A or eta_B, which covers emission, fibre and detector. The photons meet on a 50:50 beam splitter with one
detector behind each output. A lost photon leaves its spin's bit in the environment, so only histories
without loss are coherent. The photons' internal modes overlap as V = |<A|B>|^2: two photons in one time bin
leave by the same output with probability (1+V)/2.

A pattern is accepted if exactly one of the two detectors fires in each bin; a detector that resolves photon
number must count exactly one. d is the probability of a dark count per detector and bin. If a given detector
gets n photons and the other none, it fires as accepted and the other is silent with probability c_n:

    c_0 = d (1-d)          c_1 = (1-d)^2, c_2 = 0 when numbers are resolved; else c_1 = c_2 = 1-d

The probabilities that both photons, one and none are seen are a_2 = eta_A eta_B,
a_1 = eta_A (1-eta_B) + (1-eta_A) eta_B and a_0 = (1-eta_A)(1-eta_B). A pattern names one detector per bin.
All patterns have the same probability and the same state, up to a sign that distinguishes Psi+ from Psi-. X
on the second end, and Z for Psi-, turn the state into nearly Phi+.

Two bins (double click), |0>|late> + |1>|early> at each end, 4 patterns. Unlike spins put the photons into
different bins, like spins into the same bin. If fewer than two photons are seen, dark counts must fill the
empty bins:

    unlike = (a_2 c_1^2 / 4           + a_1 c_1 c_0 / 2 + a_0 c_0^2) / 4     |01> and |10>, each
    like   = (a_2 c_2 c_0 (1+V) / 4   + a_1 c_1 c_0 / 2 + a_0 c_0^2) / 4     |00> and |11>, each
    coherence between |01> and |10> = a_2 c_1^2 V / 16

One bin (single click), sqrt(1-alpha) |0>|none> + sqrt(alpha) |1>|photon> at each end, 2 patterns:

    |00>: (1-alpha)^2 c_0        |11>: alpha^2 (a_2 c_2 (1+V) / 4 + a_1 c_1 / 2 + a_0 c_0)
    |10>: alpha (1-alpha) (eta_A c_1 / 2 + (1-eta_A) c_0), |01> with eta_B
    coherence between |01> and |10> = alpha (1-alpha) sqrt(eta_A eta_B V) e^(-sigma^2/2) c_1 / 2

One photon interferes with itself, hence sqrt(V) where two photons give V. sigma is the standard
deviation of a Gaussian optical phase between the arms. Barrett and Kok 2005, Phys. Rev. A 71, 060310;
Cabrillo et al. 1999, Phys. Rev. A 59, 1025; bunching: Hong, Ou and Mandel 1987, Phys. Rev. Lett. 59, 2044.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Final

import numpy as np

from physics.interface import DensityMatrix

_MIN_PROBABILITY: Final = sys.float_info.min
"""The smallest number of full precision."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Herald:
    """The probability that an attempt is heralded, and its 4x4 complex128 state, corrected to Phi+."""

    probability: float
    state: DensityMatrix


def double_click(
    *,
    first_efficiency: float,
    second_efficiency: float,
    dark_probability: float,
    visibility: float,
    number_resolving: bool,
) -> Herald:
    """Each end sends one photon in one of two bins; one click in each bin heralds.

    Without dark counts p = eta_A eta_B / 2 and F = (1+V)/2; with them p = a_2 c_1^2/2 + a_2 c_0 c_2 (1+V)/2
    + 2 a_1 c_0 c_1 + 4 a_0 c_0^2. Raises ValueError for an argument that is not a probability, and when the
    probability of a herald is 0 or below the smallest number of full precision, about 1e-307.

    Args:
        first_efficiency: eta_A, the probability that the first end's photon would be seen.
        second_efficiency: eta_B, that of the second end's photon.
        dark_probability: d, the probability of a dark count per detector and bin.
        visibility: V, the squared overlap of the two photons.
        number_resolving: whether the detectors resolve photon number.

    >>> from physics.qubits.states import bell_state
    >>> herald = double_click(first_efficiency=0.4, second_efficiency=0.4, dark_probability=0.0,
    ...                       visibility=0.9, number_resolving=True)
    >>> round(herald.probability, 12), round(float(np.trace(bell_state(0) @ herald.state).real), 12)
    (0.08, 0.95)
    """
    _check_probabilities(
        first_efficiency=first_efficiency,
        second_efficiency=second_efficiency,
        dark_probability=dark_probability,
        visibility=visibility,
    )
    seen_none, seen_one, seen_both = _photons_seen(first_efficiency, second_efficiency)
    on_none, on_one, on_two = _accepted_clicks(dark_probability, number_resolving)
    with_dark_counts = 0.5 * seen_one * on_one * on_none + seen_none * on_none**2
    unlike = 0.25 * (0.25 * seen_both * on_one**2 + with_dark_counts)
    like = 0.25 * (0.25 * seen_both * (1.0 + visibility) * on_two * on_none + with_dark_counts)
    coherence = 0.0625 * seen_both * visibility * on_one**2
    # X on the second end exchanges |00> with |01>, and |10> with |11>.
    return _herald((unlike, like, like, unlike), coherence, patterns=4)


def single_click(
    *,
    bright_population: float,
    first_efficiency: float,
    second_efficiency: float,
    dark_probability: float,
    visibility: float,
    phase_deviation_rad: float,
    number_resolving: bool,
) -> Herald:
    """Each end emits with probability alpha = `bright_population`; one click of one detector heralds.

    Equal arms, V = 1, no noise: p = 2 alpha eta (1 - alpha eta) and F = (1-alpha)/(1 - alpha eta) for
    detectors that resolve photon number; p = alpha eta (2 - alpha eta) and F = 2 (1-alpha)/(2 - alpha eta)
    for others. Raises ValueError for an argument that is not a probability, for a deviation below 0, and when
    the probability of a herald is 0 or below about 1e-307.

    Args:
        bright_population: alpha, the probability that an end emits.
        first_efficiency: eta_A, the probability that the first end's photon would be seen.
        second_efficiency: eta_B, that of the second end's photon.
        dark_probability: d, the probability of a dark count per detector and bin.
        visibility: V, the squared overlap of the two photons.
        phase_deviation_rad: sigma, the standard deviation of the optical phase between the arms.
        number_resolving: whether the detectors resolve photon number.

    >>> from physics.qubits.states import bell_state
    >>> herald = single_click(bright_population=0.1, first_efficiency=0.01, second_efficiency=0.01,
    ...                       dark_probability=0.0, visibility=1.0, phase_deviation_rad=0.0,
    ...                       number_resolving=True)
    >>> round(herald.probability, 6), round(float(np.trace(bell_state(0) @ herald.state).real), 6)
    (0.001998, 0.900901)
    """
    _check_probabilities(
        bright_population=bright_population,
        first_efficiency=first_efficiency,
        second_efficiency=second_efficiency,
        dark_probability=dark_probability,
        visibility=visibility,
    )
    if not 0.0 <= phase_deviation_rad < math.inf:
        raise ValueError(f"phase_deviation_rad is {phase_deviation_rad!r}; it must be 0 or more, and finite")
    seen_none, seen_one, seen_both = _photons_seen(first_efficiency, second_efficiency)
    on_none, on_one, on_two = _accepted_clicks(dark_probability, number_resolving)
    bright, dark = bright_population, 1.0 - bright_population
    first_bright = bright * dark * (0.5 * first_efficiency * on_one + (1.0 - first_efficiency) * on_none)
    second_bright = bright * dark * (0.5 * second_efficiency * on_one + (1.0 - second_efficiency) * on_none)
    both_bright = bright**2 * (
        0.25 * seen_both * (1.0 + visibility) * on_two + 0.5 * seen_one * on_one + seen_none * on_none
    )
    both_dark = dark**2 * on_none
    # Root by root: the product of two efficiencies may underflow where its root does not.
    overlap = math.sqrt(first_efficiency) * math.sqrt(second_efficiency) * math.sqrt(visibility)
    interference = overlap * math.exp(-0.5 * phase_deviation_rad * phase_deviation_rad)
    coherence = 0.5 * bright * dark * on_one * interference
    # In the order after X on the second end, as above.
    return _herald((second_bright, both_dark, both_bright, first_bright), coherence, patterns=2)


def _check_probabilities(**arguments: float) -> None:
    for name, value in arguments.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value!r}; it must be between 0 and 1")


def _photons_seen(first: float, second: float) -> tuple[float, float, float]:
    """The probabilities a_0, a_1, a_2 that none, one and both of two photons are seen."""
    return (1.0 - first) * (1.0 - second), first * (1.0 - second) + (1.0 - first) * second, first * second


def _accepted_clicks(dark: float, number_resolving: bool) -> tuple[float, float, float]:
    """The probabilities c_0, c_1, c_2 of an accepted click at one detector only, on 0, 1 and 2 photons."""
    silent = 1.0 - dark
    if number_resolving:
        return dark * silent, silent**2, 0.0
    # The detector fires on any number of photons; only the other one must stay silent.
    return dark * silent, silent, silent


def _herald(populations: tuple[float, ...], coherence: float, *, patterns: int) -> Herald:
    """The herald of equal `patterns`, from one pattern's unnormalised, corrected state.

    `populations` are those of |00>, |01>, |10>, |11>, `coherence` is the entry between |00> and |11>.
    """
    probability = sum(populations)
    if not probability > 0.0:
        allowed = "above 0: with these efficiencies and dark counts no accepted click can ever happen"
        raise ValueError(f"probability of a herald is {patterns * probability!r}; it must be {allowed}")
    if probability < _MIN_PROBABILITY:
        allowed = f"{patterns * _MIN_PROBABILITY:.1e} or more: numbers below lose the digits a state needs"
        raise ValueError(f"probability of a herald is {patterns * probability!r}; it must be {allowed}")
    state = np.diag(np.array(populations, dtype=np.complex128))
    state[0, 3] = state[3, 0] = coherence
    return Herald(probability=patterns * probability, state=state / probability)
