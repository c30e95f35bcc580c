"""Every example in the package's docstrings and in the pages on physics runs and prints what it says."""

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

MODULES = ["physics", *(found.name for found in pkgutil.walk_packages(physics.__path__, "physics."))]
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", ["background/physics.md"])
def test_the_page_prints_what_it_says(page):
    """A block's output stands in the text block after it, or behind a # in its last line."""
    namespace = {}
    blocks = re.findall(
        r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", (DOCS / page).read_text(), re.DOTALL
    )
    assert blocks
    for source, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, page, "exec"), namespace)
        wanted = shown or re.search(r"# (\S+)$", source, re.MULTILINE).group(1)
        assert printed.getvalue().strip() == wanted.strip()
