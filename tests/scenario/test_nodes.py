"""Readings of repeaters and memories: what excludes what, and how to override one by the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdpem.errors import ScenarioError
from qdpem.network.build import build_network, build_physics
from qdpem.scenario.load import parse_scenario, scenario_from_text, scenario_text

TEXT = """
name = "readings"
[topology]
kind = "grid"
parameters = { rows = 2, columns = 3, hop_km = 10.0 }
[nodes]
repeater_rate_hz = { low = 1.0, high = 500.0 }
memories = 4
[nodes.hardware]
memory = { kind = "depolarising", depolarising_s = 1.0 }
[links.hardware]
kind = "direct"
success_probability = 0.5
attempt_period_s = 1e-3
[demand]
rate_hz = 1.0
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.6
patience_s = 1.0
"""
OWN = ("nodes.memories=", "nodes.memories_per_link=3")
SERVER = "nodes.repeater_kind=server"


def memories_of(*overrides: str) -> list[int]:
    scenario = parse_scenario(TEXT, overrides=overrides)
    counts: list[int] = build_network(scenario, build_physics(scenario), seed=1).memories.tolist()
    return counts


def test_memories_are_shared_unless_each_link_has_its_own() -> None:
    assert memories_of() == [4] * 6
    assert memories_of("nodes.memories=") == [16] * 6
    # Corners of a grid of 2 x 3 have two links, the middle of either row three.
    assert memories_of(*OWN) == [6, 9, 6, 6, 9, 6]


@pytest.mark.parametrize("overrides", [(), OWN, (SERVER,)], ids=["as it is", "own qubits", "server"])
def test_a_scenario_is_read_back_from_its_text(overrides: tuple[str, ...]) -> None:
    scenario = parse_scenario(TEXT, overrides=overrides)
    assert scenario_from_text(scenario_text(scenario)) == scenario
    assert replace(scenario.nodes, swap_time_s=0.0).memories == scenario.nodes.memories


@pytest.mark.parametrize(
    ("overrides", "key", "sentence"),
    [
        (["nodes.memories_per_link=3"], "nodes.memories_per_link", "= 3 excludes memories = 4"),
        (["demand.rate_hz=3", "demand.arrivals=batch"], "demand.rate_hz", "rate_hz = 3 means nothing"),
        ([SERVER, "nodes.repeater_burst=2"], "nodes.repeater_burst", "it must be 1"),
        ([SERVER, "nodes.swap_time_s=0.01"], "nodes.swap_time_s", "it must be at most that"),
        (["nodes.repeater_kind=serve"], "nodes.repeater_kind", "'server'"),
        ([*OWN[:1], "nodes.memories_per_link=0"], "nodes.memories_per_link", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_told_at_its_key(overrides: list[str], key: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(TEXT, overrides=overrides)
    (fault,) = caught.value.faults
    assert fault.path == key
    assert sentence in str(fault)


def test_an_override_without_a_value_takes_the_key_out() -> None:
    scenario = parse_scenario(TEXT, overrides=["nodes.memories=", "links.processing_delay_s="])
    assert scenario.nodes.memories == 16
    with pytest.raises(ScenarioError, match="repeater_rate_hz"):
        parse_scenario(TEXT, overrides=["nodes.repeater_rate_hz="])


def test_a_server_of_nodes_drawn_at_random_keeps_their_rates() -> None:
    scenarios = [parse_scenario(TEXT, overrides=each) for each in ((), (SERVER,))]
    bucket, server = (build_network(one, build_physics(one), seed=3) for one in scenarios)
    assert (bucket.repeater_kind, server.repeater_kind) == ("token-bucket", "server")
    assert np.array_equal(bucket.repeater_rate_hz, server.repeater_rate_hz)
