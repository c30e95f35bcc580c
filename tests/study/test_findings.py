"""Sentences follow from intervals: a gain, a loss, equality and ignorance each get their own."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from qdpem.scenario.schema import Claim
from qdpem.study.analysis.metric_formats import CONTENTION, DELIVERY, METRIC_FORMATS
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.findings import MAX_SHOWN, findings, spread_sentence
from qdpem.study.report.html import Appendix, render_report
from qdpem.study.report.terminal import print_study

BASE = [0.60, 0.62, 0.58, 0.61, 0.59]
OTHERS = {metric_format.name: [1.0] * 5 for metric_format in METRIC_FORMATS}


def scores(delivery: list[float], contention: list[float] | None = None) -> dict[str, list[float]]:
    return OTHERS | {DELIVERY.name: delivery, CONTENTION.name: contention or [2.0, 2.1, 1.9, 2.0, 2.05]}


def test_a_clear_loss_is_called_worse(made_result) -> None:
    worse = [value - gap for value, gap in zip(BASE, (0.06, 0.05, 0.07, 0.06, 0.06), strict=True)]
    said = findings(made_result({"central": scores(BASE), "dpem": scores(worse)}))
    assert said[0].startswith("central delivered most: 0.600")
    assert said[1].startswith("dpem delivered 10.0% less than central")
    assert "than central, which is worse (" in said[1]
    assert "5 seeds" in said[1]


def test_a_clear_gain_is_not_called_worse(made_result) -> None:
    better = [value + gap for value, gap in zip(BASE, (0.06, 0.05, 0.07, 0.06, 0.06), strict=True)]
    said = findings(made_result({"central": scores(BASE), "dpem": scores(better)}))
    assert said[0].startswith("dpem delivered most:")
    assert said[1].startswith("dpem delivered 10.0% more than central")
    assert "worse" not in said[1]


def test_more_contention_is_worse(made_result) -> None:
    more = [2.5, 2.6, 2.4, 2.5, 2.55]
    said = findings(made_result({"central": scores(BASE), "dpem": scores(BASE, more)}))
    contended = next(sentence for sentence in said if sentence.startswith("dpem contended"))
    assert "more than central, which is worse (" in contended


def test_less_contention_bought_by_holding_back_is_said(made_result) -> None:
    less = [1.5, 1.6, 1.4, 1.5, 1.55]
    plain, shy = scores(BASE), scores(BASE, less)
    plain["admission_delay_s_per_request"] = [0.002, 0.003, 0.002, 0.001, 0.002]
    shy["admission_delay_s_per_request"] = [0.102, 0.113, 0.092, 0.101, 0.102]
    said = findings(made_result({"central": plain, "dpem": shy}))
    assert sum("waits 100 ms longer than central" in sentence for sentence in said) == 1
    prompt = findings(
        made_result(
            {
                "central": plain,
                "dpem": scores(BASE, less)
                | {"admission_delay_s_per_request": plain["admission_delay_s_per_request"]},
            }
        )
    )
    assert not any("ms longer" in sentence for sentence in prompt)


def test_equality_and_ignorance_are_told_apart(made_result) -> None:
    near = [value + gap for value, gap in zip(BASE, (0.001, -0.001, 0.002, -0.002, 0.0), strict=True)]
    far = [0.80, 0.45, 0.70, 0.40, 0.72]
    said = findings(made_result({"central": scores(BASE), "near": scores(near), "far": scores(far)}))
    assert any(sentence.startswith("near delivered as much as central to within 3 %") for sentence in said)
    assert any(sentence.startswith("far and central cannot be distinguished") for sentence in said)


CLAIM = Claim(arm="dpem", delivery_gain=0.25, contention_relief=0.17)


def with_claim(result: StudyResult, claim: Claim = CLAIM) -> StudyResult:
    study = replace(result.scenario.study, claim=claim)
    return replace(result, scenario=replace(result.scenario, study=study))


def claim_of(sentences: list[str]) -> list[str]:
    return [
        sentence for sentence in sentences if sentence.startswith("The claim that dpem delivers 25% more")
    ]


def test_the_claim_is_judged_by_the_bounds_of_intervals(made_result) -> None:
    double = [2.0 * value for value in BASE]
    half = [1.0, 1.05, 0.95, 1.0, 1.02]
    cases = {
        "reached": scores(double, half),
        "reached only for delivery": scores(double),
        "reached only for contention": scores(BASE, half),
        "not reached": scores(BASE),
    }
    for verdict, found in cases.items():
        [claim] = claim_of(findings(with_claim(made_result({"central": scores(BASE), "dpem": found}))))
        assert f"contends 17% less than central is {verdict};" in claim


def test_a_claim_is_made_against_the_strongest_central_arm_or_the_one_it_names(made_result) -> None:
    weak = [0.5 * value for value in BASE]
    result = made_result({"central": scores(BASE), "near": scores(BASE), "dpem": scores(weak)})
    [arm, *others] = result.arms
    arms = (arm, *others, replace(arm, name="weaker"))
    outcomes = [replace(one, arm="weaker") for one in result.outcomes if one.arm == "dpem"]
    result = replace(result, arms=arms, outcomes=(*result.outcomes, *outcomes), reference="near")
    [claim] = claim_of(findings(with_claim(result)))
    assert "less than central is" in claim
    [named] = claim_of(findings(with_claim(result, replace(CLAIM, against="weaker"))))
    assert "less than weaker is" in named
    # Without a claim, without its arm and without its rival there is nothing to state.
    assert claim_of(findings(result)) == []
    assert claim_of(findings(with_claim(result, replace(CLAIM, arm="gone")))) == []
    assert claim_of(findings(with_claim(result, replace(CLAIM, against="gone")))) == []


def test_few_seeds_and_mixed_factors_are_admitted(made_result) -> None:
    said = findings(made_result({"central": scores(BASE), "near": scores(BASE)}))
    assert "near differs from central in control and policy at once" in " ".join(said)
    shown = said[:MAX_SHOWN]
    assert any(sentence.startswith("With 5 seeds every interval here is rough") for sentence in shown)


def test_the_claim_and_its_arm_are_shown_and_every_arm_is_compared_once(made_result) -> None:
    """Eight arms have 14 comparisons; those of the claim's arm come first, even if it is the worst."""
    weak = [0.5 * value for value in BASE]
    arms = {f"rule-{number}": scores([value + 0.01 * number for value in BASE]) for number in range(6)}
    said = findings(with_claim(made_result({"central": scores(BASE), **arms, "dpem": scores(weak)})))
    shown = said[:MAX_SHOWN]
    assert shown[0].startswith("rule-5 delivered most")
    assert claim_of(shown)
    assert [sentence.split()[1] for sentence in shown if sentence.startswith("dpem")] == [
        "delivered",
        "contended",
    ]
    delivered = [sentence for sentence in said if "delivered" in sentence and "central" in sentence]
    for arm in (*arms, "dpem"):
        assert sum(arm in sentence for sentence in delivered) == 1


