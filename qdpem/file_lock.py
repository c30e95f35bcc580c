"""Locks on files that the system frees when their holder ends, however it ends.

`flock` is used and not a file with a process id: a lock of a killed process is free at once, and two
processes that take it over cannot both succeed. On NFS, Linux turns it into a lock of the server, seen by all
hosts.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from qdpem.errors import QdpemError

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class HeldError(QdpemError):
    """A file that another process has locked."""


def open_locked(path: Path) -> int:
    """The descriptor of the file at `path`, created if missing and locked until it is closed.

    Raises HeldError when another process holds it, and OSError when it cannot be opened. Where the file
    system has no locks, only a file that is new counts as locked, because a file that is there may be held.
    """
    while True:
        descriptor, created = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS and created:
                return descriptor
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                raise HeldError(
                    f"{path} may be in use: its file system has no locks. If no process uses it, move it away"
                ) from error
            raise HeldError(f"{path} is in use by another process") from error
        # The holder before may have removed the file after it was opened here: then this lock is on a file
        # without a name, and another process may hold the one that has the name now.
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


@contextmanager
def held(directory: Path, *, file: str = "") -> Iterator[None]:
    """Hold a directory, created if missing, or only the `file` in it, for this process alone.

    The lock file, `.lock` or `.FILE.lock` in the directory, names its holder, so that whoever is refused can
    name it too. It is removed at the end, and with it each directory created here that is still empty. One
    that a killed process left is taken over. Raises HeldError when another process holds the place, and then
    nothing was changed.
    """
    place, path = directory / file, directory / (f".{file}.lock" if file else ".lock")
    created = _created(directory)
    try:
        descriptor = open_locked(path)
    except HeldError as error:
        raise HeldError(
            f"{place} is in use by another process{_holder(path)}; wait until it has ended, or choose another"
            " place with --out. Nothing was changed"
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_myself()).encode(), 0)
        yield
    finally:
        # While it is still locked: a process that opens it from now on finds another file or none.
        path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):
            # Only as far as nothing was written into them.
            for one in created:
                one.rmdir()


def _created(directory: Path) -> list[Path]:
    """Create a directory and those above it; the ones that were missing, innermost first."""
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def _open(path: Path) -> tuple[int, bool]:
    """A descriptor of the file at `path`, and whether this call has created it."""
    flags = os.O_RDWR | os.O_CLOEXEC
    while True:
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            pass
        try:
            return os.open(path, flags), False
        except FileNotFoundError:
            # Its holder has just removed it.
            continue


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _myself() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _holder(path: Path) -> str:
    """Words that name the holder of a lock file, "" if it has not written its name yet."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return f" (`{facts['command']}`, pid {facts['pid']} on {facts['host']}, since {facts['began']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
