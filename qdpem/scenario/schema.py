"""A scenario as typed values: frozen, checked when built, with the unit in every name.

A scenario file is a TOML file with these tables. Unknown keys are faults. `qdpem schema` prints the JSON
schema that follows from them, and docs/reference/scenario.md is generated from it.
"""

from __future__ import annotations

from dataclasses import asdict, field

from pydantic.dataclasses import dataclass

from qdpem.html_tables import html_details, html_heading, html_table
from qdpem.scenario.tables.classes import RequestClass as RequestClass
from qdpem.scenario.tables.demand import Bursts as Bursts
from qdpem.scenario.tables.demand import Demand as Demand
from qdpem.scenario.tables.demand import Neighbourhood as Neighbourhood
from qdpem.scenario.tables.fields import CHECKED, Seed
from qdpem.scenario.tables.fields import Count as Count
from qdpem.scenario.tables.fields import NodeCount as NodeCount
from qdpem.scenario.tables.fields import NotNegative as NotNegative
from qdpem.scenario.tables.fields import PerNode as PerNode
from qdpem.scenario.tables.fields import Positive as Positive
from qdpem.scenario.tables.fields import Probability as Probability
from qdpem.scenario.tables.fields import Uniform as Uniform
from qdpem.scenario.tables.network import Links as Links
from qdpem.scenario.tables.network import Nodes as Nodes
from qdpem.scenario.tables.network import PhysicsChoice as PhysicsChoice
from qdpem.scenario.tables.network import Topology as Topology
from qdpem.scenario.tables.outages import Join as Join
from qdpem.scenario.tables.outages import Outages as Outages
from qdpem.scenario.tables.outages import RandomOutages as RandomOutages
from qdpem.scenario.tables.outages import ScheduledOutage as ScheduledOutage
from qdpem.scenario.tables.processes import Process as Process
from qdpem.scenario.tables.processes import Session as Session
from qdpem.scenario.tables.processes import Timetable as Timetable
from qdpem.scenario.tables.processes import Trace as Trace
from qdpem.scenario.tables.run import ControlSettings as ControlSettings
from qdpem.scenario.tables.run import Forecasting as Forecasting
from qdpem.scenario.tables.run import Recording as Recording
from qdpem.scenario.tables.run import Reward as Reward
from qdpem.scenario.tables.run import Training as Training
from qdpem.scenario.tables.run import TrainingVariant as TrainingVariant
from qdpem.scenario.tables.run import Window as Window
from qdpem.scenario.tables.study import STRONGEST as STRONGEST
from qdpem.scenario.tables.study import Arm as Arm
from qdpem.scenario.tables.study import Claim as Claim
from qdpem.scenario.tables.study import Study as Study


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Scenario:
    """All that defines a run, except its seed and its arm."""

    name: str
    """Name of the scenario."""
    topology: Topology
    """The network."""
    nodes: Nodes
    """The equipment of every node."""
    demand: Demand
    """The requests."""
    description: str = ""
    """One sentence."""
    physics: PhysicsChoice = field(default_factory=PhysicsChoice)
    """The physics model."""
    links: Links = field(default_factory=Links)
    """The equipment of every link."""
    forecasting: Forecasting = field(default_factory=Forecasting)
    """What forecasters see and forecast."""
    control: ControlSettings = field(default_factory=ControlSettings)
    """Decision epochs, retries and the central controller."""
    outages: Outages = field(default_factory=Outages)
    """What fails, recovers and joins."""
    window: Window = field(default_factory=Window)
    """Warm-up and measured time."""
    reward: Reward = field(default_factory=Reward)
    """What the reward counts."""
    record: Recording = field(default_factory=Recording)
    """What records keep."""
    training: Training = field(default_factory=Training)
    """Settings of `qdpem train`."""
    topology_seed: Seed | None = None
    """Seed of the topology and of numbers drawn per node; by default the seed of the run."""
    study: Study | None = None
    """Arms, seeds and statistics of `qdpem study`."""

    def _repr_html_(self) -> str:
        """Name and description, with every key and its value folded below."""
        keys = [(key, value) for key, value in _flat(asdict(self)) if key not in ("name", "description")]
        all_keys = html_table(("key", "value"), keys)
        return html_heading(f"Scenario {self.name}", self.description) + html_details("all keys", all_keys)


def _flat(values: object, path: str = "") -> list[tuple[str, str]]:
    """Dotted keys and their values; items of a list are counted from 0, and what is not set is left out."""
    if isinstance(values, dict):
        items = [(str(key), item) for key, item in values.items()]
    elif isinstance(values, list | tuple) and any(isinstance(item, dict) for item in values):
        items = [(str(index), item) for index, item in enumerate(values)]
    else:
        return [] if values is None else [(path, str(values))]
    return [each for key, item in items for each in _flat(item, f"{path}.{key}" if path else key)]
