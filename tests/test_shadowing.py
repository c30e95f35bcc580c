"""A folder or file of the user's with the name of one of our packages, or a package that is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from physics.plugins import entry_points
from qdpem.errors import QdpemError
from qdpem.registry import list_names


def run_script(folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text("import qdpem\nprint(qdpem.load_physics('pauli').name)\n")
    return subprocess.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ["physics/__init__.py", "physics.py"])
def test_another_physics_beside_the_script_is_named_in_one_sentence(tmp_path: Path, name: str) -> None:
    hiding = tmp_path / name
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text("G = 6.674e-11\n")
    answer = run_script(tmp_path)
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {tmp_path / 'physics'}")
    assert "rename" in last


@pytest.mark.parametrize("name", ["physics", "qdpem"])
def test_a_folder_of_files_beside_the_script_hides_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "results.csv").write_text("")
    answer = run_script(tmp_path)
    assert answer.stdout == "pauli\n", answer.stderr


def test_a_package_that_is_only_on_the_path_says_that_it_is_not_installed(monkeypatch) -> None:
    monkeypatch.setattr(entry_points, "installed", lambda group: {})
    with pytest.raises(QdpemError, match=r"no policy is registered at all.*qdpem.*install"):
        list_names("policy")
