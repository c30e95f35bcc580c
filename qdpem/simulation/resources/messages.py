"""Messages between nodes: counted and sized when they are sent, once per hop they travel."""

from __future__ import annotations

from collections.abc import Callable

from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import MESSAGES
from qdpem.events.words import MessageKind

_HEADER = 24
"""Bytes of sender, receiver, kind and time."""

_BODY = {
    "request": 40,  # id, ends, target, pairs, deadline
    "reserve": 48,  # allocation id, ends, target, slack of fidelity, plan, expiry; the path follows
    "grant": 16,  # allocation id, hop
    "refuse": 16,  # allocation id, cause
    "release": 8,  # allocation id
    "herald": 24,  # pair id, claim id, time
    "correction": 24,  # pair ids, two bits
    "distillation": 24,  # pair ids, reading
    "stock": 24,  # pair id, order to lock or drop
    "report": 32,  # four numbers of status
    "outage": 16,  # what, whether it goes, time
}
_SIZE = {kind: _HEADER + body for kind, body in _BODY.items()}

_row = named_row(MESSAGES)


class MessageCounter:
    """Counts messages and bytes by kind; `flush` writes the counts since the last flush."""

    def __init__(self, append: Callable[[Row], None]) -> None:
        self._append = append
        self._count = {str(kind): 0 for kind in MessageKind}
        self._extra_bytes = {str(kind): 0 for kind in MessageKind}

    def send(self, kind: str, *, hops: int = 1, extra_bytes: int = 0) -> None:
        """Count one message of `kind` over `hops` links, `extra_bytes` longer than its kind."""
        self._count[kind] += hops
        if extra_bytes:
            self._extra_bytes[kind] += hops * extra_bytes

    def flush(self, time_s: float) -> None:
        """Write one row for each kind that was sent, and start to count anew."""
        for kind in MessageKind:
            count = self._count[kind]
            if count:
                self._append(
                    _row(
                        time_s=time_s,
                        kind=kind.code,
                        count=count,
                        bytes=count * _SIZE[kind] + self._extra_bytes[kind],
                    )
                )
                self._count[kind] = self._extra_bytes[kind] = 0
