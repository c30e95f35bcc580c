"""Outages: when nodes, links and the controller are unavailable; drawn before a run, the same in every arm.

A node that joins at t is unavailable from 0 to t.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from qdpem.errors import Fault, nearest
from qdpem.network.graph import Graph, Network
from qdpem.rng import name_key, stream
from qdpem.scenario.schema import Outages, RandomOutages
from qdpem.scenario.words import OutageKind

NO_PLACE = -1
"""The `place` of the controller's outages."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Unavailable:
    """Nodes and links that are unavailable, or believed to be; false when all are available."""

    nodes: frozenset[int] = frozenset()
    links: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.nodes or self.links)

    def affects(self, nodes: Iterable[int], links: Iterable[int]) -> bool:
        """Whether any of these nodes and links is unavailable."""
        return not (self.nodes.isdisjoint(nodes) and self.links.isdisjoint(links))

    def with_change(self, kind: OutageKind, place: int, *, unavailable: bool) -> Unavailable:
        """These nodes and links with one added or, when it is available again, removed."""
        if kind == OutageKind.NODE:
            return replace(self, nodes=self.nodes | {place} if unavailable else self.nodes - {place})
        return replace(self, links=self.links | {place} if unavailable else self.links - {place})


ALL_AVAILABLE = Unavailable()


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A node, a link or the controller is unavailable from `from_s` to `until_s` (inf: for good).

    `kind`: "link", "node" or "controller". `place`: the index of the node or link, NO_PLACE for the
    controller.
    """

    kind: OutageKind
    place: int
    from_s: float
    until_s: float


def draw_outages(settings: Outages, network: Network, *, seed: int, end_s: float) -> tuple[Outage, ...]:
    """All outages that begin by `end_s`, in order of time; those of one place never touch.

    Random outages alternate exponential times up and down. Every link, every node and the controller have
    their own random stream under `seed`, keyed by name: "outage/node/Berlin", "outage/link/Berlin/Hamburg",
    "outage/controller". The names in `settings` must be in the network (`outage_faults`).
    """
    # Scheduled, random and joining spans of one place are collected first, because they may overlap.
    spans: dict[tuple[OutageKind, int], list[Span]] = defaultdict(list)
    places = _places(network.graph)
    for scheduled in settings.scheduled:
        until_s = float("inf") if scheduled.until_s is None else scheduled.until_s
        spans[scheduled.kind, places[scheduled.kind][scheduled.name]].append((scheduled.from_s, until_s))
    for join in settings.joins:
        spans[OutageKind.NODE, places[OutageKind.NODE][join.node]].append((0.0, join.at_s))
    laws = {
        OutageKind.LINK: settings.links,
        OutageKind.NODE: settings.nodes,
        OutageKind.CONTROLLER: settings.controller,
    }
    for kind, law in laws.items():
        if law is not None:
            for place, name in _stream_names(network.graph, kind):
                spans[kind, place] += _random_spans(law, seed=seed, name=name, end_s=end_s)
    outages = [
        Outage(kind=kind, place=place, from_s=from_s, until_s=until_s)
        for (kind, place), own in spans.items()
        for from_s, until_s in _merged(own)
        if from_s <= end_s
    ]
    # Kind and place break ties in time, so that simultaneous outages have one order in every arm.
    return tuple(sorted(outages, key=lambda outage: (outage.from_s, outage.kind, outage.place)))


def outage_faults(settings: Outages, graph: Graph) -> list[Fault]:
    """Names that the topology lacks, each with the nearest known one, and nodes that join more than once."""
    places = _places(graph)
    named = [
        (f"outages.scheduled.{index}.name", outage.kind, outage.name)
        for index, outage in enumerate(settings.scheduled)
    ]
    named += [
        (f"outages.joins.{index}.node", OutageKind.NODE, join.node)
        for index, join in enumerate(settings.joins)
    ]
    missing = [(path, kind, name) for path, kind, name in named if name not in places[kind]]
    faults = [Fault(path, _unknown(kind, name, places[kind])) for path, kind, name in missing]
    joining = [join.node for join in settings.joins]
    return faults + [
        Fault(f"outages.joins.{index}.node", f"the node {name!r} joins a second time; it can join once")
        for index, name in enumerate(joining)
        if name in joining[:index]
    ]


def _unknown(kind: OutageKind, name: str, known: Iterable[str]) -> str:
    """The message for a name that the network lacks."""
    suggestion = nearest(name, known)
    hint = f"did you mean {suggestion!r}?" if suggestion else f"should be like {next(iter(known))!r}"
    return f"no {kind} of the topology is called {name!r}; {hint}"


def _places(graph: Graph) -> Mapping[OutageKind, Mapping[str, int]]:
    """Index by name, for each kind."""
    return {
        OutageKind.NODE: {name: node for node, name in enumerate(graph.node_names)},
        OutageKind.LINK: _links_by_name(graph),
        OutageKind.CONTROLLER: {"": NO_PLACE},
    }


def _links_by_name(graph: Graph) -> dict[str, int]:
    """Index by name; a link is named by its ends in either order, joined by "/".

    Where names with a "/" give two links one name, only the name with escaped ends (`name_key`) stands for
    each.
    """
    named: dict[str, set[int]] = defaultdict(set)
    for escape in (str, name_key):
        for link, ends in enumerate(graph.link_ends.tolist()):
            first, second = (escape(graph.node_names[end]) for end in ends)
            for name in (f"{first}/{second}", f"{second}/{first}"):
                named[name].add(link)
    return {name: min(links) for name, links in named.items() if len(links) == 1}


def _stream_names(graph: Graph, kind: OutageKind) -> Iterator[tuple[int, str]]:
    """Every place of a kind and the key of its stream."""
    if kind == OutageKind.CONTROLLER:
        yield NO_PLACE, "outage/controller"
    elif kind == OutageKind.NODE:
        yield from enumerate(f"outage/node/{name}" for name in graph.node_names)
    else:
        for link, ends in enumerate(graph.link_ends.tolist()):
            first, second = (graph.node_names[end] for end in ends)
            # Names instead of indices: an added node or link leaves every other place's outages unchanged.
            yield link, f"outage/link/{name_key(first)}/{name_key(second)}"


def _random_spans(law: RandomOutages, *, seed: int, name: str, end_s: float) -> list[Span]:
    generator, spans = stream(seed, name), []
    # Up first: every place is available at t = 0.
    from_s = float(generator.exponential(law.mean_up_s))
    while from_s <= end_s:
        until_s = from_s + float(generator.exponential(law.mean_down_s))
        spans.append((from_s, until_s))
        from_s = until_s + float(generator.exponential(law.mean_up_s))
    return spans


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The same times as ascending spans that do not touch.

    >>> _merged([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (3.0, 4.0)])
    [(0.0, 4.0), (5.0, 6.0)]
    """
    merged: list[Span] = []
    for from_s, until_s in sorted(spans):
        # Spans that touch are merged too: a place must not become available and unavailable at one time.
        if merged and from_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until_s))
        else:
            merged.append((from_s, until_s))
    return merged
