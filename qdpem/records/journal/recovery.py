"""Journals whose run was killed become records: when somebody reads them, or runs again.

States of a path, by the files that are there:

    record, no journal   no run is on. The record is the last finished one, or one that stopped in order.
    journal, locked      a run is on, or a recovery. Nobody else may write; readers read the journal in place.
    journal, free        its run was killed. Whoever comes next locks it and makes a record of it.

A journal is removed only when its record is on the disk under its name. A kill in between leaves both, which
the next recovery notices. A damaged journal, of which bytes are not in the record, is not removed but renamed
to RECORD.journal.damaged.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import h5py

from qdpem.errors import RecordError
from qdpem.file_lock import HeldError, open_locked
from qdpem.records.journal.contents import Contents, read_contents
from qdpem.records.journal.conversion import write_record
from qdpem.records.journal.frames import is_cut_short
from qdpem.records.journal.journal import journal_path
from qdpem.records.schema import PROVENANCE_GROUP
from qdpem.records.seal import check_seal


def recover(record: Path) -> bool:
    """Make a record of a journal that a killed run left at `record`; whether a journal is there afterwards.

    It stays where another process holds it. Raises OSError or RuntimeError when the record cannot be written,
    and RecordError when the journal is damaged at its beginning; then the journal stays as well.
    """
    path = journal_path(record)
    if not path.exists():
        return False
    try:
        descriptor = open_locked(path)
    except HeldError:
        return True
    try:
        # `open_locked` has made an empty file if the journal went away meanwhile.
        contents = read_contents(descriptor)
        if contents is not None:
            settle(contents, record)
        elif not is_cut_short(descriptor, start=0, size=os.fstat(descriptor).st_size):
            raise RecordError(
                f"{path} is damaged at its beginning, so the record in it cannot be read; copy it again,"
                " or move it away"
            )
        put_away_journal(path, damaged=contents is not None and contents.damaged)
    finally:
        os.close(descriptor)
    return False


def settle(contents: Contents, record: Path) -> Path:
    """Write the record of a locked journal, to `record` or beside it; returns where its rows are now.

    A finished run takes the place of what is there. One that stopped never does: its rows go to
    RECORD.unfinished, or to the first such name with a number that is free, so that nothing is lost. Without
    rows there is nothing to keep, unless the path has no record yet.
    """
    if contents.complete or not record.exists():
        write_record(contents, record)
    elif contents.rows and not _is_at(contents, record):
        place = _free_name(record, "unfinished")
        write_record(contents, place)
        return place
    return record


def put_away_journal(journal: Path, *, damaged: bool) -> None:
    """Remove a journal of which the record was made, or rename it: behind damage there may be whole rows."""
    if damaged:
        journal.rename(_free_name(journal, "damaged"))
    else:
        journal.unlink(missing_ok=True)


def _free_name(path: Path, ending: str) -> Path:
    names = (path.with_name(f"{path.name}.{ending}{number or ''}") for number in count())
    return next(name for name in names if not name.exists())


def _is_at(contents: Contents, record: Path) -> bool:
    """Whether `record` was made of this very journal, which a kill then kept from being removed."""
    try:
        check_seal(record)
        with h5py.File(record, "r") as file:
            attributes, provenance = dict(file.attrs), dict(file[PROVENANCE_GROUP].attrs)
    except (RecordError, OSError, KeyError):
        return False
    complete = attributes.pop("complete", None)
    return (complete, attributes, provenance) == (0, contents.attributes, contents.provenance)
