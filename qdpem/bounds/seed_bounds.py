"""Both bounds of one scenario and seed, from what the seed holds alone: no arm runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.bounds.fidelity_reach import FidelityReach
from qdpem.bounds.flow_bound import SeedBound, flow_bound_of_seed
from qdpem.bounds.seed_sample import counted_in, draw_seed_sample, spans, wanted
from qdpem.bounds.seed_supply import SeedSample
from qdpem.bounds.time_bound import Progress, time_bound_of_seed
from qdpem.demand.offered_load import OfferedLoad, find_offered_load, with_rate
from qdpem.demand.requests import Requests
from qdpem.demand.streams import generate_arrivals
from qdpem.errors import QdpemError
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.scenario.schema import Scenario

BoundKind: TypeAlias = Literal["flow", "time"]

_BINS_PER_PATIENCE = 4.0
_MAX_BINS = 4000
_BINS = 800
_NAMED = 5
_MIN_WORTH = 1e-6

Told = Callable[[str, Progress], None]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What no arm can exceed in deliveries over [0, end_s] of one seed, counted in `unit`.

    `asked`: requests that arrive, or inf where some take pairs without end. `flow` leaves timing out; `time`
    does not; `time_without_stock` holds for arms that keep none, whose deliveries take what was made after
    their request came. Both are NaN unless asked for. `demand`, `links`, `repeaters`: the shares that these
    have in the last of them that was found (what binds); `dearest_nodes`, `dearest_links`: names, most
    binding first. `bin_s` of the time bounds. `converged`: none of them stopped at its limit of time.
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
    dearest_nodes: tuple[str, ...] = ()
    dearest_links: tuple[str, ...] = ()
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
    on_progress: Told | None = None,
) -> Bounds:
    """The flow bound of a seed, and with `kind` "time" the two time bounds, each at most `limit_s` long.

    `network` and `load` may be ones already made for this scenario and seed. `bin_s` is how finely time is
    told, a quarter of the shortest patience unless given, but no finer than a 800th of the run. Raises
    ScenarioError and QdpemError as building the network does, or for a `bin_s` that makes no sense.
    """
    physics, end_s = build_physics(scenario), scenario.window.end_s
    network = network or build_network(scenario, physics, seed=seed)
    question = with_rate(scenario, load or find_offered_load(scenario, network, physics, seed=seed))
    requests = generate_arrivals(question, network, seed=seed).requests
    return bounds_of(
        network,
        FidelityReach(network, physics),
        requests,
        draw_seed_sample(network, physics, seed=seed, end_s=end_s),
        kind=kind,
        bin_s=bin_s,
        limit_s=limit_s,
        on_progress=on_progress,
    )


def bounds_of(
    network: Network,
    reach: FidelityReach,
    requests: Requests,
    sample: SeedSample,
    *,
    kind: BoundKind = "time",
    bin_s: float | None = None,
    limit_s: float = math.inf,
    on_progress: Told | None = None,
) -> Bounds:
    """The bounds of these `requests` on one sample; see `find_bounds`."""
    unit = counted_in(requests)
    began_s = time.perf_counter()
    flow = flow_bound_of_seed(network, sample, wanted(requests, reach))
    found = Bounds(
        unit=unit,
        asked=math.inf if unit == "pairs" else float(len(requests)),
        end_s=sample.end_s,
        flow=flow.at_most,
        flow_wall_s=time.perf_counter() - began_s,
        **_binding(network, flow),
    )
    if kind == "flow" or not len(requests):
        return found
    width_s, began_s = _bin_s(requests, sample.end_s, bin_s), time.perf_counter()
    ways = flow.ways
    timed = {}
    for name, stock in (("with stock", True), ("without stock", False)):
        lead_s = float(sample.birth_s.max(initial=0.0))
        bins = spans(requests, reach, network, bin_s=width_s, end_s=sample.end_s, lead_s=lead_s, stock=stock)
        timed[stock] = time_bound_of_seed(
            network,
            sample,
            wanted(requests, reach, spans=bins, kept=stock),
            bin_s=width_s,
            ways=ways,
            limit_s=limit_s,
            on_progress=partial(on_progress, name) if on_progress is not None else None,
        )
    maximum = min(found.flow, timed[True].at_most)
    return replace(
        found,
        time=maximum,
        time_without_stock=min(maximum, timed[False].at_most),
        bin_s=width_s,
        converged=all(one.converged for one in timed.values()),
        time_wall_s=time.perf_counter() - began_s,
        **_binding(network, timed[True] if timed[True].at_most < found.flow else flow),
    )


def _binding(network: Network, found: SeedBound) -> dict[str, Any]:
    """The parts of a bound, as shares, and the nodes and links that are worth most in it."""
    total = found.bound if math.isfinite(found.bound) and found.bound > 0.0 else math.nan
    names = network.graph.node_names
    ends = [f"{names[first]} - {names[second]}" for first, second in network.graph.link_ends.tolist()]
    return {
        "demand": found.demand / total,
        "links": found.links / total,
        "repeaters": found.repeaters / total,
        "dearest_nodes": _dearest(names, found.node_worth),
        "dearest_links": _dearest(ends, found.link_worth),
    }


def _dearest(names: Sequence[str], worth: NDArray[np.float64]) -> tuple[str, ...]:
    order = np.argsort(-worth, kind="stable")[:_NAMED]
    return tuple(names[place] for place in order.tolist() if worth[place] > _MIN_WORTH)


def _bin_s(requests: Requests, end_s: float, bin_s: float | None) -> float:
    """How finely time is told; outward rounding makes any width valid."""
    if bin_s is None:
        patience_s = float((requests.deadline_s - requests.time_s).min())
        return min(max(patience_s / _BINS_PER_PATIENCE, end_s / _BINS), end_s)
    if not 0.0 < bin_s <= end_s or end_s / bin_s > _MAX_BINS:
        raise QdpemError(
            f"bins of {bin_s:g} s do not fit a run of {end_s:g} s; they should be from"
            f" {end_s / _MAX_BINS:g} s to {end_s:g} s long"
        )
    return bin_s
