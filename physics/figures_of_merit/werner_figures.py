"""Figures of merit of a Werner pair from its fidelity, a number or an array. NumPy only.

F is always <Phi+|rho|Phi+>, which is the square of what `qutip.fidelity` returns. Figures of an arbitrary
two-qubit state are in `physics.figures_of_merit.entanglement`.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])

_ROUNDING = 1e-9


def _probability(name: str, value: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """`value` clipped into [0, 1]. Raises ValueError for NaN, or farther outside than rounding explains."""
    array = np.asarray(value, dtype=np.float64)
    # NaN fails both comparisons.
    within = (array >= -_ROUNDING) & (array <= 1.0 + _ROUNDING)
    if not within.all():
        worst = float(array[~within].flat[0])
        raise ValueError(f"{name} is {worst!r}; it must be between 0 and 1")
    return array.clip(0.0, 1.0)


def _like(result: NDArray[np.float64], given: Number) -> Number:
    # A number gives a Python float, not a scalar of NumPy.
    return result if isinstance(given, np.ndarray) else float(result)


def werner_weight(fidelity: Number) -> Number:
    """w = (4F-1)/3 of the Werner state w |Phi+><Phi+| + (1-w) I/4 with fidelity F (Werner 1989).

    Raises ValueError unless 0 <= F <= 1.

    >>> werner_weight(1.0), werner_weight(0.25)
    (1.0, 0.0)
    """
    return _like(werner_weight_unchecked(_probability("fidelity", fidelity)), fidelity)


def werner_weight_unchecked(fidelity: Number) -> Number:
    """w = (4F-1)/3 without a check: for inner loops, and for F that rounding may put above 1."""
    return (4.0 * fidelity - 1.0) / 3.0


def fidelity_from_weight(weight: Number) -> Number:
    """F = (3w+1)/4, the inverse of `werner_weight`. Raises ValueError unless -1/3 <= w <= 1.

    >>> fidelity_from_weight(0.0)
    0.25
    """
    array = np.asarray(weight, dtype=np.float64)
    within = (array >= -1.0 / 3.0 - _ROUNDING) & (array <= 1.0 + _ROUNDING)
    if not within.all():
        raise ValueError(f"weight is {float(array[~within].flat[0])!r}; it must be in [-1/3, 1]")
    return _like(fidelity_from_weight_unchecked(array), weight)


def fidelity_from_weight_unchecked(weight: Number) -> Number:
    """F = (3w+1)/4 without a check: for inner loops."""
    return (3.0 * weight + 1.0) / 4.0


def twirled_weight(xx: Number, yy: Number, zz: Number) -> Number:
    """w = (<XX> - <YY> + <ZZ>)/3 of the Werner state that a twirl gives, which has the same fidelity.

    Bennett et al. 1996, Phys. Rev. A 54, 3824. The formula is linear, so the correlations may carry a
    probability as a factor.

    >>> twirled_weight(1.0, -1.0, 1.0)
    1.0
    """
    return (xx - yy + zz) / 3.0


def binary_entropy(probability: Number) -> Number:
    """h(p) = -p log2 p - (1-p) log2 (1-p) in bits, h(0) = h(1) = 0 (Shannon 1948).

    Raises ValueError unless 0 <= p <= 1.

    >>> binary_entropy(0.5), binary_entropy(0.0)
    (1.0, 0.0)
    """
    p = _probability("probability", probability)
    inside = (p > 0.0) & (p < 1.0)
    # log2(0) would warn. The last line replaces the values at these places.
    safe = np.where(inside, p, 0.5)
    entropy = -safe * np.log2(safe) - (1.0 - safe) * np.log2(1.0 - safe)
    return _like(np.where(inside, entropy, 0.0), probability)


def key_fraction(fidelity: Number) -> Number:
    """Secret bits per sifted pair of BBM92 on a Werner state: r = max(0, 1 - 2 h(Q)), Q = 2(1-F)/3.

    Bennett, Brassard and Mermin 1992; rate of Shor and Preskill 2000 with equal error Q in both bases.
    0 for F <= 0.834958. Raises ValueError unless 0 <= F <= 1.

    >>> round(key_fraction(0.95), 6), key_fraction(0.8)
    (0.578315, 0.0)
    """
    error = 2.0 * (1.0 - _probability("fidelity", fidelity)) / 3.0
    return _like(np.maximum(0.0, 1.0 - 2.0 * binary_entropy(error)), fidelity)


def hashing_bound(fidelity: Number) -> Number:
    """Bell pairs per Werner pair that one-way hashing can reach: max(0, 1 - h(F) - (1-F) log2 3).

    1 minus the Shannon entropy of the weights F and three times (1-F)/3 (Bennett et al. 1996, Phys. Rev. A
    54, 3824). 0 for F <= 0.810710. Raises ValueError unless 0 <= F <= 1.

    >>> round(hashing_bound(0.9), 6), hashing_bound(0.8)
    (0.372508, 0.0)
    """
    weight = _probability("fidelity", fidelity)
    entropy = binary_entropy(weight) + (1.0 - weight) * np.log2(3.0)
    return _like(np.maximum(0.0, 1.0 - entropy), fidelity)


def six_state_key_fraction(fidelity: Number) -> Number:
    """Secret bits per sifted pair of the six-state protocol on a Werner state: the hashing bound.

    Asymptotic, one way, no added noise (Lo 2001, Quantum Inf. Comput. 1, 81). With Q = 2(1-F)/3 it is 0
    from Q = 0.126193 on, where BBM92 ends at 0.110028. Raises ValueError unless 0 <= F <= 1.

    >>> round(six_state_key_fraction(0.95), 6), six_state_key_fraction(0.8)
    (0.634355, 0.0)
    """
    return hashing_bound(fidelity)


def teleportation_fidelity(fidelity: Number) -> Number:
    """(2F+1)/3: mean fidelity of a qubit teleported through a pair of fidelity F.

    Horodecki, Horodecki and Horodecki 1999, Phys. Rev. A 60, 1888, for d = 2. Raises ValueError
    unless 0 <= F <= 1.

    >>> teleportation_fidelity(1.0), teleportation_fidelity(0.25)
    (1.0, 0.5)
    """
    return _like((2.0 * _probability("fidelity", fidelity) + 1.0) / 3.0, fidelity)
