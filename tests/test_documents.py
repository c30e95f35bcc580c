"""What the README and the examples show is run here."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_readme_example_prints_what_it_says(monkeypatch):
    """The first python block of the README runs, and prints the text block that follows it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", text, flags=re.DOTALL)
    assert found is not None
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(found[1], "README.md", "exec"), {"__name__": "readme"})
    assert printed.getvalue() == found[2]


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example_runs(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    assert "delivered" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "scenarios").glob("**/*.toml")))
def test_every_scenario_in_the_tree_loads(name):
    from qdpem.scenario.load import load_scenario

    assert load_scenario(ROOT / "scenarios" / name).study is not None


def test_the_chain_of_the_page_loads():
    """docs/chains.md: its scenario, once it has a name and a window."""
    from qdpem.scenario.load import parse_scenario

    found = re.search(
        r"```toml\n(.*?)```", (ROOT / "docs" / "chains.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert found is not None
    scenario = parse_scenario('name = "page"\n' + found[1])
    assert scenario.links.slotted
    assert scenario.demand.classes[0].standing == "pair"
