"""Cheapest paths of few single hops, against trying all simple paths."""

from __future__ import annotations

from itertools import pairwise, permutations, product

import numpy as np
import pytest

from qdpem.bounds.constrained_paths import BudgetedPaths
from qdpem.flow.pricing import Arcs


def draw(seed: int):
    """A small graph with prices, some of them 0 and some nodes that cannot swap, for two rows."""
    draws, nodes = np.random.default_rng(seed), 6
    ends = [(a, b) for a in range(nodes) for b in range(a + 1, nodes) if draws.random() < 0.5]
    ends = np.array(ends or [(0, 1)], dtype=np.int64)
    tail, head = np.concatenate([ends, ends[:, ::-1]]).T
    order = np.argsort(head, kind="stable")
    arcs = Arcs(tail[order], head[order], np.tile(np.arange(len(ends)), 2)[order], nodes)
    link = draws.random((2, len(ends))) * (draws.random((2, len(ends))) < 0.8)
    node = np.where(draws.random((2, nodes)) < 0.15, np.inf, draws.random((2, nodes)))
    return arcs, ends, link, node


def minimum(ends, link, node, source, destination, max_single, *, doubles):
    """Over all simple paths and all ways to make hops single or double."""
    joined = {tuple(pair): place for place, pair in enumerate(ends.tolist())}
    joined |= {(b, a): place for (a, b), place in list(joined.items())}
    others, best = [one for one in range(6) if one not in (source, destination)], np.inf
    for count in range(len(others) + 1):
        for inner in permutations(others, count):
            steps = list(pairwise((source, *inner, destination)))
            if all(step in joined for step in steps):
                prices = [link[joined[step]] for step in steps]
                for pairs in product((1, 2) if doubles else (1,), repeat=len(steps)):
                    if pairs.count(1) <= max_single:
                        best = min(best, np.dot(pairs, prices) + sum(node[one] for one in inner))
    return best


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("doubles", [True, False])
def test_costs_and_paths_are_those_of_the_best_simple_path(seed, doubles):
    arcs, ends, link, node = draw(seed)
    source = np.array([0, 1])
    paths = BudgetedPaths(arcs, source, link_price=link, node_price=node, max_single=5, doubles=doubles)
    for row, destination, maximum in product((0, 1), range(2, 6), range(6)):
        expected = minimum(
            ends, link[row], node[row], int(source[row]), destination, maximum, doubles=doubles
        )
        found = paths.cost(np.array([row]), np.array([destination]), np.array([maximum]))[0]
        assert found <= expected + 1e-12
        assert found == pytest.approx(expected, abs=1e-7)
        if np.isfinite(expected):
            path = paths.path(row, destination, maximum)
            cost = np.dot(path.pairs, link[row][list(path.links)]) + node[row][list(path.inner)].sum()
            assert cost == pytest.approx(expected, abs=1e-7)
            assert path.pairs.count(1) <= maximum
            assert len(set(path.inner)) == len(path.inner) == len(path.links) - 1
