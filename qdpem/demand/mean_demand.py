"""The mean demand of a scenario: which classes are asked for between which pairs of nodes, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.processes.trace.list_demand import ListedRequests, list_requests
from qdpem.demand.processes.trace.trace_file import MatrixTrace, load_trace
from qdpem.demand.streams import pair_weights
from qdpem.flow.commodities import Commodity, LinkPlan, mean_commodities, merged_commodities
from qdpem.network.graph import Network
from qdpem.scenario.schema import RequestClass, Scenario, Trace


@dataclass(frozen=True, eq=False, kw_only=True)
class MeanDemand:
    """A part of the demand whose classes all have the same weights of pairs of nodes.

    `classes`: each with its fraction of ALL requests. `keys`: the dotted key of each class. `bursting`:
    whether each is of the Poisson stream. `weights` float64 [N, N]: fraction of the part's requests from each
    node to each other; the sum is 1. `notes`: what became of a trace, one sentence each.
    """

    classes: tuple[RequestClass, ...]
    keys: tuple[str, ...]
    bursting: tuple[bool, ...]
    weights: Floats
    notes: tuple[str, ...] = ()

    def fraction(self, *, peak: float = 1.0) -> float:
        """The part of all requests, with the Poisson stream at `peak` times its mean, up to a factor."""
        return sum(each.fraction for each in self.at_peak(peak))

    def at_peak(self, peak: float) -> tuple[RequestClass, ...]:
        """The classes, those of the Poisson stream at `peak` times their fractions."""
        return tuple(
            replace(each, fraction=peak * each.fraction) if bursts and peak != 1.0 else each
            for each, bursts in zip(self.classes, self.bursting, strict=True)
        )


def mean_demand(scenario: Scenario, network: Network, *, seed: int) -> tuple[MeanDemand, ...]:
    """The parts of the mean demand: the processes that share the scenario's weights, then each trace.

    A trace of matrices is one part, with its mean over the whole file. A list of requests is a part for each
    of its classes, because its pairs of nodes need not ask for the same. Raises ScenarioError as
    `pair_weights` and `load_trace` do.
    """
    demand = scenario.demand
    traces = {name: each for name, each in demand.processes.items() if isinstance(each, Trace)}
    parts = []
    shared = [
        (each, key)
        for each, key in zip(demand.all_classes, demand.class_keys, strict=True)
        if not any(key.startswith(f"demand.processes.{name}.") for name in traces)
    ]
    if shared:
        classes, keys = zip(*shared, strict=True)
        parts.append(
            MeanDemand(
                classes=classes,
                keys=keys,
                bursting=tuple(index < len(demand.classes) for index in range(len(classes))),
                weights=pair_weights(scenario, network, seed=seed),
            )
        )
    for name, settings in traces.items():
        parts += _of_trace(name, settings, network, seed=seed)
    return tuple(parts)


def demand_commodities(
    parts: Sequence[MeanDemand],
    network: Network,
    *,
    rate_hz: float,
    plans: Sequence[LinkPlan],
    peak: float = 1.0,
) -> tuple[Commodity, ...]:
    """The mean demand as commodities (`mean_commodities`), with the weights that each part has.

    Args:
        parts: as from `mean_demand`.
        network: the network to serve them.
        rate_hz: requests per second of the whole network.
        plans: as for `mean_commodities`.
        peak: factor on the fractions of the Poisson stream; the whole stays `rate_hz`.
    """
    whole = sum(part.fraction(peak=peak) for part in parts)
    return merged_commodities(
        mean_commodities(
            part.at_peak(peak),
            network,
            part.weights,
            rate_hz=rate_hz * (part.fraction(peak=peak) / whole),
            plans=plans,
        )
        for part in parts
    )


def _of_trace(name: str, settings: Trace, network: Network, *, seed: int) -> list[MeanDemand]:
    trace, key = load_trace(name, settings, network), f"demand.processes.{name}"
    if isinstance(trace, MatrixTrace):
        return [
            _part(
                [replace(each, fraction=settings.fraction * each.fraction) for each in settings.classes],
                [f"{key}.classes.{index}" for index in range(len(settings.classes))],
                trace.mean(network.node_count),
                notes=tuple(f"trace {name}: {note}" for note in trace.notes),
            )
        ]
    listed = list_requests(name, settings, trace, network, seed=seed)
    return [
        _part(
            [replace(each, fraction=settings.fraction * each.fraction)],
            [f"{key}.path"],
            _list_weights(listed, index, network.node_count),
            notes=tuple(f"trace {name}: {note}" for note in trace.notes) if index == 0 else (),
        )
        for index, each in enumerate(listed.classes)
    ]


def _part(
    classes: Sequence[RequestClass], keys: Sequence[str], weights: Floats, *, notes: tuple[str, ...]
) -> MeanDemand:
    return MeanDemand(
        classes=tuple(classes),
        keys=tuple(keys),
        bursting=(False,) * len(classes),
        weights=weights,
        notes=notes,
    )


def _list_weights(listed: ListedRequests, request_class: int, nodes: int) -> Floats:
    """Fraction of the requests of one class from each node to each other, float64 [nodes, nodes]."""
    own = listed.request_class == request_class
    weights = np.zeros((nodes, nodes))
    np.add.at(weights, (listed.source[own], listed.destination[own]), 1.0)
    return np.asarray(weights / weights.sum())
