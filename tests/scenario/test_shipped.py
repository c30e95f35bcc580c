"""Scenarios that ship with qdpem have names that mean the same in every directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdpem import load_scenario
from qdpem.errors import ScenarioError
from qdpem.scenario.load import scenario_hash
from qdpem.scenario.shipped import description_of, scenario_file, shipped_names

FOLDER = Path(__file__).parents[2] / "scenarios"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_file_of_the_folder_has_a_name_and_a_description():
    files = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.toml")}
    assert set(shipped_names()) == files
    assert all(description_of(name) for name in files)


@pytest.mark.parametrize("name", ["quickstart", "controls/stationary", "sweeps/foresight"])
def test_a_name_means_the_file_wherever_it_is_typed(name: str, elsewhere: Path):
    """Files based on others in folders above or beside them are found too."""
    assert scenario_hash(load_scenario(name)) == scenario_hash(load_scenario(FOLDER / f"{name}.toml"))


def test_a_name_hides_a_file_of_that_name_and_a_path_does_not(elsewhere: Path):
    for own in ("quickstart", "quickstart.toml"):
        (elsewhere / own).write_text('based_on = "chain"\nname = "mine"\n')
        assert load_scenario("quickstart").name == "quickstart"
        assert load_scenario(f"./{own}").name == "mine"
        assert load_scenario(Path(own)).name == "mine"
    assert load_scenario("quickstart.toml").name == "mine"


def test_a_scenario_can_be_based_on_a_shipped_one(elsewhere: Path):
    own = elsewhere / "own.toml"
    own.write_text('based_on = "sweeps/foresight"\nname = "own"\n[nodes]\nmemories = 3\n')
    found = load_scenario(own)
    assert (found.name, found.nodes.memories) == ("own", 3)
    assert found.study is not None
    assert found.study.sweep == load_scenario("sweeps/foresight").study.sweep


@pytest.mark.parametrize(
    ("word", "right"), [("quikstart", "'quickstart'"), ("foresight.toml", "'sweeps/foresight'")]
)
def test_a_word_that_is_nothing_gets_the_nearest_name(word: str, right: str, elsewhere: Path):
    with pytest.raises(ScenarioError, match=right) as caught:
        load_scenario(word)
    assert repr(word) in str(caught.value)


def test_every_other_word_is_a_path():
    assert scenario_file("row.toml", folder=Path("deep")) == Path("deep/row.toml")
    assert scenario_file(Path("quickstart")) == Path("quickstart")
