"""Hardware presets: complete, quoted, usable, and near what their experiments reported."""

from __future__ import annotations

import math
import re
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest

import physics
from physics.hardware import (
    DepolarisingMemory,
    DoubleClickLink,
    Fibre,
    MidpointSourceLink,
    RelaxingMemory,
    SingleClickLink,
    SourceLink,
)
from physics.presets.sourced import STANDINGS, Preset, SourcedValue

NO_LOSS = Fibre(fixed_loss_db=0.0, loss_db_per_km=0.0)


@pytest.fixture(params=physics.preset_names())
def preset(request):
    return physics.preset(request.param)


def numbers_in(hardware):
    for field in fields(hardware):
        value = getattr(hardware, field.name)
        yield from numbers_in(value) if is_dataclass(value) else [(field.name, value)]


def test_the_five_platforms():
    kinds = {
        "nv-centre": (SingleClickLink, RelaxingMemory),
        "trapped-ion": (DoubleClickLink, RelaxingMemory),
        "neutral-atom": (DoubleClickLink, RelaxingMemory),
        "rare-earth": (MidpointSourceLink, RelaxingMemory),
        "projected": (SourceLink, DepolarisingMemory),
    }
    assert sorted(kinds) == physics.preset_names()
    for name, (link, memory) in kinds.items():
        made = physics.preset(name)
        assert made.name == name
        assert (type(made.link), type(made.node.memory)) == (link, memory)


def test_every_field_is_quoted_and_nothing_else(preset):
    for built, quotes in ((preset.node, preset.node_values), (preset.link, preset.link_values)):
        quoted = sorted((one.name.rpartition(".")[2], repr(one.value)) for one in quotes)
        assert quoted == sorted((name, repr(value)) for name, value in numbers_in(built))


def test_what_is_not_assumed_names_a_publication(preset):
    """Author, year and where, or a collection named as such."""
    for one in (*preset.node_values, *preset.link_values, *preset.results):
        assert one.standing in STANDINGS
        if one.standing in ("checked", "remembered"):
            assert re.search(r"\b(19|20)\d\d\b", one.source), one
        if one.source == "ideal":
            assert one.standing == "assumed"
            assert one.value in (0.0, 1.0, math.inf), one


def test_the_projected_one_is_all_assumed_and_says_so():
    projected = physics.preset("projected")
    assert "NOT demonstrated" in projected.description
    assert projected.results == ()
    own = [one for one in (*projected.node_values, *projected.link_values) if "fibre" not in one.name]
    assert {one.standing for one in own} == {"assumed"}


def test_it_makes_pairs_that_age_and_swap(preset, pauli):
    node, link = preset.node, pauli.link(preset.link, 1.0)
    fresh = pauli.fidelity(link.fresh)
    assert 0.5 < fresh < 1.0
    aged = pauli.age(link.fresh, node.memory, node.memory, 1e-3, (1.0, 1.0))
    assert 0.5 < pauli.fidelity(aged) < fresh
    swapped = pauli.swap(aged, aged, node, 0.0)
    assert swapped.success
    assert 0.25 < pauli.fidelity(swapped.state) < pauli.fidelity(aged)


def rate_hz(pauli, link, length_km):
    made = pauli.link(link, length_km)
    return made.modes * made.success_probability / made.attempt_period_s


def test_nv_centre_is_consistent_with_its_reported_rate(pauli):
    """Humphreys et al. 2018: about 6 pairs per second over 2 m at F = 0.81(2).

    The preset has no double excitation and no wrong charge states, so it must be above that fidelity,
    and below the 1 - alpha that single click cannot exceed.
    """
    link = physics.preset("nv-centre").link
    assert rate_hz(pauli, link, 0.002) == pytest.approx(6.0, rel=0.1)
    assert 0.81 < pauli.fidelity(pauli.link(link, 0.002).fresh) < 1.0 - link.bright_population


def test_trapped_ion_parameters_go_with_their_reports(pauli):
    """No validation: probability and period are Stephenson et al.'s own, visibility is from F = 0.960(1).

    What is tested is that the link puts them together as the papers did, 182 pairs per second, without fibre.
    """
    link = replace(physics.preset("trapped-ion").link, fibre=NO_LOSS)
    assert rate_hz(pauli, link, 0.0) == pytest.approx(182.0, rel=0.005)
    assert pauli.fidelity(pauli.link(link, 0.0).fresh) == pytest.approx(0.960, abs=1e-12)


@pytest.mark.parametrize(("name", "fidelity"), [("neutral-atom", 0.892), ("rare-earth", 0.804)])
def test_fresh_pairs_keep_the_fidelity_they_were_given(name, fidelity, pauli):
    """No validation: Zhang et al. 2022 over 400 m and Liu et al. 2021 went into the parameters."""
    assert pauli.fidelity(pauli.link(physics.preset(name).link, 0.4).fresh) == pytest.approx(
        fidelity, abs=1e-12
    )


def test_a_gate_has_the_published_fidelity():
    """A depolarised state keeps F = (3g+1)/4 when g is kept: 0.977 and 0.995 come back."""
    for name, published in (("trapped-ion", 0.977), ("neutral-atom", 0.995)):
        kept = physics.preset(name).node.gate_fidelity
        assert (3.0 * kept + 1.0) / 4.0 == pytest.approx(published, abs=1e-12)


def test_an_unknown_name_gets_the_nearest_right_one():
    with pytest.raises(LookupError, match=r"called 'nv-center'; did you mean 'nv-centre'\?"):
        physics.preset("nv-center")
    with pytest.raises(physics.UnknownPresetError, match="'zzz'; known: neutral-atom, nv-centre, projected"):
        physics.preset("zzz")


def test_units_come_with_the_names():
    units = {one.name: one.unit for one in physics.preset("nv-centre").link_values}
    assert units["fibre.loss_db_per_km"] == "dB/km"
    assert units["fibre.fixed_loss_db"] == "dB"
    assert units["detector.dark_count_rate_hz"] == "Hz"
    assert units["phase_deviation_rad"] == "rad"
    assert units["reset_time_s"] == "s"
    assert units["visibility"] == ""


def test_presets_cannot_be_changed(preset):
    with pytest.raises(FrozenInstanceError):
        preset.name = "mine"
    with pytest.raises(FrozenInstanceError):
        preset.node_values[0].value = 1.0


def test_a_preset_must_quote_every_field_once():
    good = physics.preset("projected")

    def made(node_values):
        return Preset(name="mine", description="", node_values=node_values, link_values=good.link_values)

    assert made(good.node_values).node == good.node
    missing = tuple(one for one in good.node_values if one.name != "gate_fidelity")
    with pytest.raises(ValueError, match="'mine' must give every field once; look at gate_fidelity"):
        made(missing)
    with pytest.raises(ValueError, match="look at readout_fidelity"):
        made((*good.node_values, SourcedValue("readout_fidelity", 0.9, "somebody 2020", "checked")))
    with pytest.raises(ValueError, match="standing is 'certain'; it must be one of checked, reported"):
        SourcedValue("gate_fidelity", 1.0, "somebody 2020", "certain")
    with pytest.raises(ValueError, match="source is ''; it must not be empty"):
        SourcedValue("gate_fidelity", 1.0, "", "checked")
    odd = (*missing, SourcedValue("memory.kind", "magic", "somebody 2020", "checked"))
    with pytest.raises(ValueError, match="kind is 'magic'; it must be one of depolarising, relaxing"):
        made(odd)
