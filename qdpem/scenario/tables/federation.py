"""The tables of federated averaging: who reports, and what hostile nodes report."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.fields import CHECKED, Positive, Probability
from qdpem.scenario.words import Attack, Sampling


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Hostile:
    """Nodes that report false updates. They are drawn once, and act as all others do."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of the nodes, rounded to a whole number of nodes."""
    attack: Attack = Attack.SIGN_FLIP
    """What they report. "sign-flip": their update times -`scale`. "scaled": their update times `scale`.
    "poisoned-reward": an update that was learned from returns times -`scale`."""
    scale: Positive = 1.0
    """Factor of the attack."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Turnover:
    """Nodes that join a training late, or leave it early."""

    share: Probability = 0.0
    """Fraction of the nodes, rounded to a whole number of nodes."""
    round: Annotated[int, Field(ge=0)] = 0
    """The first round with the nodes that join, or without those that leave."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Participation:
    """Which nodes report in a round. All draws are independent of the nodes' data."""

    sampling: Sampling = Sampling.FIXED_SIZE
    """How the nodes of a round are drawn: a fixed number of them, or each by itself."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Fraction of the nodes that take part in a round."""
    straggler_probability: Probability = 0.0
    """Probability that an update arrives after the cut, and is left out."""
    failure_probability: Probability = 0.0
    """Probability that a node of the round sends nothing."""
    joiners: Turnover = field(default_factory=Turnover)
    """Nodes that begin late. Until then they act with the public network, and neither learn nor report."""
    leavers: Turnover = field(default_factory=Turnover)
    """Nodes that end early. From then on they act with the public network, and neither learn nor report."""
    outage_rounds: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Rounds without an aggregator, counted from 0. Critics learn in them; the network that is shared, its
    optimiser and the privacy budget stay as they were."""

    @model_validator(mode="after")
    def _somebody_stays(self) -> Participation:
        if self.joiners.share + self.leavers.share > 1.0:
            raise ValueError(
                f"joiners.share = {self.joiners.share:g} and leavers.share = {self.leavers.share:g} sum to"
                " more than 1; no node does both"
            )
        return self
