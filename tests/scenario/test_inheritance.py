"""Scenarios on top of others, keys of every item, and grids: what comes of them, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdpem.errors import ScenarioError
from qdpem.scenario.load import load_scenario, parse_scenario, scenario_hash
from qdpem.scenario.sweep import sweep_cells

BASE = """
name = "base"
description = "the one below"
[topology]
kind = "line"
parameters = { nodes = 5, hop_km = 5.0 }
[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 6.0
hardware = { memory = { kind = "depolarising", depolarising_s = 10.0 } }
[demand]
rate_hz = 6.0
bursts = { regions = 2 }
[[demand.classes]]
application = "teleportation"
fraction = 0.5
target_fidelity = 0.7
patience_s = 0.5
[[demand.classes]]
application = "computing"
fraction = 0.5
target_fidelity = 0.8
patience_s = 0.5
[study]
arms = [{ name = "central-fcfs" }, { name = "local-minhop" }]
seeds = [1000, 1001]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE, encoding="utf-8")
    (tmp_path / "deep").mkdir()
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def fault(path: Path, *overrides: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, overrides)
    return "\n".join(map(str, caught.value.faults))


def test_a_file_says_only_what_is_different(folder) -> None:
    path = write(
        folder / "deep" / "own.toml",
        'based_on = "../base.toml"\nname = "own"\nwithout = ["demand.bursts", "demand.rate_hz"]\n'
        "[demand]\nload_factor = 0.5\n[topology]\nparameters = { nodes = 4 }\n[study]\nseeds = [1005]\n",
    )
    found, base = load_scenario(path), load_scenario(folder / "base.toml")
    assert (found.name, found.description) == ("own", "the one below")
    assert (found.demand.rate_hz, found.demand.load_factor, found.demand.bursts) == (None, 0.5, None)
    assert found.topology.parameters == {"nodes": 4, "hop_km": 5.0}
    assert found.study is not None
    assert (found.study.seeds, len(found.study.arms)) == ((1005,), 2)
    assert found.demand.classes == base.demand.classes
    assert load_scenario(path, ["topology.parameters.nodes=3"]).topology.parameters["nodes"] == 3


def test_what_is_based_on_another_is_the_same_as_what_says_all_itself(folder) -> None:
    path = write(folder / "own.toml", 'based_on = "base.toml"\n[demand]\nrate_hz = 7.0\n')
    whole = parse_scenario(BASE.replace("rate_hz = 6.0\nbursts", "rate_hz = 7.0\nbursts"))
    assert scenario_hash(load_scenario(path)) == scenario_hash(whole)


def test_bases_may_have_bases_but_no_circle(folder) -> None:
    write(folder / "middle.toml", 'based_on = "base.toml"\nname = "middle"\n[nodes]\nmemories = 4\n')
    top = write(folder / "deep" / "top.toml", 'based_on = "../middle.toml"\n[demand]\nrate_hz = 9.0\n')
    found = load_scenario(top)
    assert (found.name, found.nodes.memories, found.demand.rate_hz) == ("middle", 4, 9.0)
    write(folder / "base.toml", 'based_on = "deep/top.toml"\n' + BASE)
    assert "based_on: 'deep/top.toml' leads back to itself" in fault(top)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('based_on = "none.toml"\n', "there is no such file"),
        ("based_on = 3\n", "based_on: 3 is not allowed; should be a shipped scenario or a path"),
        ('without = ["demand"]\n', "without: has no meaning without based_on"),
        (
            'based_on = "base.toml"\nwithout = ["demand.load_factor"]\n',
            "without.0: 'demand.load_factor' is not a key",
        ),
        (
            'based_on = "base.toml"\nwithout = "demand"\n',
            "without: 'demand' is not allowed; should be a list",
        ),
        ('based_on = "base.toml"\nwithout = ["topology"]\n', "topology: is missing"),
    ],
)
def test_what_is_wrong_is_said(folder, text: str, words: str) -> None:
    assert words in fault(write(folder / "own.toml", text))


def test_text_has_no_file_to_be_seen_from() -> None:
    with pytest.raises(ScenarioError, match="based_on: is relative to a file"):
        parse_scenario('based_on = "base.toml"\n')


def test_a_star_is_every_item_of_a_list() -> None:
    found = parse_scenario(BASE, overrides=["demand.classes.*.patience_s=0.25"])
    assert [kind.patience_s for kind in found.demand.classes] == [0.25, 0.25]
    with pytest.raises(ScenarioError, match=r"nodes\.\*"):
        parse_scenario(BASE, overrides=["nodes.*=0.25"])


GRID = """
[study.sweep]
"nodes.hardware.memory.depolarising_s" = [1.0, 60]
"demand.classes.*.patience_s" = [0.3, 1.0, 2.0]
size = [
  { "topology.parameters.nodes" = 3, "topology.parameters.hop_km" = 8.0 },
  { label = "large", "topology.parameters.nodes" = 6, "topology.parameters.hop_km" = 4.0 },
]
"""


def test_a_grid_has_a_cell_for_each_combination_with_its_keys_set() -> None:
    scenario = parse_scenario(BASE + GRID)
    cells = sweep_cells(scenario)
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 3 * 2
    assert cells[0].name == "depolarising_s=1,patience_s=0.3,size=3"
    last = cells[-1]
    assert last.words == {"depolarising_s": "60", "patience_s": "2", "size": "large"}
    assert last.scenario.nodes.hardware.memory.depolarising_s == 60.0
    assert {kind.patience_s for kind in last.scenario.demand.classes} == {2.0}
    assert last.scenario.topology.parameters == {"nodes": 6, "hop_km": 4.0}
    assert last.scenario.name == "base, depolarising_s = 60, patience_s = 2, size = large"
    assert last.scenario.study is not None
    assert last.scenario.study.sweep == {}
    assert len({scenario_hash(cell.scenario) for cell in cells}) == len(cells)
    assert sweep_cells(parse_scenario(BASE)) == sweep_cells(last.scenario) == ()
    sets = [f"{key}={value!r}" for key, value in last.settings.items()]
    alone = parse_scenario(BASE, overrides=[*sets, f'name="{last.scenario.name}"'])
    assert scenario_hash(alone) == scenario_hash(last.scenario)


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ('"demand.rate_hz" = [1.0, -2.0]', "demand.rate_hz: -2.0 is not allowed"),
        ('"demand.rate_hz" = []', "study.sweep.demand.rate_hz: [] is not allowed"),
        ('"demand.rate_hz" = [1.0, 1.0]', "study.sweep.demand.rate_hz: has a value twice"),
        ("demand.rate_hz = [1.0, 2.0]", "its dotted key in quotes"),
        ("size = [25, 50]", "study.sweep.size.0: 25 is not allowed; should be a table of dotted keys"),
        ('"demand.rates_hz" = [1.0]', "demand.rates_hz: is not a known key"),
        ('"demand.classes.7.fraction" = [1.0]', "demand.classes: has 2 items; '7' is not one of 0 to 1"),
        ('"demand.classes.0.fraction" = [0.7]', "the fractions sum to 1.2"),
    ],
)
def test_a_wrong_grid_is_told_when_the_file_is_read(axis: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"{BASE}[study.sweep]\n{axis}\n")
    assert words in str(caught.value)
