"""Types of the values in a scenario's tables."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

CHECKED = ConfigDict(extra="forbid", allow_inf_nan=True)
"""Unknown keys are faults. Docstrings of fields are read by `json_schema`; pydantic would at every start."""

Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
# Columns of records hold counts in 32 bits and seeds in 64, both signed.
Count: TypeAlias = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed: TypeAlias = Annotated[int, Field(ge=0, le=2**63 - 1)]
QubitCount: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
"""Qubits of a node, or pairs that a request asks for at once."""
NodeCount: TypeAlias = Annotated[int, Field(ge=1, le=100_000)]
"""Nodes of a generated topology. Tables of distances grow with its square: 10,000 nodes take 800 MB each."""
# At 10^9 s, about 32 years, a float64 still resolves 0.1 microseconds.
Duration: TypeAlias = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
"""A simulated time in seconds."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Uniform:
    """A number drawn for each node, uniform on [low, high)."""

    low: NotNegative
    """The lowest value."""
    high: NotNegative
    """The upper end, not included."""

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low = {self.low:g} must not be above high = {self.high:g}")
        return self


PerNode: TypeAlias = NotNegative | Uniform
"""One number for all nodes, or one drawn for each."""
