"""A scenario file small enough to run in a test, and the command line to try it on."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

ROW = """
name = "row"
description = "Five nodes in a row"

[topology]
kind = "line"
parameters = { nodes = 5, hop_km = 5.0 }

[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 6.0
hardware = { memory = { kind = "depolarising", depolarising_s = 10.0 } }

[demand]
rate_hz = 6.0

[[demand.classes]]
application = "teleportation"
share = 1.0
target_fidelity = 0.7
patience_s = 0.5

[forecasting]
history_s = 10.0

[window]
warm_up_s = 1.0
measured_s = 3.0

[study]
arms = [{ name = "central-fcfs" }, { name = "near", policy = "local-minhop" }]
seeds = [1000, 1001]
reference = "central-fcfs"
engine = "serial"
"""


@pytest.fixture
def row_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`row.toml` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    path = tmp_path / "row.toml"
    path.write_text(ROW, encoding="utf-8")
    return path


@pytest.fixture
def ask():
    """A function: run `qdpem` with these words; gives exit_code, stdout and stderr."""
    from qdpem.cli.app import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
