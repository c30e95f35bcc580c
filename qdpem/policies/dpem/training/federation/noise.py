"""Where the Gaussian noise of differential privacy comes from."""

from __future__ import annotations

import os

import numpy as np

from qdpem.arrays import Floats
from qdpem.rng import stream
from qdpem.scenario.words import NoiseSource


def noise_of(source: NoiseSource, shape: tuple[int, ...], *, seed: int, round_number: int) -> Floats:
    """Standard normal numbers of this shape for a round.

    Those of the seed are the same in every call. Those of the operating system are the inverse normal
    distribution function of 53 random bits each; rounding to doubles may still tell something of what they
    are added to (Mironov 2012), which no statement of ours covers.
    """
    if source == NoiseSource.SEED:
        return np.asarray(stream(seed, f"federation/noise/{round_number}").standard_normal(shape))
    from scipy.special import ndtri

    bits = np.frombuffer(os.urandom(8 * int(np.prod(shape))), dtype=np.uint64) >> np.uint64(11)
    # Half a step above the multiples of 2^-53, so that no number is infinite.
    return np.asarray(ndtri((bits + 0.5) * 2.0**-53).reshape(shape))
