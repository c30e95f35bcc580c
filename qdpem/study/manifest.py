"""What the results in a directory are of, so that those of another study are kept and not written over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from pydantic import TypeAdapter

from qdpem.scenario.load import scenario_hash, scenario_text
from qdpem.scenario.schema import Arm, Scenario
from qdpem.study.plan import without_study
from qdpem.study.report.csv import write_text_file

MANIFEST = "study.json"
EARLIER = "earlier"
"""The directory that keeps results of other studies, one numbered directory each."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The study that results are of: its scenario, arms, seeds, and the cells of a sweep.

    `scenario`: its canonical text, with [study].
    """

    scenario_name: str
    scenario_hash: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[str, ...] = ()
    command: str = ""
    scenario: str = ""

    def covers(self, other: Manifest) -> bool:
        """Whether its results tell all that those of `other` tell: the same runs, or these and more."""
        return (
            self.scenario_hash == other.scenario_hash
            and set(self.arms) >= set(other.arms)
            and set(self.seeds) >= set(other.seeds)
            and set(self.cells) >= set(other.cells)
        )

    def __str__(self) -> str:
        names = ", ".join(json.loads(arm)["name"] for arm in self.arms)
        return f"{self.scenario_name}: {names}; seeds {', '.join(map(str, self.seeds))}"


def study_manifest(
    scenario: Scenario, arms: Sequence[Arm], *, command: str, cells: Iterable[str] = ()
) -> Manifest:
    """The manifest of a scenario's study, or of its sweep if there are `cells`."""
    return Manifest(
        scenario_name=scenario.name,
        scenario_hash=scenario_hash(without_study(scenario)),
        arms=tuple(json.dumps(asdict(arm), sort_keys=True) for arm in arms),
        seeds=tuple(scenario.study.seeds) if scenario.study else (),
        cells=tuple(cells),
        command=command,
        scenario=scenario_text(scenario),
    )


def begin_results(directory: Path, manifest: Manifest, *, files: Sequence[str]) -> str:
    """Make room for the `files` of a study; a sentence if those of another study were there, else "".

    Those move to `directory`/earlier/<number>, unless the new results tell all that they tell. Records stay
    where they are: a study with other seeds or other arms has records of its own.
    """
    path, note = directory / MANIFEST, ""
    before = read_manifest(directory)
    there = [name for name in files if (directory / name).exists()]
    if there and not (before is not None and manifest.covers(before)):
        place = _free_directory(directory / EARLIER)
        for name in [*there, *([MANIFEST] if path.exists() else [])]:
            (directory / name).replace(place / name)
        note = f"the results of an earlier study ({before or 'unknown'}) are kept in {place}"
    # First: results without a manifest would count as those of an unknown study.
    write_text_file(path, json.dumps(asdict(manifest), indent=2))
    return note


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest of the results in a directory; None if there is none that can be read."""
    try:
        values = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        return TypeAdapter(Manifest).validate_python(values)
    # A ValidationError is a ValueError.
    except (OSError, ValueError):
        return None


def _free_directory(parent: Path) -> Path:
    parent.mkdir(exist_ok=True)
    place = next(parent / str(number) for number in count(1) if not (parent / str(number)).exists())
    place.mkdir()
    return place
