"""Contrasts follow from the settings of arms: which arms they pair, and the differences they state."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.study.analysis.contrasts import contrast_families, contrast_notes, contrast_pairs
from qdpem.study.analysis.metric_formats import CONTENTION, DELIVERY, METRIC_FORMATS
from qdpem.study.analysis.statistics import holm, paired_difference
from qdpem.study.report.findings import findings
from qdpem.study.report.html import Appendix, render_report
from qdpem.study.report.markdown import results_markdown
from qdpem.study.report.terminal import print_study
from qdpem.study.report.wording import p_text

LOCAL = (
    Arm(name="plain", policy="local-expected-delay"),
    Arm(name="links", policy="local-expected-delay", pregeneration="link", forecaster="constant"),
    Arm(name="end-to-end", policy="local-stock"),
    Arm(
        name="virtual-link",
        policy="local-expected-delay",
        pregeneration="virtual-link",
        forecaster="constant",
    ),
)


def names(*arms: Arm) -> dict[str, list[tuple[str, str]]]:
    found = contrast_pairs([resolve_arm(arm).arm for arm in arms])
    return {setting: [(one.name, other.name) for one, other in pairs] for setting, pairs in found.items()}


def test_pregenerations_are_paired_in_their_order_whatever_the_order_of_arms() -> None:
    """local-stock is local-expected-delay with other defaults: the same rule."""
    contrasts = [("plain", "links"), ("links", "end-to-end"), ("end-to-end", "virtual-link")]
    assert names(*LOCAL)["pregeneration"] == contrasts
    assert names(*reversed(LOCAL))["pregeneration"] == contrasts
    assert names(*LOCAL)["forecaster"] == []
    assert names(LOCAL[0], LOCAL[3])["pregeneration"] == [("plain", "virtual-link")]


def test_other_control_rules_and_parameters_are_other_families() -> None:
    central = Arm(
        name="central", policy="central-expected-delay", pregeneration="link", forecaster="constant"
    )
    prices = Arm(name="prices", policy="local-price-based")
    tuned = Arm(name="tuned", policy="local-expected-delay", parameters={"max_loaded_delay": 3.0})
    default = Arm(name="default", policy="local-expected-delay", parameters={"max_loaded_delay": 2.0})
    stock = LOCAL[2]
    assert names(central, prices, tuned, stock)["pregeneration"] == []
    assert names(default, stock)["pregeneration"] == [("default", "end-to-end")]


def test_forecasts_are_paired_with_the_constant_one() -> None:
    def stock(forecaster: str) -> Arm:
        return Arm(name=forecaster, policy="local-stock", forecaster=forecaster)

    seen = [stock(one) for one in ("bayes-filter", "constant", "ewma", "none")]
    assert names(*seen)["forecaster"] == [
        ("none", "constant"),
        ("constant", "bayes-filter"),
        ("constant", "ewma"),
    ]
    assert names(seen[0], seen[3])["forecaster"] == [("none", "bayes-filter")]
    assert names(seen[0], seen[2])["forecaster"] == [("bayes-filter", "ewma")]
    assert names(seen[1])["forecaster"] == []
    # With a forecast there is no contrast with an arm that has neither forecast nor stock.
    assert names(LOCAL[0], seen[0])["pregeneration"] == []
    elsewhere = Arm(
        name="links-bayes-filter",
        policy="local-expected-delay",
        pregeneration="link",
        forecaster="bayes-filter",
    )
    assert names(seen[1], elsewhere) == {"pregeneration": [], "forecaster": []}
    assert names(seen[0], elsewhere)["pregeneration"] == [("links-bayes-filter", "bayes-filter")]


@pytest.fixture
def all_pregenerations(made_result):
    """Four pregenerations on six seeds, and an arm of the same rule with a parameter of its own."""
    generator = np.random.default_rng(5)
    base = generator.uniform(0.4, 0.6, size=6)
    arms = [
        resolve_arm(one).arm
        for one in (
            *LOCAL,
            Arm(name="tuned", policy="local-expected-delay", parameters={"max_loaded_delay": 3.0}),
        )
    ]
    gains = (0.0, 0.1, 0.09, 0.11, 0.01)
    scores = {
        arm.name: {metric_format.name: [1.0] * 6 for metric_format in METRIC_FORMATS}
        | {
            DELIVERY.name: (base + gain + generator.normal(0.0, 0.004, size=6)).tolist(),
            CONTENTION.name: (2.0 + 10.0 * gain + generator.normal(0.0, 0.1, size=6)).tolist(),
        }
        for arm, gain in zip(arms, gains, strict=True)
    }
    return made_result(scores, arms=arms, reference="virtual-link")


def test_contrasts_are_paired_differences_with_holm_over_the_table(all_pregenerations) -> None:
    [family] = contrast_families(all_pregenerations)
    for metric in (DELIVERY.name, CONTENTION.name):
        scores = all_pregenerations.scores(metric)
        found = {
            contrast.upper.name: paired_difference(
                scores[contrast.upper.name], reference=scores[contrast.lower.name], key="any"
            )
            for contrast in family.contrasts
        }
        adjusted = holm({arm: one.p_value for arm, one in found.items()})
        for contrast in family.contrasts:
            own, other = contrast.differences[metric], found[contrast.upper.name]
            assert own.difference.estimate == other.difference.estimate
            assert (own.student_low, own.student_high) == (other.student_low, other.student_high)
            assert own.difference.low <= own.difference.estimate <= own.difference.high
            assert contrast.p_values[metric] == adjusted[contrast.upper.name]


def test_terminal_and_report_have_the_same_contrasts(all_pregenerations) -> None:
    shown = io.StringIO()
    print_study(all_pregenerations, console=Console(file=shown, width=120))
    page = render_report(all_pregenerations, appendix=Appendix())
    section = page[page.index('id="contrasts"') : page.index('id="differences"')]
    [family] = contrast_families(all_pregenerations)
    for contrast in family.contrasts:
        gap = f"{contrast.differences[DELIVERY.name].difference.estimate:+.3f}"
        for text in (shown.getvalue(), section):
            assert f"{contrast.lower.pregeneration} → {contrast.upper.pregeneration}" in text
            assert f"{contrast.lower.name} → {contrast.upper.name}" in text
            assert gap in text
    assert "effect of pregeneration alone" in shown.getvalue()
    assert "effect of the forecaster" not in shown.getvalue()


def test_markdown_has_the_same_contrasts(all_pregenerations) -> None:
    _, _, table = results_markdown(all_pregenerations).strip().split("\n\n")
    heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")]
    assert heads == [
        "pregeneration",
        "effect of pregeneration alone",
        "delivered",
        "Holm p",
        "contended / request",
        "Holm p",
    ]
    [family] = contrast_families(all_pregenerations)
    for contrast, row in zip(family.contrasts, rows, strict=True):
        gap = contrast.differences[DELIVERY.name].difference
        assert row[:3] == [
            f"{contrast.lower.pregeneration} → {contrast.upper.pregeneration}",
            f"`{contrast.lower.name}` → `{contrast.upper.name}`",
            f"{gap.estimate:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]",
        ]
        assert row[5] == p_text(contrast.p_values[CONTENTION.name])


def test_what_is_left_out_and_what_is_mixed_is_said(all_pregenerations) -> None:
    [family] = contrast_families(all_pregenerations)
    mixed, left_out = contrast_notes(all_pregenerations, family)
    assert mixed.startswith("plain and links also differ in the forecaster")
    assert left_out.startswith("tuned is left out: its parameters differ too")
    said = [sentence for sentence in findings(all_pregenerations) if "at once" in sentence]
    # The arms of a contrast count as different in one factor; arms further apart are no contrast.
    [sentence] = said
    assert sentence.startswith(
        "plain and tuned differ from virtual-link in pregeneration and forecaster at once"
    )


def test_a_study_without_such_arms_has_no_contrasts(made_result) -> None:
    scores = {metric_format.name: [1.0, 1.1, 0.9] for metric_format in METRIC_FORMATS}
    result = made_result({"central": scores, "near": scores})
    assert contrast_families(result) == ()
    assert 'id="contrasts"' not in render_report(result, appendix=Appendix())
