"""`qdpem forecast`: the ladder has the scores of its forecasters, in order, as text, JSON and picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from qdpem.forecasting.checks.evaluation import compare
from qdpem.forecasting.checks.reference_demand import scenario_arrivals
from qdpem.scenario.load import load_scenario

JOBS = (
    "demand.processes.jobs={kind='timetable',fraction=0.9,jitter_s=0.1,classes="
    "[{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0,pairs=3}]}"
)
SETTINGS = (
    "--set", JOBS, "--set", "demand.rate_hz=2", "--set", "window.measured_s=40", "--set",
    "forecasting.history_s=100",
)  # fmt: skip
NAMES = ("--forecasters", "last-value,seasonal-naive,clairvoyant")


@pytest.fixture
def answer(ask, row_file):
    answer = ask("forecast", row_file, "--seed", 3, "--json", *NAMES, *SETTINGS)
    assert answer.exit_code == 0, answer.stderr
    return answer


def test_the_ladder_has_the_scores_of_the_evaluation_in_order(answer, row_file) -> None:
    (line,) = answer.stdout.splitlines()
    found = json.loads(line)
    scenario = load_scenario(row_file, SETTINGS[1::2])
    arrivals, network = scenario_arrivals(scenario, seed=3)
    names = {"last-value", "seasonal-naive", "clairvoyant", "ewma", "bayes-filter"}
    expected = compare(
        arrivals,
        forecasting=scenario.forecasting,
        nodes=network.node_count,
        end_s=scenario.window.end_s,
        seed=3,
        names=names,
    )
    crps = {each["name"]: each["crps"] for each in found["forecasters"]}
    assert crps == {each.name: each.crps for each in expected}
    assert list(crps.values()) == sorted(crps.values())
    way = crps["ewma"] - crps["bayes-filter"]
    for each in found["forecasters"]:
        assert each["share"] == pytest.approx((crps["ewma"] - each["crps"]) / way)
        # Every origin has every step ahead, so that the mean over steps is the mean over all.
        assert np.mean(each["crps_by_step"]) == pytest.approx(each["crps"])
        assert len(each["wape_by_step"]) == scenario.forecasting.horizon_steps
    sure = found["forecasters"][0]
    assert (sure["name"], sure["share"] > 1.0) == ("clairvoyant", True)
    assert (sure["coverage_50"], sure["coverage_90"]) == pytest.approx((0.5, 0.9))
    # A clairvoyant's forecast is the fact that it is drawn against.
    assert sure["pair_means"] == found["pair_counts"]
    assert sum(found["pair_counts"]) > 0


def test_a_named_pair_counts_the_requests_of_both_its_ends(ask, row_file) -> None:
    counts = {}
    names = load_scenario(row_file, SETTINGS[1::2])
    arrivals, network = scenario_arrivals(names, seed=3)
    first, second = network.graph.node_names[:2]
    for pair in ((first, second), (second, first)):
        answer = ask("forecast", row_file, "--seed", 3, "--json", *SETTINGS, *NAMES, "--pair", *pair)
        assert answer.exit_code == 0, answer.stderr
        counts[pair] = json.loads(answer.stdout)["pair_counts"]
    assert counts[first, second] == counts[second, first]
    requests = arrivals.requests.between(0.0, float(len(counts[first, second])))
    ends = {(0, 1), (1, 0)}
    between = zip(requests.source.tolist(), requests.destination.tolist(), strict=True)
    assert sum(counts[first, second]) == sum(each in ends for each in between)


def test_text_without_a_terminal_has_the_steps_that_are_asked_for(ask, row_file) -> None:
    plain = ask("forecast", row_file, *NAMES, *SETTINGS)
    longer = ask("forecast", row_file, "--per-step", *NAMES, *SETTINGS)
    assert plain.exit_code == longer.exit_code == 0
    assert "\x1b" not in longer.stdout
    assert longer.stdout.count("seasonal-naive") == plain.stdout.count("seasonal-naive") + 3
    assert max(map(len, longer.stdout.splitlines()[1:])) <= 110


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--out", "ladder.gif"), "ladder.gif"),
        (("--pair", "nowhere", "elsewhere"), "nowhere"),
        (("--forecasters", "ewma,oracel"), "oracel"),
        (("--set", "window.measured_s=2", "--set", "window.warm_up_s=0"), "2 steps"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(ask, row_file, words, named) -> None:
    answer = ask("forecast", row_file, *NAMES, *words)
    assert answer.exit_code == 2
    assert named in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_a_picture_of_each_kind(ask, row_file, tmp_path) -> None:
    for name in ("one.svg", "two.png"):
        answer = ask("forecast", row_file, "--out", tmp_path / "new" / name, *NAMES, *SETTINGS)
        assert answer.exit_code == 0, answer.stderr
    picture = ElementTree.fromstring((tmp_path / "new" / "one.svg").read_text())
    texts = {"".join(each.itertext()) for each in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"requests", "seasonal-naive", "bayes-filter", "step ahead"} <= texts
    assert (tmp_path / "new" / "two.png").read_bytes().startswith(b"\x89PNG")
