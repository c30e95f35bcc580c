"""The head-word of every public name stands in docs/reference/glossary.md, or among its plain words.

The head-word of a name is its noun: the last word of a class, a key, a column or a constant; of a function,
the last word once the unit is cut off. A name that needs a word the glossary lacks fails here: give the name
the field's term, or define the word.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import physics
import qdpem
from qdpem.events.tables import TABLES
from qdpem.metrics.definitions import METRICS
from qdpem.registry import list_names, load
from qdpem.scenario.schema import Scenario

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")

# Cut off the end of a name before its head-word is read: units, and what only places a value.
UNITS = frozenset({"s", "s2", "hz", "km", "db", "rad"})
# A noun stands before these: `flow_bound_of_seed` is a bound, `refusals_per_request` are refusals.
PREPOSITIONS = frozenset(
    {"of", "with", "without", "by", "per", "from", "to", "in", "at", "on", "over", "under", "after", "before"}
    | {"between", "within", "against", "along", "if"}
)


@cache
def known_words() -> frozenset[str]:
    """Every word of a term in the glossary's tables, and every plain word, in the singular."""
    terms = re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE, flags=re.MULTILINE)
    plain = PAGE.split("## Plain words", 1)[1]
    words = re.findall(r"[a-z0-9]+", " ".join([*terms, plain]).lower())
    return frozenset(singular(word) for word in words)


def singular(word: str) -> str:
    """The word without a plural ending.

    >>> [singular(word) for word in ("pairs", "fidelities", "loss", "matches", "bus")]
    ['pair', 'fidelity', 'loss', 'match', 'bus']
    """
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is", "as")):
        return word[:-1]
    return word


def head_word(name: str) -> str:
    """The noun of a name in CamelCase, snake_case or kebab-case, in the singular.

    >>> [head_word(name) for name in ("PendingRequest", "useful_life_s", "link_fidelities", "bound_of_seed")]
    ['request', 'life', 'fidelity', 'bound']
    """
    parts = [part for part in re.split(r"[_\-.]", name) if part]
    words = [word for part in parts for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", part)]
    words = [word.lower() for word in words]
    cuts = [place for place, word in enumerate(words) if word in PREPOSITIONS and place > 0]
    words = words[: cuts[0]] if cuts else words
    # An adverb says how: `aggregate_privately` is to aggregate.
    while len(words) > 1 and words[-1].endswith("ly") and words[-1] not in ("family", "supply"):
        words.pop()
    while len(words) > 1 and words[-1] in UNITS:
        words.pop()
    return singular(words[-1])


def scenario_keys(kind: type = Scenario, seen: frozenset[type] = frozenset()) -> Iterator[str]:
    """The names of all keys a scenario file may have."""
    if kind in seen or not dataclasses.is_dataclass(kind):
        return
    hints = inspect.get_annotations(kind, eval_str=True)
    for item in dataclasses.fields(kind):
        yield item.name
        for part in parts_of(hints.get(item.name, item.type)):
            yield from scenario_keys(part, seen | {kind})


def parts_of(hint: object) -> Iterator[type]:
    """The classes inside a type hint."""
    if isinstance(hint, type):
        yield hint
    for argument in getattr(hint, "__args__", ()):
        yield from parts_of(argument)


def policy_parameters() -> Iterator[str]:
    """The names of all parameters of registered policies and forecasters."""
    for kind in ("policy", "forecaster"):
        for name in list_names(kind):
            yield from (item.name for item in dataclasses.fields(load(kind, name).Parameters))


def public_definitions() -> Iterator[str]:
    """Public classes and functions of every module of both packages."""
    for package in ("qdpem", "physics"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                    yield node.name


def tables_columns_metrics() -> Iterator[str]:
    """What a record holds."""
    for table in TABLES:
        yield table.name
        yield from table.names
    yield from (metric.name for metric in METRICS)


SOURCES = {
    "the public face": lambda: [*qdpem.__all__, *physics.__all__],
    "definitions": public_definitions,
    "scenario keys": scenario_keys,
    "parameters": policy_parameters,
    "records": tables_columns_metrics,
}


@pytest.mark.parametrize("source", list(SOURCES))
def test_the_head_word_of_every_public_name_is_defined(source: str) -> None:
    names = sorted(set(SOURCES[source]()))
    assert names
    missing = {name: head_word(name) for name in names if head_word(name) not in known_words()}
    assert not missing, f"{len(missing)} names of {source} end in words docs/reference/glossary.md lacks"


def test_a_word_nobody_defined_is_noticed() -> None:
    assert head_word("best_hope") not in known_words()
    assert head_word("Stockroom") not in known_words()


def test_every_term_has_a_definition_and_a_source() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.*) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| \*\*", PAGE, flags=re.MULTILINE)) > 100
    assert all(len(definition) > 15 and source for _, definition, source in rows)
    terms = [term for term, _, _ in rows]
    assert len(terms) == len(set(terms))
