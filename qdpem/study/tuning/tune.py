"""Tuning an arm: its tunable parameters, found on the tuning seeds by successive halving.

One run is one candidate on one seed over the scenario's whole window, and a budget counts all runs. The same
budget serves every arm, however many parameters it has. The best of many candidates is the best partly by
luck, so its own score is optimistic. Seeds held out of the choice show whether it beats the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import ScenarioError, StudyError
from qdpem.file_lock import held
from qdpem.policy.tuning import Space, search_space
from qdpem.scenario.faults.semantics import TUNING_SEEDS
from qdpem.scenario.load import parameters_of
from qdpem.scenario.overrides import toml_value
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import ResolvedArm, resolve_arm
from qdpem.study.analysis.metric_formats import MetricFormat
from qdpem.study.analysis.statistics import PairedDifference, paired_difference
from qdpem.study.plan import without_study
from qdpem.study.progress import StudyProgress
from qdpem.study.tuning.halving import Halving, Values, draw_candidates, plan_halving
from qdpem.study.tuning.trials import Trial, Trials


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One choice of the tunable parameters, the arm that has it, and its trials by seed.

    `contention_weight`: what a contended claim a request costs in units of the objective.
    """

    values: Values
    arm: ResolvedArm
    contention_weight: float = 0.0
    trials: dict[int, Trial] = field(default_factory=dict)

    def scores(self, seeds: Sequence[int]) -> Floats:
        """The objective on these seeds, NaN where there is no trial."""
        return np.array(
            [
                self.trials[seed].score(self.contention_weight) if seed in self.trials else math.nan
                for seed in seeds
            ]
        )

    def mean(self, name: str, seeds: Sequence[int]) -> float:
        """The mean of the trials' `value`, or `contention`, on these seeds."""
        return float(np.mean([getattr(self.trials[seed], name) for seed in seeds]))

    def rank(self, seeds: Sequence[int]) -> tuple[float, float]:
        """A sort key: falling objective, then rising contention. A candidate without a trial comes last."""
        trials = [self.trials[seed] for seed in seeds if seed in self.trials]
        if len(trials) < len(seeds):
            return math.inf, math.inf
        contention = math.fsum(trial.contention for trial in trials)
        # NaN would leave the order of a sort undefined.
        score = math.fsum(trial.score(self.contention_weight) for trial in trials)
        return -score, contention if math.isfinite(contention) else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """The result of a tuning.

    `finalists` are the candidates of the last rung, best first. They were compared on `seeds`; the seeds
    `held_out` had no part in any choice. `made` and `reused` count the runs made now and those found in the
    file.
    """

    arm: Arm
    space: dict[str, Space]
    plan: Halving
    objective: MetricFormat
    contention_weight: float
    defaults: Candidate
    finalists: tuple[Candidate, ...]
    seeds: tuple[int, ...]
    held_out: tuple[int, ...]
    faults: tuple[str, ...]
    made: int
    reused: int

    @property
    def winner(self) -> Candidate:
        """The best of the last rung."""
        return self.finalists[0]

    def lead(self, candidate: Candidate) -> PairedDifference:
        """A candidate minus the defaults on the seeds that chose it: optimistic."""
        return self._paired(candidate, self.seeds)

    @cached_property
    def verdict(self) -> PairedDifference | None:
        """The winner minus the defaults on the seeds held out; None when the defaults won."""
        return None if self.winner is self.defaults else self._paired(self.winner, self.held_out)

    @property
    def chosen(self) -> Candidate:
        """The winner, or the defaults if the winner does worse on the seeds held out."""
        better = self.verdict is not None and self.verdict.difference.estimate >= 0.0
        return self.winner if better else self.defaults

    def _paired(self, candidate: Candidate, seeds: Sequence[int]) -> PairedDifference:
        return paired_difference(
            candidate.scores(seeds), reference=self.defaults.scores(seeds), key=f"tune/{self.arm.name}"
        )


