"""What a policy file tells about its training, beside the statement of its privacy."""

from __future__ import annotations

from typing import Any

from qdpem.policies.dpem.training.course.state import TrainingState
from qdpem.scenario.schema import Training


def provenance_of(state: TrainingState, settings: Training, *, seed: int) -> dict[str, Any]:
    """Seed, rounds and simulated time of a training, its aggregation and hostile nodes, and bytes sent."""
    return {
        "seed": seed,
        "nodes": state.nodes,
        "rounds": len(state.curve),
        "simulated_s": state.curve[-1].simulated_s if state.curve else 0.0,
        "clone_episodes": settings.clone_episodes,
        "aggregation": settings.aggregation.value,
        "hostile_share": settings.hostile.share,
        "reports": sum(row.reports for row in state.curve),
        "bytes_up": sum(row.bytes_up for row in state.curve),
        "bytes_down": sum(row.bytes_down for row in state.curve),
    }
