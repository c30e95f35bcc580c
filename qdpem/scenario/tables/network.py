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
    Quantity,
    Uniform,
)
from qdpem.scenario.words import RepeaterKind, SwapOrder

_MEMORIES = 16


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class PhysicsChoice:
    """The name of a physics model, and its own parameters."""

    model: str = "pauli"
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Topology:
    """The name of a registered generator or catalogue of graphs, and its own parameters.

    `length_scale` multiplies every length. Links shorter than `min_length_km` get that length.
    """

    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    length_scale: Positive = 1.0
    min_length_km: Positive = 0.1


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Nodes:
    """The equipment of every node. A table `{ low, high }` draws one number for each node.

    - `source_rate_hz` is required for source-limited links; other links ignore it.
    - `repeater_kind` limits a repeater to `repeater_rate_hz` swaps per second. A "token-bucket" gives each
      swap a token and the result `swap_time_s` later. A "server" makes one swap at a time in 1/rate, which
      includes gates and read-out.
    - `swap_order`: a repeater swaps as soon as it can ("asap"), when its two pairs span halves of the path
      ("nested"), or when the left pair reaches back to the source ("left-to-right").
    - `cutoff_s`: a pair in generation is dropped at both ends and generated anew when its oldest link pair
      is older.
    - `memories` qubits are shared by all links of a node, 16 by default. `memories_per_link` instead gives
      each link its own qubits.
    - `remote_storage_quota` is the fraction of a node's qubits that stock of other nodes may occupy.
    """

    repeater_rate_hz: PerNode
    hardware: NodeHardware
    source_rate_hz: PerNode | None = None
    repeater_kind: RepeaterKind = RepeaterKind.TOKEN_BUCKET
    repeater_burst: Annotated[float, Field(ge=1)] = 1.0
    swap_time_s: NotNegative = 1e-3
    distillation_time_s: NotNegative = 1e-3
    swap_order: SwapOrder = SwapOrder.ASAP
    cutoff_s: Positive | None = None
    memories: Quantity | None = None
    memories_per_link: Quantity | None = None
    remote_storage_quota: Probability = 0.25

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
    """The equipment of every link. Its length comes from the topology.

    `slotted`: links that make attempts start them only at whole multiples of their period. Without
    `light_delay` messages between nodes take only `processing_delay_s`, as in models without the speed of
    light; the time of an attempt still depends on the hardware.
    """

    hardware: LinkHardware = field(default_factory=SourceLink)
    processing_delay_s: NotNegative = 1e-5
    light_delay: bool = True
    slotted: bool = False