def tune(
    scenario: Scenario,
    arm: Arm | ResolvedArm,
    *,
    budget: int,
    trials: Path,
    seeds: Sequence[int] = TUNING_SEEDS,
    contention_weight: float = 0.0,
    engine: str = "loky",
    workers: int | None = None,
    progress: Callable[[StudyProgress], None] | None = None,
    on_plan: Callable[[Halving], None] | None = None,
) -> Tuning:
    """Find the tunable parameters of an arm within `budget` runs.

    The objective is the mean delivery ratio over seeds, or pairs per second where all requests come at t = 0.
    Ties go to less contention; a `contention_weight` above 0 takes that multiple of the contended claims per
    request from it, so that several weights find the frontier of an arm. A candidate with a failed run is
    dropped and reported in `Tuning.faults`.
    Values that other arms of the study set for the same parameters are candidates too. Raises StudyError for
    seeds that are not tuning seeds, a negative weight, an arm with nothing to tune, too small a budget, and
    failed defaults, and HeldError when another process uses `trials`.

    Args:
        scenario: the scenario to tune on; its [study] table gives the other arms.
        arm: the arm to tune.
        budget: runs, those found in `trials` included.
        trials: the file that keeps the result of every run.
        seeds: tuning seeds, used in this order.
        contention_weight: what a contended claim per request costs in units of the objective; 0 or more.
        engine: "serial" or "loky".
        workers: runs at a time; one per core when None.
        progress: receives the progress of all planned runs.
        on_plan: receives the division of the budget before the first run.
    """
    _check_seeds(seeds)
    if not 0.0 <= contention_weight < math.inf:
        raise StudyError(f"the contention weight is {contention_weight!r}; it must be a number of 0 or more")
    resolved = resolve_arm(arm)
    others = [resolve_arm(other) for other in scenario.study.arms] if scenario.study else []
    candidates, space = find_candidates(
        resolved, others=others, count=budget, contention_weight=contention_weight
    )
    plan = plan_halving(budget, seeds=len(seeds), maximum=len(candidates))
    if on_plan is not None:
        on_plan(plan)
    # Before the file is read: a run that another process adds to it meanwhile would be made twice.
    with held(trials.parent, file=trials.name):
        runner = Trials(
            without_study(scenario),
            path=trials,
            planned=plan.runs,
            engine=engine,
            workers=workers,
            progress=progress,
        )
        finalists = _run_rungs(runner, candidates, plan, seeds)
        last = plan.rungs[-1].seeds
        held_out = tuple(seeds[last : last + plan.held_out])
        _run_held_out(runner, finalists[0], candidates[0], chosen_on=last, held_out=held_out)
    return Tuning(
        arm=resolved.arm,
        space=space,
        plan=plan,
        objective=runner.objective,
        contention_weight=contention_weight,
        defaults=candidates[0],
        finalists=tuple(finalists),
        seeds=tuple(seeds[:last]),
        held_out=held_out,
        faults=tuple(runner.faults),
        made=runner.made,
        reused=runner.reused,
    )


def find_candidates(
    arm: ResolvedArm,
    *,
    count: int,
    others: Sequence[ResolvedArm] = (),
    contention_weight: float = 0.0,
) -> tuple[list[Candidate], dict[str, Space]]:
    """Up to `count` candidates, the first of which is the arm itself, and the space that they come from.

    The values of those `others` whose policies have the same kind of parameters come next. Parameters that
    are not tunable keep the arm's values. Points that the policy refuses are left out. Raises StudyError when
    nothing is tunable.
    """
    kind, space = getattr(arm.factory, "Parameters", None), _space_of(arm)
    path = f"arm {arm.name}.parameters"

    def allowed(values: Values) -> bool:
        try:
            parameters_of(arm.factory, arm.arm.parameters | values, path=path)
        except ScenarioError:
            return False
        return True

    alike = [other for other in others if getattr(other.factory, "Parameters", None) is kind]
    drawn = draw_candidates(
        space,
        known=[{name: getattr(one.parameters, name) for name in space} for one in (arm, *alike)],
        count=count,
        key=str(arm.arm.policy),
        allowed=allowed,
    )
    arms = [arm, *(_with_parameters(arm, values) for values in drawn[1:])]
    return [
        Candidate(values=values, arm=candidate, contention_weight=contention_weight)
        for values, candidate in zip(drawn, arms, strict=True)
    ], space


def _space_of(arm: ResolvedArm) -> dict[str, Space]:
    """The ranges and choices of the arm's tunable parameters. Raises StudyError when there are none."""
    kind, factory = getattr(arm.factory, "Parameters", None), arm.factory
    space: dict[str, Space] = {}
    if kind is not None:
        space = search_space(
            kind, pregeneration=arm.arm.pregeneration or factory.pregeneration, control=factory.control
        )
    if not space:
        raise StudyError(
            f"the policy {arm.arm.policy!r} of the arm {arm.name!r} has no tunable parameter;"
            " a learned policy is trained with `qdpem train`"
        )
    return space


