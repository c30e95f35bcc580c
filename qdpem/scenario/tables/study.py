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
    """One contender of a study: control, pregeneration, forecaster and policy.

    An empty `policy` means the policy called `name`. Settings that are None are taken from the policy.
    `tuned_on` are the seeds on which the parameters were chosen; a comparison on one of them is marked.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    policy: str = ""
    control: Control | None = None
    pregeneration: Pregeneration | None = None
    forecaster: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    tuned_on: tuple[Seed, ...] = ()


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Claim:
    """A claim that a study tests: `arm` delivers more and contends less than `against`.

    `delivery_gain` and `contention_relief` are fractions of the deliveries and the contention of `against`.
    "" as `against` means the strongest arm under central control.
    """

    arm: str
    delivery_gain: NotNegative
    contention_relief: Probability
    against: str = ""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Study:
    """Arms and seeds, run by an engine. All other arms are compared with the arm `reference`.

    The reference "strongest" is the arm that performs best on `tuning_seeds`, among those whose forecaster is
    "none" or "constant". With a `sweep` there is one study for each combination of its axes. An axis is a
    dotted key with its values, or a free word with tables of dotted keys. `bounds`: the upper bounds that the
    deliveries of each seed are compared with. The flow bound takes seconds a seed, the bounds in time take
    minutes.
    """

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    reference: str = STRONGEST
    sweep: dict[str, Any] = field(default_factory=dict)
    tuning_seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    claim: Claim | None = None
    bounds: BoundKind = BoundKind.FLOW
    engine: Engine = Engine.LOKY
    workers: Count | None = None