def test_a_missing_arm_leaves_the_others_readable(made_result) -> None:
    nothing = {metric: [float("nan")] * 5 for metric in OTHERS}
    result = made_result({"central": scores(BASE), "near": scores(BASE), "gone": nothing})
    said = " ".join(findings(result))
    assert "gone and central have too few seeds in common" in said
    page = render_report(result, appendix=Appendix())
    assert "nan" not in page[page.index("<body>") : page.index("All values of the scenario")].lower()


def test_pairing_is_reported_as_measured(made_result) -> None:
    noise = np.array([0.0, 0.001, -0.001, 0.0005, 0.0])
    result = made_result({"central": scores(BASE), "near": scores((np.array(BASE) + noise).tolist())})
    assert "times smaller" in spread_sentence(result)
    opposite = made_result({"central": scores(BASE), "near": scores((1.2 - np.array(BASE)).tolist())})
    assert "times larger" in spread_sentence(opposite)


def test_the_terminal_states_all_four_factors_and_intervals(made_result) -> None:
    shown = io.StringIO()
    worse = [value - 0.1 for value in BASE]
    result = made_result({"central": scores(BASE), "near": scores(worse)})
    print_study(result, console=Console(file=shown, width=110))
    text = shown.getvalue()
    assert "central · none · none · central-fcfs" in text
    assert "local · none · none · local-minhop" in text
    assert "0.600" in text
    assert "-0.100 (-16.7%)" in text
    assert "[-0.100, -0.100]" in text
    assert "nan" not in text


def test_the_terminal_fits_80_columns_without_losing_a_word(made_result) -> None:
    shown = io.StringIO()
    names = ("central-fcfs", "central-expected-delay", "local-minhop", "dpem-no-forecast")
    result = made_result({name: scores(BASE) for name in names})
    print_study(result, console=Console(file=shown, width=80))
    interval = result.means(DELIVERY.name)["central-expected-delay"]
    bounds = f"[{interval.low:.3f}, {interval.high:.3f}]"
    text = shown.getvalue()
    assert "…" not in text
    for words in (*names, "central · none", "none · local-minhop", "p95", bounds):
        assert words in text
