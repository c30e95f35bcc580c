"""The map of a run, as its record holds it: no file and no draw is needed."""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import RecordError
from qdpem.network.graph import Graph
from qdpem.network.maps.rough_map import NODE_NUMBERS
from qdpem.records.reader import Record


def recorded_graph(record: Record) -> Graph:
    """The scaled topology with the rates and memories of every node, and the demand matrix of the map if any.

    Raises RecordError for a record whose run stopped before its map was written.
    """
    nodes, links = record.tables["nodes"], record.tables["links"]
    if len(nodes["node"]) < 2 or len(links["link"]) == 0:
        raise RecordError(f"{record.path} holds no map: its run stopped before anything was written")
    return Graph(
        name=record.scenario.name,
        node_names=tuple(nodes["name"].tolist()),
        x_km=nodes["x_km"],
        y_km=nodes["y_km"],
        link_ends=np.column_stack([links["first"], links["second"]]).astype(np.int64),
        length_km=links["length_km"],
        demand_weights=_demand_weights(record, nodes=len(nodes["node"])),
        node_numbers={key: nodes[key].astype(np.float64) for key in NODE_NUMBERS},
    )


def _demand_weights(record: Record, *, nodes: int) -> Floats | None:
    """The demand matrix, float64 [N, N]; None where the record has none."""
    matrix = record.tables.get("demand_matrix", {})
    if not matrix or not len(matrix["weight"]):
        return None
    weights = np.zeros((nodes, nodes))
    weights[matrix["source"], matrix["destination"]] = matrix["weight"]
    return weights
