"""The figures of the comparison with peers, from runs made up here; no peer is needed."""

from __future__ import annotations

import math
import statistics
import sys
from typing import Any

import pytest

from qdpem import load_scenario


@pytest.fixture
def figures(script):
    return script("peers/figures.py")


def a_run(peer: str, **changes: Any) -> dict[str, Any]:
    return {
        "peer": peer, "nodes": 5, "memories": 1, "seed": 1, "simulated_s": 2.0, "wall_s": 1.0,
        "delivered": 100, "mean_fidelity": 0.9, "standard_error": 0.001, "events": 2000, **changes,
    }  # fmt: skip


def find(found: list[dict[str, Any]], peer: str, **case: int) -> dict[str, Any]:
    (one,) = (one for one in found if one["peer"] == peer and case.items() <= one.items())
    return one


def test_figures_are_medians_over_the_rounds_and_ratios_are_of_medians(figures):
    walls = {"qdpem": (0.9, 1.0, 5.0), "simqn": (7.0, 6.0, 90.0)}
    rows = [a_run(peer, wall_s=wall_s) for peer, times in walls.items() for wall_s in times]
    found = figures.summaries(rows)
    assert [one["peer"] for one in found] == ["qdpem", "simqn"]
    assert find(found, "qdpem")["ms_per_delivered"] == pytest.approx(10.0)
    # The ratio of medians, 7; the median of ratios would be 7.8.
    assert find(found, "simqn")["ratio"] == pytest.approx(7.0)
    assert find(found, "simqn")["met"] is True
    assert find(found, "qdpem")["ratio"] is None


def test_wall_time_and_events_go_by_delivered_pair(figures):
    rows = [a_run("qdpem", delivered=count, events=40 * count) for count in (50, 100, 400)]
    one = figures.summaries(rows)[0]
    assert one["events_per_delivered"] == pytest.approx(40.0)
    assert one["ms_per_delivered"] == pytest.approx(10.0)
    assert one["delivered_per_simulated_s"] == pytest.approx(50.0)


def test_the_probe_is_a_floor_to_come_close_to(figures):
    for factor, met in ((2.4, True), (2.6, False)):
        found = figures.summaries([a_run("qdpem", wall_s=factor), a_run("probe", wall_s=1.0)])
        assert find(found, "probe")["met"] is met


def test_cases_are_kept_apart(figures):
    rows = [
        a_run(peer, nodes=nodes, memories=memories, wall_s=wall_s * memories)
        for nodes, memories in ((3, 1), (3, 4), (17, 1))
        for peer, wall_s in (("qdpem", float(nodes)), ("sequence", 900.0))
    ]
    found = figures.summaries(rows)
    assert find(found, "sequence", nodes=3, memories=4)["ratio"] == pytest.approx(300.0)
    assert find(found, "sequence", nodes=3, memories=4)["met"] is True
    assert find(found, "sequence", nodes=17, memories=1)["ratio"] == pytest.approx(900.0 / 17.0)
    assert find(found, "sequence", nodes=17, memories=1)["met"] is False


def test_fidelity_is_that_of_all_pairs_of_all_rounds(figures):
    pairs = [[0.9, 0.8, 0.85], [0.7, 0.9]]
    rows = [
        a_run(
            "qdpem",
            delivered=len(values),
            mean_fidelity=statistics.fmean(values),
            standard_error=statistics.stdev(values) / math.sqrt(len(values)),
        )
        for values in pairs
    ]
    one = figures.summaries(rows)[0]
    together = [value for values in pairs for value in values]
    assert one["mean_fidelity"] == pytest.approx(statistics.fmean(together))
    summed = sum(len(values) * statistics.variance(values) for values in pairs)
    assert one["standard_error"] == pytest.approx(math.sqrt(summed) / len(together))


def test_a_failing_peer_is_told_and_does_not_stop_the_others(figures):
    failed = figures.failure("simqn", nodes=5, memories=1, seed=2, error="ImportError: no qns")
    rows = [a_run("qdpem"), failed, a_run("probe", wall_s=0.5), a_run("simqn", wall_s=6.0), failed]
    found = figures.summaries(rows)
    one = find(found, "simqn")
    assert (one["runs"], one["failed"], one["errors"]) == (1, 2, ["ImportError: no qns"])
    assert one["ratio"] == pytest.approx(6.0)
    text = figures.table(found)
    assert "1 of 3" in text
    assert text.splitlines()[-1] == "failed: simqn, 5 nodes, 1 memories: ImportError: no qns"


