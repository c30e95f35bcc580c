"""`qdpem list presets`: all values with their sources, and fragments that a scenario takes as they are."""

from __future__ import annotations

from dataclasses import asdict

import pytest

import physics
from qdpem.scenario.load import load_scenario

BARE = "hardware = { memory ="
"""How the row's own node hardware begins, which a fragment replaces."""


def flat(table, prefix=""):
    for key, value in table.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


def pasted(row_file, fragment):
    """The row without its own hardware, and the fragment after it."""
    kept = [line for line in row_file.read_text().splitlines() if not line.startswith(BARE)]
    row_file.write_text("\n".join([*kept, "", fragment]), encoding="utf-8")
    return load_scenario(row_file)


@pytest.mark.parametrize("name", physics.preset_names())
def test_a_fragment_pasted_into_a_scenario_is_the_preset(name, ask, row_file) -> None:
    answer = ask("list", "presets", name)
    assert answer.exit_code == 0, answer.stderr
    scenario, preset = pasted(row_file, answer.stdout), physics.preset(name)
    for made, preset_part in ((scenario.nodes.hardware, preset.node), (scenario.links.hardware, preset.link)):
        assert type(made) is type(preset_part)
        meant = dict(flat(asdict(preset_part)))
        for key, value in flat(asdict(made)):
            assert value == (pytest.approx(meant[key], rel=1e-11) if isinstance(value, float) else meant[key])


def test_every_value_of_a_fragment_has_its_source(ask) -> None:
    for name in physics.preset_names():
        preset, text = physics.preset(name), ask("list", "presets", name).stdout
        for quoted in (*preset.node_values, *preset.link_values):
            key = quoted.name.rpartition(".")[2]
            lines = [line for line in text.splitlines() if line.startswith(f"{key} = ")]
            assert any(line.endswith(f"  # {quoted.origin}") for line in lines), (name, quoted)


def test_all_presets_are_told_value_by_value(ask) -> None:
    answer = ask("list", "presets")
    assert answer.exit_code == 0, answer.stderr
    lines, told = answer.stdout.splitlines(), " ".join(answer.stdout.split())
    assert max(map(len, lines)) <= 130
    for name in physics.preset_names():
        preset = physics.preset(name)
        assert f"{name}  {preset.description}" in lines
        for quoted in (*preset.node_values, *preset.link_values, *preset.results):
            # Long sources are told over several lines.
            assert f" {' '.join(quoted.origin.split())} " in told, (name, quoted)
            assert any(quoted.name in line for line in lines), (name, quoted)
    assert any("links.hardware.reset_time_s" in line and " 5.5e-06 s " in line for line in lines)
    assert "remembered: cited without reading the source again: look it up before relying on it" in lines


def test_the_short_list_names_presets_too(ask, row_file) -> None:
    assert "trapped-ion" in ask("list").stdout


def test_wrong_names_are_answered(ask) -> None:
    wrong = ask("list", "presets", "nv-center")
    assert wrong.exit_code == 2
    assert "no hardware preset is called 'nv-center'; did you mean 'nv-centre'?" in wrong.stderr
    odd = ask("list", "physics", "pauli")
    assert odd.exit_code == 2
    assert "only presets can be shown one by one; use `qdpem list physics` without 'pauli'" in odd.stderr
