"""Generated topologies: random geometric mesh, uniform random graph, line, grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.errors import QdpemError
from qdpem.network.graph import Graph
from qdpem.network.graph_checks import components
from qdpem.scenario.schema import NodeCount, Positive

MAX_DRAWS = 200


class TopologyFactory(Protocol):
    """A registered topology: a callable, and the frozen dataclass of its parameters."""

    Parameters: type

    def __call__(self, parameters: Any, *, stream: np.random.Generator) -> Graph:
        """The bare graph, lengths in km before `length_scale`; all randomness comes from `stream`."""

    def input_files(self, parameters: Any) -> tuple[Path, ...]:
        """Optional: the files that the topology is read from, without which no result is reused."""


_Build = TypeVar("_Build", bound=Callable[..., Graph])


def with_parameters(parameters: type) -> Callable[[_Build], _Build]:
    """Decorate a topology function with the dataclass of its parameters, as `Parameters`."""

    def decorate(build: _Build) -> _Build:
        cast(TopologyFactory, build).Parameters = parameters
        return build

    return decorate


def with_files(input_files: Callable[[Any], tuple[Path, ...]]) -> Callable[[_Build], _Build]:
    """Decorate a topology function with the function that names its files, as `input_files`."""

    def decorate(build: _Build) -> _Build:
        build.input_files = input_files  # type: ignore[attr-defined]
        return build

    return decorate


@dataclass(frozen=True, kw_only=True)
class MeshParameters:
    """`nodes` on a square of `side_km`, with `mean_degree` links per node on average.

    With a mean degree of 8, about ten draws yield a connected geometric mesh of up to 1,000 nodes. With 6,
    one mesh in three is connected at 100 nodes and hardly any at 400. Uniform graphs connect more easily.
    """

    nodes: NodeCount
    """Number of nodes, at least 2."""
    side_km: Positive
    """Side of the square in which nodes are placed."""
    mean_degree: Positive = 8.0
    """Mean number of links of a node."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if self.nodes < 2:
            raise ValueError(f"nodes is {self.nodes}; it must be at least 2")
        minimum, maximum = 2.0 * (self.nodes - 1) / self.nodes, self.nodes - 1.0
        if not minimum <= self.mean_degree <= maximum:
            raise ValueError(
                f"mean_degree is {self.mean_degree:g}; it must be {minimum:g} to {maximum:g}"
                f" for {self.nodes} nodes"
            )


@with_parameters(MeshParameters)
def geometric(parameters: MeshParameters, *, stream: np.random.Generator) -> Graph:
    """Random geometric mesh: uniform positions, with links between the closest pairs.

    There are round(nodes x mean_degree / 2) links. The radius of each draw is thus the one that gives the
    mean degree exactly, up to rounding to whole links. The mesh is drawn again until it is connected; `name`
    holds the number of the draw. Raises QdpemError after 200 draws.
    """
    links = _link_count(parameters)
    positions = np.empty((0, 2))
    for draw in range(1, MAX_DRAWS + 1):
        positions = stream.uniform(0.0, parameters.side_km, size=(parameters.nodes, 2))
        ends, length_km = _shortest_pairs(positions, links)
        if components(parameters.nodes, ends).max() == 0:
            name = f"geometric mesh of {parameters.nodes} nodes (draw {draw})"
            return _mesh(positions, ends, length_km, name=name)
    raise QdpemError(
        f"none of {MAX_DRAWS} geometric meshes of {parameters.nodes} nodes with mean degree"
        f" {parameters.mean_degree:g} was connected; the last one would be with a"
        f" topology.parameters.mean_degree of {_connecting_degree(positions):.1f}"
    )


@with_parameters(MeshParameters)
def uniform(parameters: MeshParameters, *, stream: np.random.Generator) -> Graph:
    """Uniform random graph (Erdos and Renyi 1959, G(n, m)): uniform positions, all pairs equally likely.

    round(nodes x mean_degree / 2) links, each as long as its ends are apart. The graph is drawn again until
    it is connected; `name` holds the number of the draw. Raises QdpemError after 200 draws.
    """
    nodes, links = parameters.nodes, _link_count(parameters)
    first, second = np.triu_indices(nodes, k=1)
    for draw in range(1, MAX_DRAWS + 1):
        positions = stream.uniform(0.0, parameters.side_km, size=(nodes, 2))
        chosen = np.sort(stream.choice(len(first), size=links, replace=False))
        ends = np.stack([first[chosen], second[chosen]], axis=1).astype(np.int64)
        if components(nodes, ends).max() == 0:
            length_km = np.hypot(*(positions[ends[:, 0]] - positions[ends[:, 1]]).T)
            return _mesh(
                positions, ends, length_km, name=f"uniform random graph of {nodes} nodes (draw {draw})"
            )
    raise QdpemError(
        f"none of {MAX_DRAWS} uniform random graphs of {nodes} nodes with mean degree"
        f" {parameters.mean_degree:g} was connected; half of them would be with a"
        f" topology.parameters.mean_degree of {_even_odds_degree(nodes):.1f}"
    )


