"""What of a policy's parameters may be tuned, said where the parameter is: `tune` reads it, nobody else.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True, kw_only=True)
... class Parameters:
...     hope: float = tunable(0.8, low=0.4, high=1.2)
...     base: int = tunable(1, low=0, high=4, pregeneration="end-to-end")
...     rule: str = tunable("first", choices=("first", "nearest"))
...     margin: float = 0.01
>>> search_space(Parameters, pregeneration="virtual-link", control="local")["hope"]
Range(low=0.4, high=1.2, log=False)
>>> sorted(search_space(Parameters, pregeneration="link", control="local"))
['hope', 'rule']
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
    """Numbers from `low` to `high`, both included; whole ones if both are; evenly on a log scale if `log`."""

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
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def place(self, value: float) -> float:
        """Where `value` lies: 0 at `low`, 1 at `high`, by its logarithm if `log`.

        >>> Range(0.1, 10.0, log=True).place(1.0)
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
    """Where to look for a parameter's value, and for which arms it matters.

    Those of at least these `pregeneration`, and of this `control` alone if one is said.
    """

    space: Space
    pregeneration: Pregeneration
    control: Control | None

    def matters(self, *, pregeneration: Pregeneration, control: Control) -> bool:
        """Whether an arm of these rights and this control can be changed by it."""
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
    """A dataclass field with a default, and the space in which `tune` may look for a better one.

    Either `low` and `high`, or `choices`. It matters only for arms of at least these `pregeneration` and, where one
    is said, of this `control`: no budget is spent on it for others. Raises ValueError when the default lies
    outside, or for both.
    """
    if (choices is None) == (low is None or high is None):
        raise ValueError(f"a tunable parameter of default {default!r} needs low and high, or choices")
    space: Space
    if choices is not None:
        space = Choices(tuple(choices))
        inside = default in space.values
    else:
        assert low is not None
        assert high is not None
        space = Range(low, high, log)
        inside = low <= default <= high
    if not inside:
        raise ValueError(f"the default {default!r} lies outside {space}")
    declared = Declaration(space, Pregeneration(pregeneration), None if control is None else Control(control))
    return field(default=default, metadata={_KEY: declared})


def search_space(parameters: type, *, pregeneration: str, control: str) -> dict[str, Space]:
    """The tunable parameters of a policy's `Parameters` that matter to such an arm, and where to look."""
    found = {item.name: item.metadata[_KEY] for item in fields(parameters) if _KEY in item.metadata}
    return {
        name: one.space
        for name, one in found.items()
        if one.matters(pregeneration=Pregeneration(pregeneration), control=Control(control))
    }
