"""The flow and time bounds of one scenario and seed, from the seed's random outcomes; no arm runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from qdpem.arrays import Floats
from qdpem.bounds.fidelity_reach import FidelityReach
from qdpem.bounds.flow_bound import SeedBound, flow_bound_of_seed
from qdpem.bounds.seed_sample import counted_in, draw_seed_sample, group_requests, request_spans
from qdpem.bounds.seed_supply import SeedSample
from qdpem.bounds.time_bound import KnownPaths, Progress, time_bound_of_seed
from qdpem.demand.offered_load import OfferedLoad, find_offered_load, with_rate
from qdpem.demand.requests import Requests
from qdpem.demand.streams import generate_arrivals
from qdpem.errors import QdpemError
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.scenario.schema import Scenario

BoundKind: TypeAlias = Literal["flow", "time"]

ProgressCallback: TypeAlias = Callable[[str, Progress], None]
"""Called with the name of a time bound and its progress."""

_BINS_PER_PATIENCE = 4.0
_MAX_BINS = 4000
_BINS = 800
_MAX_NAMES = 5
_MIN_VALUE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds that no arm can exceed in deliveries over [0, end_s] of one seed, counted in `unit`.

    `asked`: requests that arrive, or inf where some take pairs without end. `flow` leaves timing out and
    `time` does not; `time_without_stock` holds for arms that keep no stock, whose deliveries only take what
    was made after their request came. Both are NaN unless requested. `demand`, `links`, `repeaters`: their
    fractions of the last of these bounds, which show what binds. `binding_nodes`, `binding_links`: names,
    most binding first. `bin_s` of the time bounds. `converged`: none of them stopped at its limit of time.
    `flow_wall_s`, `time_wall_s`: seconds of wall time for the bounds.
    """

    unit: str
    asked: float
    end_s: float
    flow: float
    time: float = math.nan
    time_without_stock: float = math.nan
    bin_s: float = math.nan
    converged: bool = True
    demand: float = math.nan
    links: float = math.nan
    repeaters: float = math.nan
    binding_nodes: tuple[str, ...] = ()
    binding_links: tuple[str, ...] = ()
    flow_wall_s: float = math.nan
    time_wall_s: float = math.nan


def find_bounds(
    scenario: Scenario,
    *,
    seed: int,
    kind: BoundKind = "time",
    bin_s: float | None = None,
    limit_s: float = math.inf,
    network: Network | None = None,
    load: OfferedLoad | None = None,
    on_progress: ProgressCallback | None = None,
) -> Bounds:
    """The flow bound of a seed and, with `kind` "time", the two time bounds.

    Raises ScenarioError and QdpemError as building the network does, and QdpemError for a `bin_s` that does
    not fit the run.

    Args:
        scenario: the scenario; its study and arms play no part.
        seed: the seed of its random outcomes.
        kind: "flow" or "time".
        bin_s: length of the bins of time. By default a quarter of the shortest patience, but at least 1/800
            of the run.
        limit_s: seconds of wall time after which each time bound stops improving.
        network: one already built for this scenario and seed.
        load: one already found for this scenario and seed.
        on_progress: called after each round of a time bound.
    """
    physics, end_s = build_physics(scenario), scenario.window.end_s
    network = network or build_network(scenario, physics, seed=seed)
    with_load = with_rate(scenario, load or find_offered_load(scenario, network, physics, seed=seed))
    requests = generate_arrivals(with_load, network, seed=seed).requests
    return bounds_of_sample(
        network,
        FidelityReach(network, physics),
        requests,
        draw_seed_sample(network, physics, seed=seed, end_s=end_s),
        kind=kind,
        bin_s=bin_s,
        limit_s=limit_s,
        on_progress=on_progress,
    )


