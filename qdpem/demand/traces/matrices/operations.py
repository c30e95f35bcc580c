"""Operations on traffic matrices. Each returns a new value and adds a note about what it did.

For requests for entanglement the order is `symmetrise`, `clip_pairs`, `apply_exponent`, `relative_rates`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.errors import QdpemError


def symmetrise(matrices: TrafficMatrices) -> TrafficMatrices:
    """The traffic of each unordered pair, x_ij + x_ji, at both of its places: entanglement has no direction.

    The sum over unordered pairs (i < j) is the total before; the sum over all of a matrix is twice that.
    """
    volume = matrices.volume + matrices.volume.transpose(0, 2, 1)
    return _changed(matrices, volume, "both directions of each pair added")


def clip_pairs(matrices: TrafficMatrices, *, quantile: float = 0.999) -> TrafficMatrices:
    """Each ordered pair's traffic, at most its own `quantile` over time; no value becomes larger.

    One interval of an Abilene pair is hundreds of times its usual traffic. Raises QdpemError for a quantile
    outside (0, 1].
    """
    if not 0.0 < quantile <= 1.0:
        raise QdpemError(f"the quantile to clip at is {quantile!r}; should be above 0 and at most 1")
    volume = np.minimum(matrices.volume, np.quantile(matrices.volume, quantile, axis=0))
    before, after = float(matrices.volume.sum()), float(volume.sum())
    lost = 0.0 if before == 0.0 else 100.0 * (1.0 - after / before)
    return _changed(
        matrices, volume, f"each pair clipped at its quantile {quantile:g}, which takes {lost:.3g} %"
    )


def apply_exponent(matrices: TrafficMatrices, exponent: float) -> TrafficMatrices:
    """x_ij to the power of `exponent`, gamma: 1 changes nothing, 0.5 makes pairs and times more alike.

    Raises QdpemError for an exponent that is not above 0.
    """
    if not (exponent > 0.0 and math.isfinite(exponent)):
        raise QdpemError(f"the exponent is {exponent!r}; should be a number above 0")
    if exponent == 1.0:
        return matrices
    changed = _changed(matrices, matrices.volume**exponent, f"raised to the power of {exponent:g}")
    return replace(changed, unit=f"({matrices.unit})^{exponent:g}")


def window(matrices: TrafficMatrices, start_s: float, end_s: float) -> TrafficMatrices:
    """The intervals that begin in [start_s, end_s); the first of them begins at 0 of the new value.

    Raises QdpemError when there are none.
    """
    first, last = np.searchsorted(matrices.time_s, [start_s, end_s])
    if not first < last:
        whole_s = matrices.step_s * len(matrices.time_s)
        raise QdpemError(
            f"no interval of {matrices.origin} begins from {start_s:g} s to before {end_s:g} s; should hold"
            f" one of 0 to {whole_s:g} s, in steps of {matrices.step_s:g} s"
        )
    count = int(last - first)
    return replace(
        matrices,
        time_s=np.arange(count, dtype=np.float64) * matrices.step_s,
        volume=matrices.volume[first:last].copy(),
        notes=(*matrices.notes, f"{count} intervals from {matrices.time_s[first]:g} s"),
    )


def compress_time(matrices: TrafficMatrices, factor: float) -> TrafficMatrices:
    """The same matrices in 1 / `factor` of the time: 60 makes a minute of an hour. Volumes stay as they are.

    Raises QdpemError for a factor that is not above 0.
    """
    if not (factor > 0.0 and math.isfinite(factor)):
        raise QdpemError(f"time is compressed by {factor!r}; should be a factor above 0")
    return replace(
        matrices,
        time_s=matrices.time_s / factor,
        step_s=matrices.step_s / factor,
        notes=(*matrices.notes, f"time compressed by {factor:g}"),
    )


def relative_rates(matrices: TrafficMatrices) -> Floats:
    """x_ij(t) / mean over t of sum_ij x_ij(t), float64 [T, N, N]: times a rate in Hz, the rate of each pair.

    The mean over time of the sum over all ordered pairs is 1. Of symmetrised matrices each direction has half
    of its unordered pair's rate. Raises QdpemError when there is no traffic at all.
    """
    mean = float(matrices.volume.sum(axis=(1, 2)).mean())
    if not mean > 0.0:
        raise QdpemError(f"{matrices.origin} has no traffic at all; should have some, to have rates")
    return np.asarray(matrices.volume / mean)


def _changed(matrices: TrafficMatrices, volume: Floats, note: str) -> TrafficMatrices:
    return replace(matrices, volume=volume, notes=(*matrices.notes, note))