def test_without_our_own_figure_there_is_no_ratio_and_nothing_is_met(figures):
    failed = figures.failure("qdpem", nodes=5, memories=1, seed=1, error="killed")
    found = figures.summaries([failed, a_run("simqn")])
    assert find(found, "simqn")["ratio"] is None
    assert find(found, "simqn")["met"] is None
    assert "failed: qdpem, 5 nodes, 1 memories: killed" in figures.table(found)


def test_a_run_that_delivered_nothing_is_a_failure(figures):
    found = figures.summaries([a_run("qdpem"), a_run("sequence", delivered=0, mean_fidelity=None)])
    one = find(found, "sequence")
    assert one["failed"] == 1
    assert one["errors"] == ["no pair delivered in 2 simulated s"]


def test_the_table_is_aligned_and_has_a_line_for_each(figures):
    found = figures.summaries([a_run("qdpem"), a_run("sequence", wall_s=1234.5), a_run("simqn", wall_s=4.5)])
    lines = figures.table(found).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split()[:3] == ["nodes", "memories", "program"]
    assert "1.234e+04" in lines[2]
    assert "0.9000 +- 0.0010" in lines[1]


def test_a_program_that_cannot_run_or_ends_badly_is_a_failure(script, tmp_path, monkeypatch):
    compare = script("peers/compare.py", beside=("figures",))
    case = {"nodes": 3, "memories": 1, "seed": 1, "simulated_s": 0.1}
    row = compare.run_once("simqn", str(tmp_path / "nowhere"), **case)
    assert "cannot be run: No such file" in row["error"]
    monkeypatch.setattr(compare, "HERE", tmp_path)
    (tmp_path / "run_bad.py").write_text("raise RuntimeError('refused')")
    assert compare.run_once("bad", sys.executable, **case)["error"] == "RuntimeError: refused"
    (tmp_path / "run_slow.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(compare, "LIMIT_S", 0.2)
    assert compare.run_once("slow", sys.executable, **case)["error"] == "still running after 0.2 s"


def test_the_trial_sets_how_long_a_case_is_simulated(script):
    compare = script("peers/compare.py", beside=("figures",))
    assert compare.measured_s({"simulated_s": 0.05, "wall_s": 0.3}, wall_s=3.0) == 0.5
    assert compare.measured_s({"simulated_s": 2.0, "wall_s": 0.001}, wall_s=3.0) == 100.0


def test_the_programs_run_the_chain_of_the_scenario(script):
    case = script("peers/case.py")
    scenario = load_scenario("scenarios/chain.toml")
    link = scenario.links.hardware
    assert case.link_success() == pytest.approx(link.success_probability, rel=1e-12)
    assert pytest.approx(link.attempt_period_s, rel=1e-12) == case.ATTEMPT_S
    assert link.fresh_weights[0] == case.FRESH_FIDELITY
    assert scenario.topology.parameters["hop_km"] == case.HOP_KM
    assert scenario.nodes.hardware.memory.depolarising_s == case.COHERENCE_S


@pytest.mark.parametrize(("nodes", "anchor"), [(3, 0.9582), (5, 0.9172), (9, 0.8418)])
def test_the_probe_delivers_the_fidelity_that_two_other_simulators_agree_on(script, nodes, anchor):
    """Anchors of chains whose links never rest, from SimQN and a probe of another's making, to four digits.

    Seed fixed; the bound is four standard errors and the anchors' rounding: false alarm below 1e-3 in all.
    """
    case = script("peers/case.py")
    probe = script("peers/run_probe.py", beside=("case",))
    chain = probe.Chain(case.Case(nodes=nodes, memories=1, seed=3, warm_up_s=0.0, simulated_s=5.0))
    chain.clock.run(until=5.0)
    error = statistics.stdev(chain.fidelities) / math.sqrt(len(chain.fidelities))
    assert abs(statistics.fmean(chain.fidelities) - anchor) < 4.0 * error + 1e-4


def test_a_case_that_is_no_chain_is_refused_in_words(script):
    case = script("peers/case.py")
    with pytest.raises(ValueError, match="nodes = 2, memories = 1: at least 3 and 1 make a chain"):
        case.Case(nodes=2, memories=1, seed=1, warm_up_s=0.0, simulated_s=1.0)
    with pytest.raises(ValueError, match="must be above 0"):
        case.Case(nodes=3, memories=1, seed=1, warm_up_s=0.0, simulated_s=0.0)
