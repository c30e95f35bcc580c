"""The question, as typed values: frozen, checked when built, the unit in every name.

A scenario file is TOML with these tables; unknown keys are faults. What a word means stands in
`docs/model.md`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from physics.hardware import LinkHardware, NodeHardware, SourceLink

_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=True)

Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]

PREGENERATIONS = ("none", "link", "end-to-end", "virtual-link")
Pregeneration: TypeAlias = Literal["none", "link", "end-to-end", "virtual-link"]
Control: TypeAlias = Literal["local", "central"]
STRONGEST = "strongest"
"""As the reference of a study: the arm that proves to be it."""
APPLICATIONS = ("teleportation", "computing", "qkd")
RepeaterKind: TypeAlias = Literal["token-bucket", "server"]
Application: TypeAlias = Literal["teleportation", "computing", "qkd"]


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Uniform:
    """A number drawn per node, uniform on [low, high)."""

    low: NotNegative
    high: NotNegative

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low = {self.low:g} must not be above high = {self.high:g}")
        return self


PERSISTENCES = ("no", "pair", "link")
Persistence: TypeAlias = Literal["no", "pair", "link"]
SwapOrder: TypeAlias = Literal["asap", "nested", "left-to-right"]
_MEMORIES = 16

PerNode: TypeAlias = NotNegative | Uniform


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class PhysicsChoice:
    """Which physics model, by name, and its own parameters."""

    model: str = "pauli"
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Topology:
    """Which graph: a registered generator or catalogue and its own parameters.

    `length_scale` multiplies every length; links shorter than `min_length_km` get that length.
    """

    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    length_scale: Positive = 1.0
    min_length_km: Positive = 0.1


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Nodes:
    """What stands at every node; a `{ low, high }` table draws one number per node.

    `swap_order`: a repeater swaps as soon as it can, or when its two pairs span what the order asks for:
    halves of the path ("nested"), or all of it from the source ("left-to-right"). `cutoff_s`: in the making,
    a pair whose oldest link pair is older is dropped at both ends and made anew.
    `source_rate_hz` is needed where links are source-limited, and means nothing to others.
    `repeater_kind` says how a repeater makes its `repeater_rate_hz` swaps per second: a "token-bucket" gives
    each a token and has the result `swap_time_s` later; a "server" makes one at a time, in 1/rate, which
    holds gates and read-out. `memories` qubits are shared by all links of a node, 16 unless given;
    `memories_per_link` instead gives each link its own there.
    """

    repeater_rate_hz: PerNode
    hardware: NodeHardware
    source_rate_hz: PerNode | None = None
    repeater_kind: RepeaterKind = "token-bucket"
    repeater_burst: Annotated[float, Field(ge=1)] = 1.0
    swap_time_s: NotNegative = 1e-3
    distillation_time_s: NotNegative = 1e-3
    swap_order: SwapOrder = "asap"
    cutoff_s: Positive | None = None
    memories: Count | None = None
    memories_per_link: Count | None = None
    remote_storage_quota: Probability = 0.25

    @model_validator(mode="after")
    def _one_reading(self) -> Nodes:
        if self.memories_per_link is None:
            # A scenario's text says every default, so that the number is written down.
            object.__setattr__(self, "memories", self.memories or _MEMORIES)
        elif self.memories is not None:
            raise ValueError(
                f"memories_per_link = {self.memories_per_link} excludes memories = {self.memories}: a node's"
                " links share its qubits, or each has its own; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _served_in_time(self) -> Nodes:
        if self.repeater_kind == "token-bucket":
            return self
        if self.repeater_burst != 1.0:
            raise ValueError(
                f"repeater_burst = {self.repeater_burst:g} is the depth of a token bucket; a server makes one"
                " swap at a time: it must be 1"
            )
        rate = self.repeater_rate_hz
        fastest_hz = rate.high if isinstance(rate, Uniform) else rate
        if self.swap_time_s * fastest_hz > 1.0:
            raise ValueError(
                f"swap_time_s = {self.swap_time_s:g} does not fit into the 1/rate of a server, down to"
                f" {1.0 / fastest_hz:g} s; it must be at most that"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Links:
    """What every link is made of; its length comes from the topology.

    `slotted`: links that attempt do so at whole multiples of their period alone. Without `light_delay`
    messages between nodes take `processing_delay_s` and nothing else, as in models that leave light out;
    what an attempt takes is the hardware's to say.
    """

    hardware: LinkHardware = field(default_factory=SourceLink)
    processing_delay_s: NotNegative = 1e-5
    light_delay: bool = True
    slotted: bool = False


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class RequestClass:
    """One kind of request and its share of all requests.

    A `persistence` request asks without end until its patience is over, for `pairs` at a time, each delivered by
    itself: "pair" begins the next one when the last was delivered, "link" keeps every link at work.
    """

    application: Application
    fraction: Positive
    target_fidelity: Annotated[float, Field(gt=0.5, lt=1)]
    patience_s: Positive
    pairs: Count = 1
    persistence: Persistence = "no"


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Bursts:
    """Spikes: each region's rate is `peak` times as high for `duration_s` about every `period_s`.

    `timing`: by a "calendar", every `period_s`, each start displaced by a normal draw of standard deviation
    `jitter_s`; "memoryless", on and off for exponential times with these means, each region by itself, so
    that a burst can be noticed and not foreseen; "cascading", region 0 so, and each other region `lag_s`
    after the one before. Outside bursts the rate is lowered so that its long-run mean stays what the demand
    says.
    """

    timing: Literal["calendar", "memoryless", "cascading"] = "calendar"
    regions: Count = 4
    period_s: Positive = 32.0
    duration_s: Positive = 8.0
    jitter_s: NotNegative = 1.0
    lag_s: Positive | None = None
    peak: Annotated[float, Field(ge=1)] = 3.0

    @model_validator(mode="after")
    def _fits(self) -> Bursts:
        if self.timing == "cascading" and self.lag_s is None:
            raise ValueError("cascading bursts need lag_s, the seconds by which one region follows another")
        if self.timing != "cascading" and self.lag_s is not None:
            raise ValueError(
                f"lag_s = {self.lag_s:g} means nothing with timing {self.timing!r}; leave it out"
            )
        if self.duration_s >= self.period_s:
            raise ValueError(f"duration_s = {self.duration_s:g} must be below period_s = {self.period_s:g}")
        if self.peak * self.duration_s > self.period_s:
            limit = self.period_s / self.duration_s
            raise ValueError(
                f"peak = {self.peak:g} leaves no demand outside bursts; it must be at most"
                f" period_s / duration_s = {limit:g}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Neighbourhood:
    """Pairs of nodes at least `min_hops` and at most `max_hops` apart, all alike.

    With `peers` every node picks so many of those within its reach, at random, and only pairs of which one
    has picked the other ask.
    """

    min_hops: Count = 2
    max_hops: Count = 4
    peers: Count | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Neighbourhood:
        if self.min_hops > self.max_hops:
            raise ValueError(f"min_hops = {self.min_hops} must not be above max_hops = {self.max_hops}")
        return self


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Demand:
    """Who asks for how much, and when: `rate_hz` is the mean of all requests of the network.

    In its stead `load_factor` asks, while all regions burst, for that share of the largest rate that the
    network could serve to `served_fraction`; each seed's flow programme says which rate that is.
    `weights`: "matrix" uses the topology's own demand matrix, "uniform" weighs all pairs alike, "neighbourhood" those
    that `neighbourhood` says, "ends" knows but one pair: the topology's first and last node, as of a line.
    `arrivals`: "poisson", stationary without `bursts`; "batch": at t = 0 each pair of nodes of any weight
    makes one request of each class, from its lower node, and no more come, so that there is no rate.
    """

    classes: Annotated[tuple[RequestClass, ...], Field(min_length=1)]
    rate_hz: Positive | None = None
    load_factor: Positive | None = None
    served_fraction: Annotated[float, Field(gt=0, le=1)] = 0.9
    arrivals: Literal["poisson", "batch"] = "poisson"
    weights: Literal["matrix", "uniform", "neighbourhood", "endpoints"] = "uniform"
    neighbourhood: Neighbourhood | None = None
    bursts: Bursts | None = None

    @model_validator(mode="after")
    def _fits(self) -> Demand:
        if self.neighbourhood is not None and self.weights != "neighbourhood":
            raise ValueError(
                f"neighbourhood means nothing while weights is {self.weights!r}; set weights to 'neighbourhood' or leave it out"
            )
        rated = self.rate_hz is not None or self.load_factor is not None
        if self.arrivals == "batch":
            for name, value in (("rate_hz", self.rate_hz), ("load_factor", self.load_factor)):
                if value is not None:
                    raise ValueError(
                        f"{name} = {value:g} means nothing while arrivals is 'batch', when all requests come"
                        " at t = 0; leave it out"
                    )
            if self.bursts is not None:
                raise ValueError("bursts means nothing while arrivals is 'batch'; leave it out")
            return self
        if not rated:
            raise ValueError(
                "it says neither rate_hz nor load_factor; should say one of them: requests per second, or"
                " the share of what the network can carry"
            )
        if self.rate_hz is not None and self.load_factor is not None:
            raise ValueError(
                f"load_factor = {self.load_factor:g} cannot stand beside rate_hz = {self.rate_hz:g}; should be"
                " one of them, for either says how much is asked"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Forecasting:
    """The clock of forecasts: counts per `step_s`, `horizon_steps` ahead, `history_s` seen before t = 0."""

    step_s: Positive = 1.0
    horizon_steps: Count = 8
    history_s: Positive = 600.0


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class ControlSettings:
    """Decisions and messages: the epoch, back-off after a refusal, and the central controller's delays."""

    decision_epoch_s: Positive = 0.1
    back_off_s: Positive = 0.02
    retries: Annotated[int, Field(ge=0)] = 4
    service_time_s: NotNegative = 1e-3
    zero_delay: bool = False


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Window:
    """What is simulated: `warm_up_s` that no metric counts, then `measured_s` that all do."""

    warm_up_s: NotNegative = 60.0
    measured_s: Positive = 300.0

    @property
    def end_s(self) -> float:
        """The simulated second at which the run ends."""
        return self.warm_up_s + self.measured_s


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Reward:
    """Weights of the reward: per request delivered, per contended claim, per stocked pair expired unused."""

    delivered: NotNegative = 1.0
    contended: NotNegative = 0.02
    expired: NotNegative = 0.02


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Recording:
    """How much a record keeps: requests only, all events, or also what every decision saw."""

    level: Literal["requests", "events", "full"] = "events"


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Training:
    """How `qdpem train` learns; docs/learning.md says why each number is what it is."""

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


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class ScheduledOutage:
    """One outage at a known time; without `until_s` what goes does not come back.

    `name`: of a node, or of a link as "one end/other end" in either order; the controller has none.
    """

    kind: Literal["link", "node", "controller"]
    from_s: NotNegative
    name: str = ""
    until_s: Positive | None = None

    @model_validator(mode="after")
    def _fits(self) -> ScheduledOutage:
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"until_s = {self.until_s:g} must be above from_s = {self.from_s:g}")
        if self.kind == "controller" and self.name:
            raise ValueError(f"name = {self.name!r} has no meaning: there is one controller; leave it out")
        if self.kind != "controller" and not self.name:
            raise ValueError(f"name is missing; should say which {self.kind}")
        return self


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Join:
    """Growth: a node that is not there from the start and joins, with all its links, at `at_s`."""

    node: str
    at_s: Positive


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class RandomOutages:
    """Every one of a kind fails and recovers on its own, starting up at t = 0, both times exponential."""

    mean_up_s: Positive
    mean_down_s: Positive


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Outages:
    """What fails, recovers and joins while the run goes on; times that overlap are one outage."""

    scheduled: tuple[ScheduledOutage, ...] = ()
    joins: tuple[Join, ...] = ()
    links: RandomOutages | None = None
    nodes: RandomOutages | None = None
    controller: RandomOutages | None = None


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Arm:
    """One contender: control x rights x knowledge x brain. Empty `policy` means the policy called `name`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    policy: str = ""
    control: Control | None = None
    pregeneration: Pregeneration | None = None
    forecaster: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Claim:
    """A claim that a study tests: `arm` delivers more and contends less than `against`.

    `delivery_gain` and `contention_relief` are fractions of what `against` delivers and contends. "" as
    `against` means the strongest arm under central control.
    """

    arm: str
    delivery_gain: NotNegative
    contention_relief: Probability
    against: str = ""


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Study:
    """Arms x seeds on an engine; `reference` is the arm all others are compared with.

    "strongest" is the best on `tuning_seeds` of the arms whose knowledge is none or constant. With a `sweep`,
    one study for each combination of its axes: dotted key -> values, or free word -> tables of dotted keys.
    `bounds`: which bounds each seed's deliveries are set against: the flow bound takes seconds a seed, the
    ones with time minutes.
    """

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    reference: str = STRONGEST
    sweep: dict[str, Any] = field(default_factory=dict)
    tuning_seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    claim: Claim | None = None
    bounds: Literal["none", "flow", "time"] = "flow"
    engine: Literal["serial", "loky"] = "loky"
    workers: Count | None = None


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Scenario:
    """Everything a run needs but its seed and its arm."""

    name: str
    topology: Topology
    nodes: Nodes
    demand: Demand
    description: str = ""
    physics: PhysicsChoice = field(default_factory=PhysicsChoice)
    links: Links = field(default_factory=Links)
    forecasting: Forecasting = field(default_factory=Forecasting)
    control: ControlSettings = field(default_factory=ControlSettings)
    outages: Outages = field(default_factory=Outages)
    window: Window = field(default_factory=Window)
    reward: Reward = field(default_factory=Reward)
    record: Recording = field(default_factory=Recording)
    training: Training = field(default_factory=Training)
    topology_seed: Annotated[int, Field(ge=0)] | None = None
    study: Study | None = None
