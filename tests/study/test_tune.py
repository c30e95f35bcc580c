"""Tuning finds what is better, keeps what it ran, and says how far to trust it."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import PolicyError, StudyError
from qdpem.policies.minimum_hop import LocalMinimumHop, MinimumHopParameters
from qdpem.policy.interface import Decisions, Observation
from qdpem.policy.tuning import Range, tunable
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import ResolvedArm, resolve_arm
from qdpem.study.tuning.trials import Trial, TrialFile
from qdpem.study.tuning.tune import Candidate, Tuning, snippet, tune

BUDGET = 24


class Picky(LocalMinimumHop):
    """Serves a `fraction` of the requests, by their ids: the best share is 1 by construction."""

    @dataclass(frozen=True, kw_only=True)
    class Parameters(MinimumHopParameters):
        fraction: float = tunable(0.3, low=0.0, high=1.0)
        storage_fraction: float = MinimumHopParameters.storage_fraction
        fails_above: float = 2.0

    def act(self, observations: Observation) -> Decisions:
        if self._parameters.fraction > self._parameters.fails_above:
            raise PolicyError("share is too high")
        made = super().act(observations).allocations
        fraction = 100.0 * self._parameters.fraction
        return Decisions(allocations=tuple(one for one in made if 37 * one.request % 100 < fraction))


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> ResolvedArm:
    """A resolved arm of `Picky`, registered in place of local-minhop."""
    monkeypatch.setattr("qdpem.policies.minimum_hop.LocalMinimumHop", Picky)
    return resolve_arm(Arm(name="picky", policy="local-minhop"))


def run(scenario, arm, path: Path, **options) -> Tuning:
    settings = {"budget": BUDGET, "engine": "serial"} | options
    return tune(scenario, arm, trials=path / "picky.jsonl", **settings)


def test_a_better_parameter_is_found_and_beats_the_defaults_on_seeds_held_out(
    small_scenario, picky, tmp_path
) -> None:
    told = []
    found = run(small_scenario, picky, tmp_path, on_plan=told.append)
    assert told == [found.plan]
    assert found.made == found.plan.runs <= BUDGET
    assert found.winner.values["fraction"] > 0.7
    assert found.verdict is not None
    assert found.verdict.clear
    assert found.verdict.difference.estimate > 0.2
    assert set(found.seeds).isdisjoint(found.held_out)
    assert set(found.seeds) | set(found.held_out) <= set(range(100))
    assert found.chosen.arm.arm == replace(picky.arm, parameters=dict(found.winner.values))
    assert found.defaults in found.finalists
    assert found.defaults.values == {"fraction": 0.3}


def test_what_other_arms_of_the_rule_have_is_tried(small_scenario, picky, tmp_path) -> None:
    other = Arm(name="other", policy="local-minhop", parameters={"fraction": 0.987})
    stranger = Arm(name="local-expected-delay", parameters={"max_unloaded_delay": 1.1})
    table = replace(small_scenario.study, arms=(stranger, other, Arm(name="picky", policy="local-minhop")))
    found = run(replace(small_scenario, study=table), picky, tmp_path, budget=8)
    assert found.plan.rungs[0].candidates == 2
    assert found.winner.values == {"fraction": 0.987}


@pytest.mark.slow
def test_the_winner_is_the_best_of_the_last_rung_by_its_own_trials(small_scenario, picky, tmp_path) -> None:
    found = run(small_scenario, picky, tmp_path)
    means = [one.scores(found.seeds).mean() for one in found.finalists]
    assert means == sorted(means, reverse=True)
    lead = found.lead(found.winner).difference.estimate
    assert lead == pytest.approx(means[0] - found.defaults.scores(found.seeds).mean())


@pytest.mark.slow
def test_finished_runs_are_kept_and_a_killed_tuning_goes_on(small_scenario, picky, tmp_path) -> None:
    whole = run(small_scenario, picky, tmp_path)
    path = tmp_path / "picky.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == whole.made
    again = run(small_scenario, picky, tmp_path)
    assert (again.made, again.reused) == (0, whole.made)
    assert again.winner.values == whole.winner.values
    # Killed while the eighth line was written.
    path.write_text("\n".join(lines[:7]) + "\n" + lines[7][:40], encoding="utf-8")
    resumed = run(small_scenario, picky, tmp_path)
    assert (resumed.made, resumed.reused) == (whole.made - 7, 7)
    assert resumed.winner.values == whole.winner.values
    np.testing.assert_array_equal(resumed.winner.scores(whole.seeds), whole.winner.scores(whole.seeds))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    assert len(rows) == whole.made


@pytest.mark.slow
def test_another_scenario_or_parameter_runs_again(small_scenario, picky, tmp_path) -> None:
    run(small_scenario, picky, tmp_path)
    louder = replace(small_scenario, demand=replace(small_scenario.demand, rate_hz=7.0))
    assert run(louder, picky, tmp_path).reused == 0
    slower = replace(picky.arm, parameters={"storage_fraction": 0.3})
    assert run(small_scenario, slower, tmp_path).reused == 0
    assert run(replace(small_scenario, study=None), picky, tmp_path).made == 0


@pytest.mark.slow
def test_a_larger_budget_reuses_the_runs_of_a_smaller_one(small_scenario, picky, tmp_path) -> None:
    run(small_scenario, picky, tmp_path, budget=10)
    assert run(small_scenario, picky, tmp_path).reused > 0


@pytest.mark.slow
def test_a_candidate_that_fails_is_out_and_told(small_scenario, picky, tmp_path) -> None:
    arm = replace(picky.arm, parameters={"fails_above": 0.6})
    found = run(small_scenario, arm, tmp_path)
    assert found.faults
    assert all("share is too high" in fault for fault in found.faults)
    assert 0.3 < found.winner.values["fraction"] <= 0.6
    with pytest.raises(StudyError, match=r"the defaults themselves fail:\n.*share is too high"):
        run(small_scenario, replace(picky.arm, parameters={"fails_above": 0.2}), tmp_path)


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (range(96, 104), "100, 101, 102, 103 are no tuning seeds; they are 0 to 99"),
        ((1, 2, 3, 1000), "1000 is no tuning seed"),
        ((1, 2, 3, 3), "seed 3 is given more than once"),
    ],
)
def test_only_tuning_seeds_are_taken(small_scenario, picky, tmp_path, seeds, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        run(small_scenario, picky, tmp_path, seeds=seeds)


def test_an_arm_without_tunable_parameters_is_a_sentence(
    small_scenario, picky, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("qdpem.study.tuning.tune.search_space", lambda *_, **__: {})
    with pytest.raises(StudyError, match=r"has no tunable parameter.*qdpem train"):
        run(small_scenario, picky, tmp_path)


@pytest.mark.slow
def test_the_snippet_is_an_arm_that_a_scenario_takes(small_scenario, picky, tmp_path) -> None:
    found = run(small_scenario, picky, tmp_path)
    text = snippet(found, comments=["found by hand"])
    assert text.startswith("# found by hand\n")
    [arm] = tomllib.loads(text)["study"]["arms"]
    taken = resolve_arm(Arm(**arm | {"tuned_on": tuple(arm["tuned_on"])})).arm
    assert taken == replace(found.chosen.arm.arm, tuned_on=tuple(sorted({*found.seeds, *found.held_out})))
    listed = next(line for line in text.splitlines() if "In a list" in line).partition(": ")[2]
    assert tomllib.loads(f"arms = [{listed}]")["arms"] == [arm]


def unregistered(fraction: float) -> ResolvedArm:
    """An arm that no test runs."""
    return ResolvedArm(arm=Arm(name="x", parameters={"fraction": fraction}), factory=None, parameters=None)


def made_tuning(small_scenario, *, winner: list[float], defaults: list[float]) -> Tuning:
    """A tuning by hand: the winner leads on seeds 0 to 3; `winner` and `defaults` on the held out 4 to 7."""
    from qdpem.study.analysis.metric_formats import DELIVERY
    from qdpem.study.tuning.halving import plan_halving

    def candidate(fraction: float, values: list[float]) -> Candidate:
        trials = {seed: Trial(value=value, contention=1.0, wall_s=1.0) for seed, value in enumerate(values)}
        return Candidate(values={"fraction": fraction}, arm=unregistered(fraction), trials=trials)

    best = candidate(0.9, [0.8, 0.81, 0.82, 0.83, *winner])
    first = candidate(0.3, [0.7, 0.71, 0.72, 0.73, *defaults])
    return Tuning(
        arm=Arm(name="x"),
        space={"fraction": Range(0.0, 1.0)},
        plan=plan_halving(24, seeds=100),
        objective=DELIVERY,
        contention_weight=0.0,
        defaults=first,
        finalists=(best, first),
        seeds=(0, 1, 2, 3),
        held_out=(4, 5, 6, 7),
        faults=(),
        made=1,
        reused=0,
    )


def test_what_the_held_out_seeds_say_is_what_is_said(small_scenario) -> None:
    from qdpem.study.tuning.report import tuning_sentences

    base = [0.70, 0.72, 0.71, 0.73]
    clear = made_tuning(small_scenario, winner=[0.75, 0.78, 0.76, 0.78], defaults=base)
    assert tuning_sentences(clear)[0].startswith(
        "The winner beats the defaults on the 4 seeds held out (4 to 7)"
    )
    assert "Its +0.100 on the seeds that chose it is optimistic" in tuning_sentences(clear)[1]
    unclear = made_tuning(small_scenario, winner=[0.72, 0.70, 0.73, 0.73], defaults=base)
    assert "do not distinguish it from the defaults" in tuning_sentences(unclear)[0]
    assert unclear.chosen is unclear.winner
    worse = made_tuning(small_scenario, winner=[0.69, 0.70, 0.70, 0.73], defaults=base)
    assert "The defaults are kept: the winner does not beat them" in tuning_sentences(worse)[0]
    assert worse.chosen is worse.defaults


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (Range(0.0, 1.0), "fraction = 0.9 of 0 to 1"),
        (Range(0.85, 4.0), "fraction = 0.9 of 0.85 to 4"),
        (Range(0.1, 1.0, log=True), "fraction = 0.9 of 0.1 to 1"),
        (Range(0.1, 2.0), ""),
        (Range(0.01, 2.0, log=True), ""),
    ],
)
def test_a_parameter_chosen_at_an_end_of_its_range_is_told(small_scenario, space, said) -> None:
    from qdpem.study.tuning.report import tuning_sentences

    clear = made_tuning(small_scenario, winner=[0.75, 0.78, 0.76, 0.78], defaults=[0.70, 0.72, 0.71, 0.73])
    told = tuning_sentences(replace(clear, space={"fraction": space}))[2:]
    assert told == [f"At an end of its range: {said}. Better values may lie beyond."] * bool(said)


def test_ties_go_to_less_contention_and_then_to_the_defaults() -> None:
    def candidate(value: float, contention: float) -> Candidate:
        trial = Trial(value=value, contention=contention, wall_s=1.0)
        return Candidate(values={}, arm=unregistered(0.5), trials={0: trial})

    loud, quiet, better = candidate(0.5, 2.0), candidate(0.5, 1.0), candidate(0.6, 9.0)
    unknown = Candidate(values={}, arm=unregistered(0.5))
    ranked = sorted([unknown, loud, quiet, better], key=lambda one: one.rank([0]))
    assert ranked == [better, quiet, loud, unknown]


def test_a_trial_file_leaves_out_what_it_cannot_read(tmp_path) -> None:
    path = tmp_path / "deep" / "trials.jsonl"
    file, trial = TrialFile(path), Trial(value=0.5, contention=1.0, wall_s=2.0)
    file.add({"seed": 1}, trial)
    with path.open("a", encoding="utf-8") as torn:
        torn.write('{"run": {"seed"')
    file.add({"seed": 2}, trial)
    read = TrialFile(path)
    assert (read.find({"seed": 1}), read.find({"seed": 2}), read.find({"seed": 3})) == (trial, trial, None)


def test_a_contention_weight_changes_the_order_of_candidates() -> None:
    def candidate(value: float, contention: float, weight: float) -> Candidate:
        trials = {seed: Trial(value=value, contention=contention, wall_s=1.0) for seed in (0, 1)}
        return Candidate(
            values={"fraction": value}, arm=unregistered(value), trials=trials, contention_weight=weight
        )

    for weight, first in ((0.0, 0.8), (0.01, 0.8), (0.03, 0.7)):
        both = [candidate(0.8, 6.0, weight), candidate(0.7, 2.0, weight)]
        best = min(both, key=lambda item: item.rank((0, 1)))
        assert best.values["fraction"] == first
        # 0.1 more delivery is worth 4 more contended claims up to a weight of 0.025.
        assert both[0].scores((0, 1)) == pytest.approx([0.8 - 6.0 * weight] * 2, abs=1e-12)


def test_a_run_without_contention_has_no_score_of_its_own_contention() -> None:
    trial = Trial(value=3.0, contention=math.nan, wall_s=1.0)
    assert trial.score(0.0) == 3.0
    assert math.isnan(trial.score(0.1))
