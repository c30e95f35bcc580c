"""Keyed random streams: every entity draws from its own stream, named after the entity.

A stream depends only on the root seed and its key, not on the order of calls or on other streams. Adding a
node or an arm therefore changes no other stream (common random numbers).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256


def stream(seed: int, key: str) -> np.random.Generator:
    """The random generator of the entity called `key` under root seed `seed`.

    >>> stream(1, "source/17").random() == stream(1, "source/17").random()
    True
    >>> stream(1, "source/17").random() == stream(1, "source/18").random()
    False
    """
    # The built-in hash differs from process to process; a digest does not.
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    # Little-endian on every machine.
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def position(generator: np.random.Generator) -> NDArray[np.uint64]:
    """The position of a stream, uint64 [6], for `move_to`.

    >>> ahead, behind = stream(1, "source/17"), stream(1, "source/17")
    >>> _ = ahead.random(5)
    >>> move_to(behind, position(ahead))
    >>> ahead.random() == behind.random()
    True
    """
    held: Any = generator.bit_generator.state
    # State and increment have 128 bits each.
    halves = [half for name in ("state", "inc") for half in divmod(held["state"][name], 1 << 64)]
    return np.array([*halves, held["has_uint32"], held["uinteger"]], dtype=np.uint64)


def move_to(generator: np.random.Generator, position: NDArray[np.uint64]) -> None:
    """Move a stream to a position that `position` returned for it or for another stream."""
    high, low, inc_high, inc_low, has_uint32, uinteger = position.tolist()
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": (high << 64) + low, "inc": (inc_high << 64) + inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


def pair_key(first: str, second: str) -> str:
    """The name of a pair of nodes in the key of a stream: both names, in alphabetical order.

    No two pairs have one key, whatever their names hold (`name_key`).

    >>> pair_key("b", "a"), pair_key("a/b", "c"), pair_key("a", "b/c")
    ('a/b', 'a~1b/c', 'a/b~1c')
    """
    return "/".join(map(name_key, sorted((first, second))))


def name_key(name: str) -> str:
    """A name without "/", for keys that join several names; escaped as in a JSON Pointer (RFC 6901).

    >>> name_key("Berlin"), name_key("a/b")
    ('Berlin', 'a~1b')
    """
    return name.replace("~", "~0").replace("/", "~1")


class UniformStream:
    """Uniforms on [0, 1) of one stream, drawn in blocks because one at a time is slow.

    The k-th call to `next` gives the k-th uniform of the stream, whatever else happens.
    """

    def __init__(self, seed: int, key: str) -> None:
        self._generator = stream(seed, key)
        self._block: list[float] = []

    def next(self) -> float:
        """The next uniform."""
        if not self._block:
            # Reversed, so that pop takes the uniforms in the order of the stream.
            self._block = self._generator.random(_BLOCK)[::-1].tolist()
        return self._block.pop()
