"""Pages with generated parts.

A part stands between two comments, `<!-- generated: KIND NAMES -->` and `<!-- end of generated -->`. The text
around it is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from generator.commands import command_reference
from generator.plugins import forecaster_cards, physics_cards, policy_card, stock_parameters
from generator.records import metric_table, record_tables
from generator.scenario import scenario_keys
from generator.wrapping import wrap

REFERENCE = Path(__file__).parents[1] / "reference"
PART = re.compile(
    r"(<!-- generated: (?P<kind>[\w-]+)(?P<names>.*?) -->\n).*?(<!-- end of generated -->)", re.DOTALL
)

KINDS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "scenario-keys": scenario_keys,
        "record-tables": record_tables,
        "metrics": metric_table,
        "policies": policy_card,
        "stock-parameters": stock_parameters,
        "forecasters": forecaster_cards,
        "physics-models": physics_cards,
        "commands": command_reference,
    }
)


def renewed_pages() -> dict[Path, str]:
    """The text of every page with generated parts, as it should be."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(REFERENCE.rglob("*.md"))}
    return {path: PART.sub(_renewed, text) for path, text in texts.items() if PART.search(text)}


def _renewed(part: re.Match[str]) -> str:
    generated = wrap(KINDS[part["kind"]](*part["names"].split()).strip())
    return f"{part[1]}\n{generated}\n\n{part[4]}"
