"""Successive halving: how a budget of runs is spent on candidates, and where the candidates come from.

Source: Jamieson and Talwalkar (2016). All candidates meet the same few seeds; the better half goes on to
twice as many; and so on. The first candidate is what is in use now, and is never dropped, so that the others
can be paired with it to the end. Seeds that no choice looked at are held out for the last word.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdpem.errors import StudyError
from qdpem.policy.tuning import Choices, Range, Space
from qdpem.rng import stream

Values = dict[str, Any]

_FIRST_SEEDS = 2
_FINALISTS = 3
_MIN_HELD_OUT = 2
_HELD_OUT_FRACTION = 8
_MIN_BUDGET = 8
_DIGITS = 4
_PATIENCE = 64
"""Draws in a row that may bring nothing new before a space counts as used up."""


@dataclass(frozen=True)
class Rung:
    """So many candidates, each on the first so many seeds; runs of earlier rungs count."""

    candidates: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Halving:
    """How a budget is spent: the rungs, then the winner and the defaults on `held_out` further seeds."""

    budget: int
    rungs: tuple[Rung, ...]
    held_out: int

    @property
    def search_runs(self) -> int:
        """Runs of all rungs."""
        return _cost(self.rungs)

    @property
    def runs(self) -> int:
        """All runs, at most the budget; fewer are made when the defaults win."""
        return self.search_runs + 2 * self.held_out

    def __str__(self) -> str:
        steps = ", ".join(f"{rung.candidates} candidates on {rung.seeds} seeds" for rung in self.rungs)
        return (
            f"{steps} ({self.search_runs} runs), then the winner and the defaults on {self.held_out} seeds"
            f" held out ({2 * self.held_out} runs)"
        )


def plan_halving(budget: int, *, seeds: int, maximum: int | None = None) -> Halving:
    """The largest halving within `budget` runs and `seeds` seeds, of at most `maximum` candidates.

    An eighth of the budget, and no more than half of the seeds, says how many seeds are held out. What
    rounding leaves over gives the last rung more seeds. Raises StudyError when there is too little of either.

    >>> print(plan_halving(64, seeds=100))
    12 candidates on 2 seeds, 6 candidates on 4 seeds, 3 candidates on 8 seeds (48 runs), then the winner\
 and the defaults on 8 seeds held out (16 runs)
    """
    if budget < _MIN_BUDGET:
        raise StudyError(
            f"a budget of {budget} runs finds nothing; it must be {_MIN_BUDGET} or more, which is two"
            " candidates on two seeds, and both on two seeds held out"
        )
    if seeds < _FIRST_SEEDS + _MIN_HELD_OUT:
        raise StudyError(
            f"{seeds} seeds are too few to tune on; give {_FIRST_SEEDS + _MIN_HELD_OUT} or more, half of"
            " which are held out"
        )
    held_out = min(max(_MIN_HELD_OUT, budget // _HELD_OUT_FRACTION), seeds // 2)
    left, shared = budget - 2 * held_out, seeds - held_out
    highest = left // _FIRST_SEEDS if maximum is None else min(maximum, left // _FIRST_SEEDS)
    fitting = (_rungs(count, shared) for count in range(highest, 1, -1))
    rungs = next((found for found in fitting if _cost(found) <= left), None)
    if rungs is None:
        raise StudyError(f"there are {maximum} candidates; it needs two or more to choose from")
    *before, last = rungs
    more = min(last.seeds + (left - _cost(rungs)) // last.candidates, shared)
    return Halving(budget=budget, rungs=(*before, Rung(last.candidates, more)), held_out=held_out)


def _rungs(candidates: int, seeds: int) -> tuple[Rung, ...]:
    found = [Rung(candidates, min(_FIRST_SEEDS, seeds))]
    while found[-1].candidates > _FINALISTS and found[-1].seeds < seeds:
        last = found[-1]
        found.append(Rung(math.ceil(last.candidates / 2), min(2 * last.seeds, seeds)))
    return tuple(found)


def _cost(rungs: tuple[Rung, ...]) -> int:
    seen = [0, *(rung.seeds for rung in rungs)]
    return sum(rung.candidates * (rung.seeds - before) for rung, before in zip(rungs, seen[:-1], strict=True))


def draw_candidates(
    space: Mapping[str, Space],
    *,
    known: Sequence[Values],
    count: int,
    key: str,
    allowed: Callable[[Values], bool] = lambda _: True,
) -> list[Values]:
    """At most `count` different points of `space`, those `known` first; fewer when it has no more.

    The others are a Sobol sequence (1967) in the unit cube, scrambled by the stream named `key`, so that more
    are the same ones and some on top. Points that are not `allowed` are left out.
    """
    found: list[Values] = []
    for values in known:
        if values not in found and (not found or allowed(values)):
            found.append(values)
    without_news = 0
    for point in _sobol(len(space), key=key):
        if len(found) >= count or without_news >= _PATIENCE:
            break
        values = {name: _at(one, u) for (name, one), u in zip(space.items(), point, strict=True)}
        fresh = values not in found and allowed(values)
        without_news = 0 if fresh else without_news + 1
        if fresh:
            found.append(values)
    return found


def _sobol(dimensions: int, *, key: str) -> Iterator[list[float]]:
    """Points of the unit cube without end."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(dimensions, scramble=True, seed=stream(0, f"tune/{key}"))
    # Powers of two keep the sequence balanced: the first block, then as many again, and so on.
    yield from sequence.random_base2(4).tolist()
    for power in itertools.count(4):
        yield from sequence.random_base2(power).tolist()


def _at(space: Space, u: float) -> Any:
    """The value that a uniform on [0, 1) stands for."""
    if isinstance(space, Choices):
        return space.values[int(u * len(space.values))]
    if space.whole:
        return min(math.floor(_between(space, space.low, space.high + 1, u)), int(space.high))
    value = float(f"{_between(space, space.low, space.high, u):.{_DIGITS}g}")
    return min(max(value, space.low), space.high)


def _between(space: Range, low: float, high: float, u: float) -> float:
    return float(low * (high / low) ** u) if space.log else low + u * (high - low)
