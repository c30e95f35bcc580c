"""Outages drawn ahead of time: names, streams, the law of random ones, and what makes no sense."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from qdpem.errors import ScenarioError
from qdpem.network.build import build_network, build_physics
from qdpem.network.outages import ALL_AVAILABLE, NO_PLACE, Outage, Unavailable, draw_outages
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Scenario

LINE = """
name = "line"
[topology]
kind = "line"
parameters = {{ nodes = {nodes}, hop_km = 20.0 }}
[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 30.0
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 60.0 }}
[demand]
rate_hz = 6.0
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.7
patience_s = 1.0
[outages]
{outages}
"""
RANDOM = """
links = {{ mean_up_s = {up_s}, mean_down_s = {down_s} }}
nodes = {{ mean_up_s = {up_s}, mean_down_s = {down_s} }}
controller = {{ mean_up_s = {up_s}, mean_down_s = {down_s} }}
"""


def of_line(outages: str, *, nodes: int = 4) -> Scenario:
    return parse_scenario(LINE.format(nodes=nodes, outages=outages))


def drawn(outages: str, *, nodes: int = 4, seed: int = 0, end_s: float = 100.0) -> tuple[Outage, ...]:
    scenario = of_line(outages, nodes=nodes)
    network = build_network(scenario, build_physics(scenario), seed=seed)
    return draw_outages(scenario.outages, network, seed=seed, end_s=end_s)


def test_scheduled_outages_joins_and_overlaps() -> None:
    """A link goes by its ends in either order; a node that joins is away from 0; overlaps are one."""
    found = drawn(
        """
        scheduled = [
            { kind = "link", name = "n2/n1", from_s = 5.0, until_s = 7.0 },
            { kind = "link", name = "n1/n2", from_s = 6.0, until_s = 9.0 },
            { kind = "node", name = "n3", from_s = 20.0 },
            { kind = "node", name = "n0", from_s = 2.0, until_s = 3.0 },
            { kind = "controller", from_s = 1.0, until_s = 2.0 },
            { kind = "node", name = "n1", from_s = 101.0 },
        ]
        joins = [{ node = "n0", at_s = 2.0 }]
        """
    )
    assert found == (
        Outage(kind="node", place=0, from_s=0.0, until_s=3.0),
        Outage(kind="controller", place=NO_PLACE, from_s=1.0, until_s=2.0),
        Outage(kind="link", place=1, from_s=5.0, until_s=9.0),
        Outage(kind="node", place=3, from_s=20.0, until_s=math.inf),
    )


def test_no_table_no_outages() -> None:
    assert drawn("") == ()


def test_random_times_are_exponential() -> None:
    """Means and standard deviations of all times up and down; false alarm below 1e-4 each (|z| < 4)."""
    found = drawn(RANDOM.format(up_s=3.0, down_s=0.5), seed=4, end_s=4000.0)
    up_s, down_s = [], []
    for key in {(one.kind, one.place) for one in found}:
        mine = [one for one in found if (one.kind, one.place) == key]
        ends_s = [0.0, *(one.until_s for one in mine[:-1])]
        up_s += [one.from_s - before for one, before in zip(mine, ends_s, strict=True)]
        down_s += [one.until_s - one.from_s for one in mine]
    assert {one.kind for one in found} == {"link", "node", "controller"}
    for times, mean_s in ((up_s, 3.0), (down_s, 0.5)):
        count = len(times)
        assert count > 8 * 1000
        assert abs(np.mean(times) - mean_s) < 4.0 * mean_s / math.sqrt(count)
        # The variance of an exponential's sample variance is 8 mean^4 / n.
        assert abs(np.var(times) - mean_s**2) < 4.0 * mean_s**2 * math.sqrt(8.0 / count)


def test_outages_belong_to_seed_and_name_alone() -> None:
    """A node more changes no other's outages; another seed changes all."""
    law = RANDOM.format(up_s=5.0, down_s=1.0)
    few, many, other = (drawn(law, nodes=nodes, seed=seed) for nodes, seed in ((4, 1), (5, 1), (4, 2)))
    kept = tuple(one for one in many if one.place < (3 if one.kind == "link" else 4))
    assert kept == few
    assert len(many) > len(few) > 0
    assert not {one.from_s for one in few} & {one.from_s for one in other}


