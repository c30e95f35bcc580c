"""The tables of a study: its arms, seeds and sweep."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.fields import CHECKED, Count, NotNegative, Probability, Seed
from qdpem.scenario.words import BoundKind, Control, Engine, Pregeneration

STRONGEST = "strongest"
"""As the reference of a study: the arm that performs best on the tuning seeds."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Arm:
    """One contender of a study: control, pregeneration, forecaster and policy."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """Name of the arm, unique in the study: lower-case letters, digits and hyphens."""
    policy: str = ""
    """Name of a registered policy; by default the one called `name`."""
    control: Control | None = None
    """Who decides: every node for its own requests, or one controller for all. By default the policy's."""
    pregeneration: Pregeneration | None = None
    """Which pairs it may make ahead of demand. By default the policy's."""
    forecaster: str | None = None
    """Name of a registered forecaster. By default the policy's."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Parameters of the policy."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Claim:
    """A claim that a study tests: `arm` delivers more and contends less than `against`.

    The report states whether the claim is reached: the bounds of both 95 % intervals must reach it. The
    strongest arm under central control is the reference if that is central, otherwise the best central arm on
    the tuning seeds, otherwise the best central arm of the comparison.
    """

    arm: str
    """The arm that the claim is about."""
    delivery_gain: NotNegative
    """How much more it delivers, as a fraction: 0.25 is 25 % more."""
    contention_relief: Probability
    """How much less it contends, as a fraction."""
    against: str = ""
    """The arm that it is compared with; by default the strongest arm under central control."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Study:
    """Arms and seeds, run by an engine.

    An axis of `sweep` is a dotted key with its values, or a free word with tables of dotted keys.
    """

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    """The arms that are compared."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    """Seeds that every arm runs on. 0 to 99 are for tuning, 1000 to 1029 for tests, 10000 and up for
    training: never mixed."""
    reference: str = STRONGEST
    """The arm that all others are compared with. "strongest": the one with the highest mean delivery on
    `tuning_seeds`, among those whose forecaster is "none" or "constant" (if there is only one, that one, and
    nothing runs for it)."""
    sweep: dict[str, Any] = field(default_factory=dict)
    """Axes; one study for each combination of their values."""
    tuning_seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """Seeds of 0 to 99 on which the strongest arm is found before the others are compared with it."""
    claim: Claim | None = None
    """A claim that the study tests."""
    bounds: BoundKind = BoundKind.FLOW
    """Upper bounds that the deliveries of each seed are compared with. "flow" takes seconds a seed; "time",
    which adds the bounds in time, takes minutes."""
    engine: Engine = Engine.LOKY
    """How tasks run: "serial", one after the other, or "loky", in worker processes."""
    workers: Count | None = None
    """Number of worker processes; one per core by default."""
