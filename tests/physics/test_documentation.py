"""Every example in the package's docstrings and in docs/physics.md runs and prints what it says."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import physics

MODULES = ["physics", *(f"physics.{found.name}" for found in pkgutil.iter_modules(physics.__path__))]
PAGE = Path(__file__).parents[2] / "docs" / "physics.md"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_page_prints_what_it_says():
    source = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, str(PAGE), "exec"), {})
    assert printed.getvalue().strip() == re.search(r"# (\S+)$", source, re.MULTILINE).group(1)
