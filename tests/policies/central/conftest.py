"""Contexts on maps made by hand, and a controller's observations of an idle network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from physics.hardware import DepolarisingMemory, NodeHardware, SourceLink
from physics.models.pauli import PauliModel
from qdpem.network.graph import Network
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.interface import Context, Observation
from qdpem.policy.synthetic import synthetic_observation
from qdpem.rng import stream
from qdpem.scenario.schema import ControlSettings, Forecasting
from tests.helpers.networks import made_graph

LENGTH_KM = 10.0


def _made_context(
    ends: Sequence[tuple[int, int]],
    *,
    repeater_hz: Sequence[float],
    source_hz: float | Sequence[float] = 100.0,
    fidelity: float | Sequence[float] = 0.98,
    depolarising_s: float = 1e6,
    seed: int = 0,
) -> Context:
    """A controller's context with links of 10 km between `ends`, each with its own fresh fidelity."""
    model, nodes = PauliModel(), len(repeater_hz)
    fresh = np.broadcast_to(fidelity, len(ends)).tolist()
    network = Network(
        graph=made_graph(ends, nodes, length_km=LENGTH_KM),
        source_rate_hz=np.array(np.broadcast_to(source_hz, nodes), dtype=float),
        repeater_rate_hz=np.array(repeater_hz, dtype=float),
        repeater_burst=1.0,
        swap_time_s=1e-3,
        distillation_time_s=1e-3,
        memories=np.full(nodes, 16),
        remote_storage_quota=0.25,
        delay_s=np.full(len(ends), LENGTH_KM / 2e5),
        links=tuple(model.link(SourceLink(fresh_fidelity=value), LENGTH_KM) for value in fresh),
        hardware=(NodeHardware(memory=DepolarisingMemory(depolarising_s=depolarising_s)),) * nodes,
    )
    return Context(
        network=network,
        routes=Routes(network),
        estimates=Estimates(network, model),
        control="central",
        pregeneration="none",
        control_settings=ControlSettings(),
        forecasting=Forecasting(),
        site_stream=lambda site: stream(seed, f"policy/{site}"),
    )


def _observed(
    context: Context, *requests: tuple[int, int, float], time_s: float = 10.0, first_id: int = 0, **sizes: Any
) -> Observation:
    """An observation of an idle network; pending `requests` (source, destination, target) have 1 s left."""
    observations = synthetic_observation(context, stream(5, "idle"), waiting=max(len(requests), 1), **sizes)
    observations = Observation(**{**observations.__dict__, "time_s": time_s})
    observations.status[:] = (16.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    observations.forecast[:] = np.nan
    observations.request_id[:] = -1
    observations.request_repeat_until_deadline[:] = 0
    observations.top_pair_source[:] = -1
    for column, (source, destination, target) in enumerate(requests):
        observations.request_id[0, column] = first_id + column
        observations.request_source[0, column] = source
        observations.request_destination[0, column] = destination
        observations.request_target_fidelity[0, column] = target
        observations.request_pairs[0, column] = 1
        observations.request_deadline_s[0, column] = time_s + 1.0
    return observations


@pytest.fixture(scope="session")
def made_context() -> Callable[..., Context]:
    """A builder of controllers' contexts on maps made by hand."""
    return _made_context


@pytest.fixture(scope="session")
def observed() -> Callable[..., Observation]:
    """A builder of the controller's observations of an idle network with pending requests."""
    return _observed
