"""The bytes of a journal: frames of named arrays, each with its length and checksums.

A journal begins with `MAGIC`. A frame is a head of 16 bytes (length of the payload, its CRC-32, and the
CRC-32 of these 12 bytes; little-endian) and a payload: the length of a JSON text (4 bytes), the text, and the
bytes of the arrays one after the other. The text gives the kind of the frame, its facts, and name, type and
shape of each array. A frame is only ever appended. What a kill cuts short is therefore the last frame and no
other.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"qdpem journal 1\n"
_HEAD = struct.Struct("<QI")
_CHECK = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame in a file: its arrays begin at byte `offset`, the next frame at `end`."""

    kind: str
    facts: Mapping[str, Any]
    layout: tuple[tuple[str, str, tuple[int, ...]], ...]
    offset: int
    end: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its arrays."""
        return tuple(name for name, _, _ in self.layout)

    def read(self, descriptor: int, name: str) -> NDArray[Any]:
        """The array `name`. Raises KeyError if there is none of this name, and OSError if it is cut off."""
        offset = self.offset
        for known, dtype, shape in self.layout:
            count = math.prod(shape)
            size = count * np.dtype(dtype).itemsize
            if known == name:
                data = os.pread(descriptor, size, offset)
                if len(data) < size:
                    raise OSError("the journal is cut off")
                return np.frombuffer(data, dtype=dtype).reshape(shape)
            offset += size
        raise KeyError(name)


def encode(kind: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of one frame; `facts` must be what JSON can hold."""
    layout = [(name, values.dtype.str, values.shape) for name, values in arrays.items()]
    text = json.dumps({"kind": kind, "facts": facts, "layout": layout}).encode()
    payload = b"".join(
        [
            _CHECK.pack(len(text)),
            text,
            *(np.ascontiguousarray(values).tobytes() for values in arrays.values()),
        ]
    )
    head = _HEAD.pack(len(payload), zlib.crc32(payload))
    return b"".join([head, _CHECK.pack(zlib.crc32(head)), payload])


def frames(descriptor: int) -> Iterator[Frame]:
    """Every whole frame of a file, in order, until its end or the first frame that is torn or damaged.

    Every frame is checked against its checksum, so what is read afterwards is what was written.
    """
    if os.pread(descriptor, len(MAGIC), 0) != MAGIC:
        return
    start = len(MAGIC)
    while (frame := _frame_at(descriptor, start)) is not None:
        yield frame
        start = frame.end


def is_cut_short(descriptor: int, *, start: int, size: int) -> bool:
    """Whether the bytes from `start` to `size`, where no whole frame begins, are what a kill leaves.

    That is nothing, or the first bytes of a frame. Anything else is damage: a whole head with a wrong
    checksum, or as many bytes of payload as the head says, but other ones. `start` is the end of the last
    whole frame, or 0 if there is none; `size` is that of the file before its frames were read.
    """
    if not start:
        begin = os.pread(descriptor, len(MAGIC), 0)
        if begin != MAGIC:
            return MAGIC.startswith(begin)
        start = len(MAGIC)
    head = os.pread(descriptor, _HEAD_BYTES, start)
    if min(len(head), size - start) < _HEAD_BYTES:
        return True
    length, _ = _HEAD.unpack(head[: _HEAD.size])
    return _is_sound(head) and size < start + _HEAD_BYTES + length


def _is_sound(head: bytes) -> bool:
    """Whether a head is whole: a length that is damaged must not be read as one."""
    return len(head) == _HEAD_BYTES and _CHECK.unpack(head[_HEAD.size :])[0] == zlib.crc32(head[: _HEAD.size])


def _frame_at(descriptor: int, start: int) -> Frame | None:
    head = os.pread(descriptor, _HEAD_BYTES, start)
    if not _is_sound(head):
        return None
    length, checksum = _HEAD.unpack(head[: _HEAD.size])
    payload = os.pread(descriptor, length, start + _HEAD_BYTES)
    if len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    (text_bytes,) = _CHECK.unpack(payload[: _CHECK.size])
    arrays_at = _CHECK.size + text_bytes
    text = json.loads(payload[_CHECK.size : arrays_at])
    return Frame(
        kind=text["kind"],
        facts=text["facts"],
        layout=tuple((name, dtype, tuple(shape)) for name, dtype, shape in text["layout"]),
        offset=start + _HEAD_BYTES + arrays_at,
        end=start + _HEAD_BYTES + length,
    )
