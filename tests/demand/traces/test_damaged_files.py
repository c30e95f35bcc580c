"""Whatever bytes a file holds, reading it gives a value that keeps its rules, or one sentence."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdpem.demand.traces.matrices.read import read_traffic_matrices
from qdpem.demand.traces.requests.read import read_requests
from qdpem.errors import QdpemError
from tests.helpers.trace_files import CSV, sndlib_xml

XML = sndlib_xml({("Ost", "Süd"): 1.5, ("Süd", "West"): 2}).encode()
EVENT = {"t": 0.5, "kind": "ent_requested", "src": "a", "dst": "b", "n": 1, "demand": {"min_fidelity": 0.9}}
TABLE = b"time_s,source,destination,target_fidelity,pairs,patience_s\n0.5,a,b,0.9,1,2.5\n1,b,c,,,\n"


def tarred(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("m.xml")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.xml", content)
    return buffer.getvalue()


WHOLE: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    "csv": (read_traffic_matrices, CSV.encode()),
    "csv.gz": (read_traffic_matrices, gzip.compress(CSV.encode())),
    "xml": (read_traffic_matrices, XML),
    "tgz": (read_traffic_matrices, tarred(XML)),
    "zip": (read_traffic_matrices, zipped(XML)),
    "table": (read_requests, TABLE),
    "jsonl": (read_requests, (json.dumps(EVENT) + "\n").encode() * 2),
}
PIECES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [b",", b"\n", b'"', b">", b"nan", b"-1", b"1e999", b"0x1", b"{}", b"null", b"[", b"<", b"&a;"]
    ),
)


@pytest.mark.parametrize("form", list(WHOLE))
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_gives_a_value_or_one_sentence(tmp_path: Path, form: str, data: st.DataObject) -> None:
    read, content = WHOLE[form]
    path = tmp_path / "file"
    path.write_bytes(content)
    read(path)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.one_of(st.integers(start, min(len(content), start + 6)), st.just(len(content))))
    path.write_bytes(content[:start] + data.draw(PIECES) + content[end:])
    # The values check their own rules; any other error is a crash.
    with contextlib.suppress(QdpemError):
        read(path)
