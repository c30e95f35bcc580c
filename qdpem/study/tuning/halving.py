"""Successive halving: the division of a budget of runs among candidates, and the candidates' origin.

Source: Jamieson and Talwalkar (2016). All candidates run on the same few seeds, the better half continues
on twice as many seeds, and so on. The first candidate holds the values in use now. It is never dropped, so
that the others can be paired with it to the end. The final comparison uses seeds that no choice has used.
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
"""Draws in a row without a new point after which a space counts as exhausted."""


@dataclass(frozen=True)
class Rung:
    """A number of candidates, each run on the first `seeds` seeds; runs of earlier rungs count."""

    candidates: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Halving:
    """The division of a budget: the rungs, then the winner and the defaults on `held_out` further seeds."""

    budget: int
    rungs: tuple[Rung, ...]
    held_out: int

    @property
    def search_runs(self) -> int:
        """The runs of all rungs."""
        return _cost(self.rungs)

    @property
    def runs(self) -> int:
        """All runs, at most the budget; fewer are made when the defaults win."""
        return self.search_runs + 2 * self.held_out

    def __str__(self) -> str:
        rungs = ", ".join(f"{rung.candidates} candidates on {rung.seeds} seeds" for rung in self.rungs)
        return (
            f"{rungs} ({self.search_runs} runs), then the winner and the defaults on {self.held_out} seeds"
            f" held out ({2 * self.held_out} runs)"
        )


def plan_halving(budget: int, *, seeds: int, maximum: int | None = None) -> Halving:
    """The largest halving within `budget` runs and `seeds` seeds, of at most `maximum` candidates.

    One seed is held out for every eight runs of the budget, but at most half of the seeds. The runs that
    rounding leaves over give the last rung more seeds. Raises StudyError for too small a budget or too few
    seeds or candidates.

    >>> print(plan_halving(64, seeds=100))
    12 candidates on 2 seeds, 6 candidates on 4 seeds, 3 candidates on 8 seeds (48 runs), then the winner\
 and the defaults on 8 seeds held out (16 runs)
    """
    if budget < _MIN_BUDGET:
        raise StudyError(
            f"a budget of {budget} runs is too small; it must be {_MIN_BUDGET} or more: two candidates on two"
            " seeds, and both on two seeds held out"
        )
    if seeds < _FIRST_SEEDS + _MIN_HELD_OUT:
        raise StudyError(
            f"{seeds} seeds are too few to tune on; give {_FIRST_SEEDS + _MIN_HELD_OUT} or more;"
            " half of them are held out"
        )
    held_out = min(max(_MIN_HELD_OUT, budget // _HELD_OUT_FRACTION), seeds // 2)
    search_runs, search_seeds = budget - 2 * held_out, seeds - held_out
    largest = search_runs // _FIRST_SEEDS
    largest = largest if maximum is None else min(maximum, largest)
    # The first plan that fits has the most candidates.
    plans = (_rungs(count, search_seeds) for count in range(largest, 1, -1))
    rungs = next((plan for plan in plans if _cost(plan) <= search_runs), None)
    if rungs is None:
        raise StudyError(f"{maximum} candidates are too few to choose from; tuning needs two or more")
    *before, last = rungs
    last_seeds = min(last.seeds + (search_runs - _cost(rungs)) // last.candidates, search_seeds)
    return Halving(budget=budget, rungs=(*before, Rung(last.candidates, last_seeds)), held_out=held_out)


def _rungs(candidates: int, seeds: int) -> tuple[Rung, ...]:
    rungs = [Rung(candidates, min(_FIRST_SEEDS, seeds))]
    while rungs[-1].candidates > _FINALISTS and rungs[-1].seeds < seeds:
        last = rungs[-1]
        rungs.append(Rung(math.ceil(last.candidates / 2), min(2 * last.seeds, seeds)))
    return tuple(rungs)


def _cost(rungs: tuple[Rung, ...]) -> int:
    # The candidates of a rung have already run on the seeds of the rung before.
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
    """At most `count` different points of `space`, fewer when it has no more.

    The others than the `known` points are a Sobol sequence (1967) in the unit cube, scrambled by the stream
    named `key`. A larger `count` therefore gives the same points and further ones.

    Args:
        space: name -> the range or choices of a parameter.
        known: the first points; the very first is taken even if it is not `allowed`.
        count: the largest number of points.
        key: the name of the random stream.
        allowed: points for which it is false are left out.
    """
    points: list[Values] = []
    for values in known:
        if values not in points and (not points or allowed(values)):
            points.append(values)
    draws_without_new = 0
    for uniforms in _sobol(len(space), key=key):
        if len(points) >= count or draws_without_new >= _PATIENCE:
            break
        values = {name: _at(axis, u) for (name, axis), u in zip(space.items(), uniforms, strict=True)}
        is_new = values not in points and allowed(values)
        draws_without_new = 0 if is_new else draws_without_new + 1
        if is_new:
            points.append(values)
    return points


def _sobol(dimensions: int, *, key: str) -> Iterator[list[float]]:
    """An endless sequence of points of the unit cube."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(dimensions, scramble=True, seed=stream(0, f"tune/{key}"))
    # A Sobol sequence is balanced at powers of two: 16 points, then 16 more, then 32 more, and so on.
    yield from sequence.random_base2(4).tolist()
    for power in itertools.count(4):
        yield from sequence.random_base2(power).tolist()


def _at(space: Space, u: float) -> Any:
    """The value at the uniform number `u` in [0, 1)."""
    if isinstance(space, Choices):
        return space.values[int(u * len(space.values))]
    if space.whole:
        # One more than the highest, so that the floor gives every whole number the same probability.
        return min(math.floor(_between(space, space.low, space.high + 1, u)), int(space.high))
    # Few digits make a readable scenario. Rounding may leave the range, so the value is clipped.
    value = float(f"{_between(space, space.low, space.high, u):.{_DIGITS}g}")
    return min(max(value, space.low), space.high)


def _between(space: Range, low: float, high: float, u: float) -> float:
    return float(low * (high / low) ** u) if space.log else low + u * (high - low)
