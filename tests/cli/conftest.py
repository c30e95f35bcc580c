"""A scenario file small enough to run in a test, and the command line to try it on."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.helpers.row import row_text


@pytest.fixture
def row_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`row.toml` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    path = tmp_path / "row.toml"
    text = row_text(description="Five nodes in a row", measured_s=3.0, seeds=(1000, 1001))
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def ask():
    """A function: run `qdpem` with these words; gives exit_code, stdout and stderr."""
    from qdpem.cli.app import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
