"""Tuning an arm: its tunable parameters, found on the tuning seeds by successive halving.

One run is one candidate on one seed over the scenario's whole window; a budget counts them all. The same
budget serves every arm, whatever it has to tune. The best of many is best partly by luck: its own score is
optimistic, and only seeds that chose nothing say whether it beats the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem import registry
from qdpem.errors import ScenarioError, StudyError
from qdpem.policy.tuning import Space, search_space
from qdpem.scenario.load import parameters_of
from qdpem.scenario.overrides import toml_value
from qdpem.scenario.schema import Arm, Scenario
from qdpem.scenario.semantics import TUNING_SEEDS
from qdpem.simulation.arms import resolve_arm
from qdpem.study.analysis.metric_formats import MetricFormat
from qdpem.study.analysis.statistics import PairedDifference, paired_difference
from qdpem.study.plan import without_study
from qdpem.study.progress import StudyProgress
from qdpem.study.tuning.halving import Halving, Values, draw_candidates, plan_halving
from qdpem.study.tuning.trials import Trial, Trials

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One choice of the tunable parameters, the arm that has it, and its trials by seed."""

    values: Values
    arm: Arm
    trials: dict[int, Trial] = field(default_factory=dict)

    def scores(self, seeds: Sequence[int]) -> Floats:
        """The objective on these seeds, NaN where there is no trial."""
        return np.array([self.trials[seed].value if seed in self.trials else math.nan for seed in seeds])

    def rank(self, seeds: Sequence[int]) -> tuple[float, float]:
        """For sorting: the objective falling, then contention rising; last of all if a trial is missing."""
        found = [self.trials[seed] for seed in seeds if seed in self.trials]
        if len(found) < len(seeds):
            return math.inf, math.inf
        contention = math.fsum(one.contention for one in found)
        return -math.fsum(one.value for one in found), contention if math.isfinite(contention) else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """What tuning found. `finalists`, best first, are the last rung; `seeds` chose among them.

    `held_out` are seeds that chose nothing; `made` and `kept` count runs made now and found in the file.
    """

    arm: Arm
    space: dict[str, Space]
    plan: Halving
    measure: MetricFormat
    defaults: Candidate
    finalists: tuple[Candidate, ...]
    seeds: tuple[int, ...]
    held_out: tuple[int, ...]
    faults: tuple[str, ...]
    made: int
    kept: int

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
        """The winner, or the defaults where it does worse than they on the seeds held out."""
        better = self.verdict is not None and self.verdict.difference.estimate >= 0.0
        return self.winner if better else self.defaults

    def _paired(self, candidate: Candidate, seeds: Sequence[int]) -> PairedDifference:
        return paired_difference(
            candidate.scores(seeds), reference=self.defaults.scores(seeds), key=f"tune/{self.arm.name}"
        )


def tune(
    scenario: Scenario,
    arm: Arm,
    *,
    budget: int,
    trials: Path,
    seeds: Sequence[int] = TUNING_SEEDS,
    engine: str = "loky",
    workers: int | None = None,
    progress: Callable[[StudyProgress], None] | None = None,
    on_plan: Callable[[Halving], None] | None = None,
) -> Tuning:
    """Find the tunable parameters of a resolved arm within `budget` runs, those in `trials` included.

    The objective is the mean delivery ratio over seeds (pairs per second where all requests come at t = 0);
    ties go to less contention. A candidate with a run that fails is out, and told in `Tuning.faults`.
    What other arms of the study have of the same parameters is tried as well. `on_plan` hears how the budget
    is spent before the first run. Raises StudyError for seeds that are no
    tuning seeds, an arm with nothing to tune, too small a budget, and when the defaults themselves fail.
    """
    _check_seeds(seeds)
    others = [resolve_arm(one) for one in scenario.study.arms] if scenario.study else []
    candidates, space = find_candidates(arm, others=others, count=budget)
    plan = plan_halving(budget, seeds=len(seeds), maximum=len(candidates))
    if on_plan is not None:
        on_plan(plan)
    runner = Trials(
        without_study(scenario),
        path=trials,
        planned=plan.runs,
        engine=engine,
        workers=workers,
        progress=progress,
    )
    finalists = _climb(runner, candidates, plan, seeds)
    defaults, last = candidates[0], plan.rungs[-1].seeds
    chosen_on, held_out = tuple(seeds[:last]), tuple(seeds[last : last + plan.held_out])
    if len(defaults.trials) < last:
        raise StudyError("the defaults themselves fail:\n  " + "\n  ".join(runner.faults))
    if finalists[0] is not defaults:
        _run(runner, [finalists[0], defaults], held_out)
    return Tuning(
        arm=arm,
        space=space,
        plan=plan,
        measure=runner.measure,
        defaults=defaults,
        finalists=tuple(finalists),
        seeds=chosen_on,
        held_out=held_out,
        faults=tuple(runner.faults),
        made=runner.made,
        kept=runner.kept,
    )


