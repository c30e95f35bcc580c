"""The scenario's parameters of the model and its reference."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BiasParameters:
    """`bias` = rate of Z errors / (rate of X errors + rate of Y errors); 1/2 is no bias.

    Tuckett, Bartlett and Flammia 2018, Phys. Rev. Lett. 120, 050505, who give 10 as a realistic bias.
    X and Y errors are equally likely.
    """

    bias: float = 10.0

    def __post_init__(self) -> None:
        number = isinstance(self.bias, int | float) and not isinstance(self.bias, bool)
        if not (number and 0.0 <= self.bias < math.inf):
            raise ValueError(
                f"bias is {self.bias!r}; it must be a number of 0 or more, and finite (0.5: unbiased)"
            )
