"""The tables of a run: forecasts, control, window, reward and record; and those of a training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.fields import CHECKED, Count, NotNegative, Positive, Probability
from qdpem.scenario.words import RecordLevel


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Forecasting:
    """Forecasts count requests per `step_s`, for `horizon_steps` steps, and see `history_s` before t = 0."""

    step_s: Positive = 1.0
    horizon_steps: Count = 8
    history_s: Positive = 600.0


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ControlSettings:
    """Decision epochs, retries after a refusal, and the delays of the central controller.

    With `zero_delay`, messages to and from the controller and its decisions take no time.
    """

    decision_epoch_s: Positive = 0.1
    back_off_s: Positive = 0.02
    retries: Annotated[int, Field(ge=0)] = 4
    service_time_s: NotNegative = 1e-3
    zero_delay: bool = False


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Window:
    """The simulated time: `warm_up_s` that no metric counts, then `measured_s` that all metrics count."""

    warm_up_s: NotNegative = 60.0
    measured_s: Positive = 300.0

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
    """Weights of the reward: per request delivered, per contended claim, per stocked pair expired unused."""

    delivered: NotNegative = 1.0
    contended: NotNegative = 0.02
    expired: NotNegative = 0.02


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Recording:
    """How much a record keeps."""

    level: RecordLevel = RecordLevel.EVENTS


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Training:
    """Settings of `qdpem train`; docs/learning.md gives the reason for each number."""

    rounds: Count = 20
    episodes_per_round: Count = 2
    episode_s: Positive = 64.0
    epochs: Count = 4
    learning_rate: Positive = 3e-3
    clip_range: Positive = 0.2
    entropy_coef: NotNegative = 0.01
    discount_time_s: Positive = 4.0
    gae_lambda: Probability = 0.5
    clip_norm: Positive = 0.5
    server_learning_rate: Positive = 3.0
    epsilon: Annotated[float, Field(gt=0)] = 8.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-3
