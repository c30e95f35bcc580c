"""Every option that a message advises exists in the commands that can print the message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import qdpem
from qdpem.cli.app import app

PACKAGE = Path(qdpem.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# The room or module -> the commands that can print its messages.
COMMANDS = {
    "policies/dpem/training": {"train"},
    "study/tuning": {"tune"},
    "study": {"study", "tune"},
    "records/audit": {"audit"},
    "scenario/size.py": {"run", "study", "tune", "bound", "demand", "train", "check"},
}
ELSEWHERE = {
    ("records/audit/audit.py", "--set"): "run",
    ("study/export/latex_file.py", "--table"): "export",
}
"""Messages that name an option of another command, and say of which."""
OTHERS = {"forecasting/pretrained.py", "provenance.py"}
"""A script of its own, with options of its own; a command line of git."""


def options() -> dict[str, set[str]]:
    group: Any = typer.main.get_command(app)
    return {
        name: {word for parameter in command.params for word in parameter.opts}
        for name, command in group.commands.items()
    }


def advised() -> Iterator[tuple[str, str]]:
    """The module and each option in its strings; docstrings are no messages."""
    for file in sorted(PACKAGE.rglob("*.py")):
        module = file.relative_to(PACKAGE).as_posix()
        if module in OTHERS:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                for option in OPTION.findall(node.value):
                    yield module, option


def commands_of(module: str) -> set[str]:
    """The commands that can print the messages of a module; empty for all."""
    if module.startswith("cli/commands/"):
        return {Path(module).stem} & set(options())
    return next((names for room, names in COMMANDS.items() if module.startswith(room)), set())


CASES = sorted(set(advised()))


@pytest.mark.parametrize(("module", "option"), CASES)
def test_an_option_in_a_message_exists(module, option) -> None:
    known = options()
    if (module, option) in ELSEWHERE:
        assert option in known[ELSEWHERE[module, option]]
        return
    for command in commands_of(module) or {"": ""}:
        wanted = known[command] if command else set().union(*known.values()) | {"--version", "--help"}
        # The report names two commands beside its own in "How to reproduce".
        if module.startswith("study/report"):
            wanted = set().union(*known.values())
        assert option in wanted, f"{module} advises {option}, which `qdpem {command}` has not"


def test_the_search_finds_what_it_is_for() -> None:
    assert ("scenario/size.py", "--oversize") in CASES
    assert any(module.startswith("policies/dpem/training") for module, _ in CASES)
