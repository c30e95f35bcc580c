"""Which node of a network each node of a trace is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdpem.arrays import Ints
from qdpem.errors import QdpemError, UnknownNameError


def named_nodes(
    trace_names: Sequence[str],
    network_names: Sequence[str],
    mapping: Mapping[str, str | None] | None,
    origin: str,
) -> dict[str, str | None]:
    """The network's node of each node of a trace: that of `mapping`, or of the same name without one.

    None leaves a node out, which only a mapping can say. Raises UnknownNameError, with the nearest name, for
    a node that the network does not have, and QdpemError for one that `mapping` does not name.
    """
    if mapping is None:
        mapping = {name: name for name in trace_names}
    for name in trace_names:
        if name not in mapping:
            raise QdpemError(
                f"the node {name!r} of {origin} is not in the mapping; should be mapped to a node of the"
                " network, or to None to leave it out"
            )
        target = mapping[name]
        if target is not None and target not in network_names:
            raise UnknownNameError("node of the network", target, network_names)
    return {name: mapping[name] for name in trace_names}


def ranked_nodes(
    totals: Mapping[str, float], network_names: Sequence[str], degree: Ints | Sequence[int], origin: str
) -> dict[str, str | None]:
    """The node of the trace with the largest total to the node of highest degree, and so on; ties by name.

    Nothing is drawn: equal inputs give equal maps. Raises QdpemError for a network with fewer nodes than the
    trace.
    """
    if len(degree) != len(network_names):
        raise QdpemError(
            f"there are {len(degree)} degrees for {len(network_names)} nodes; should be one each"
        )
    if len(network_names) < len(totals):
        raise QdpemError(
            f"{origin} has {len(totals)} nodes, the network only {len(network_names)};"
            " should have as many or more, or give a mapping that leaves some out"
        )
    busiest = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    largest = sorted(zip(network_names, degree, strict=True), key=lambda item: (-item[1], item[0]))
    return {name: node for (name, _), (node, _) in zip(busiest, largest, strict=False)}
