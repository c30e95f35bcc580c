"""The search space of a policy's parameters, declared with each parameter. Only `tune` reads it.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True, kw_only=True)
... class Parameters:
...     max_unloaded_delay: float = tunable(0.8, low=0.4, high=1.2)
...     base_stock_level: int = tunable(1, low=0, high=4, pregeneration="end-to-end")
...     rule: str = tunable("first", choices=("first", "nearest"))
...     fidelity_margin: float = 0.01
>>> search_space(Parameters, pregeneration="virtual-link", control="local")["max_unloaded_delay"]
Range(low=0.4, high=1.2, log=False)
>>> sorted(search_space(Parameters, pregeneration="link", control="local"))
['max_unloaded_delay', 'rule']
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from qdpem.scenario.words import Control, Pregeneration

_KEY = "tune"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; integers if both are; on a logarithmic scale if `log`."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a range is from {self.low!r} to {self.high!r}; low must be below high, both finite"
            )
        if self.log and not self.low > 0.0:
            raise ValueError(f"a range on a log scale begins at {self.low!r}; it must begin above 0")

    @property
    def whole(self) -> bool:
        """Whether the range holds integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def position(self, value: float) -> float:
        """The position of `value` in the range: 0 at `low`, 1 at `high`, by its logarithm if `log`.

        >>> Range(0.1, 10.0, log=True).position(1.0)
        0.5
        """
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Choices:
    """One of a few values."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError(f"choices are {self.values!r}; there must be two or more")


Space: TypeAlias = Range | Choices


@dataclass(frozen=True)
class Declaration:
    """The search space of a parameter, and the arms for which the parameter matters.

    They are the arms with at least this `pregeneration` and, unless `control` is None, with this control.
    """

    space: Space
    pregeneration: Pregeneration
    control: Control | None

    def matters(self, *, pregeneration: Pregeneration, control: Control) -> bool:
        """Whether the parameter can change an arm of this pregeneration and control."""
        enough = pregeneration.at_least(self.pregeneration)
        return enough and self.control in (None, control)


def tunable(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: Sequence[Any] | None = None,
    pregeneration: str = Pregeneration.NONE,
    control: str | None = None,
) -> Any:
    """A dataclass field with a default and the space in which `tune` searches for a better value.

    Give either `low` and `high`, or `choices`. `tune` spends no budget on the parameter for arms it cannot
    change. Raises ValueError when both are given, or when the default lies outside.

    Args:
        default: the value of the field unless set.
        low: lower end of the range, included.
        high: upper end of the range, included.
        log: whether to search on a logarithmic scale.
        choices: the values to choose from.
        pregeneration: the lowest pregeneration for which the parameter matters.
        control: the only control for which it matters; None for both.
    """
    if (choices is None) == (low is None or high is None):
        raise ValueError(f"a tunable parameter of default {default!r} needs low and high, or choices")
    space: Space
    if choices is not None:
        space = Choices(tuple(choices))
        inside = default in space.values
    else:
        # For mypy: the first check implies both.
        assert low is not None
        assert high is not None
        space = Range(low, high, log)
        inside = low <= default <= high
    if not inside:
        raise ValueError(f"the default {default!r} lies outside {space}")
    declared = Declaration(space, Pregeneration(pregeneration), None if control is None else Control(control))
    return field(default=default, metadata={_KEY: declared})


def declarations(parameters: type) -> dict[str, Declaration]:
    """What each tunable field of `parameters` declares."""
    return {item.name: item.metadata[_KEY] for item in fields(parameters) if _KEY in item.metadata}


def search_space(parameters: type, *, pregeneration: str, control: str) -> dict[str, Space]:
    """The space of each tunable field of `parameters` that matters to an arm of these two settings."""
    return {
        name: declaration.space
        for name, declaration in declarations(parameters).items()
        if declaration.matters(pregeneration=Pregeneration(pregeneration), control=Control(control))
    }
