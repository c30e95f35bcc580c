"""A place is held by one process at a time, and is free as soon as its holder has ended, however it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qdpem.file_lock import HeldError, held

HOLDER = """
import sys, time
from pathlib import Path
from qdpem.file_lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_held_directory_is_refused_with_the_name_of_its_holder_and_freed_by_a_kill(tmp_path: Path) -> None:
    place = tmp_path / "a.b" / "deep"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = (place / ".lock").read_bytes()
        with pytest.raises(HeldError, match=rf"deep is in use by another process \(.*pid {holder.pid} on "):
            held(place).__enter__()
        assert (place / ".lock").read_bytes() == before
        # Another file in the directory may be held meanwhile.
        with held(place, file="one"):
            assert (place / ".one.lock").exists()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    # The file of the killed process is still there, and its lock is not.
    assert (place / ".lock").exists()
    with held(place):
        assert str(os.getpid()) in (place / ".lock").read_text()
    assert list(place.iterdir()) == []


def test_a_directory_that_was_made_to_be_held_goes_if_nothing_was_written(tmp_path: Path) -> None:
    with held(tmp_path / "empty" / "in" / "empty"):
        pass
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "used" / "below"):
        (tmp_path / "used" / "file").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["used", "file"]
    with held(tmp_path / "used"):
        (tmp_path / "used" / "file").unlink()
    # It was there before.
    assert [path.name for path in tmp_path.iterdir()] == ["used"]
