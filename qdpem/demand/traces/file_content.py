"""Files as text: unpacked and decoded, with a sentence for each way in which they can be broken."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from qdpem.errors import QdpemError

GZIP_MAGIC = b"\x1f\x8b"
_MAX_SHOWN = 40


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is a gzip file, whatever its name.

    Raises QdpemError for a file that is missing, empty, cut short or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise QdpemError(f"{path} cannot be read: {error.strerror or error}") from error
    return unpacked_bytes(content, str(path))


def unpacked_bytes(content: bytes, name: str) -> bytes:
    """`content`, unpacked if it is gzip; raises QdpemError if it is empty, cut short or damaged."""
    if content.startswith(GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except EOFError as error:
            raise QdpemError(
                f"{name} is cut short: its gzip stream has no end; download or copy it again"
            ) from error
        except (OSError, zlib.error) as error:
            raise QdpemError(f"{name} is damaged: {error}; download or copy it again") from error
    if not content.strip():
        raise QdpemError(f"{name} is empty; should hold traffic or requests")
    return content


def decoded_text(content: bytes, name: str) -> str:
    """UTF-8 text without a byte-order mark. Raises QdpemError with the row of the first other byte."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise QdpemError(
            f"{name}, row {row} holds the byte {content[error.start]:#04x}; should be UTF-8 text"
        ) from error


def shown_value(value: object) -> str:
    """A value as sentences quote it, cut after 40 characters."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} ..."
