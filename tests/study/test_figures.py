"""Figures: what they are computed from, and that their files are sound and stable."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from qdpem.study.analysis.statistics import mean_interval
from qdpem.study.report.figures import network_map, plots, style


@pytest.fixture
def small_tables():
    """Three nodes in a row, the middle one swaps twice a second; five claims for its tokens."""
    return {
        "nodes": {
            "node": np.arange(3),
            "x_km": np.array([0.0, 5.0, 10.0]),
            "y_km": np.array([0.0, 1.0, 0.0]),
            "repeater_rate_hz": np.array([0.0, 2.0, 4.0]),
        },
        "links": {"link": np.arange(2), "first": np.array([0, 1]), "second": np.array([1, 2])},
        "claims": {
            # kind 1 is a token, end 1 is granted.
            "kind": np.array([1, 1, 1, 1, 0]),
            "outcome": np.array([1, 1, 1, 2, 1]),
            "node": np.array([1, 1, 1, 1, 1]),
            "time_s": np.array([0.5, 1.5, 5.0, 2.0, 2.0]),
            "end_s": np.array([0.6, 1.6, 5.1, 2.1, 2.1]),
        },
        "pairs": {"link": np.array([0, 0, 1, -1]), "born_s": np.array([1.0, 2.0, 9.0, 1.0])},
    }


def test_repeater_load_is_tokens_used_over_tokens_refilled(small_tables) -> None:
    # In [1, 6) node 1 was granted 2 tokens of the 2/s x 5 s = 10 refilled; node 0 cannot swap.
    load = network_map.repeater_load(small_tables, start_s=1.0, end_s=6.0)
    assert math.isnan(load[0])
    assert load[1:].tolist() == pytest.approx([0.2, 0.0])


def test_link_use_counts_fresh_pairs_of_the_window(small_tables) -> None:
    assert network_map.link_use(small_tables, start_s=1.0, end_s=5.0).tolist() == [0.5, 0.0]


def test_smoothing_keeps_the_rate_of_a_steady_stream() -> None:
    times = np.arange(0.125, 20.0, 0.25)
    rate = plots._smooth_rate(np.arange(0.05, 20.0, 0.1), times=times)
    assert rate.tolist() == pytest.approx([10.0] * len(times), rel=0.08)


def test_an_arm_looks_the_same_whatever_else_is_drawn() -> None:
    styles = style.arm_styles(["a", "b", "c"])
    assert styles["a"] == style.arm_styles(["a"])["a"]
    many = style.arm_styles(list(map(str, range(70)))).values()
    assert len({(style.colour, style.marker) for style in many}) == 70


def test_a_common_arm_keeps_its_colour_and_dpem_shares_its_own_with_none() -> None:
    common = ["central-stock", "dpem", "local-minhop"]
    own = [f"own-{number}" for number in range(7)]
    alone, among = style.arm_styles(common), style.arm_styles([*own, *reversed(common)])
    assert [alone[name].colour for name in common] == [among[name].colour for name in common]
    assert len({each.colour for each in among.values()}) == len(common) + len(own)
    many = style.arm_styles(["dpem", *map(str, range(40))])
    assert [name for name, each in many.items() if each.colour == style.DPEM_COLOUR] == ["dpem"]


def drawn(small_tables) -> dict[str, str]:
    styles = style.arm_styles(["a", "b"])
    times = np.linspace(0.0, 9.0, 40)
    table = {"time_s": times, "outcome": (np.arange(40) % 2).astype(np.int8)}
    values = np.array([0.4, 0.5, 0.6])
    point = plots.Point(
        contention=mean_interval(values, key="c"),
        delivery=mean_interval(values, key="d"),
        seeds_contention=values,
        seeds_delivery=values,
    )
    loads = {arm: np.array([math.nan, 0.2, 0.4]) for arm in styles}
    uses = {arm: np.array([0.5, 0.0]) for arm in styles}
    return {
        "map": network_map.network_maps(small_tables, names=("x", "middle", "z"), loads=loads, uses=uses)[
            "b"
        ],
        "time": plots.delivery_over_time({"a": table, "b": table}, styles=styles, end_s=10.0, warm_up_s=2.0),
        "frontier": plots.frontier({"a": point, "b": point}, styles=styles),
        "distributions": plots.distributions(
            {"a": values, "b": np.empty(0)},
            margins={"a": values, "b": np.empty(0)},
            counts={"a": 6, "b": 0},
            styles=styles,
        ),
        "learning": plots.learning_curve(
            {"round": np.arange(4.0), "delivery_ratio": np.linspace(0.1, 0.4, 4)}
        ),
    }


def test_figures_are_valid_stable_and_take_the_page_ink(small_tables) -> None:
    first, again = drawn(small_tables), drawn(small_tables)
    assert first == again
    for name, svg in first.items():
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg"), name
        assert "currentColor" in svg
        assert style.INK not in svg
    assert "middle" in first["map"]
    assert "arrival time (s)" in first["time"]
    styles = style.arm_styles(["a", "b"])
    for name in ("time", "frontier", "distributions"):
        assert styles["a"].colour.lower() in first[name].lower()


@pytest.mark.slow
def test_a_crowded_frontier_drops_the_seeds_and_spreads_contention() -> None:
    def points(count: int, *, contrast: float) -> dict[str, plots.Point]:
        found = {}
        for place in range(count):
            contended, delivered = (
                1.0 + contrast * place + np.arange(3.0) / 10.0,
                0.5 + np.arange(3.0) / 100.0,
            )
            found[f"arm-{place}"] = plots.Point(
                contention=mean_interval(contended, key=f"c{place}"),
                delivery=mean_interval(delivered, key=f"d{place}"),
                seeds_contention=contended,
                seeds_delivery=delivered,
            )
        return found

    few, many, near = points(8, contrast=1.0), points(21, contrast=1.0), points(21, contrast=0.01)
    styles = style.arm_styles(list(many))
    assert [plots.is_crowded(one) for one in (few, many)] == [False, True]
    svgs = {name: plots.frontier(one, styles=styles) for name, one in (("many", many), ("near", near))}
    assert all(f">{arm}</text>" in svgs["many"] for arm in many)
    # Ticks of a logarithmic axis from 1 to 21, and of a linear one from 1.1 to 1.3.
    assert {"1", "2", "5", "10", "20"} <= set(re.findall(r">([0-9.]+)</text>", svgs["many"]))
    assert "5" not in re.findall(r">([0-9.]+)</text>", svgs["near"])


def test_a_long_run_is_shown_in_part() -> None:
    times = np.linspace(0.0, 359.0, 4000)
    table = {"time_s": times, "outcome": np.zeros(4000, dtype=np.int8)}
    styles = style.arm_styles(["a"])
    long, short = (
        plots.delivery_over_time({"a": table}, styles=styles, end_s=end_s, warm_up_s=60.0)
        for end_s in (360.0, 180.0)
    )
    assert plots.shown_span(60.0, 100.0) == (0.0, 100.0)
    assert "measured from here" in short
    assert "measured from here" not in long
    assert ">160</text>" in long
    assert not {">0</text>", ">240</text>"} <= {
        f">{one}</text>" for one in re.findall(r">(\d+)</text>", long)
    }


def test_drawing_leaves_the_settings_of_matplotlib_alone(small_tables) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn(small_tables)
    assert dict(matplotlib.rcParams) == before
