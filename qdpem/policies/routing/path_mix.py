"""The mixes of paths that a flow was last solved to, and what they are saved as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.flow.commodities import DistillationOption
from qdpem.network.padded_rows import padded, unpadded


class PathMix(NamedTuple):
    """The ways of a class, from its lower node on, their least rounds, and each one's share of its demand."""

    ways: tuple[tuple[int, ...], ...]
    rounds: tuple[int, ...]
    fractions: NDArray[np.float64]


Key: TypeAlias = tuple[int, int, tuple[DistillationOption, ...], int]
"""A class: lower node, higher node, what serves it, and the pairs it asks for."""


def path_mixes_to_arrays(path_mixes: Mapping[Key, PathMix]) -> dict[str, NDArray[Any]]:
    """All mixes as arrays, with M classes, O options and W ways of all of them.

    `mix_class` int64 [M, 3] lower node, higher node, pairs; `mix_option` float64 [O, 3] class, most hops,
    pairs per link; `mix_way` int64 [W, H] nodes; `mix_way_of` int64 [W, 2] class, rounds; `mix_share` float64
    [W].
    """
    classes = [(low, high, pairs) for low, high, _, pairs in path_mixes]
    options = [(place, *option) for place, key in enumerate(path_mixes) for option in key[2]]
    ways = [way for mix in path_mixes.values() for way in mix.ways]
    ways_of = [(place, rounds) for place, mix in enumerate(path_mixes.values()) for rounds in mix.rounds]
    return {
        "mix_class": np.array(classes, dtype=np.int64).reshape(-1, 3),
        "mix_option": np.array(options, dtype=np.float64).reshape(-1, 3),
        "mix_way": padded(ways),
        "mix_way_of": np.array(ways_of, dtype=np.int64).reshape(-1, 2),
        "mix_share": np.concatenate([np.zeros(0), *(mix.fractions for mix in path_mixes.values())]),
    }


def path_mixes_of_arrays(state: Mapping[str, NDArray[Any]]) -> dict[Key, PathMix]:
    """What `path_mixes_to_arrays` saved."""
    options, of = state["mix_option"], state["mix_way_of"]
    ways = unpadded(state["mix_way"])
    path_mixes: dict[Key, PathMix] = {}
    for place, (low, high, pairs) in enumerate(state["mix_class"].tolist()):
        known = options[options[:, 0] == place, 1:].tolist()
        mine = np.flatnonzero(of[:, 0] == place)
        path_mixes[low, high, tuple(DistillationOption(int(hops), cost) for hops, cost in known), pairs] = (
            PathMix(
                tuple(ways[way] for way in mine.tolist()),
                tuple(of[mine, 1].tolist()),
                np.array(state["mix_share"][mine], dtype=np.float64),
            )
        )
    return path_mixes
