"""Keyed random streams: every entity draws from its own, named by what it is.

A stream depends on the root seed and its key alone, never on the order of calls or on which other
streams exist, so adding a node or an arm changes no other stream (common random numbers).
"""

from __future__ import annotations

import hashlib

import numpy as np

_BLOCK = 256


def stream(seed: int, key: str) -> np.random.Generator:
    """The random generator of the entity called `key` under root seed `seed`.

    >>> stream(1, "source/17").random() == stream(1, "source/17").random()
    True
    >>> stream(1, "source/17").random() == stream(1, "source/18").random()
    False
    """
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def pair_key(first: str, second: str) -> str:
    """What two nodes are called in the key of a stream: both names, in the order of the alphabet.

    >>> pair_key("b", "a")
    'a/b'
    """
    return "/".join(sorted((first, second)))


class Coins:
    """Uniforms on [0, 1) of one stream, drawn in blocks because one at a time is slow.

    The k-th call to `next` gives the k-th uniform of the stream, whatever else happens.
    """

    def __init__(self, seed: int, key: str) -> None:
        self._generator = stream(seed, key)
        self._block: list[float] = []

    def next(self) -> float:
        """The next uniform."""
        if not self._block:
            self._block = self._generator.random(_BLOCK)[::-1].tolist()
        return self._block.pop()
