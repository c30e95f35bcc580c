"""Links that cannot be: every wrong value is named with what is allowed, and no link can never succeed."""

from __future__ import annotations

import math
import re

import pytest

from physics.hardware import (
    Detector,
    DirectLink,
    DoubleClickLink,
    Fibre,
    MidpointSourceLink,
    SingleClickLink,
    SourceLink,
)
from physics.links import elementary, heralding

PROBABILITY, TIME, MODES = "between 0 and 1", "0 or more, and finite", "a whole number of 1 or more"
CHANCE, PERIOD, NUMBER = "above 0 and at most 1", "above 0, and finite", "a number"
FIDELITY, WEIGHTS = "in [1/4, 1]", "four numbers of 0 or more that sum to 1"
NEEDED = {
    DirectLink: {"success_probability": 0.5, "attempt_period_s": 1e-3},
    SingleClickLink: {"bright_population": 0.1},
}
STATION_FIELDS = [
    ("emission_efficiency", -0.1, PROBABILITY),
    ("visibility", 1.1, PROBABILITY),
    ("station_position", math.nan, PROBABILITY),
    ("reset_time_s", -1e-6, TIME),
    ("modes", 0, MODES),
    ("visibility", "1", NUMBER),
    ("fibre", Detector(), "a Fibre"),
    ("detector", None, "a Detector"),
]
WRONG = [
    (SourceLink, "efficiency", 0.0, "above 0 and at most 1"),
    (SourceLink, "efficiency", 1.5, "above 0 and at most 1"),
    (SourceLink, "fresh_fidelity", 0.2, FIDELITY),
    (SourceLink, "reset_time_s", math.inf, TIME),
    (SourceLink, "modes", 1.5, MODES),
    (SourceLink, "modes", True, MODES),
    (SourceLink, "modes", "2", MODES),
    (SourceLink, "efficiency", True, NUMBER),
    (SourceLink, "fibre", "x", "a Fibre"),
    (MidpointSourceLink, "fibre", None, "a Fibre"),
    (MidpointSourceLink, "pair_probability", 1.1, CHANCE),
    (MidpointSourceLink, "pair_probability", 0.0, CHANCE),
    (MidpointSourceLink, "absorption_efficiency", -0.1, PROBABILITY),
    (MidpointSourceLink, "fresh_fidelity", math.nan, FIDELITY),
    (MidpointSourceLink, "reset_time_s", -1.0, TIME),
    (MidpointSourceLink, "modes", 0, MODES),
    *((DoubleClickLink, *wrong) for wrong in STATION_FIELDS),
    *((DoubleClickLink, "rounds", rounds, "1 or 2") for rounds in (0, 3, 1.0, True, None)),
    *((SingleClickLink, *wrong) for wrong in STATION_FIELDS),
    (SingleClickLink, "bright_population", 0.0, "above 0 and below 1"),
    (SingleClickLink, "bright_population", 1.0, "above 0 and below 1"),
    (SingleClickLink, "phase_deviation_rad", -0.1, TIME),
    (DirectLink, "success_probability", 1.01, CHANCE),
    (DirectLink, "success_probability", 0.0, CHANCE),
    *((DirectLink, "attempt_period_s", period_s, PERIOD) for period_s in (0.0, -1.0, math.inf, math.nan)),
    *((DirectLink, "fresh_weights", weights, WEIGHTS) for weights in ((0.5, 0.5), None, 1.0)),
    (DirectLink, "fresh_weights", (0.5, 0.6, -0.1, 0.0), WEIGHTS),
    (DirectLink, "modes", -1, MODES),
    (Fibre, "fixed_loss_db", -0.1, TIME),
    (Fibre, "loss_db_per_km", math.nan, TIME),
    (Detector, "efficiency", 1.1, PROBABILITY),
    (Detector, "dark_count_rate_hz", -1.0, TIME),
    (Detector, "window_s", math.inf, TIME),
]


@pytest.mark.parametrize(("kind", "name", "value", "allowed"), WRONG)
def test_wrong_hardware_is_named(kind, name, value, allowed):
    message = re.escape(f"{name} is {value!r}; it must be {allowed}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(**{**NEEDED.get(kind, {}), name: value})


def test_direct_link_below_a_quarter_is_named():
    message = r"^fresh_weights\[0\] is 0\.2; it must be a fidelity in \[1/4, 1\]$"
    with pytest.raises(ValueError, match=message):
        DirectLink(success_probability=0.5, attempt_period_s=1e-3, fresh_weights=(0.2, 0.8, 0.0, 0.0))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *((name, 1.1, PROBABILITY) for name in ("first_efficiency", "second_efficiency", "visibility")),
        ("dark_probability", math.nan, PROBABILITY),
        ("bright_population", -1.0, PROBABILITY),
        ("phase_deviation_rad", -0.5, TIME),
    ],
)
def test_wrong_clicks_are_named(name, value, allowed):
    station = {"first_efficiency": 0.5, "second_efficiency": 0.5, "dark_probability": 0.0, "visibility": 1.0}
    single = {**station, "bright_population": 0.1, "phase_deviation_rad": 0.0}
    message = f"^{name} is {value!r}; it must be {allowed}$"
    with pytest.raises(ValueError, match=message):
        heralding.single_click(number_resolving=True, **{**single, name: value})
    if name in station:
        with pytest.raises(ValueError, match=message):
            heralding.double_click(number_resolving=True, **{**station, name: value})


@pytest.mark.parametrize(
    "kind", [DirectLink, SourceLink, MidpointSourceLink, DoubleClickLink, SingleClickLink]
)
@pytest.mark.parametrize("length_km", [-1.0, math.nan, math.inf])
def test_wrong_lengths_are_named(model, kind, length_km):
    with pytest.raises(ValueError, match=f"^length_km is {length_km!r}; it must be {TIME}$"):
        model.link(kind(**NEEDED.get(kind, {})), length_km)


@pytest.mark.parametrize("name", ["length_km", "loss_db_per_km", "fixed_loss_db"])
def test_negative_losses_are_named(name):
    given_values = {"length_km": 1.0, "loss_db_per_km": 0.2, "fixed_loss_db": 0.0, name: -1.0}
    with pytest.raises(ValueError, match=f"^{name} is -1.0; it must be 0 or more$"):
        elementary.transmissivity(**given_values)


@pytest.mark.parametrize(
    "hardware",
    [
        DoubleClickLink(detector=Detector(efficiency=0.0)),
        DoubleClickLink(detector=Detector(dark_count_rate_hz=1e9, window_s=1.0)),
        SingleClickLink(bright_population=0.1, emission_efficiency=0.0),
        MidpointSourceLink(absorption_efficiency=0.0),
    ],
    ids=lambda hardware: hardware.kind,
)
def test_a_link_that_can_never_succeed_is_refused(hardware):
    with pytest.raises(ValueError, match=r"probability of a .* is 0\.0; it must be above 0"):
        elementary.compile_link(hardware, 20.0)