@pytest.mark.parametrize(
    ("outages", "words"),
    [
        (
            'scheduled = [{ kind = "node", name = "n33", from_s = 1 }]',
            ["outages.scheduled.0.name", "no node of the topology is called 'n33'", "did you mean 'n3'?"],
        ),
        (
            'scheduled = [{ kind = "link", name = "n1-n2", from_s = 1 }]',
            ["outages.scheduled.0.name", "no link of the topology is called 'n1-n2'", "did you mean 'n1/n2'"],
        ),
        (
            'scheduled = [{ kind = "link", name = "Berlin", from_s = 1 }]',
            ["no link of the topology is called 'Berlin'", "should be like 'n0/n1'"],
        ),
        ('joins = [{ node = "m", at_s = 1 }]', ["outages.joins.0.node", "no node", "'m'"]),
        (
            'scheduled = [{ kind = "node", name = "n1", from_s = 4, until_s = 4 }]',
            ["outages.scheduled.0", "until_s = 4 must be above from_s = 4"],
        ),
        ('scheduled = [{ kind = "node", from_s = 4 }]', ["outages.scheduled.0", "name is missing"]),
        (
            'scheduled = [{ kind = "controller", name = "n1", from_s = 4 }]',
            ["outages.scheduled.0", "name = 'n1'", "there is one controller"],
        ),
        (
            'scheduled = [{ kind = "nodes", name = "n1", from_s = 4 }]',
            ["outages.scheduled.0.kind", "did you mean 'node'?"],
        ),
        ("links = { mean_up_s = 4 }", ["outages.links.mean_down_s"]),
        ("links = { mean_up_s = 0, mean_down_s = 1 }", ["outages.links.mean_up_s", "greater than 0"]),
        ('joins = [{ node = "n1", at_s = 0 }]', ["outages.joins.0.at_s", "greater than 0"]),
        (
            'joins = [{ node = "n1", at_s = 2 }, { node = "n1", at_s = 4 }]',
            ["outages.joins.1.node", "the node 'n1' joins a second time"],
        ),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(outages: str, words: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        drawn(outages)
    for word in words:
        assert word in str(caught.value)


def test_what_is_away_adds_up() -> None:
    unavailable = ALL_AVAILABLE.with_change("node", 3, unavailable=True).with_change(
        "link", 5, unavailable=True
    )
    assert not ALL_AVAILABLE
    assert unavailable == Unavailable(frozenset({3}), frozenset({5}))
    assert unavailable.affects((1, 3), ())
    assert unavailable.affects((), (5,))
    assert not unavailable.affects((5,), (3,))
    assert (
        unavailable.with_change("node", 3, unavailable=False).with_change("link", 5, unavailable=False)
        == ALL_AVAILABLE
    )


def test_links_whose_joined_names_are_equal_draw_apart_and_can_be_told_apart(tmp_path) -> None:
    """a/b - c and a - b/c: one text if joined by a slash, two streams and two links all the same."""
    names = ("a/b", "c", "a", "b/c")
    links = [{"source": left, "target": left + 1, "length_km": 10.0} for left in range(3)]
    nodes = [{"id": number, "name": name} for number, name in enumerate(names)]
    (tmp_path / "slash.json").write_text(json.dumps({"nodes": nodes, "links": links}), encoding="utf-8")
    map_keys = f'kind = "file"\nparameters = {{ path = "{tmp_path}/slash.json" }}'
    line_keys = 'kind = "line"\nparameters = { nodes = 4, hop_km = 20.0 }'

    def found(outages: str) -> tuple[Outage, ...]:
        scenario = parse_scenario(LINE.format(nodes=4, outages=outages).replace(line_keys, map_keys))
        network = build_network(scenario, build_physics(scenario), seed=0)
        return draw_outages(scenario.outages, network, seed=0, end_s=100.0)

    random = found("links = { mean_up_s = 5.0, mean_down_s = 1.0 }")
    drawn_at = {place: [outage.from_s for outage in random if outage.place == place] for place in (0, 1, 2)}
    assert drawn_at[0] != drawn_at[2]
    with pytest.raises(ScenarioError, match="is called"):
        found('scheduled = [{ kind = "link", name = "a/b/c", from_s = 5.0 }]')
    (first,) = found('scheduled = [{ kind = "link", name = "a~1b/c", from_s = 5.0 }]')
    (second,) = found('scheduled = [{ kind = "link", name = "a/b~1c", from_s = 5.0 }]')
    assert (first.place, second.place) == (0, 2)
    (plain,) = found('scheduled = [{ kind = "node", name = "a/b", from_s = 5.0 }]')
    assert plain.place == 0
