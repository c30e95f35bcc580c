"""The report's page: what comes first, what is folded, and what every head of a table explains."""

import re

import pytest

from qdpem.study.analysis.metric_formats import DELIVERY, METRIC_FORMATS
from qdpem.study.report.findings import MAX_SHOWN, findings
from qdpem.study.report.html import Appendix, ReportFigure, render_report

ARMS = ("central", "near", "far", "dpem")


@pytest.fixture
def result(made_result):
    plain = {metric_format.name: [1.0] * 5 for metric_format in METRIC_FORMATS}
    base = [0.60, 0.62, 0.58, 0.61, 0.59]
    return made_result(
        {
            arm: plain | {DELIVERY.name: [value - 0.05 * number for value in base]}
            for number, arm in enumerate(ARMS)
        }
    )


@pytest.fixture
def page(result) -> str:
    maps = ReportFigure(name="map", panels={arm: f"<svg id='{arm}'></svg>" for arm in ARMS}, caption="maps")
    frontier = ReportFigure(name="frontier", panels={"": "<svg id='front'></svg>"}, caption="frontier")
    return render_report(result, appendix=Appendix(figures=(maps, frontier)))


def test_at_most_five_findings_stand_open_and_the_others_are_folded(page, result) -> None:
    section = page[page.index('id="findings"') : page.index('id="terms"')]
    shown, folded = section.split("<details>")
    assert shown.count("<li>") == MAX_SHOWN == 5
    assert folded.count("<li>") == len(findings(result)) - MAX_SHOWN > 0


def test_the_frontier_comes_before_the_tables_and_the_maps_after(page) -> None:
    assert page.index("id='front'") < page.index('id="results"') < page.index("id='central'")


def test_a_figure_with_several_panels_has_one_switch_each_and_begins_with_the_first(page) -> None:
    switches = re.findall(r'<input type="radio" name="map" id="([^"]+)"( checked)?>', page)
    assert [checked for _, checked in switches] == [" checked", "", "", ""]
    assert re.findall(r'<label for="([^"]+)">', page) == [switch for switch, _ in switches]
    # A rule shows the panel of each switch; all others are hidden.
    for number in range(1, len(ARMS) + 1):
        assert f"input:nth-of-type({number}):checked) .panel:nth-of-type({number})" in page
    assert 'name="frontier"' not in page


def test_every_head_of_a_table_says_what_it_means(page) -> None:
    body = page[: page.index('id="arms"')]
    heads = re.findall(r"<thead>(.*?)</thead>", body, flags=re.DOTALL)
    cells = [cell for head in heads for cell in re.findall(r"<th[^>]*>", head)]
    assert len(cells) > 20
    assert [cell for cell in cells if "title=" not in cell and "strip" not in cell] == []
