"""Types of the values in a scenario's tables."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

CHECKED = ConfigDict(extra="forbid", allow_inf_nan=True)

Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Quantity: TypeAlias = Annotated[int, Field(ge=1, le=10**8)]
"""A count of qubits or pairs; records keep sums of several of them in 32 bits."""
Seed: TypeAlias = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Uniform:
    """A number drawn for each node, uniform on [low, high)."""

    low: NotNegative
    high: NotNegative

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low = {self.low:g} must not be above high = {self.high:g}")
        return self


PerNode: TypeAlias = NotNegative | Uniform
"""One number for all nodes, or one drawn for each."""
