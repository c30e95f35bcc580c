"""Outages: what of a network is away when, drawn before a run begins and so the same in every arm.

A node that joins at t is one that is away from 0 to t.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from qdpem.errors import Fault, nearest
from qdpem.network.graph import Graph, Network
from qdpem.rng import stream
from qdpem.scenario.schema import Outages, RandomOutages
from qdpem.scenario.words import OutageKind

NO_PLACE = -1
"""The place of the controller's outages: there is one controller."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Unavailable:
    """Nodes and links that are not there, or are believed not to be; false when all are there."""

    nodes: frozenset[int] = frozenset()
    links: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.nodes or self.links)

    def hits(self, nodes: Iterable[int], links: Iterable[int]) -> bool:
        """Whether any of these nodes and links is away."""
        return not (self.nodes.isdisjoint(nodes) and self.links.isdisjoint(links))

    def after(self, kind: OutageKind, place: int, *, goes: bool) -> Unavailable:
        """The same but for one node or link, which goes or comes back."""
        if kind == OutageKind.NODE:
            return replace(self, nodes=self.nodes | {place} if goes else self.nodes - {place})
        return replace(self, links=self.links | {place} if goes else self.links - {place})


ALL_AVAILABLE = Unavailable()


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One node, link or the controller is away from `from_s` to `until_s` (inf: for good).

    `place` is the index of the node or link, NO_PLACE for the
    controller.
    """

    kind: OutageKind
    place: int
    from_s: float
    until_s: float


def draw_outages(settings: Outages, network: Network, *, seed: int, end_s: float) -> tuple[Outage, ...]:
    """All outages that begin by `end_s`, by their beginning; of one place none touches another.

    Random ones alternate exponential times up and down, every link, node and the controller from a stream
    of its own under `seed`, keyed by name: "outage/node/Berlin", "outage/link/Berlin/Hamburg",
    "outage/controller". The names in `settings` must be those of the network (`outage_faults`).
    """
    spans: dict[tuple[OutageKind, int], list[Span]] = defaultdict(list)
    known = _places(network.graph)
    for one in settings.scheduled:
        until_s = float("inf") if one.until_s is None else one.until_s
        spans[one.kind, known[one.kind][one.name]].append((one.from_s, until_s))
    for join in settings.joins:
        spans[OutageKind.NODE, known[OutageKind.NODE][join.node]].append((0.0, join.at_s))
    laws = {
        OutageKind.LINK: settings.links,
        OutageKind.NODE: settings.nodes,
        OutageKind.CONTROLLER: settings.controller,
    }
    for kind, law in laws.items():
        if law is not None:
            for place, name in _stream_names(network.graph, kind):
                spans[kind, place] += _random_spans(law, seed=seed, name=name, end_s=end_s)
    found = [
        Outage(kind=kind, place=place, from_s=from_s, until_s=until_s)
        for (kind, place), some in spans.items()
        for from_s, until_s in _joined(some)
        if from_s <= end_s
    ]
    return tuple(sorted(found, key=lambda one: (one.from_s, one.kind, one.place)))


def outage_faults(settings: Outages, graph: Graph) -> list[Fault]:
    """Names the topology does not have, each with the nearest that it has; nodes that join more than once."""
    known = _places(graph)
    named = [
        (f"outages.scheduled.{index}.name", one.kind, one.name)
        for index, one in enumerate(settings.scheduled)
    ]
    named += [
        (f"outages.joins.{index}.node", OutageKind.NODE, one.node) for index, one in enumerate(settings.joins)
    ]
    missing = [(path, kind, name) for path, kind, name in named if name not in known[kind]]
    faults = [Fault(path, _unknown(kind, name, known[kind])) for path, kind, name in missing]
    joining = [one.node for one in settings.joins]
    return faults + [
        Fault(f"outages.joins.{index}.node", f"the node {name!r} joins a second time; it can join once")
        for index, name in enumerate(joining)
        if name in joining[:index]
    ]


def _unknown(kind: OutageKind, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that the network does not have."""
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"should be like {next(iter(known))!r}"
    return f"no {kind} of the topology is called {name!r}; {hint}"


def _places(graph: Graph) -> Mapping[OutageKind, Mapping[str, int]]:
    """Index by name, for each kind; a link goes by its ends in either order."""
    names, links = graph.node_names, {}
    for link, (first, second) in enumerate(graph.link_ends.tolist()):
        links[f"{names[first]}/{names[second]}"] = links[f"{names[second]}/{names[first]}"] = link
    return {
        OutageKind.NODE: {name: node for node, name in enumerate(names)},
        OutageKind.LINK: links,
        OutageKind.CONTROLLER: {"": NO_PLACE},
    }


def _stream_names(graph: Graph, kind: OutageKind) -> Iterator[tuple[int, str]]:
    """Every place of a kind and the key of its stream."""
    if kind == OutageKind.CONTROLLER:
        yield NO_PLACE, "outage/controller"
    elif kind == OutageKind.NODE:
        yield from enumerate(f"outage/node/{name}" for name in graph.node_names)
    else:
        for link, ends in enumerate(graph.link_ends.tolist()):
            first, second = (graph.node_names[end] for end in ends)
            yield link, f"outage/link/{first}/{second}"


def _random_spans(law: RandomOutages, *, seed: int, name: str, end_s: float) -> list[Span]:
    generator, found = stream(seed, name), []
    from_s = float(generator.exponential(law.mean_up_s))
    while from_s <= end_s:
        until_s = from_s + float(generator.exponential(law.mean_down_s))
        found.append((from_s, until_s))
        from_s = until_s + float(generator.exponential(law.mean_up_s))
    return found


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The same times as spans that do not touch.

    >>> _joined([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (3.0, 4.0)])
    [(0.0, 4.0), (5.0, 6.0)]
    """
    joined: list[Span] = []
    for from_s, until_s in sorted(spans):
        if joined and from_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until_s))
        else:
            joined.append((from_s, until_s))
    return joined
