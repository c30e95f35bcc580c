"""Weights, choices and a scenario for the tests of `dpem`."""

from __future__ import annotations

import numpy as np

from qdpem.policies.dpem.networks import ACTOR, CRITIC, Kind, Weights, initial, shape_of, stacked
from qdpem.policies.dpem.training.experience import OPTIONS, Experience
from qdpem.rng import stream
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Scenario

TINY = """
name = "tiny"
[topology]
kind = "line"
parameters = { nodes = 4, hop_km = 20.0 }
[nodes]
source_rate_hz = 60
repeater_rate_hz = 6
memories = 16
hardware = { memory = { kind = "depolarising", depolarising_s = 60.0 } }
[demand]
rate_hz = 6
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.7
patience_s = 1.0
[forecasting]
history_s = 20
[training]
clone_episodes = 2
fit_steps = 500
rounds = 3
episodes_per_round = 2
episode_s = 12
epochs = 2
evaluation_rounds = 0
"""
"""Four nodes, whose links are busy enough that choices matter."""


def tiny_scenario(*overrides: str) -> Scenario:
    return parse_scenario(TINY, overrides=overrides)


def random_weights(nodes: int, *, key: str = "weights", size: float = 1.0) -> Weights:
    """Different weights for every node, none of them 0: strong opinions."""
    generator = stream(0, f"test/{key}")
    return {
        name: size * generator.normal(size=(nodes, *shape_of(name))) / np.sqrt(shape_of(name)[0])
        for name in (*ACTOR, *CRITIC)
    }


def opinionated(nodes: int, *, key: str = "opinions") -> Weights:
    """One actor with strong random opinions, the same for all nodes."""
    generator = stream(0, f"test/{key}")
    actor = initial("actor", 0, "shared")
    actor = {name: 3.0 * value + generator.normal(size=value.shape) for name, value in actor.items()}
    return stacked(actor, nodes=nodes)


def random_experience(kind: Kind, *, sites: np.ndarray, key: str = "experience") -> Experience:
    """A decision at each of `sites`, in this order, drawn uniformly from random masks."""
    generator, count = stream(0, f"test/{key}/{kind}"), len(sites)
    weights = initial("actor", 0, "shared")
    mask = generator.random((count, OPTIONS[kind])) < 0.6
    mask[:, 0] = True
    option = np.where(mask, generator.random(mask.shape), -1.0).argmax(axis=1)
    width = len(weights[f"actor_{kind}_skip"])
    return Experience(
        site=np.asarray(sites, dtype=np.int64),
        time_s=np.sort(generator.random(count)) * 10.0,
        subject=generator.integers(0, 4, (count, 3)).astype(np.float64),
        features=generator.uniform(-1.0, 2.0, (count, OPTIONS[kind], width)).astype(np.float32),
        mask=mask,
        option=option.astype(np.int64),
        teacher=np.zeros(count, dtype=np.int64),
        log_probability=np.log(1.0 / mask.sum(axis=1)) + 0.3 * generator.normal(size=count),
        gain=generator.normal(size=count),
    )
