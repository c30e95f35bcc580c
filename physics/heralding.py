"""What clicks at a station between two ends herald: how likely, and which state. NumPy only.

Either end's spin is entangled with the photon it may emit; with chance eta_A, eta_B (emission, fibre and
detector together) the photon would be seen. The photons meet on a 50:50 beam splitter with one detector
behind either output. A photon that is lost leaves its spin's bit in the environment, so only histories that
lose none are coherent. The photons' internal modes overlap as V = |<A|B>|^2: two in one time bin leave by
the same output with probability (1+V)/2.

What is accepted: in each bin exactly one of the two detectors fires, and one that resolves numbers counts
exactly one. With d the chance of a dark count per detector and bin, a detector named beforehand fires alone,
when it gets n photons and the other none, with chance c_n:

    c_0 = d (1-d)          c_1 = (1-d)^2, c_2 = 0 when numbers are resolved; else c_1 = c_2 = 1-d

Photons seen: both a_2 = eta_A eta_B, one a_1 = eta_A (1-eta_B) + (1-eta_A) eta_B, none
a_0 = (1-eta_A)(1-eta_B). A pattern names one detector per bin; all patterns have the same chance and, up to
a sign that tells Psi+ from Psi-, the same state. X on the second end, and Z for Psi-, make it nearly Phi+.

Two bins (double click), |0>|late> + |1>|early> at either end, 4 patterns. Unlike spins put the photons in
different bins, like spins in the same one; a single photon or none needs dark counts in what stays empty:

    unlike = (a_2 c_1^2 / 4           + a_1 c_1 c_0 / 2 + a_0 c_0^2) / 4     |01> and |10>, each
    like   = (a_2 c_2 c_0 (1+V) / 4   + a_1 c_1 c_0 / 2 + a_0 c_0^2) / 4     |00> and |11>, each
    coherence between |01> and |10> = a_2 c_1^2 V / 16

One bin (single click), sqrt(1-alpha) |0>|none> + sqrt(alpha) |1>|photon> at either end, 2 patterns:

    |00>: (1-alpha)^2 c_0        |11>: alpha^2 (a_2 c_2 (1+V) / 4 + a_1 c_1 / 2 + a_0 c_0)
    |10>: alpha (1-alpha) (eta_A c_1 / 2 + (1-eta_A) c_0), |01> with eta_B
    coherence between |01> and |10> = alpha (1-alpha) sqrt(eta_A eta_B V) e^(-sigma^2/2) c_1 / 2

One photon interferes with itself, hence sqrt(V) where two photons give V; sigma is the deviation of a
Gaussian optical phase between the arms. Barrett and Kok 2005, Phys. Rev. A 71, 060310; Cabrillo et al. 1999,
Phys. Rev. A 59, 1025; bunching: Hong, Ou and Mandel 1987, Phys. Rev. Lett. 59, 2044.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Final

import numpy as np

from physics.interface import DensityMatrix

_LEAST_CHANCE: Final = sys.float_info.min
"""The least number of full precision."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Herald:
    """The chance that an attempt is heralded, and the 4x4 complex128 density matrix, corrected to Phi+."""

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
    """One photon from either end in either of two bins; one click in each bin heralds.

    Without dark counts p = eta_A eta_B / 2 and F = (1+V)/2; with them p = a_2 c_1^2/2 + a_2 c_0 c_2 (1+V)/2
    + 2 a_1 c_0 c_1 + 4 a_0 c_0^2. Raises ValueError for an argument that is not a probability, and when
    nothing can ever herald, or with a chance below the least number of full precision, about 1e-307.

    >>> from physics.states import bell_state
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
    none, one, both = _photons_seen(first_efficiency, second_efficiency)
    empty, lone, pair = _fires_alone(dark_probability, number_resolving)
    false = 0.5 * one * lone * empty + none * empty**2
    unlike = 0.25 * (0.25 * both * lone**2 + false)
    like = 0.25 * (0.25 * both * (1.0 + visibility) * pair * empty + false)
    coherence = 0.0625 * both * visibility * lone**2
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
    """Either end emits with probability alpha = `bright_population`; one click of one detector heralds.

    Equal arms, V = 1, no noise: p = 2 alpha eta (1 - alpha eta), F = (1-alpha)/(1 - alpha eta) by resolving
    detectors, p = alpha eta (2 - alpha eta), F = 2 (1-alpha)/(2 - alpha eta) by others. Raises ValueError for
    an argument that is not a probability, a deviation below 0, and when nothing can ever herald (or with a
    chance below 1e-307).

    >>> from physics.states import bell_state
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
    none, one, both = _photons_seen(first_efficiency, second_efficiency)
    empty, lone, pair = _fires_alone(dark_probability, number_resolving)
    bright, dark = bright_population, 1.0 - bright_population
    first_bright = bright * dark * (0.5 * first_efficiency * lone + (1.0 - first_efficiency) * empty)
    second_bright = bright * dark * (0.5 * second_efficiency * lone + (1.0 - second_efficiency) * empty)
    both_bright = bright**2 * (0.25 * both * (1.0 + visibility) * pair + 0.5 * one * lone + none * empty)
    both_dark = dark**2 * empty
    # Root by root: the product of two efficiencies may be too small for a number where its root is not.
    overlap = math.sqrt(first_efficiency) * math.sqrt(second_efficiency) * math.sqrt(visibility)
    interference = overlap * math.exp(-0.5 * phase_deviation_rad * phase_deviation_rad)
    coherence = 0.5 * bright * dark * lone * interference
    return _herald((second_bright, both_dark, both_bright, first_bright), coherence, patterns=2)


def _check_probabilities(**given: float) -> None:
    for name, value in given.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value!r}; it must be between 0 and 1")


def _photons_seen(first: float, second: float) -> tuple[float, float, float]:
    """The chances that none, one and both of two photons are seen: a_0, a_1, a_2."""
    return (1.0 - first) * (1.0 - second), first * (1.0 - second) + (1.0 - first) * second, first * second


def _fires_alone(dark: float, number_resolving: bool) -> tuple[float, float, float]:
    """The chances c_0, c_1, c_2 that a detector fires as accepted, and alone, on no, one and two photons."""
    silent = 1.0 - dark
    if number_resolving:
        return dark * silent, silent**2, 0.0
    return dark * silent, silent, silent


def _herald(populations: tuple[float, ...], coherence: float, *, patterns: int) -> Herald:
    """From what one pattern leaves of |00>, |01>, |10>, |11> and between |00> and |11>, after correction."""
    chance = sum(populations)
    if not chance > 0.0:
        within = "above 0: with these efficiencies and dark counts no accepted click can ever happen"
        raise ValueError(f"probability of a herald is {patterns * chance!r}; it must be {within}")
    if chance < _LEAST_CHANCE:
        within = f"{patterns * _LEAST_CHANCE:.1e} or more: numbers below lose the digits a state needs"
        raise ValueError(f"probability of a herald is {patterns * chance!r}; it must be {within}")
    state = np.diag(np.array(populations, dtype=np.complex128))
    state[0, 3] = state[3, 0] = coherence
    return Herald(probability=patterns * chance, state=state / chance)