def find_candidates(
    arm: Arm, *, count: int, others: Sequence[Arm] = ()
) -> tuple[list[Candidate], dict[str, Space]]:
    """Up to `count` candidates, the arm as it is the first, and the space they come from.

    Next come the choices of resolved `others` whose policies have the same parameters: what serves one may
    serve the other. What the arm sets of its other parameters stays. Points that the policy refuses are left
    out. Raises StudyError when nothing is tunable.
    """
    factory = registry.load("policy", arm.policy)
    kind = getattr(factory, "Parameters", None)
    space: dict[str, Space] = {}
    if kind is not None:
        space = search_space(
            kind, pregeneration=arm.pregeneration or factory.pregeneration, control=factory.control
        )
    if kind is None or not space:
        raise StudyError(
            f"the policy {arm.policy!r} of the arm {arm.name!r} has no tunable parameter, so that there is"
            " nothing to find; what is learned is found by `qdpem train`"
        )
    path = f"arm {arm.name}.parameters"
    given = parameters_of(factory, arm.parameters, path=path)

    def allowed(values: Values) -> bool:
        try:
            parameters_of(factory, arm.parameters | values, path=path)
        except ScenarioError:
            return False
        return True

    chosen = [given, *_parameters_of_kind(kind, others)]
    drawn = draw_candidates(
        space,
        known=[{name: getattr(one, name) for name in space} for one in chosen],
        count=count,
        key=arm.policy,
        allowed=allowed,
    )
    made = [replace(arm, parameters=arm.parameters | values) for values in drawn[1:]]
    return [
        Candidate(values=values, arm=each) for values, each in zip(drawn, [arm, *made], strict=True)
    ], space


def _parameters_of_kind(kind: type, arms: Sequence[Arm]) -> list[Any]:
    """What those of the arms have whose policy has parameters of this kind."""
    factories = [(registry.load("policy", arm.policy), arm) for arm in arms]
    return [
        parameters_of(factory, arm.parameters, path=f"arm {arm.name}.parameters")
        for factory, arm in factories
        if getattr(factory, "Parameters", None) is kind
    ]


def snippet(tuning: Tuning, *, told: Sequence[str]) -> str:
    """The chosen arm as TOML, with comments that say what was found."""
    arm = tuning.chosen.arm
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
    comments = [f"# {line}".rstrip() for line in told]
    listed = f"# In a list of arms: {{ {', '.join(pairs)} }},"
    return "\n".join([*comments, listed, "[[study.arms]]", *pairs, ""])


def _check_seeds(seeds: Sequence[int]) -> None:
    strangers = sorted({seed for seed in seeds if seed not in TUNING_SEEDS})
    if strangers:
        listed = ", ".join(map(str, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise StudyError(
            f"{listed} {'is no tuning seed' if len(strangers) == 1 else 'are no tuning seeds'}; they are"
            f" {TUNING_SEEDS[0]} to {TUNING_SEEDS[-1]}, and what is tuned is tested on others"
        )
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise StudyError(f"seed {twice[0]} is given more than once; each counts once")


def _climb(
    runner: Trials, candidates: Sequence[Candidate], plan: Halving, seeds: Sequence[int]
) -> list[Candidate]:
    """The candidates of the last rung, best first."""
    persistence, seen = list(candidates), 0
    for rung in plan.rungs:
        persistence = _best(persistence, seeds[:seen], keep=rung.candidates, defaults=candidates[0])
        seen = rung.seeds
        _run(runner, persistence, seeds[:seen])
    return sorted(persistence, key=lambda one: one.rank(seeds[:seen]))


def _best(
    persistence: Sequence[Candidate], seeds: Sequence[int], *, keep: int, defaults: Candidate
) -> list[Candidate]:
    """The best `keep` of those that never failed, the defaults among them."""
    sound = [one for one in persistence if one is defaults or math.isfinite(one.rank(seeds)[0])]
    ranked = sorted(sound, key=lambda one: one.rank(seeds))[:keep]
    return ranked if defaults in ranked else [*ranked[:-1], defaults]


def _run(runner: Trials, candidates: Sequence[Candidate], seeds: Sequence[int]) -> None:
    """Fill in the trials that the candidates lack on these seeds."""
    wanted = [(one, seed) for seed in seeds for one in candidates if seed not in one.trials]
    found = runner.run([(one.arm, seed) for one, seed in wanted])
    for (one, seed), trial in zip(wanted, found, strict=True):
        if trial is not None:
            one.trials[seed] = trial
