"""Every code block of the docs runs or is checked; the few that cannot are marked and counted.

The blocks of a page share one namespace, as a reader pastes them one after the other. The tutorial runs in
test_tutorial.py and some pages in test_how_to.py, with what they print; the notebooks run when the docs are
built.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from qdpem.cli.app import app
from qdpem.registry import KINDS
from qdpem.scenario.json_schema import scenario_json_schema
from tests.test_how_to import PRINTING

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
FENCE = re.compile(
    r"^(?P<mark><!-- not run: .+ -->\n)?(?P<ticks>`{3,})(?P<kind>[^`\n]*)\n(?P<text>.*?)^(?P=ticks)$",
    re.MULTILINE | re.DOTALL,
)
KNOWN = {"python", "toml", "console", "sh", "text", "json"}
NOT_RUN = 0
"""Blocks that are marked as not run."""
PROGRAMS = {".", "make", "git", "pip", "python", "cat", "head", "export", "mkdir", "mv", "sbatch"}
"""Programs beside qdpem that a page may show."""


@dataclass(frozen=True)
class Block:
    page: Path
    kind: str
    text: str
    is_run: bool

    @property
    def name(self) -> str:
        return str(self.page.relative_to(ROOT))


def blocks_of(page: Path) -> Iterator[Block]:
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Block(page, found["kind"].strip(), found["text"], found["mark"] is None)


def blocks(*kinds: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page) if block.kind in kinds and block.is_run]


def pages_with(kind: str) -> list[Path]:
    in_tutorial = DOCS / "tutorial"
    pages = {block.page for block in blocks(kind)} - {ROOT / "README.md"}
    return sorted(page for page in pages if in_tutorial not in page.parents)


def test_every_block_says_what_it_is() -> None:
    kinds = {(block.name, block.kind) for page in PAGES for block in blocks_of(page)}
    assert not {(name, kind) for name, kind in kinds if kind not in KNOWN and not kind.startswith("{")}


def test_blocks_that_cannot_run_are_counted() -> None:
    assert sum(not block.is_run for page in PAGES for block in blocks_of(page)) == NOT_RUN


@pytest.fixture(scope="module")
def folder_with_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as after `make run`, with a short run in place of each record that a page opens."""
    folder = tmp_path_factory.mktemp("reader")
    for shared in ("scenarios", "examples"):
        (folder / shared).symlink_to(ROOT / shared)
    shorter = ["window.warm_up_s=1", "window.measured_s=4", "forecasting.history_s=20"]
    settings = [word for override in shorter for word in ("--set", override)]
    text = "\n".join(block.text for block in blocks("python"))
    first, *others = sorted(set(re.findall(r'"([\w./-]+\.h5)"', text)))
    scenario = str(ROOT / "scenarios/quickstart.toml")
    run = ["run", scenario, "--arm", "local-stock", "--out", str(folder / first), *settings]
    assert CliRunner().invoke(app, run).exit_code == 0
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / first, folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in pages_with("python") if page.parent.name != "how-to" or page.stem not in PRINTING],
    ids=lambda page: page.stem,
)
def test_python_runs(page: Path, folder_with_records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder_with_records)
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace: dict[str, Any] = {"__name__": page.stem}
    for block in blocks_of(page):
        if block.kind == "python" and block.is_run:
            exec(compile(block.text, block.name, "exec", dont_inherit=True), namespace)


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block: after "$ " on a console, on every line of a script."""
    lines = block.text.replace("\\\n", " ").splitlines()
    for line in lines if block.kind == "sh" else (line[2:] for line in lines if line.startswith("$ ")):
        words = shlex.split(line, comments=True)
        if words:
            yield words


@pytest.mark.parametrize("block", blocks("console", "sh"), ids=lambda block: block.name)
def test_commands_exist_with_their_options(block: Block) -> None:
    group: Any = typer.main.get_command(app)
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for program, *words in commands(block):
        if program == "qdpem":
            name, *arguments = words
            if name.startswith("-"):
                assert name in ("-h", "--help", "--version")
                continue
            arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
            # Raises click.UsageError for an unknown option and for a missing or wrong argument.
            group.commands[name].make_context(name, arguments)
            for path in (word for word in arguments if word.startswith("scenarios/")):
                assert (ROOT / path).exists(), path
        elif program == "make":
            assert words[0] in targets
        else:
            assert program in PROGRAMS, program


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(scenario_json_schema())


@pytest.mark.parametrize("page", sorted({block.page for block in blocks("toml")}), ids=lambda page: page.stem)
def test_toml_is_a_part_of_a_scenario_or_of_a_package(page: Path, validator: Any) -> None:
    tables = [tomllib.loads(block.text) for block in blocks_of(page) if block.kind == "toml" and block.is_run]
    packages = [values["project"] for values in tables if "project" in values]
    own = {name for each in packages for group in each["entry-points"].values() for name in group}
    assert all(group in KINDS.values() for each in packages for group in each["entry-points"])
    for values in tables:
        if "project" not in values:
            validator.validate({"based_on": "the rest"} | without_plugins(values, own))


def without_plugins(values: dict[str, Any], own: set[str]) -> dict[str, Any]:
    """A scenario without the plugins that only the page's own package would offer."""
    for arm in values.get("study", {}).get("arms", ()):
        for part in ("policy", "forecaster"):
            if arm.get(part) in own:
                del arm[part]
    return {key: value for key, value in values.items() if key != "physics" or value["model"] not in own}
