"""A report names the processes of a mixture, what each of them is, and the classes that each asks for."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from qdpem.scenario.load import parse_scenario
from qdpem.study.analysis.metric_formats import METRIC_FORMATS
from qdpem.study.report.demand_words import demand_facts
from qdpem.study.report.html import Appendix, render_report
from qdpem.study.report.markdown import results_markdown
from qdpem.study.report.terminal import print_study
from tests.helpers.small_scenario import SMALL

CLASS = "{application='computing',fraction=1.0,target_fidelity=0.8,patience_s=2.0,pairs=3}"
MIXTURE = (
    f"demand.processes.jobs={{kind='timetable',fraction=0.5,jitter_s=1.5,skipped_fraction=0.1,classes=[{CLASS}]}}",
    f"demand.processes.talks={{kind='session',fraction=0.2,on_s=7.0,classes=[{CLASS}]}}",
)


@pytest.fixture
def mixed(made_result):
    plain = {metric_format.name: [1.0, 1.0] for metric_format in METRIC_FORMATS}
    result = made_result({"central": plain, "near": plain})
    demand = parse_scenario(SMALL, overrides=MIXTURE).demand
    return replace(result, scenario=replace(result.scenario, demand=demand))


def test_facts_name_each_process_with_its_numbers_and_its_classes(mixed) -> None:
    facts = dict(demand_facts(mixed.scenario.demand, rate="5 requests/s"))
    assert [name for name in facts if name.startswith(("process", "class"))] == [
        "process: jobs",
        "class: computing, jobs",
        "process: talks",
        "class: computing, talks",
        "process: poisson",
        "class: teleportation, poisson",
    ]
    for part in ("50%", "timetable", "25%", "jitter 1.5 s", "10% of the starts skipped"):
        assert part in facts["process: jobs"]
    assert "unannounced" not in facts["process: jobs"]
    for part in ("20%", "on for 7 s", "off for 100 s"):
        assert part in facts["process: talks"]
    assert "30%" in facts["process: poisson"]
    assert "3 pairs" in facts["class: computing, jobs"]
    # Without a Poisson stream nothing says that arrivals are stationary.
    alone = parse_scenario(
        SMALL, overrides=["demand.classes=[]", MIXTURE[0].replace("fraction=0.5", "fraction=1.0")]
    )
    assert not {"bursts", "process: poisson"} & dict(demand_facts(alone.demand, rate="")).keys()


def test_a_demand_without_processes_has_the_facts_it_had(small_scenario) -> None:
    names = [name for name, _ in demand_facts(small_scenario.demand, rate="")]
    assert names == ["demand", "node pairs", "class: teleportation", "bursts"]


def test_page_terminal_and_markdown_tell_the_mixture(mixed) -> None:
    sentence = "50% from jobs (timetable), 20% from talks (session) and 30% from poisson"
    page = render_report(mixed, appendix=Appendix())
    assert sentence in page
    assert "process: jobs" in page
    console = Console(file=io.StringIO(), width=300)
    print_study(mixed, console=console)
    assert sentence in console.file.getvalue()
    assert sentence in re.sub(r"\\", "", results_markdown(mixed))


def test_a_trace_is_named_by_its_file_and_not_by_its_folder() -> None:
    trace = (
        "demand.processes.traffic={kind='trace',fraction=1.0,path='far/away/traffic.csv',start_s=60,"
        f"time_compression=30,classes=[{CLASS}]}}"
    )
    demand = parse_scenario(SMALL, overrides=["demand.classes=[]", trace]).demand
    facts = dict(demand_facts(demand, rate=""))
    assert facts["node pairs"] == "those of the trace"
    for part in ("traffic.csv", "second 60", "compressed by 30"):
        assert part in facts["process: traffic"]
    assert "away" not in facts["process: traffic"]
