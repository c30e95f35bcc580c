"""Ladders follow from settings: which arms stand on them, and what the steps say."""

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


def test_rights_climb_in_their_order_whatever_the_order_of_arms() -> None:
    """local-stock is local-expected-delay with other defaults: the same rule."""
    contrasts = [("plain", "links"), ("links", "end-to-end"), ("end-to-end", "virtual-link")]
    assert names(*LOCAL)["pregeneration"] == contrasts
    assert names(*reversed(LOCAL))["pregeneration"] == contrasts
    assert names(*LOCAL)["forecaster"] == []
    assert names(LOCAL[0], LOCAL[3])["pregeneration"] == [("plain", "virtual-link")]


def test_other_control_rules_and_parameters_are_other_ladders() -> None:
    central = Arm(
        name="central", policy="central-expected-delay", pregeneration="link", forecaster="constant"
    )
    prices = Arm(name="prices", policy="local-price-based")
    tuned = Arm(name="tuned", policy="local-expected-delay", parameters={"max_loaded_delay": 3.0})
    default = Arm(name="default", policy="local-expected-delay", parameters={"max_loaded_delay": 2.0})
    stock = LOCAL[2]
    assert names(central, prices, tuned, stock)["pregeneration"] == []
    assert names(default, stock)["pregeneration"] == [("default", "end-to-end")]


def test_forecasts_are_told_from_constant_knowledge() -> None:
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
    # A forecast is no right: with a forecast there is no step from an arm that only serves.
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
def climbing(made_result):
    """Four rungs on six seeds, and an arm of the same rule with a parameter of its own."""
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


def test_steps_are_paired_differences_with_holm_over_the_table(climbing) -> None:
    [family] = contrast_families(climbing)
    for metric in (DELIVERY.name, CONTENTION.name):
        scores = climbing.scores(metric)
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


def test_terminal_and_report_have_the_same_ladder(climbing) -> None:
    shown = io.StringIO()
    print_study(climbing, console=Console(file=shown, width=120))
    page = render_report(climbing, appendix=Appendix())
    section = page[page.index('id="ladders"') : page.index('id="differences"')]
    [family] = contrast_families(climbing)
    for contrast in family.contrasts:
        gap = f"{contrast.differences[DELIVERY.name].difference.estimate:+.3f}"
        for text in (shown.getvalue(), section):
            assert f"{contrast.lower.pregeneration} → {contrast.upper.pregeneration}" in text
            assert f"{contrast.lower.name} → {contrast.upper.name}" in text
            assert gap in text
    assert "what rights alone are worth" in shown.getvalue()
    assert "forecasts alone" not in shown.getvalue()


def test_markdown_has_the_same_ladder(climbing) -> None:
    _, _, table = results_markdown(climbing).strip().split("\n\n")
    heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")]
    assert heads == [
        "pregeneration",
        "what rights alone are worth",
        "delivered",
        "Holm p",
        "contended / request",
        "Holm p",
    ]
    [family] = contrast_families(climbing)
    for contrast, row in zip(family.contrasts, rows, strict=True):
        gap = contrast.differences[DELIVERY.name].difference
        assert row[:3] == [
            f"{contrast.lower.pregeneration} → {contrast.upper.pregeneration}",
            f"`{contrast.lower.name}` → `{contrast.upper.name}`",
            f"{gap.estimate:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]",
        ]
        assert row[5] == p_text(contrast.p_values[CONTENTION.name])


def test_what_is_left_out_and_what_is_mixed_is_said(climbing) -> None:
    [family] = contrast_families(climbing)
    start, left_out = contrast_notes(climbing, family)
    assert start.startswith("The ladder of constant stock starts at the arm that serves only")
    assert left_out.startswith("tuned, of the same rule, has parameters of its own")
    said = [sentence for sentence in findings(climbing) if "at once" in sentence]
    # A step of a ladder counts as one setting; who is further down it is not one step away.
    mixed = "plain and tuned differ from virtual in rights and knowledge at once"
    assert said == [f"{mixed}; no single one of them is shown to matter."]


def test_a_study_without_such_arms_has_no_ladder(made_result) -> None:
    scores = {metric_format.name: [1.0, 1.1, 0.9] for metric_format in METRIC_FORMATS}
    result = made_result({"central": scores, "near": scores})
    assert contrast_families(result) == ()
    assert 'id="ladders"' not in render_report(result, appendix=Appendix())
