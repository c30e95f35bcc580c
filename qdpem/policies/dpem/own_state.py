"""What a site knows of itself, as features."""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats
from qdpem.network.graph import Network
from qdpem.policies.dpem.scales import finite, saturate
from qdpem.policy.interface import EMISSION_BACKLOG, FREE_MEMORIES, TOKEN_BACKLOG, TOKENS, Observation

_REFERENCE_WEIGHT = 0.05


def node_status(observations: Observation, network: Network, column: slice | int = 0) -> Floats:
    """Tokens over the burst, free fraction of memories, and backlog, [S, ..., 3], of observed nodes.

    `column`: which of the observed nodes; 0 is the site itself. Nodes that are not known have zeros.
    """
    node = observations.observed_node[:, column]
    status = finite(observations.status[:, column])
    memories = np.maximum(network.memories[np.maximum(node, 0)], 1)
    backlog = np.maximum(status[..., EMISSION_BACKLOG], 0.0) + np.maximum(status[..., TOKEN_BACKLOG], 0.0)
    columns = (
        np.clip(status[..., TOKENS] / network.repeater_burst, -1.0, 1.0),
        np.clip(status[..., FREE_MEMORIES] / memories, 0.0, 1.0),
        saturate(backlog),
    )
    return np.where((node >= 0)[..., None], np.stack(columns, axis=-1), 0.0)


def weight_feature(contention_weight: float) -> float:
    """The penalty of a contended claim as a feature: 1/2 at a penalty of .05."""
    return saturate(contention_weight / _REFERENCE_WEIGHT)
