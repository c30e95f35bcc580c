"""The mixes of paths that the last flow was solved to, and their form in a saved state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.flow.commodities import DistillationOption
from qdpem.network.padded_rows import padded, unpadded


class PathMix(NamedTuple):
    """Paths of a commodity from its lower node, their fewest rounds, and the fraction of demand of each."""

    paths: tuple[tuple[int, ...], ...]
    rounds: tuple[int, ...]
    fractions: NDArray[np.float64]


CommodityKey: TypeAlias = tuple[int, int, tuple[DistillationOption, ...], int]
"""A commodity: lower node, higher node, the options that serve it, and pairs for each request."""


def path_mixes_to_arrays(path_mixes: Mapping[CommodityKey, PathMix]) -> dict[str, NDArray[Any]]:
    """All mixes as arrays, with M commodities, and O options and P paths of all of them together.

    `mix_commodity` int64 [M, 3]: lower node, higher node, pairs. `mix_option` float64 [O, 3]: commodity, most
    hops, pairs per link. `mix_path` int64 [P, H]: nodes. `mix_path_of` int64 [P, 2]: commodity, rounds.
    `mix_fraction` float64 [P].
    """
    commodities = [(low, high, pairs) for low, high, _, pairs in path_mixes]
    options = [(index, *option) for index, key in enumerate(path_mixes) for option in key[2]]
    paths = [path for mix in path_mixes.values() for path in mix.paths]
    path_of = [(index, rounds) for index, mix in enumerate(path_mixes.values()) for rounds in mix.rounds]
    return {
        "mix_commodity": np.array(commodities, dtype=np.int64).reshape(-1, 3),
        "mix_option": np.array(options, dtype=np.float64).reshape(-1, 3),
        "mix_path": padded(paths),
        "mix_path_of": np.array(path_of, dtype=np.int64).reshape(-1, 2),
        # The empty array lets `concatenate` accept a state without mixes.
        "mix_fraction": np.concatenate([np.zeros(0), *(mix.fractions for mix in path_mixes.values())]),
    }


def path_mixes_of_arrays(state: Mapping[str, NDArray[Any]]) -> dict[CommodityKey, PathMix]:
    """The inverse of `path_mixes_to_arrays`."""
    option_rows, path_of = state["mix_option"], state["mix_path_of"]
    paths = unpadded(state["mix_path"])
    path_mixes: dict[CommodityKey, PathMix] = {}
    for index, (low, high, pairs) in enumerate(state["mix_commodity"].tolist()):
        rows = option_rows[option_rows[:, 0] == index, 1:].tolist()
        options = tuple(DistillationOption(int(hops), cost) for hops, cost in rows)
        own = np.flatnonzero(path_of[:, 0] == index)
        path_mixes[low, high, options, pairs] = PathMix(
            tuple(paths[path] for path in own.tolist()),
            tuple(path_of[own, 1].tolist()),
            np.array(state["mix_fraction"][own], dtype=np.float64),
        )
    return path_mixes
