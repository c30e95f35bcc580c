"""Rules that make a rough map simulable: each finds what is unfit, and mends it only when asked to.

The rules run in one order: links from a node to itself are dropped; nodes without a position are placed at
the mean of their neighbours, or left out where no neighbour has one; the shortest of parallel links is kept;
the largest connected part is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import Fault, ScenarioError
from qdpem.network.distances import distance_km
from qdpem.network.graph_checks import components, parts_sentence
from qdpem.network.rough_map import RoughMap
from qdpem.scenario.words import Cleaning, PositionUnit


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """What is unfit, what the rule does about it, what it did, and the map without it."""

    problem: str
    remedy: str
    done: str
    mended: RoughMap


def clean_map(rough: RoughMap, cleaning: Cleaning) -> tuple[RoughMap, str]:
    """The map with a length for every link and nothing unfit, and one line that says what was mended.

    Raises ScenarioError for a map that needs mending under "none", naming the rule that would mend it, and
    for links without a length in a map without positions.
    """
    _check_lengths(rough)
    done, faults = [], []
    for rule in _RULES:
        found = rule(rough)
        if found is None:
            continue
        if cleaning == Cleaning.NONE:
            wrong = f'{found.problem}; topology.parameters.cleaning = "standard" {found.remedy}'
            faults.append(Fault("topology.parameters", wrong))
        done.append(found.done)
        rough = found.mended
    if faults:
        raise ScenarioError(faults, origin=f"the map {rough.name}")
    return _with_lengths(rough), "; ".join(done)


def _check_lengths(rough: RoughMap) -> None:
    """Refuse links without a length where no node has a position, which no rule can mend."""
    if any(position is not None for position in rough.positions):
        return
    faults = [
        Fault(
            "topology.parameters",
            f"the link {rough.names[first]} - {rough.names[second]} of {rough.name} has no length: give it"
            " length_km, or its nodes positions",
        )
        for first, second, length in rough.links
        if length is None
    ]
    if faults:
        raise ScenarioError(faults[:8], origin=f"the map {rough.name}")


def _loops(rough: RoughMap) -> _Finding | None:
    loops = [link for link in rough.links if link[0] == link[1]]
    if not loops:
        return None
    return _Finding(
        problem=f"{_counted(len(loops), 'link')} of {rough.name} from a node to itself (for one,"
        f" {rough.names[loops[0][0]]})",
        remedy="drops links from a node to itself",
        done=f"{_counted(len(loops), 'link')} from a node to itself dropped",
        mended=replace(rough, links=tuple(link for link in rough.links if link[0] != link[1])),
    )


def _unplaced(rough: RoughMap) -> _Finding | None:
    """Nodes without a position, if a link needs one for its length."""
    lacking = [
        node for link in rough.links if link[2] is None for node in link[:2] if rough.positions[node] is None
    ]
    if not lacking:
        return None
    count, example = _counted(len(set(lacking)), "node"), rough.names[lacking[0]]
    placed = _placed(rough)
    kept = [node for node, position in enumerate(placed.positions) if position is not None]
    left_out = len(rough.names) - len(kept)
    added = sum(position is None for position in rough.positions) - left_out
    parts = (
        [f"{_counted(added, 'node')} without a position placed at the mean of the neighbours"]
        if added
        else []
    )
    parts += [f"{_counted(left_out, 'node')} without a position left out"] if left_out else []
    return _Finding(
        problem=f"{count} of {rough.name} without a position, which the length of a link needs (for one,"
        f" {example})",
        remedy="places such nodes at the mean of their neighbours, or leaves them out",
        done="; ".join(parts),
        mended=_part(placed, kept),
    )


def _placed(rough: RoughMap) -> RoughMap:
    """Nodes without a position at the mean of their neighbours with one, outwards until no node changes."""
    neighbours: list[set[int]] = [set() for _ in rough.names]
    for first, second, _ in rough.links:
        neighbours[first].add(second)
        neighbours[second].add(first)
    positions = list(rough.positions)
    while True:
        # All nodes of a round see the positions before it: their order has no effect.
        found = {
            node: _mean(
                [place for other in sorted(neighbours[node]) if (place := positions[other])], rough.unit
            )
            for node, position in enumerate(positions)
            if position is None and any(positions[other] for other in neighbours[node])
        }
        if not found:
            return replace(rough, positions=tuple(positions))
        for node, place in found.items():
            positions[node] = place


def _mean(places: Sequence[tuple[float, float]], unit: PositionUnit) -> tuple[float, float]:
    table = np.array(places)
    if unit is PositionUnit.KM:
        return float(table[:, 0].mean()), float(table[:, 1].mean())
    angles = np.radians(table[:, 0])
    # A circular mean: the arithmetic one of 179 and -179 degrees is on the other side of the Earth.
    middle = np.degrees(np.arctan2(np.sin(angles).mean(), np.cos(angles).mean()))
    return float(middle), float(table[:, 1].mean())


def _parallel(rough: RoughMap) -> _Finding | None:
    shortest: dict[tuple[int, int], tuple[int, int, float | None]] = {}
    for first, second, length in _with_lengths(rough).links:
        best = shortest.get((first, second))
        if best is None or (length or 0.0) < (best[2] or 0.0):
            shortest[first, second] = (first, second, length)
    extra = len(rough.links) - len(shortest)
    if not extra:
        return None
    pairs = [link[:2] for link in rough.links]
    doubled = next(pair for pair in pairs if pairs.count(pair) > 1)
    label = f"{rough.names[doubled[0]]} - {rough.names[doubled[1]]}"
    return _Finding(
        problem=f"the link {label} of {rough.name} is there more than once ({_counted(extra, 'link')} too"
        " many in all)",
        remedy="keeps the shortest of parallel links",
        done=f"{_counted(extra, 'parallel link')} dropped, the shortest kept",
        mended=replace(rough, links=tuple(shortest.values())),
    )


def _scattered(rough: RoughMap) -> _Finding | None:
    ends = np.array([link[:2] for link in rough.links], dtype=np.int64).reshape(-1, 2)
    labels = components(len(rough.names), ends)
    sizes = np.bincount(labels) if len(labels) else np.zeros(1, dtype=np.int64)
    if len(sizes) == 1:
        return None
    kept = np.flatnonzero(labels == sizes.argmax()).tolist()
    left_out = len(rough.names) - len(kept)
    return _Finding(
        problem=parts_sentence(rough.name, rough.names, labels),
        remedy="keeps the largest connected part",
        done=f"the largest of {len(sizes)} connected parts kept, {_counted(left_out, 'node')} left out",
        mended=_part(rough, kept),
    )


_RULES: tuple[Callable[[RoughMap], _Finding | None], ...] = (_loops, _unplaced, _parallel, _scattered)


def _part(rough: RoughMap, kept: Sequence[int]) -> RoughMap:
    """The map with only the nodes `kept`, in their order."""
    new = {node: index for index, node in enumerate(kept)}
    demand: Floats | None = None if rough.demand is None else rough.demand[np.ix_(kept, kept)]
    return replace(
        rough,
        names=tuple(rough.names[node] for node in kept),
        positions=tuple(rough.positions[node] for node in kept),
        numbers=tuple(rough.numbers[node] for node in kept),
        links=tuple(
            (new[first], new[second], length)
            for first, second, length in rough.links
            if first in new and second in new
        ),
        demand=demand,
    )


def _with_lengths(rough: RoughMap) -> RoughMap:
    """The map with the distance of its ends as the length of every link that states none."""
    return replace(
        rough,
        links=tuple(
            (first, second, _distance_km(rough, first, second) if length is None else length)
            for first, second, length in rough.links
        ),
    )


def _distance_km(rough: RoughMap, first: int, second: int) -> float:
    start, end = rough.positions[first], rough.positions[second]
    assert start is not None  # the rule about nodes without a position came before
    assert end is not None
    return distance_km(start, end, rough.unit)


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"
