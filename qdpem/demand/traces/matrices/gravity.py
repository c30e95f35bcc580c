"""A gravity model: matrices from the activity of cells that are grouped into nodes."""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.demand.traces.matrices.node_activity import NodeActivity
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.errors import QdpemError
from qdpem.network.maps.distances import projected_km

_RESTARTS = 10
_ITERATIONS = 100


def gravity_matrices(
    activity: NodeActivity, *, nodes: int, generator: np.random.Generator
) -> TrafficMatrices:
    """Traffic between `nodes` groups of neighbouring cells, by the gravity model without distance.

    The activity a_i of node i is the sum of its cells'. In each interval x_ij = a_i a_j / sum_k a_k for
    i != j (Zhang, Roughan, Duffield and Greenberg 2003, SIGMETRICS): in proportion to a_i a_j, with a total
    that follows the activity and not its square. Cells are grouped by k-means of their positions (the best of
    10 starts, drawn from `generator`), so that equal seeds give equal groups. Nodes are called metro-1,
    metro-2 and so on, the most active first.

    Raises QdpemError for fewer than 2 nodes, or more than cells at different positions.
    """
    points = projected_km(np.stack([activity.longitude, activity.latitude], axis=1))
    places = len(np.unique(points, axis=0))
    if not 2 <= nodes <= places:
        raise QdpemError(
            f"{nodes} nodes are asked of {activity.origin}; should be 2 to {places}, its cells at different"
            " positions"
        )
    group = _groups(points, nodes, generator, activity.origin)
    total = activity.activity @ np.eye(nodes)[group]
    # A stable sort: nodes of equal activity stay in the order of k-means.
    total = total[:, np.argsort(-total.sum(axis=0), kind="stable")]
    product = total[:, :, None] * total[:, None, :]
    whole = total.sum(axis=1)[:, None, None]
    volume = np.divide(product, whole, out=np.zeros_like(product), where=whole > 0.0)
    np.einsum("tii->ti", volume)[...] = 0.0
    return TrafficMatrices(
        node_names=tuple(f"metro-{number + 1}" for number in range(nodes)),
        time_s=activity.time_s.copy(),
        step_s=activity.step_s,
        volume=volume,
        unit=activity.unit,
        origin=activity.origin,
        notes=(
            *activity.notes,
            f"gravity model over {nodes} groups of {len(points)} cells: who asks whom is synthetic",
        ),
    )


def _groups(points: Floats, nodes: int, generator: np.random.Generator, origin: str) -> Ints:
    """The group of each point, int64 [C], none empty: least mean square distance of all restarts."""
    from scipy.cluster.vq import ClusterError, kmeans2

    best, best_square = None, np.inf
    for _ in range(_RESTARTS):
        try:
            centres, group = kmeans2(
                points, nodes, iter=_ITERATIONS, minit="++", missing="raise", seed=generator
            )
        except ClusterError:
            # A group lost its last point on the way.
            continue
        square = float(((points - centres[group]) ** 2).sum())
        if len(np.unique(group)) == nodes and square < best_square:
            best, best_square = group, square
    if best is None:
        raise QdpemError(f"k-means finds no {nodes} groups of the cells of {origin}; should be fewer nodes")
    return np.asarray(best, dtype=np.int64)
