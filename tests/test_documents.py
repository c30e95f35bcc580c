"""What the README and the examples show is run here."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_readme_example_prints_what_it_says(monkeypatch):
    """The first python block of the README runs, and prints the text block that follows it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", text, flags=re.DOTALL)
    assert found is not None
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(found[1], "README.md", "exec"), {"__name__": "readme"})
    assert printed.getvalue() == found[2]


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example_runs(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    assert "delivered" in capsys.readouterr().out


FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "scenarios").glob("**/*.toml"))
DERIVED = [name for name in FILES if name.count("/") > 1]
SHRUNKEN = (
    "window.warm_up_s=0.5",
    "window.measured_s=1.5",
    "forecasting.history_s=10",
    "topology.parameters.nodes=12",
    "topology.parameters.side_km=35",
    "nodes.source_rate_hz=50",
    "nodes.repeater_rate_hz=30",
)


@pytest.mark.parametrize("name", FILES)
def test_every_scenario_in_the_tree_loads(name):
    from qdpem.scenario.load import load_scenario

    scenario = load_scenario(ROOT / name)
    assert scenario.study is not None
    assert scenario.description


def test_scenarios_based_on_another_have_names_of_their_own():
    from qdpem.scenario.load import load_scenario

    names = [load_scenario(ROOT / name).name for name in FILES]
    assert len(set(names)) == len(names)
    assert len({Path(name).stem for name in FILES}) == len(FILES)  # output/<stem> is theirs alone


@pytest.mark.slow
@pytest.mark.parametrize("name", DERIVED)
def test_controls_and_sweeps_run_when_shrunk(name):
    """The first cell of a sweep, or a control, with every arm, on 12 quick nodes for two seconds."""
    from qdpem.metrics.metrics import measure
    from qdpem.scenario.load import load_scenario
    from qdpem.scenario.sweep import sweep_cells
    from qdpem.simulation.run import simulate

    scenario = load_scenario(ROOT / name, SHRUNKEN)
    scenario = next((cell.scenario for cell in sweep_cells(scenario)), scenario)
    network = load = None
    for arm in scenario.study.arms:
        run = simulate(scenario, arm, seed=0, network=network, load=load)
        network, load = run.network, run.load  # One network and one load for all, as in a study.
        metrics = measure(run.tables, start_s=0.5, end_s=2.0)
        assert metrics["requests_measured"] > 0.0, arm.name
        assert 0.0 <= metrics["delivery_ratio"] <= 1.0


def test_the_chain_of_the_page_loads():
    """docs/background/chains.md: its scenario, once it has a name and a window."""
    from qdpem.scenario.load import parse_scenario

    found = re.search(
        r"```toml\n(.*?)```",
        (ROOT / "docs" / "background" / "chains.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert found is not None
    scenario = parse_scenario('name = "page"\n' + found[1])
    assert scenario.links.slotted
    assert scenario.demand.classes[0].repeat_until_deadline == "pair"


PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
]
OLD_WORDS = (
    # Words of the language before 0.1.0 that have no other use; the glossary has their successors.
    r"\brights\b", r"\bbrains?\b", r"\bshelf\b", r"\bshelves\b", r"\bnews\b", r"\blanes?\b", r"\btwins?\b",
    r"\bforesees?\b", r"\bwhosever\b", r"\bheld[ _]back\b", r"\bconflicts\b",
    # Names of parameters, keys and metrics.
    r"\bhope\b", r"\bcrowd\b", r"\bthrift", r"\bleast_use\b", r"\burgency_s\b", r"\bahead_s\b",
    r"\bwait_share\b", r"\bload[ _]share\b", r"\bserved_share\b", r"\bforeign_stock_share\b",
    r"\bquota_share\b", r"\btoken_share\b", r"\btarget_use\b", r"\bclip_ratio\b", r"\btrace_decay\b",
    r"\bserver_rate\b", r"\bheld_back_s_per_request\b", r"\bconflicts_per_request\b", r"\bnews_width\b",
    r"\basks_at_epochs\b",
    # Arms, modules and classes.
    r"\b(central|local)-live\b", r"\bcentral-lp\b", r"\blocal-prices\b", r"\bqdpem[./]baselines\b",
    r"\bqdpem[./]learning\b", r"\bViews\b", r"\bStockroom\b", r"\bhop_rounds\b", r"\bdemand_levels\b",
    r"\bexpected_finish\b", r"\bphysics[./]figures\b", r"\bphysics[./]chance\b",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_page_uses_an_old_word(page):
    text = page.read_text(encoding="utf-8")
    found = [match[0] for word in OLD_WORDS for match in re.finditer(word, text)]
    assert not found


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(#[\w-]+)?\)", page.read_text(encoding="utf-8")):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor[1:] in slugs, f"{page.name}: {target}{anchor}"


def test_germany50_is_the_quickstart_with_the_arms_of_the_paper():
    from dataclasses import replace

    from qdpem.scenario.load import load_scenario

    quickstart, paper, all_arms = (
        load_scenario(ROOT / f"scenarios/{name}.toml") for name in ("quickstart", "paper", "germany50")
    )
    arms = tuple(replace(arm, parameters={}, tuned_on=()) for arm in paper.study.arms)
    study = replace(paper.study, arms=arms)
    named = replace(quickstart, name=all_arms.name, description=all_arms.description, study=study)
    assert all_arms == replace(named, window=paper.window, training=paper.training)


def test_hurry_is_the_paper_with_half_the_patience_and_arms_of_it():
    from dataclasses import replace

    from qdpem.scenario.load import load_scenario

    hurry = load_scenario(ROOT / "scenarios/hurry.toml")
    faster = load_scenario(
        ROOT / "scenarios/paper.toml", ["demand.classes.*.patience_s=0.5", "demand.load_factor=1.5"]
    )
    assert all(arm in faster.study.arms for arm in hurry.study.arms)
    like = replace(faster, name=hurry.name, description=hurry.description, study=hurry.study)
    assert hurry == replace(like, window=hurry.window)


SURFNET = ROOT.parent / "shared/data/topologies/surfnet_core.json"


@pytest.mark.skipif(not SURFNET.exists(), reason="the map of SURFnet is not part of the project")
@pytest.mark.parametrize("arm", ["local-minhop", "central-link-stock"])
def test_surfnet_runs_on_its_own_fibre(arm):
    from qdpem import load_scenario, simulate
    from qdpem.simulation.arms import find_arm

    where = f'topology.parameters.path="{SURFNET}"'
    scenario = load_scenario(
        ROOT / "scenarios/surfnet.toml", overrides=[where, "window.warm_up_s=1", "window.measured_s=4"]
    )
    run = simulate(scenario, find_arm(scenario, arm), seed=0)
    assert (run.network.node_count, run.network.link_count) == (54, 64)
    assert run.network.graph.length_km.max() == pytest.approx(77.7)
    assert run.tables is not None
    assert len(run.tables["requests"]) > 0
