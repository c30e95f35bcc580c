"""The tables of a run: forecasts, control, window, reward and record; and those of a training."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.federation import Hostile, Participation
from qdpem.scenario.tables.fields import CHECKED, Count, Duration, NotNegative, Positive
from qdpem.scenario.words import Aggregation, Credit, NoiseOrigin, NoiseSource, RecordLevel, Trainable


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Forecasting:
    """Forecasts of the requests of each node for each of its peers, per step."""

    step_s: Positive = 1.0
    """Length of a step; requests are counted per step."""
    horizon_steps: Count = 8
    """Number of steps that are forecast."""
    history_s: Duration = 600.0
    """History before t = 0 that forecasters see."""
    max_peers: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Peers of a node that are forecast, a peer being a destination with a target fidelity and a number of
    pairs. The most frequent of the history come first."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ControlSettings:
    """Decision epochs, retries after a refusal, and the delays of the central controller."""

    decision_epoch_s: Positive = 0.1
    """Period at which every site is asked."""
    back_off_s: Positive = 0.02
    """Largest random pause after a refusal; it doubles with each refusal."""
    retries: Annotated[int, Field(ge=0)] = 4
    """Retries of a request after refusals and pairs below its target; if it repeats, since its last pair."""
    service_time_s: NotNegative = 1e-3
    """Time that the central controller takes for a decision."""
    zero_delay: bool = False
    """If true, reports, commands and the controller's decisions take no time."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Window:
    """The simulated time."""

    warm_up_s: Annotated[NotNegative, Field(le=1e9)] = 60.0
    """Simulated time that no metric counts."""
    measured_s: Duration = 300.0
    """Simulated time after it, which all metrics count."""

    @model_validator(mode="after")
    def _not_empty(self) -> Window:
        if not self.end_s > self.warm_up_s:
            raise ValueError(
                f"measured_s = {self.measured_s:g} vanishes beside warm_up_s = {self.warm_up_s:g} in double"
                " precision; it must be longer"
            )
        return self

    @property
    def end_s(self) -> float:
        """The simulated second at which the run ends."""
        return self.warm_up_s + self.measured_s


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Reward:
    """Weights of the reward."""

    delivered: NotNegative = 1.0
    """Reward per request delivered."""
    contended: NotNegative = 0.02
    """Penalty per contended claim."""
    expired: NotNegative = 0.02
    """Penalty per stocked pair that expires unused."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Recording:
    """How much a record keeps."""

    level: RecordLevel = RecordLevel.EVENTS
    """What is kept. "requests": the network, requests and outages. "events": also allocations, claims, pairs,
    messages, forecasts and decisions. "full": also every decision as it was given and what it saw, the
    forecast of every peer, and rewards."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class TrainingVariant:
    """A scenario in which episodes of a training are played."""

    scenario: str = ""
    """Name of a shipped scenario; the scenario that is trained on if empty."""
    set: dict[str, Any] = field(default_factory=dict)
    """Keys of it that differ, dotted and in quotes: { "demand.processes.jobs.jitter_s" = 4.0 }."""
    forecaster: str = ""
    """Forecaster of these episodes; that of the arm if empty."""
    stocking_probability: NotNegative = 0.3
    """The cloned rule makes pairs for requests of at least this probability within the look-ahead; above 1 it
    makes none for this reason."""
    life_probability: NotNegative = 0.3
    """It makes pairs also for requests of this probability within the life of a pair; above 1 none."""
    link_level: Annotated[int, Field(ge=0, le=4)] = 0
    """Pairs that the cloned rule keeps for each link."""
    separate_paths: bool = False
    """Whether the pairs of a request take separate paths under the cloned rule."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Training:
    """Settings of `qdpem train`. The page "How `dpem` learns" gives the reason for each number."""

    variants: tuple[TrainingVariant, ...] = (TrainingVariant(),)
    """What episodes are played in, in turn. Networks must have the same number of nodes in all of them."""
    clone_episodes: Annotated[int, Field(ge=0)] = 6
    """Episodes of the rule that the networks imitate before they learn further; 0 starts from random weights.
    As many again, played by the clone, teach the critics. Their seeds are public: they cost no privacy."""
    fit_steps: Count = 3000
    """Steps of gradient descent in which each network of the clone and each critic is fitted."""
    rounds: Annotated[int, Field(ge=0)] = 10
    """Rounds of federated averaging; 0 leaves the clone."""
    episodes_per_round: Count = 6
    """Episodes that every client plays in a round."""
    episode_s: Duration = 60.0
    """Simulated time of an episode."""
    evaluation_rounds: Annotated[int, Field(ge=0)] = 5
    """Rounds between two held-out scores; 0 computes none."""
    stop_evaluations: Annotated[int, Field(ge=0)] = 0
    """The training ends early once this many held-out scores in a row lie within 5 % of the mean of the last
    fifth of all; 0 plays all rounds."""
    epochs: Count = 4
    """Steps of gradient descent that a client takes in a round, each over all its decisions."""
    learning_rate: Positive = 0.3
    """Step size of a client's gradient descent."""
    critic_learning_rate: Positive = 3e-3
    """Step size of the optimiser (Adam) of the critics."""
    clip_range: Positive = 0.2
    """Clip range of PPO's probability ratio."""
    entropy_coef: NotNegative = 0.003
    """Weight of the entropy bonus in the loss."""
    credit: Credit = Credit.LINEAGE
    """What a decision is credited with."""
    external_cost_coef: NotNegative = 0.0
    """What a failed request costs the claims of others that it waited behind, in delivered requests."""
    discount_time_s: Positive = 8.0
    """A reward this much later counts 1/e."""
    contention_weights: tuple[Positive, Positive] = (0.005, 0.5)
    """Smallest and largest penalty of a contended claim. Every episode draws one, log-uniform."""
    trainable: Trainable = Trainable.HEAD
    """Which weights learn further after the clone. Fewer weights need less noise."""
    clip_norm: Positive = 0.12
    """Largest norm of a client's update."""
    server_learning_rate: Positive = 0.01
    """Step size of the aggregator's optimiser (Adam)."""
    epsilon: Annotated[float, Field(gt=0)] = 8.0
    """Epsilon of differential privacy; `inf` is none."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Delta of differential privacy."""
    noise: NoiseOrigin = NoiseOrigin.CENTRAL
    """Where the noise is added. "central": once, to the sum, by an aggregator that is trusted. "client": by
    every node to its own update, which needs no trust and, under the mean, is sqrt(nodes) times as strong."""
    noise_source: NoiseSource = NoiseSource.SEED
    """What the noise is drawn from. "seed": the same in every repetition, and gone for those who know the
    seed. "system": the operating system's generator, for a network to be released; no repetition gives it
    again."""
    aggregation: Aggregation = Aggregation.MEAN
    """How the updates become one. Noise that is added to a sum protects a mean only: with the other rules,
    epsilon is `inf` or noise is "client"."""
    trimmed_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.2
    """Fraction of the updates that the trimmed mean leaves out at each end of each coordinate."""
    participation: Participation = field(default_factory=Participation)
    """Which nodes report in a round."""
    hostile: Hostile = field(default_factory=Hostile)
    """Nodes that report false updates."""

    @model_validator(mode="after")
    def _scored_to_stop(self) -> Training:
        if self.stop_evaluations and not self.evaluation_rounds:
            raise ValueError(
                f"stop_evaluations = {self.stop_evaluations} needs held-out scores; evaluation_rounds must be"
                " 1 or more"
            )
        return self

    @model_validator(mode="after")
    def _private_or_not_claimed(self) -> Training:
        if (
            self.aggregation != Aggregation.MEAN
            and self.noise == NoiseOrigin.CENTRAL
            and self.epsilon < math.inf
        ):
            raise ValueError(
                f"aggregation = {self.aggregation.value!r} has no guarantee of epsilon ="
                f" {self.epsilon:g} from noise on a sum, which bounds a mean only; it needs epsilon = inf, or"
                " noise = 'client'"
            )
        return self
