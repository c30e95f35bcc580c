"""The example of a physics plugin: installed as a package of its own, checked, run, recorded and audited."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from qdpem.records.reader import open_record

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "examples" / "physics-plugin"
QUICKSTART = ROOT / "scenarios" / "quickstart.toml"
CHANGED_LINE = 'physics = { model = "biased", parameters = { bias = 10.0 } }\n'
SHORT = ("--arm", "local-minhop", "--set", "window.warm_up_s=5", "--set", "window.measured_s=10")

SCRIPT = """
import json, sys
from typer.testing import CliRunner
from qdpem.cli.app import app
answers = [CliRunner().invoke(app, words) for words in json.loads(sys.argv[1])]
for answer in answers:
    assert answer.exit_code == 0, answer.output
print(json.dumps([answer.stdout for answer in answers]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as pip installs it, and its source beside, so that the tree stays clean."""
    work = tmp_path_factory.mktemp("plugin")
    shutil.copytree(
        PLUGIN, work / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    )
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--target", str(work / "site"))
    python("-m", "pip", "install", "-q", "--disable-pip-version-check", *options, str(work / "source"))
    return work


def python(*words: str, site: Path | None = None, cwd: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if site is not None:
        # The qdpem that this test reads the records with, which need not be the one that is installed.
        environment["PYTHONPATH"] = os.pathsep.join([str(site), str(ROOT)])
    answer = subprocess.run(
        [sys.executable, *words], env=environment, cwd=cwd, capture_output=True, text=True, timeout=250
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def qdpem(installed: Path, *commands: tuple[object, ...]) -> list[str]:
    """What each command prints, all in one process: most of a command's time is the start of Python."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    printed: list[str] = json.loads(python("-c", SCRIPT, words, site=installed / "site", cwd=installed))
    return printed


@pytest.fixture(scope="module")
def records(installed):
    """Records of the quickstart as it is, and with one line more that names the plugin's model."""
    lines = QUICKSTART.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [lines[0], CHANGED_LINE, *lines[1:]]
    differing = [line for line in difflib.ndiff(lines, changed) if not line.startswith("  ")]
    assert differing == [f"+ {CHANGED_LINE}"]
    scenario = installed / "biased.toml"
    scenario.write_text("".join(changed), encoding="utf-8")
    paths = installed / "quickstart.h5", installed / "biased.h5"
    pairs = zip((QUICKSTART, scenario), paths, strict=True)
    qdpem(installed, *(("run", file, *SHORT, "--out", path) for file, path in pairs))
    return tuple(map(open_record, paths))


def test_it_is_listed_and_keeps_every_law(installed):
    check = ("check", "physics", "biased")
    listing, *tables = qdpem(installed, ("list", "physics"), check, (*check, "--set", "bias=2.5"))
    assert {"biased", "biased-reference"} <= {line.split()[0] for line in listing.splitlines()}
    for table in tables:
        assert "BROKEN" not in table
        assert "equals its reference 'biased-reference'" in table


def test_its_own_tests_pass(installed):
    tests = installed / "source" / "tests"
    assert " passed" in python("-m", "pytest", str(tests), "-p", "no:cacheprovider", site=installed / "site")


def test_the_record_names_the_model_its_parameters_and_its_package(records):
    default, biased = records
    assert biased.complete
    with h5py.File(biased.path) as file:
        assert file.attrs["physics"] == "biased"
        assert json.loads(file.attrs["physics_parameters"]) == {"bias": 10.0}
    assert biased.provenance["physics_distribution"] == "qdpem-biased-memory 0.1.0"
    assert default.provenance["physics_distribution"].split()[0] == "qdpem"


def test_every_pair_is_better_off_than_with_unbiased_errors(records):
    """The same events; a fidelity is least when errors of the same rate are spread evenly."""
    default, biased = (record.tables["pairs"] for record in records)
    assert np.array_equal(default["pair"], biased["pair"])
    assert np.array_equal(default["born_s"], biased["born_s"])
    gained = biased["fidelity"] - default["fidelity"]
    assert len(gained) > 1000
    assert gained.min() > 0.0
    assert gained.max() > 1e-3
    delivered = [record.metrics["delivered_fidelity"] for record in records]
    assert delivered[1] > delivered[0]


def test_the_record_is_audited_against_the_reference_it_names(installed, records):
    command = ("-c", "from qdpem.cli.app import main; main()", "audit", str(records[1].path))
    told = python(*command, site=installed / "site", cwd=installed)
    assert "replayed under 'biased-reference'" in " ".join(told.split())
    assert "no difference is larger" in told
