"""Normal equations of weighted least squares, one set per node and step ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.forecasting.linear.regressors import REGRESSORS

PENALTIES = (1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""Penalties that a fit tries when none is set."""


class NormalEquations:
    """Sums over steps and peers of G = x x'/m, b = x (y - m)/m: `gram` [N, H, K, K], `moment` [N, H, K].

    x are the regressors of a peer h steps before its count y, and m its mean then. A division by m, the
    variance of a Poisson count, keeps busy peers from outweighing quiet ones.
    """

    def __init__(self, nodes: int, horizon: int) -> None:
        self.gram = np.zeros((nodes, horizon, REGRESSORS, REGRESSORS))
        self.moment = np.zeros((nodes, horizon, REGRESSORS))
        self._made: deque[tuple[Floats, Floats]] = deque(maxlen=horizon)

    def remember(self, regressors: Floats, mean: Floats) -> None:
        """Keep the regressors [M, H, K] and means [M] at the end of a step, until their counts have come."""
        self._made.append((regressors, mean))

    def add(self, counts: Ints) -> None:
        """Add the counts [M] of a step, with the regressors of the steps before it."""
        nodes = len(self.moment)
        # Step ahead h was made h + 1 steps ago: the newest regressors look 0 steps ahead.
        for ahead in range(len(self._made)):
            regressors, mean = self._made[-1 - ahead]
            known = mean > 0.0
            scale = np.where(known, 1.0 / np.sqrt(np.where(known, mean, 1.0)), 0.0)
            x = (regressors[:, ahead] * scale[:, None]).reshape(nodes, -1, REGRESSORS)
            y = ((counts - mean) * scale).reshape(nodes, -1, 1)
            transposed = x.transpose(0, 2, 1)
            self.gram[:, ahead] += transposed @ x
            self.moment[:, ahead] += (transposed @ y)[..., 0]


def solve(gram: Floats, moment: Floats, penalty: Floats) -> Floats:
    """The weights w [N, H, K] with (G + penalty D) w = b, D the diagonal of G and penalty [N].

    A regressor that is 0 throughout has weight 0.

    >>> gram, moment = np.full((1, 1, 1, 1), 2.0), np.full((1, 1, 1), 3.0)
    >>> solve(gram, moment, np.array([0.5])).item()
    1.0
    """
    diagonal = np.einsum("nhkk->nhk", gram)
    # With 1 on the diagonal an equation 0 w = 0 becomes w = 0.
    added = np.where(diagonal > 0.0, penalty[:, None, None] * diagonal, 1.0)
    penalised = gram + added[..., None] * np.eye(gram.shape[-1])
    return np.asarray(np.linalg.solve(penalised, moment[..., None])[..., 0], dtype=np.float64)


def choose_penalty(
    training: NormalEquations, held_out: NormalEquations, penalties: Sequence[float]
) -> Floats:
    """The penalty [N] of each node with the least squared error on the held-out part, over all steps ahead.

    The first of equals is the largest, so that a node without counts keeps its mean.
    """
    descending = sorted(penalties, reverse=True)
    errors = []
    for penalty in descending:
        weights = solve(training.gram, training.moment, np.full(len(training.gram), penalty))
        # Up to a term without weights: w'Gw - 2 b'w.
        square = np.einsum("nhk,nhkl,nhl->n", weights, held_out.gram, weights)
        errors.append(square - 2.0 * np.einsum("nhk,nhk->n", weights, held_out.moment))
    return np.asarray(np.array(descending)[np.argmin(errors, axis=0)])
