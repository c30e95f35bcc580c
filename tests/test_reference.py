"""docs/reference: its generated parts are those of the code, and nothing is left out."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import physics
from qdpem.events.tables import TABLES
from qdpem.metrics.definitions import METRICS
from qdpem.registry import list_names

DOCS = Path(__file__).parents[1] / "docs"
REFERENCE = DOCS / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def renewed() -> Callable[[], dict[Path, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        from generator.pages import renewed_pages
    return renewed_pages


@pytest.mark.slow
def test_generated_parts_are_fresh(renewed: Callable[[], dict[Path, str]]) -> None:
    stale = [path.name for path, text in renewed().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run `make docs`, which renews them"


def test_every_policy_has_one_card() -> None:
    carded = re.findall(r"<!-- generated: policies (.*?) -->", page("policies.md"))
    assert sorted(name for names in carded for name in names.split()) == list_names("policy")


def test_every_card_has_source_knowledge_and_work() -> None:
    for part in re.findall(r"<!-- generated: policies .*?<!-- end", page("policies.md"), re.DOTALL):
        assert re.findall(r"^- \*\*(\w+)\*\*: \S", part, re.MULTILINE) == ["Source", "Knows", "Work"]


@pytest.mark.parametrize(
    ("name", "kind"), [("forecasters.md", "forecaster"), ("physics-models.md", "physics")]
)
def test_every_forecaster_and_physics_model_has_a_card(name: str, kind: str) -> None:
    assert re.findall(r"^## `(.*)`$", page(name), re.MULTILINE) == list_names(kind)


def test_every_table_column_and_metric_has_a_row() -> None:
    text = page("records.md")
    for table in TABLES:
        section = text.split(f"### `/{table.name}`\n")[1].split("\n### ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(table.names)
    assert all(f"| `{metric.name}` |" in text for metric in METRICS)


@pytest.mark.parametrize("package", ["qdpem", "physics"])
def test_every_public_name_is_documented_once(package: str) -> None:
    pages = sorted((REFERENCE / "python").glob("*.md"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    documented = re.findall(rf"^\.\. autoapi\w+:: {package}\.(\w+)$", text, re.MULTILINE)
    public = set(importlib.import_module(package).__all__) - {"__version__"}
    # qdpem offers some names of physics too; they are documented there.
    elsewhere = set(physics.__all__) if package == "qdpem" else set()
    assert sorted(documented) == sorted(public - elsewhere)
