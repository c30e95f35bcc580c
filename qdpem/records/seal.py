"""The seal of a finished file: a line behind its last byte, with the SHA-256 digest of all bytes before it.

HDF5 checks data sets but not everything around them: a flipped bit in its metadata can give other values, or
send the library round in circles. The seal covers every byte, and a reader checks it before HDF5 sees the
file. HDF5 ignores what stands behind the end of a file, so that every program reads a sealed file. One that
changes it cuts the seal off.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from qdpem.errors import RecordError

_MARK = b"\nqdpem seal sha256 "
_DIGITS = 64
SEAL_BYTES = len(_MARK) + _DIGITS + 1
"""The length of a seal."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BLOCK_BYTES = 1 << 20


def seal(path: Path) -> None:
    """Add the seal to a file that has none, and have the disk take all of it. Raises OSError."""
    with path.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha256")
        file.write(_MARK + digest.hexdigest().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def check_seal(path: Path) -> None:
    """Read the whole file and raise RecordError unless it is, byte for byte, what was sealed."""
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise RecordError(f"{path} is not an HDF5 file, so it is no record of qdpem")
        length = max(os.fstat(file.fileno()).st_size - SEAL_BYTES, 0)
        file.seek(length)
        mark = file.read(SEAL_BYTES)
        if not (mark.startswith(_MARK) and mark.endswith(b"\n")):
            raise RecordError(
                f"{path} is no whole record of qdpem: the seal at its end is missing. It is cut off,"
                " another program has changed it, or it is another HDF5 file. What is left of a record can be"
                " read with open_record(path, verify=False)"
            )
        file.seek(0)
        if _digest(file, length) != mark[len(_MARK) : -1]:
            raise RecordError(
                f"{path} is damaged: its bytes are not those that were written (their SHA-256 differs from"
                " that in its seal). Copy it again, or run it again"
            )


def _digest(file: object, length: int) -> bytes:
    digest, left = hashlib.sha256(), length
    while left and (block := file.read(min(left, _BLOCK_BYTES))):  # type: ignore[attr-defined]
        digest.update(block)
        left -= len(block)
    return digest.hexdigest().encode()
