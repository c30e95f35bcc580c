"""`qdpem demand`: the numbers are those of the requests, on a terminal, as JSON, and in a picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from qdpem.forecasting.checks.reference_demand import scenario_arrivals
from qdpem.scenario.load import load_scenario

JOBS = (
    "demand.processes.jobs={kind='timetable',fraction=0.5,jitter_s=0.1,classes="
    "[{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0,pairs=3}]}"
)
SETTINGS = ("--set", JOBS, "--set", "demand.rate_hz=6", "--set", "window.measured_s=40")


@pytest.fixture
def answer(ask, row_file):
    answer = ask("demand", row_file, "--seed", 3, "--json", *SETTINGS)
    assert answer.exit_code == 0, answer.stderr
    return answer


def test_one_json_line_counts_the_requests_that_a_run_would_see(ask, answer, row_file) -> None:
    (line,) = answer.stdout.splitlines()
    found = json.loads(line)
    scenario = load_scenario(row_file, SETTINGS[1::2])
    arrivals, network = scenario_arrivals(scenario, seed=3)
    both = (arrivals.history, arrivals.requests)
    assert [each["name"] for each in found["processes"]] == ["poisson", "jobs"]
    for index, each in enumerate(found["processes"]):
        assert each["requests"] == sum(int((part.process == index).sum()) for part in both)
        assert each["mean_rate_hz"] == pytest.approx(3.0)
    assert [each["requests"] for each in found["classes"]] == [
        each["requests"] for each in found["processes"]
    ]
    assert found["processes"][1]["requested_pairs"] == 3 * found["processes"][1]["requests"]
    source = np.concatenate([part.source for part in both])
    sent = np.bincount(source, minlength=network.node_count)
    assert {each["node"]: each["sent"] for each in found["nodes"]} == dict(
        zip(network.graph.node_names, sent.tolist(), strict=True)
    )
    assert sum(each["requests"] for each in found["node_pairs"]) == len(source)
    # Five nodes have at most four destinations of two kinds each, and eight places.
    assert found["peer_coverage"] == 1.0
    few = ask("demand", row_file, "--seed", 3, "--json", *SETTINGS, "--set", "forecasting.max_peers=1")
    assert 0.05 < json.loads(few.stdout)["peer_coverage"] < 0.95
    scores = {each["name"]: each["crps"] for each in found["forecasts"]}
    assert list(scores) == ["constant", "ewma", "bayes-filter", "clairvoyant"]
    # Half of the requests keep their time to a tenth of a second.
    assert scores["clairvoyant"] < scores["bayes-filter"] < 0.9 * scores["constant"]
    # No common lag shows the timetable as its own periods do.
    (period,) = found["periods"]
    assert period["process"] == "jobs"
    assert period["correlation"] > 0.05 + max(each["correlation"][2] for each in found["lags"])
    floors = {(each["level"], each["window_s"]): each["wape"] for each in found["floors"]}
    assert 0.0 < floors["network", 8.0] < floors["peer", 1.0] <= 0.5 + 1e-9


def test_tables_without_a_terminal_are_plain_text(ask, row_file) -> None:
    answer = ask("demand", row_file, *SETTINGS)
    assert answer.exit_code == 0
    assert "\x1b" not in answer.stdout
    for word in ("jobs", "timetable", "index of dispersion", "autocorrelation", "floor", "bayes-filter"):
        assert word in answer.stdout
    assert max(map(len, answer.stdout.splitlines()[1:])) <= 110


@pytest.mark.slow
def test_a_picture_of_each_kind(ask, row_file, tmp_path) -> None:
    for name in ("one.svg", "two.png", "three.html"):
        answer = ask("demand", row_file, "--out", tmp_path / "new" / name, *SETTINGS)
        assert answer.exit_code == 0, answer.stderr
    picture = ElementTree.fromstring((tmp_path / "new" / "one.svg").read_text())
    texts = {"".join(each.itertext()) for each in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Poisson", "bayes-filter", "jobs", "node pair"} <= texts
    assert (tmp_path / "new" / "two.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "new" / "three.html").read_text()
    assert page.count("<svg") == 1
    assert page.count("<table") == 8
    assert "http" not in page.replace("http://www.w3.org", "")


def test_another_kind_of_picture_is_refused_before_anything_is_drawn(ask, row_file, monkeypatch) -> None:
    monkeypatch.setattr("qdpem.study.analysis.demand.profile.profile_demand", None)
    answer = ask("demand", row_file, "--out", "demand.gif")
    assert answer.exit_code == 2
    assert "demand.gif" in answer.stderr
    assert ".png" in answer.stderr


def test_a_picture_whose_packages_are_missing_says_which_before_anything_is_drawn(
    ask, row_file, monkeypatch
) -> None:
    monkeypatch.setattr("qdpem.extras.find_spec", lambda name: None)
    monkeypatch.setattr("qdpem.study.analysis.demand.profile.profile_demand", None)
    answer = ask("demand", row_file, "--out", "demand.png")
    assert answer.exit_code == 2
    assert "matplotlib" in answer.stderr
    assert "report" in answer.stderr


def test_a_batch_has_totals_only(ask, row_file, tmp_path) -> None:
    batch = (
        "demand={arrivals='batch',classes="
        "[{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0}]}"
    )
    drawn = ask("demand", row_file, "--out", tmp_path / "batch.png", "--set", batch)
    assert drawn.exit_code == 2
    assert "t = 0" in drawn.stderr
    answer = ask("demand", row_file, "--json", "--set", batch)
    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["processes"][0]["requests"] == 10
    for name in ("windows", "lags", "floors", "forecasts"):
        assert found[name] == []


def test_a_run_too_short_to_score_shows_all_else(ask, row_file) -> None:
    answer = ask("demand", row_file, "--json", "--set", "window.measured_s=2", "--set", "window.warm_up_s=0")
    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["forecasts"] == []
    assert found["processes"][0]["requests"] > 0
