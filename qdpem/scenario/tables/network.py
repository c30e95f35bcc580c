"""The tables of the network: physics model, topology, nodes and links."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from physics.hardware import LinkHardware, NodeHardware, SourceLink
from qdpem.scenario.tables.fields import (
    CHECKED,
    NotNegative,
    PerNode,
    Positive,
    Probability,
    QubitCount,
    Uniform,
)
from qdpem.scenario.words import RepeaterKind, SwapOrder

_MEMORIES = 16


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class PhysicsChoice:
    """The name of a physics model, and its own parameters."""

    model: str = "pauli"
    """Name of a registered physics model."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Parameters of that model."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Topology:
    """The name of a registered generator or catalogue of graphs, and its own parameters."""

    kind: str
    """Name of a registered topology: a generator, or a catalogue of networks."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Parameters of that topology."""
    length_scale: Positive = 1.0
    """Factor on every length and position."""
    min_length_km: Positive = 0.1
    """Shorter links get this length."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Nodes:
    """The equipment of every node. A table `{ low, high }` draws one number for each node."""

    repeater_rate_hz: PerNode
    """Swaps per second. A node with 0 is never an inner node of a path."""
    hardware: NodeHardware
    """Memory and Bell measurement of every node."""
    source_rate_hz: PerNode | None = None
    """Photon pairs emitted per second, before loss. Required for links of the kind `source`, unused by the
    others."""
    repeater_kind: RepeaterKind = RepeaterKind.TOKEN_BUCKET
    """How a repeater is limited to its rate. "token-bucket": each swap takes a token, and its result is there
    `swap_time_s` later. "server": one swap at a time, each 1/`repeater_rate_hz` long, gates and readout
    included (for sensitivity runs)."""
    repeater_burst: Annotated[float, Field(ge=1)] = 1.0
    """Depth of the token bucket; 1 for a server."""
    swap_time_s: NotNegative = 1e-3
    """Gates and readout of a swap. For a server they are part of the 1/`repeater_rate_hz`, and must fit."""
    distillation_time_s: NotNegative = 1e-3
    """Gates and readout of a distillation round."""
    swap_order: SwapOrder = SwapOrder.ASAP
    """When a repeater swaps. "asap": as soon as it knows of a pair on either side. "nested": when its pairs
    span two halves of the path. "left-to-right": when the left pair reaches back to the source and the right
    one is a link pair."""
    cutoff_s: Positive | None = None
    """A pair of an allocation is discarded at both ends, and made anew, when its oldest link pair reaches
    this age. Never by default."""
    memories: QubitCount | None = None
    """Qubits of a node, shared by all its links; 16 if neither this nor `memories_per_link` is given."""
    memories_per_link: QubitCount | None = None
    """Instead of `memories`: qubits of each link at either end."""
    remote_storage_quota: Probability = 0.25
    """The largest fraction of a node's qubits that stock of other nodes may hold."""

    @model_validator(mode="after")
    def _memories_of_one_kind(self) -> Nodes:
        if self.memories_per_link is None:
            # The text of a scenario contains every default, so the number is written down here.
            object.__setattr__(self, "memories", self.memories or _MEMORIES)
        elif self.memories is not None:
            raise ValueError(
                f"memories_per_link = {self.memories_per_link} excludes memories = {self.memories}: the links"
                " of a node share its qubits, or each has its own; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _swaps_fit_a_server(self) -> Nodes:
        if self.repeater_kind is RepeaterKind.TOKEN_BUCKET:
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


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Links:
    """The equipment of every link. Its length comes from the topology."""

    hardware: LinkHardware = field(default_factory=SourceLink)
    """How every link makes pairs, by its `kind`. Without `kind` it is the first of the kinds that has all the
    given keys. A "source" link is limited by the sources at its ends. All other kinds are limited by their
    attempts: each of their `modes` attempts repeatedly while a claim waits for a pair."""
    processing_delay_s: NotNegative = 1e-5
    """Delay per hop and message, in addition to light at 200,000 km/s."""
    light_delay: bool = True
    """If false, messages between nodes take only `processing_delay_s`, as in models without the speed of
    light. The hardware still sets the time of an attempt."""
    slotted: bool = False
    """Whether attempts start only at whole multiples of the link's period."""
