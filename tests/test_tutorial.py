"""The tutorial: its pieces make its files, its commands print what it shows, and its Python runs."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial"
PAGES = ("one-run", "own-scenario", "own-question", "figure")
BLOCK = re.compile(r"```(console|python)\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
WALL_TIMES = re.compile(r"(?<=wall time )[\d.]+|(?<=runs, )[\d.]+(?= s)|(?<=distillations, )[\d.]+(?= s)")


def page(name: str) -> str:
    return (TUTORIAL / f"{name}.md").read_text(encoding="utf-8")


def without_wall_times(text: str) -> str:
    """The words of a text without its line breaks and without what differs between two computers."""
    return WALL_TIMES.sub("", " ".join(text.split()))


def commands(block: str) -> Iterator[tuple[list[str], str]]:
    """The commands of a console block, each with what the page says that it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield shlex.split(command), printed


def test_pieces_of_the_pages_are_the_files_of_the_tutorial():
    pieces = re.findall(r"```toml\n(.*?)```", page("own-scenario") + page("own-question"), re.DOTALL)
    *first, second = pieces
    assert "\n".join(first) == (TUTORIAL / "coherence.toml").read_text(encoding="utf-8")
    assert second == (TUTORIAL / "coherence-sweep.toml").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_block_prints_what_the_page_shows(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from qdpem.cli.app import app

    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    monkeypatch.chdir(tmp_path)
    pieces = re.findall(r"```toml\n(.*?)```", page("own-scenario"), re.DOTALL)
    Path("coherence.toml").write_text("\n".join(pieces), encoding="utf-8")
    runner = CliRunner(env={"COLUMNS": "100"})
    for name in PAGES:
        if name == "own-question":  # Now both files are complete.
            for file in TUTORIAL.glob("*.toml"):
                Path(file.name).write_bytes(file.read_bytes())
        namespace: dict[str, object] = {"__name__": name}
        for kind, block, shown in BLOCK.findall(page(name)):
            if kind == "python":
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile(block, name, "exec", dont_inherit=True), namespace)
                assert printed.getvalue().split() == shown.split(), f"{name}: {block}"
                continue
            for (program, *words), shown_here in commands(block):
                assert program == "qdpem"
                # In this process, so that nothing is started twice.
                serial = ["--set", "study.engine=serial"] if words[0] == "study" else []
                result = runner.invoke(app, [*words, *serial])
                # A reader sees errors, but no progress: that is on stderr and depends on the machine.
                printed_here = result.output if result.exit_code else result.stdout
                assert without_wall_times(printed_here) == without_wall_times(shown_here), f"{name}: {words}"
    assert Path("coherence.pdf").stat().st_size > 1000