def _with_parameters(arm: ResolvedArm, values: Values) -> ResolvedArm:
    return resolve_arm(replace(arm.arm, parameters=arm.arm.parameters | values))


def snippet(tuning: Tuning, *, comments: Sequence[str]) -> str:
    """The chosen arm as TOML under `comments`, one a line."""
    arm = tuning.chosen.arm.arm
    parameters = ", ".join(f"{name} = {toml_value(value)}" for name, value in arm.parameters.items())
    values = {
        "name": arm.name,
        "policy": arm.policy,
        "control": arm.control,
        "pregeneration": arm.pregeneration,
        "forecaster": arm.forecaster,
    }
    pairs = [f"{name} = {toml_value(value)}" for name, value in values.items()]
    pairs += [f"parameters = {{ {parameters} }}"] if parameters else []
    # The seeds held out decided between the winner and the defaults, so they had a part in it too.
    used = tuning.seeds if tuning.verdict is None else (*tuning.seeds, *tuning.held_out)
    pairs += [f"tuned_on = {toml_value(sorted({*arm.tuned_on, *used}))}"]
    lines = [f"# {line}".rstrip() for line in comments]
    listed = f"# In a list of arms: {{ {', '.join(pairs)} }},"
    return "\n".join([*lines, listed, "[[study.arms]]", *pairs, ""])


def _check_seeds(seeds: Sequence[int]) -> None:
    strangers = sorted({seed for seed in seeds if seed not in TUNING_SEEDS})
    if strangers:
        listed = ", ".join(map(str, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise StudyError(
            f"{listed} {'is no tuning seed' if len(strangers) == 1 else 'are no tuning seeds'}; they are"
            f" {TUNING_SEEDS[0]} to {TUNING_SEEDS[-1]}, because a tuned arm must be tested on other seeds"
        )
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        raise StudyError(f"seed {repeated[0]} is given more than once; give each seed once")


def _run_rungs(
    runner: Trials, candidates: Sequence[Candidate], plan: Halving, seeds: Sequence[int]
) -> list[Candidate]:
    """The candidates of the last rung, best first."""
    remaining, seen = list(candidates), 0
    for rung in plan.rungs:
        remaining = _best(remaining, seeds[:seen], count=rung.candidates, defaults=candidates[0])
        seen = rung.seeds
        _run(runner, remaining, seeds[:seen])
    return sorted(remaining, key=lambda candidate: candidate.rank(seeds[:seen]))


def _run_held_out(
    runner: Trials, winner: Candidate, defaults: Candidate, *, chosen_on: int, held_out: Sequence[int]
) -> None:
    """Run the winner and the defaults on the seeds held out, unless the defaults are the winner.

    Raises StudyError if the defaults failed on one of the `chosen_on` seeds of the last rung.
    """
    if len(defaults.trials) < chosen_on:
        raise StudyError("the defaults themselves fail:\n  " + "\n  ".join(runner.faults))
    if winner is not defaults:
        _run(runner, [winner, defaults], held_out)


def _best(
    candidates: Sequence[Candidate], seeds: Sequence[int], *, count: int, defaults: Candidate
) -> list[Candidate]:
    """The best `count` of those that never failed, the defaults among them."""
    sound = [
        candidate
        for candidate in candidates
        if candidate is defaults or math.isfinite(candidate.rank(seeds)[0])
    ]
    ranked = sorted(sound, key=lambda candidate: candidate.rank(seeds))[:count]
    # The defaults take the last place: every other candidate is paired with them.
    return ranked if defaults in ranked else [*ranked[:-1], defaults]


def _run(runner: Trials, candidates: Sequence[Candidate], seeds: Sequence[int]) -> None:
    """Add the trials that the candidates lack on these seeds."""
    missing = [
        (candidate, seed) for seed in seeds for candidate in candidates if seed not in candidate.trials
    ]
    trials = runner.run([(candidate.arm, seed) for candidate, seed in missing])
    for (candidate, seed), trial in zip(missing, trials, strict=True):
        if trial is not None:
            candidate.trials[seed] = trial
