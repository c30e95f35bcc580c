"""Twenty-one arms: tables that fit, arms that can be told apart, and sentences that can be read."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from qdpem.bounds.seed_bounds import Bounds
from qdpem.scenario.schema import Arm, Claim
from qdpem.scenario.words import Pregeneration
from qdpem.study.analysis.metric_formats import (
    BOUND_FRACTIONS,
    CONTENTION,
    DECISION,
    DELIVERY,
    METRIC_FORMATS,
    PAIR_METRIC_FORMATS,
)
from qdpem.study.report.csv import COLUMNS, results_csv
from qdpem.study.report.figures.shown_arms import shown_arms, shown_arms_sentence, styles_of
from qdpem.study.report.findings import findings
from qdpem.study.report.html import Appendix, render_report
from qdpem.study.report.markdown import results_markdown
from qdpem.study.report.terminal import print_study

ARMS = (
    *(
        Arm(
            name=f"central-{number:02}",
            policy="central-expected-delay",
            control="central",
            pregeneration="none",
            forecaster="none",
        )
        for number in range(7)
    ),
    *(
        Arm(
            name=f"local-stock-of-sort-{number:02}",
            policy="local-stock",
            control="local",
            pregeneration="end-to-end",
            forecaster="clairvoyant" if number % 2 else "constant",
            parameters={"max_loaded_delay": 2.5 + number},
        )
        for number in range(13)
    ),
    Arm(name="learned", policy="dpem", control="local", pregeneration="end-to-end", forecaster="gru"),
)
SEEDS = 8


@pytest.fixture
def crowd(made_result):
    """Arms whose delivery falls from the last to the first, by more than seeds differ; contention rises."""
    generator = np.random.default_rng(3)
    base = generator.uniform(0.5, 0.6, size=SEEDS)
    scores = {
        arm.name: {
            metric_format.name: generator.uniform(1.0, 2.0, size=SEEDS).tolist()
            for metric_format in (*METRIC_FORMATS, *BOUND_FRACTIONS, DECISION)
        }
        | {
            DELIVERY.name: (base + 0.01 * place + generator.normal(0.0, 0.001, size=SEEDS)).tolist(),
            CONTENTION.name: (20.0 - 0.5 * place + generator.normal(0.0, 0.1, size=SEEDS)).tolist(),
        }
        for place, arm in enumerate(ARMS)
    }
    result = made_result(scores, arms=ARMS, reference="central-03")
    claim = Claim(arm="learned", delivery_gain=0.25, contention_relief=0.17)
    study = replace(result.scenario.study, claim=claim)
    return replace(result, scenario=replace(result.scenario, study=study))


def printed(result, width: int) -> str:
    shown = io.StringIO()
    print_study(result, console=Console(file=shown, width=width))
    return shown.getvalue()


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("width", [80, 110, 120, 170, 220])
def test_the_terminal_cuts_nothing_at_any_width(crowd, width: int) -> None:
    text = printed(crowd, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for metric_format in (DELIVERY, CONTENTION):
        for arm, mean in crowd.means(metric_format.name).items():
            assert arm in text
            assert metric_format.text(mean.estimate) in text
            if width > 80:
                assert f"[{metric_format.text(mean.low)}, {metric_format.text(mean.high)}]" in text
    for arm, found in crowd.differences(DELIVERY.name).items():
        assert f"{found.difference.estimate:+.3f}" in text, arm


def test_wide_terminals_have_one_line_for_an_arm(crowd) -> None:
    [line] = [line for line in printed(crowd, 220).splitlines() if line.split()[:2] == ["central-03", "*"]]
    mean = crowd.means(DELIVERY.name)["central-03"]
    assert line.split()[2:6] == ["central", "none", "none", "central-expected-delay"]
    assert f"{mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}]" in line


@pytest.mark.slow
def test_arms_stand_best_first_everywhere(crowd) -> None:
    best_first = [arm.name for arm in reversed(ARMS)]
    assert [arm.name for arm in crowd.ranked] == best_first
    lines = printed(crowd, 220).splitlines()
    table = lines[: next(place for place, line in enumerate(lines) if line.startswith("paired difference"))]
    assert [
        line.split()[0] for line in table if line.split()[:1] and line.split()[0] in best_first
    ] == best_first
    page = render_report(crowd, appendix=Appendix())
    results = page[page.index('id="results"') : page.index("</table>")]
    assert re.findall(r"</span>([a-z0-9-]+)(?: <span class=\"tag\"|</th>)", results) == best_first


def test_arms_without_a_mean_come_last(crowd, made_result) -> None:
    scores = {metric_format.name: [1.0, 1.0] for metric_format in METRIC_FORMATS}
    lost = {metric: [float("nan")] * 2 for metric in scores}
    result = made_result({"lost": lost, "weak": scores | {DELIVERY.name: [0.1, 0.2]}, "good": scores})
    assert [arm.name for arm in result.ranked] == ["good", "weak", "lost"]


def test_arms_are_rows_and_measures_columns_of_the_report(crowd) -> None:
    page = render_report(crowd, appendix=Appendix())
    body = page[page.index("<body>") : page.index('id="scenario"')]
    for heading in ("contended / request", "messages / request", "of time bound", "decision / site asked"):
        assert re.search(f'<th class="number" title="[^"]+">{heading}', body)
    results = body[body.index('id="results"') : body.index('id="differences"')]
    assert results.count('<tr class="reference">') == results.count("<table") == 3
    for table in results.split("<table")[1:]:
        head, rows = table.split("</thead>")
        columns = len(re.findall("<th[ >]", head))
        for row in rows.split("</tbody>")[0].split("</tr>")[:-1]:
            assert len(re.findall("<t[dh][ >]", row)) == columns


def test_sentences_of_many_arms_are_few_and_name_every_arm(crowd) -> None:
    said = findings(crowd)
    assert len(said) < len(ARMS)
    less = next(sentence for sentence in said if "delivered less than central-03" in sentence)
    more = next(sentence for sentence in said if "delivered more than central-03" in sentence)
    assert less.startswith("3 arms delivered less than central-03, which is worse: central-02 -")
    assert more.startswith("16 arms delivered more than central-03: central-04 +")
    # The arm under test has a sentence of its own, with its interval.
    assert any(
        sentence.startswith("learned delivered") and "than central-03" in sentence for sentence in said
    )
    for arm in (arm for arm in ARMS[4:] if arm.name != "learned"):
        change = crowd.differences(DELIVERY.name)[arm.name].ratio.estimate - 1.0
        assert f"{arm.name} {change:+.1%}" in more
    contended = next(sentence for sentence in said if "contended less" in sentence)
    assert "worse" not in contended


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([0.601, 0.619, 0.582, 0.608, 0.59], "9 arms delivered as much as first to within 3 %: "),
        ([0.80, 0.45, 0.70, 0.40, 0.72], "9 arms cannot be distinguished from first by what they delivered"),
        (
            [float("nan")] * 4 + [0.5],
            "have too few seeds in common with first to compare what they delivered.",
        ),
    ],
)
def test_arms_of_one_verdict_share_its_sentence(made_result, others, expected) -> None:
    plain = {metric_format.name: [1.0] * 5 for metric_format in METRIC_FORMATS}
    scores = {"first": plain | {DELIVERY.name: [0.60, 0.62, 0.58, 0.61, 0.59]}}
    scores |= {f"other-{number}": plain | {DELIVERY.name: others} for number in range(9)}
    [said] = [sentence for sentence in findings(made_result(scores)) if expected in sentence]
    assert all(f"other-{number}" in said for number in range(9))


def test_nothing_delivered_by_the_reference_leaves_no_ratios(made_result) -> None:
    plain = {metric_format.name: [1.0] * 5 for metric_format in METRIC_FORMATS}
    scores = {"first": plain | {DELIVERY.name: [0.0] * 5}} | {f"other-{number}": plain for number in range(9)}
    said = findings(made_result(scores))
    assert said[1].startswith("first delivered nothing, so no ratio with other-0, other-1,")


def test_headline_arms_are_the_reference_the_claimant_and_the_best_of_each_kind(crowd) -> None:
    shown = shown_arms(crowd)
    found = [arm.name for arm in shown]
    assert found == ["central-03", "central-06", "local-stock-of-sort-12", "learned"]
    styles = styles_of(crowd)
    assert len({styles[name].colour for name in found}) == len(found)
    assert set(styles) == {arm.name for arm in ARMS}
    assert shown_arms_sentence(shown, crowd).startswith(
        " The figure shows 4 of 21 arms: the reference, learned and the best"
    )


@pytest.mark.slow
def test_all_arms_of_a_small_study_are_headline_arms(finished_study) -> None:
    assert shown_arms(finished_study) == finished_study.arms
    assert shown_arms_sentence(finished_study.arms, finished_study) == ""


def test_results_csv_has_a_line_per_arm_and_measure(crowd) -> None:
    rows = list(csv.DictReader(io.StringIO(results_csv(crowd))))
    metric_formats = [one.name for one in (*METRIC_FORMATS, *BOUND_FRACTIONS, DECISION)]
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["arm"], row["metric"]) for row in rows] == [
        (arm.name, metric) for arm in ARMS for metric in metric_formats
    ]
    by_name = {arm.name: arm for arm in ARMS}
    for row in rows:
        arm, metric = by_name[row["arm"]], row["metric"]
        assert (row["control"], row["pregeneration"], row["forecaster"]) == (
            arm.control,
            arm.pregeneration,
            arm.forecaster,
        )
        assert Pregeneration(row["pregeneration"])
        mean = crowd.means(metric)[arm.name]
        assert (float(row["mean"]), float(row["low"]), float(row["high"])) == (
            mean.estimate,
            mean.low,
            mean.high,
        )
        assert int(row["seeds"]) == SEEDS
        if arm.name == crowd.reference or metric == DECISION.name:
            assert row["difference"] == row["difference_low"] == row["holm_p"] == ""
        else:
            gap = crowd.differences(metric)[arm.name]
            assert float(row["difference"]) == gap.difference.estimate
            assert float(row["difference_low"]) == gap.student_low
            assert float(row["holm_p"]) == crowd.adjusted_p(metric)[arm.name]


def test_results_markdown_has_a_row_per_arm(crowd) -> None:
    _, means, *contrasts = results_markdown(crowd).strip().split("\n\n")
    heads, rule, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in means.split("\n")]
    assert heads[:6] == ["arm", "control", "pregeneration", "forecaster", "delivered", "contended / request"]
    assert heads[-1] == "decision / site asked, ms of wall time"
    assert {len(row) for row in (heads, rule, *rows)} == {len(heads)}
    names = [f"`{arm.name}`" + (r" \*" if arm.name == crowd.reference else "") for arm in crowd.ranked]
    assert [row[0] for row in rows[: len(names)]] == names
    best = crowd.ranked[0]
    delivered = crowd.means(DELIVERY.name)[best.name]
    assert rows[0][1:4] == [best.control, best.pregeneration, best.forecaster]
    assert rows[0][4] == f"{delivered.estimate:.3f} [{delivered.low:.3f}, {delivered.high:.3f}]"
    assert not contrasts


def test_results_markdown_of_an_arm_that_failed(made_result) -> None:
    scores = {metric_format.name: [1.0, 1.2] for metric_format in METRIC_FORMATS}
    lost = {metric: [float("nan")] * 2 for metric in scores}
    text = results_markdown(made_result({"central": scores, "lost": lost}))
    [row] = [line for line in text.split("\n") if line.startswith("| `lost`")]
    assert set(row.split(" | ")[4:]) <= {"–", "– |"}
    assert "nan" not in text.lower()


def test_results_markdown_of_a_scenario_without_arrivals(made_result) -> None:
    """Its metric_formats are of pairs, and a bound, a share of requests, has no column to stand in."""
    scores = {metric_format.name: [1.0, 1.2] for metric_format in PAIR_METRIC_FORMATS}
    made = made_result({"central": scores, "near": scores})
    demand = replace(made.scenario.demand, arrivals="batch", rate_hz=None)
    bounds = {seed: Bounds(unit="pairs", asked=2.0, end_s=1.0, flow=1.0) for seed in made.seeds}
    text = results_markdown(replace(made, scenario=replace(made.scenario, demand=demand), bounds=bounds))
    heads = [cell.strip() for cell in text.split("\n")[2].strip("|").split("|")]
    assert heads[4:] == [
        f"{one.heading}, {one.unit}" if one.unit else one.heading for one in PAIR_METRIC_FORMATS
    ]
    assert "at most" not in text


def test_what_is_unknown_is_empty_in_results_csv(made_result) -> None:
    scores = {metric_format.name: [1.0, 1.2] for metric_format in METRIC_FORMATS}
    lost = {metric: [float("nan")] * 2 for metric in scores}
    text = results_csv(made_result({"central": scores, "lost": lost}))
    assert "nan" not in text.lower()
    [row] = [
        row
        for row in csv.DictReader(io.StringIO(text))
        if (row["arm"], row["metric"]) == ("lost", DELIVERY.name)
    ]
    assert (row["mean"], row["low"], row["difference"], row["seeds"]) == ("", "", "", "0")
