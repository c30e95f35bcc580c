"""Who asked for how much: requests and pairs by process, class, node, and pair of nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Flags, Ints
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.processes.trace.list_demand import ListDemand
from qdpem.demand.requests import Requests
from qdpem.network.graph import Network
from qdpem.scenario.schema import RequestClass, Scenario
from qdpem.scenario.words import Application
from qdpem.study.analysis.demand.count_statistics import interarrival_variation


@dataclass(frozen=True, kw_only=True)
class ProcessTotal:
    """One process: its kind, its long-run rate, and the requests and pairs that it asked for."""

    name: str
    kind: str
    mean_rate_hz: float
    requests: int
    requested_pairs: int


@dataclass(frozen=True, kw_only=True)
class ClassTotal:
    """One class of a process, and the requests that it made."""

    process: str
    application: str
    target_fidelity: float
    pairs: int
    patience_s: float
    requests: int


@dataclass(frozen=True, kw_only=True)
class NodeDemand:
    """One node: requests from it and to it, its peers, and how much its interarrival times vary."""

    node: str
    sent: int
    received: int
    peers: int
    interarrival_variation: float


@dataclass(frozen=True, kw_only=True)
class PairDemand:
    """One pair of nodes: requests and pairs asked for between them, and the interarrival times.

    `interarrival_variation`: standard deviation of the interarrival times over their mean; 1 for a Poisson
    process, 0 for a calendar.
    """

    first: str
    second: str
    requests: int
    requested_pairs: int
    mean_interarrival_s: float
    interarrival_variation: float


def process_totals(scenario: Scenario, arrivals: Arrivals, requests: Requests) -> tuple[ProcessTotal, ...]:
    """Every process with what it asked for, in the order of the arrivals."""
    kinds = scenario.demand.processes
    return tuple(
        ProcessTotal(
            name=process.name,
            kind=kinds[process.name].kind if process.name in kinds else "poisson",
            mean_rate_hz=process.rate_hz,
            requests=int((requests.process == index).sum()),
            requested_pairs=int(requests.pairs[requests.process == index].sum()),
        )
        for index, process in enumerate(arrivals.processes)
    )


def class_totals(arrivals: Arrivals, requests: Requests) -> tuple[ClassTotal, ...]:
    """Every class of every process with the requests that it made."""
    return tuple(
        ClassTotal(
            process=process.name,
            application=str(each.application),
            target_fidelity=each.target_fidelity,
            pairs=each.pairs,
            patience_s=each.patience_s,
            requests=int(
                _of_class(requests, index, each, any_patience=isinstance(process, ListDemand)).sum()
            ),
        )
        for index, process in enumerate(arrivals.processes)
        for each in process.classes
    )


def _of_class(requests: Requests, process: int, kind: RequestClass, *, any_patience: bool) -> Flags:
    """Which requests are of this class of this process; in a list, each has a patience of its own."""
    return np.asarray(
        (requests.process == process)
        & (requests.application == Application(kind.application).code)
        & (requests.target_fidelity == kind.target_fidelity)
        & (requests.pairs == kind.pairs)
        & (
            any_patience
            | np.isclose(requests.deadline_s - requests.time_s, kind.patience_s, rtol=0.0, atol=1e-6)
        )
    )


def pair_numbers(source: Ints, destination: Ints, network: Network) -> Ints:
    """A number for each pair of nodes, whatever its direction."""
    low, high = np.minimum(source, destination), np.maximum(source, destination)
    return np.asarray(low * network.node_count + high)


def node_demand(requests: Requests, network: Network) -> tuple[NodeDemand, ...]:
    """Every node with requests, the busiest first."""
    count = network.node_count
    sent = np.bincount(requests.source, minlength=count)
    received = np.bincount(requests.destination, minlength=count)
    pairs = np.unique(np.stack([requests.source, requests.destination]), axis=1)
    peers = np.bincount(pairs[0], minlength=count)
    _, variation = interarrival_variation(requests.source, requests.time_s)
    variation = np.append(variation, np.full(count - len(variation), np.nan))
    return tuple(
        NodeDemand(
            node=network.graph.node_names[node],
            sent=int(sent[node]),
            received=int(received[node]),
            peers=int(peers[node]),
            interarrival_variation=float(variation[node]),
        )
        # Stable, so that equal nodes keep the order of the network.
        for node in np.argsort(-(sent + received), kind="stable").tolist()
        if sent[node] + received[node]
    )


def pair_demand(requests: Requests, network: Network) -> tuple[PairDemand, ...]:
    """Every pair of nodes with requests, the one with the most pairs asked for first."""
    number, series = np.unique(
        pair_numbers(requests.source, requests.destination, network), return_inverse=True
    )
    total = np.bincount(series, minlength=len(number))
    pairs = np.bincount(series, weights=requests.pairs, minlength=len(number))
    mean_s, variation = interarrival_variation(series, requests.time_s)
    names = network.graph.node_names
    return tuple(
        PairDemand(
            first=names[number[place] // network.node_count],
            second=names[number[place] % network.node_count],
            requests=int(total[place]),
            requested_pairs=int(pairs[place]),
            mean_interarrival_s=float(mean_s[place]),
            interarrival_variation=float(variation[place]),
        )
        for place in np.argsort(-pairs, kind="stable").tolist()
    )