@dataclass(frozen=True, kw_only=True)
class LineParameters:
    """A chain of `nodes` with `hop_km` between neighbours."""

    nodes: NodeCount
    """Number of nodes, at least 2."""
    hop_km: Positive
    """Length of a link."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if self.nodes < 2:
            raise ValueError(f"nodes is {self.nodes}; it must be at least 2")


@with_parameters(LineParameters)
def line(parameters: LineParameters, *, stream: np.random.Generator) -> Graph:  # noqa: ARG001
    """Nodes n0, n1, ... in a row.

    >>> line(LineParameters(nodes=3, hop_km=10.0), stream=np.random.default_rng(0)).link_ends.tolist()
    [[0, 1], [1, 2]]
    """
    return _lattice(1, parameters.nodes, parameters.hop_km, name=f"line of {parameters.nodes} nodes")


@dataclass(frozen=True, kw_only=True)
class GridParameters:
    """`rows` x `columns` nodes with `hop_km` between neighbours."""

    rows: NodeCount
    """Number of rows."""
    columns: NodeCount
    """Number of nodes in a row."""
    hop_km: Positive
    """Length of a link."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if self.rows * self.columns < 2:
            raise ValueError("rows x columns is 1; it must be at least 2")
        if self.rows * self.columns > 100_000:
            raise ValueError(f"rows x columns is {self.rows * self.columns}; it must be at most 100000")


@with_parameters(GridParameters)
def grid(parameters: GridParameters, *, stream: np.random.Generator) -> Graph:  # noqa: ARG001
    """A square lattice with open borders; node n0 is a corner, and nodes are numbered row by row."""
    rows, columns = parameters.rows, parameters.columns
    return _lattice(rows, columns, parameters.hop_km, name=f"grid of {rows} x {columns} nodes")


def _lattice(rows: int, columns: int, hop_km: float, *, name: str) -> Graph:
    index = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    along = np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], axis=1)
    across = np.stack([index[:-1].ravel(), index[1:].ravel()], axis=1)
    ends = np.concatenate([along, across])
    ends = ends[np.lexsort((ends[:, 1], ends[:, 0]))]
    return Graph(
        name=name,
        node_names=tuple(f"n{node}" for node in range(rows * columns)),
        x_km=np.tile(np.arange(columns) * hop_km, rows),
        y_km=np.repeat(np.arange(rows) * hop_km, columns),
        link_ends=ends,
        length_km=np.full(len(ends), hop_km),
    )


def _link_count(parameters: MeshParameters) -> int:
    return round(parameters.nodes * parameters.mean_degree / 2.0)


def _mesh(positions: Floats, ends: Ints, length_km: Floats, *, name: str) -> Graph:
    return Graph(
        name=name,
        node_names=tuple(f"n{node}" for node in range(len(positions))),
        x_km=positions[:, 0],
        y_km=positions[:, 1],
        link_ends=ends,
        length_km=length_km,
    )


def _shortest_pairs(positions: Floats, links: int) -> tuple[Ints, Floats]:
    """The `links` closest pairs of `positions` [N, 2]: ends [L, 2], sorted, and distances [L]."""
    from scipy.spatial.distance import pdist

    distance = pdist(positions)
    # argpartition finds the shortest in linear time; sorted indices of `pdist` are sorted by ends.
    chosen = np.sort(np.argpartition(distance, links - 1)[:links])
    first, second = np.triu_indices(len(positions), k=1)
    return np.stack([first[chosen], second[chosen]], axis=1).astype(np.int64), distance[chosen]


def _even_odds_degree(nodes: int) -> float:
    """ln n - ln ln 2, at which G(n, m) is connected with probability 1/2 (Erdos and Renyi 1959, n large)."""
    return float(np.log(nodes) - np.log(np.log(2.0)))


def _connecting_degree(positions: Floats) -> float:
    """The mean degree at which the geometric graph on `positions` [N, 2] is just connected."""
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import pdist, squareform

    distance = pdist(positions)
    # The longest edge of the minimum spanning tree is the radius at which the graph becomes connected.
    longest = minimum_spanning_tree(squareform(distance)).max()
    return 2.0 * int((distance <= longest).sum()) / len(positions)