def bounds_of_sample(
    network: Network,
    reach: FidelityReach,
    requests: Requests,
    sample: SeedSample,
    *,
    kind: BoundKind = "time",
    bin_s: float | None = None,
    limit_s: float = math.inf,
    on_progress: ProgressCallback | None = None,
) -> Bounds:
    """The bounds of `requests` on one sample.

    Args:
        network: the network of the sample.
        reach: its limits on hops and ages.
        requests: the requests of the run.
        sample: the seed's random outcomes.
        kind: as in `find_bounds`.
        bin_s: as in `find_bounds`.
        limit_s: as in `find_bounds`.
        on_progress: as in `find_bounds`.
    """
    unit = counted_in(requests)
    began_s = time.perf_counter()
    # The flow bound comes first: its paths are the first columns of the time bounds.
    flow = flow_bound_of_seed(network, sample, group_requests(requests, reach))
    bounds = Bounds(
        unit=unit,
        asked=math.inf if unit == "pairs" else float(len(requests)),
        end_s=sample.end_s,
        flow=flow.max_deliveries,
        flow_wall_s=time.perf_counter() - began_s,
        **_binding(network, flow),
    )
    if kind == "flow" or not len(requests):
        return bounds
    width_s, began_s = _bin_s(requests, sample.end_s, bin_s), time.perf_counter()
    find_time_bound = partial(
        _time_bound,
        network,
        reach,
        requests,
        sample,
        bin_s=width_s,
        paths=flow.paths,
        limit_s=limit_s,
        on_progress=on_progress,
    )
    with_stock, without_stock = find_time_bound(stock=True), find_time_bound(stock=False)
    # A time bound that ran out of time may lie above the flow bound; each of them is valid.
    time_bound = min(bounds.flow, with_stock.max_deliveries)
    return replace(
        bounds,
        time=time_bound,
        # Arms without stock are also subject to the bound with stock.
        time_without_stock=min(time_bound, without_stock.max_deliveries),
        bin_s=width_s,
        converged=with_stock.converged and without_stock.converged,
        time_wall_s=time.perf_counter() - began_s,
        **_binding(network, with_stock if with_stock.max_deliveries < bounds.flow else flow),
    )


def _time_bound(
    network: Network,
    reach: FidelityReach,
    requests: Requests,
    sample: SeedSample,
    *,
    stock: bool,
    bin_s: float,
    paths: KnownPaths,
    limit_s: float,
    on_progress: ProgressCallback | None,
) -> SeedBound:
    """One time bound, for arms with or without stock."""
    lead_s = float(sample.birth_s.max(initial=0.0))
    spans = request_spans(
        requests, reach, network, bin_s=bin_s, end_s=sample.end_s, lead_s=lead_s, stock=stock
    )
    name = "with stock" if stock else "without stock"
    return time_bound_of_seed(
        network,
        sample,
        group_requests(requests, reach, spans=spans, stock=stock),
        bin_s=bin_s,
        paths=paths,
        limit_s=limit_s,
        on_progress=partial(on_progress, name) if on_progress is not None else None,
    )


def _binding(network: Network, bound: SeedBound) -> dict[str, Any]:
    """The parts of a bound, as fractions, and the names of the nodes and links that bind most."""
    total = bound.bound if math.isfinite(bound.bound) and bound.bound > 0.0 else math.nan
    names = network.graph.node_names
    ends = [f"{names[first]} - {names[second]}" for first, second in network.graph.link_ends.tolist()]
    return {
        "demand": bound.demand / total,
        "links": bound.links / total,
        "repeaters": bound.repeaters / total,
        "binding_nodes": _most_valuable(names, bound.node_value),
        "binding_links": _most_valuable(ends, bound.link_value),
    }


def _most_valuable(names: Sequence[str], value: Floats) -> tuple[str, ...]:
    # Stable, so that equal values are listed in the order of the map.
    order = np.argsort(-value, kind="stable")[:_MAX_NAMES]
    return tuple(names[index] for index in order.tolist() if value[index] > _MIN_VALUE)


def _bin_s(requests: Requests, end_s: float, bin_s: float | None) -> float:
    """The length of bins; any is valid, because spans are rounded outwards."""
    if bin_s is None:
        patience_s = float((requests.deadline_s - requests.time_s).min())
        # Shorter bins give a tighter bound, but the number of windows grows with its square.
        return min(max(patience_s / _BINS_PER_PATIENCE, end_s / _BINS), end_s)
    if not 0.0 < bin_s <= end_s or end_s / bin_s > _MAX_BINS:
        raise QdpemError(
            f"bins of {bin_s:g} s do not fit a run of {end_s:g} s; they should be from"
            f" {end_s / _MAX_BINS:g} s to {end_s:g} s long"
        )
    return bin_s
