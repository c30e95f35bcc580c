"""A summary of a network before anything runs: size, slowest links, demand, and demand without a path."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.interface import PhysicsModel
from qdpem.demand.mean_demand import MeanDemand, mean_demand
from qdpem.demand.offered_load import OfferedLoad, find_offered_load
from qdpem.network.build import network_warnings, unserved_demand
from qdpem.network.graph import Graph, Network
from qdpem.network.path import Path
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.scenario.schema import RequestClass, Scenario
from qdpem.scenario.words import Application, Repetition


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """A network in a few numbers; the pairs/s of a link are those of both its sources working only for it.

    `map_notes`: as from the function of this name. `trace_notes`: what became of each trace of the demand.
    """

    topology: str
    nodes: int
    links: int
    weakest_link: tuple[str, str]
    weakest_pairs_hz: float
    median_pairs_hz: float
    median_length_km: float
    map_notes: str
    trace_notes: tuple[str, ...]
    load: OfferedLoad
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        first, second = self.weakest_link
        notes = f"map: {self.map_notes}\n" if self.map_notes else ""
        return (
            f"{self.topology}: {self.nodes} nodes, {self.links} links"
            f" (median {self.median_length_km:.3g} km)\n{notes}"
            f"pairs/s of a link: median {self.median_pairs_hz:.3g},"
            f" weakest {self.weakest_pairs_hz:.3g} ({first} - {second})\n"
            f"demand: {self.load}" + "".join(f"\n{note}" for note in self.trace_notes)
        )


def summarize_network(
    scenario: Scenario, *, network: Network, physics: PhysicsModel, seed: int
) -> NetworkSummary:
    """The summary of the `network` that `seed` gives in `scenario`, with the offered load."""
    parts = mean_demand(scenario, network, seed=seed)
    weakest = int(network.link_rate_hz.argmin())
    names = network.graph.node_names
    first, second = network.graph.link_ends[weakest].tolist()
    return NetworkSummary(
        topology=network.graph.name,
        nodes=network.node_count,
        links=network.link_count,
        weakest_link=(names[first], names[second]),
        weakest_pairs_hz=float(network.link_rate_hz[weakest]),
        # Not NumPy's: it loads all masked arrays for its median, and every run prints this summary.
        median_pairs_hz=statistics.median(network.link_rate_hz.tolist()),
        median_length_km=statistics.median(network.graph.length_km.tolist()),
        map_notes=map_notes(network.graph),
        trace_notes=tuple(note for part in parts for note in part.notes),
        load=find_offered_load(scenario, network, physics, seed=seed),
        warnings=_warnings(scenario, parts, network, physics),
    )


def map_notes(graph: Graph) -> str:
    """What was mended in the map of a file, and what it sets in place of the scenario; "" if nothing."""
    counts = {key: int((~np.isnan(values)).sum()) for key, values in graph.node_numbers.items()}
    own = ", ".join(f"{key} of {count} node{'s' * (count != 1)}" for key, count in counts.items())
    return "; ".join(part for part in (graph.cleaning, f"it sets {own}" if own else "") if part)


def find_warnings(
    scenario: Scenario, *, network: Network, physics: PhysicsModel, seed: int
) -> tuple[str, ...]:
    """Warnings of the network, of outages after the end, and of demand that no path can serve, by class."""
    return _warnings(scenario, mean_demand(scenario, network, seed=seed), network, physics)


def _warnings(
    scenario: Scenario, parts: Sequence[MeanDemand], network: Network, physics: PhysicsModel
) -> tuple[str, ...]:
    estimates = Estimates(network, physics)

    def can_serve(path: Path, kind: RequestClass) -> bool:
        return estimates.rounds_for(path, kind.target_fidelity, age_s=0.0) is not None

    routes, unserved, too_large = Routes(network), [], []
    for part in parts:
        by_class = unserved_demand(
            network, routes=routes, can_serve=can_serve, weights=part.weights, classes=part.classes
        )
        unserved += [str(each) for each in by_class if each.fraction > 0.0]
        too_large += _too_large_requests(part, network)
    return (*network_warnings(network), *_late_outages(scenario), *unserved, *too_large)


def _too_large_requests(part: MeanDemand, network: Network) -> list[str]:
    """A sentence for each class whose pairs, alive together, need more qubits than an end of the path has.

    QKD measures its pairs on arrival, and repeating requests deliver each pair by itself: neither needs all
    pairs at once.
    """
    sentences = []
    for key, kind in zip(part.keys, part.classes, strict=True):
        if kind.application is Application.QKD or kind.repeat_until_deadline is not Repetition.NO:
            continue
        few = network.memories < kind.pairs
        fraction = float(part.weights[few[:, np.newaxis] | few[np.newaxis, :]].sum())
        if fraction > 0.0:
            node = int(network.memories.argmin())
            # The key of a class is that of its table; a list of requests has none.
            whose = f"{key}.pairs" if key.rpartition(".")[2] != "path" else f"pairs in {key}"
            sentences.append(
                f"{whose} = {kind.pairs}: nothing can serve {fraction:.1%} of the"
                f" {kind.application} demand, whose ends have fewer qubits than that"
                f" ({network.graph.node_names[node]} has {network.memories[node]})"
            )
    return sentences


def _late_outages(scenario: Scenario) -> tuple[str, ...]:
    """A sentence for each outage and each join that lies after the end of the run."""
    outages, end_s = scenario.outages, scenario.window.end_s
    times_s = {
        f"outages.scheduled.{index}.from_s": outage.from_s for index, outage in enumerate(outages.scheduled)
    }
    times_s |= {f"outages.joins.{index}.at_s": join.at_s for index, join in enumerate(outages.joins)}
    return tuple(
        f"{key} = {time_s:g} is never reached: the run ends at {end_s:g} s"
        for key, time_s in times_s.items()
        if time_s >= end_s
    )
