"""The size of a run, foreseen from its scenario: what it counts, how much memory, how long before it begins.

The estimate is a sum over parts. Each part counts one kind of thing (requests, rows of forecasts, modes of
links, ...) by the product of the settings that cause it, and gives each a constant number of bytes. It is
meant to tell megabytes from terabytes. The constants were measured in runs of shipped scenarios with one
setting enlarged; arms differ, and the estimate is for one that uses everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from physics.hardware import SourceLink
from qdpem import registry
from qdpem.errors import QdpemError, SizeError
from qdpem.scenario.faults.validation import parameters_of
from qdpem.scenario.schema import PerNode, Scenario, Uniform

WARN_BYTES = 4 * 2**30
WARN_COUNT = 1e9
"""A run that counts more of one thing takes about an hour or more: a microsecond or several for each."""
MAX_COUNT = 1e12
"""At a microsecond each these take eleven days."""
WARN_SETUP_S = 60.0
_BASE_BYTES = 180e6
"""Python with its packages."""
_PAIR_S = 2e-3
"""Paths of one pair of nodes with demand; up to fifty times as long on lattices, where paths are alike."""
_HOPS = 4.0
"""Links of a typical path."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A factor of a count, with its value in scenarios of ordinary size.

    `given` is the setting as the scenario has it, where that is not the factor itself.
    """

    key: str
    value: float
    ordinary: float
    given: float | None = None

    @property
    def excess(self) -> float:
        """How many times as large as ordinary it is."""
        return self.value / self.ordinary


@dataclass(frozen=True, kw_only=True)
class SizeCount:
    """One kind of thing that a run counts, and the settings of which the count is the product."""

    name: str
    settings: tuple[Setting, ...]
    bytes_each: float = 0.0

    @property
    def count(self) -> float:
        """How many there are."""
        return math.prod(setting.value for setting in self.settings)

    @property
    def memory_bytes(self) -> float:
        """What all of them take."""
        return self.count * self.bytes_each

    @property
    def driver(self) -> Setting:
        """The setting that is largest for its kind."""
        return max(self.settings, key=lambda setting: setting.excess)

    def __str__(self) -> str:
        driver = self.driver
        given = driver.value if driver.given is None else driver.given
        return f"{self.count:.2g} {self.name}, because {driver.key} is {given:.4g}"


@dataclass(frozen=True, kw_only=True)
class SizeEstimate:
    """The parts of a run, and the seconds that pass before its first simulated second."""

    parts: tuple[SizeCount, ...]
    setup_s: float
    setup_key: str

    @property
    def memory_bytes(self) -> float:
        """The memory of one run."""
        return _BASE_BYTES + sum(part.memory_bytes for part in self.parts)

    @property
    def largest(self) -> SizeCount:
        """The part that takes most memory."""
        return max(self.parts, key=lambda part: part.memory_bytes)

    @property
    def most(self) -> SizeCount:
        """The part with the highest count."""
        return max(self.parts, key=lambda part: part.count)

    def warnings(self) -> tuple[str, ...]:
        """A sentence for memory, counts and set-up, as far as they are above their thresholds."""
        sentences = []
        if self.memory_bytes > WARN_BYTES:
            sentences.append(f"it will need about {_gib(self.memory_bytes)} GiB of memory: {self.largest}")
        if self.most.count > WARN_COUNT:
            sentences.append(f"it will take long: {self.most}")
        if self.setup_s > WARN_SETUP_S:
            minutes = self.setup_s / 60.0
            sentences.append(
                f"it will take about {minutes:.2g} minutes or more before it begins: {self.setup_key}"
            )
        return tuple(sentences)


def estimate_size(
    scenario: Scenario,
    *,
    nodes: int | None = None,
    links: int | None = None,
    rate_hz: float | None = None,
    emission_rate_hz: float | None = None,
    delay_s: float | None = None,
) -> SizeEstimate:
    """The size of one run of `scenario`. It is worked out in microseconds; nothing is built or drawn.

    Args:
        scenario: the scenario.
        nodes: of the network; what the parameters of the topology say, or 100, when None.
        links: of the network; likewise, or four a node.
        rate_hz: of requests; needed only for scenarios that set `load_factor`, and guessed for these.
        emission_rate_hz: of emissions and attempts that could succeed, summed over sources; all when None.
        delay_s: the longest delay between neighbours; that of processing and a millisecond when None.
    """
    known_nodes, known_links = _graph_size(scenario)
    place = _topology_key(scenario)
    node = Setting(key=place, value=float(nodes or known_nodes), ordinary=100.0)
    link = Setting(key=place, value=float(links or known_links), ordinary=400.0)
    end = _largest(scenario.window.warm_up_s, "window.warm_up_s", scenario.window.measured_s)
    parts = [
        *_demand_parts(scenario, node, end, rate_hz=rate_hz),
        *_clock_parts(scenario, node, end, delay_s=delay_s or 1e-3 + scenario.links.processing_delay_s),
        *_hardware_parts(scenario, node, link, end, emission_rate_hz=emission_rate_hz),
        *_outage_parts(scenario, node, link, end),
        SizeCount(name="pairs of nodes", settings=(node, node), bytes_each=100.0),
    ]
    pairs = _demanded_pairs(scenario, node.value)
    what = f"paths of {pairs:.2g} pairs of nodes with demand, because {place} gives {node.value:.4g} nodes"
    return SizeEstimate(parts=tuple(parts), setup_s=_PAIR_S * pairs, setup_key=what)


def require_size(
    estimate: SizeEstimate, *, memory_bytes: float, runs: int = 1, oversize: bool = False
) -> tuple[str, ...]:
    """The warnings of an estimate. Raises SizeError if the machine is too small for it.

    Args:
        estimate: of one run.
        memory_bytes: of the machine.
        runs: at the same time.
        oversize: never raise; what would be refused is a warning.
    """
    needed = estimate.memory_bytes * runs
    refusal = ""
    if needed > memory_bytes:
        at_once = f" for {runs} runs at a time" if runs > 1 else ""
        refusal = (
            f"it would need about {_gib(needed)} GiB of memory{at_once}, and this machine has"
            f" {_gib(memory_bytes)}: {estimate.largest}"
        )
    elif estimate.most.count > MAX_COUNT:
        refusal = f"it would take weeks or longer: {estimate.most}"
    if not refusal:
        return estimate.warnings()
    if oversize:
        return (refusal,)
    raise SizeError(f"the run is too large: {refusal}. Lower it, or begin anyway with --oversize")


def _demand_parts(
    scenario: Scenario, node: Setting, end: Setting, *, rate_hz: float | None
) -> Iterable[SizeCount]:
    demand, forecasting = scenario.demand, scenario.forecasting
    history = Setting(key="forecasting.history_s", value=forecasting.history_s, ordinary=600.0)
    pairs = max(demand.all_classes, key=lambda each: each.pairs * each.fraction)
    wanted = Setting(
        key="demand.classes.pairs",
        value=max(1.0, float(pairs.pairs * pairs.fraction)),
        ordinary=1.0,
        given=float(pairs.pairs),
    )
    hops = Setting(key="demand", value=_HOPS, ordinary=_HOPS)
    if demand.arrivals == "batch":
        ends = Setting(key=node.key, value=_demanded_pairs(scenario, node.value), ordinary=5e3)
        classes = Setting(key="demand.classes", value=float(len(demand.classes)), ordinary=4.0)
        yield SizeCount(name="requests", settings=(ends, classes), bytes_each=4000.0)
        yield SizeCount(name="pairs of links", settings=(ends, classes, wanted, hops), bytes_each=1000.0)
        return
    rate = Setting(
        key="demand.load_factor" if demand.rate_hz is None else "demand.rate_hz",
        value=rate_hz or demand.rate_hz or _guessed_rate_hz(scenario, node.value),
        ordinary=30.0,
    )
    peak = Setting(key="demand.bursts.peak", value=demand.bursts.peak if demand.bursts else 1.0, ordinary=3.0)
    yield SizeCount(name="requests", settings=(rate, end), bytes_each=4000.0)
    yield SizeCount(name="pairs of links", settings=(rate, end, wanted, hops), bytes_each=1000.0)
    yield SizeCount(name="requests before t = 0", settings=(rate, history), bytes_each=100.0)
    yield SizeCount(name="candidate requests", settings=(rate, peak, _longer(history, end)), bytes_each=8.0)
    control, patience_s = scenario.control, max(each.patience_s for each in demand.all_classes)
    retries = Setting(
        key="control.retries",
        # No more than fit into a request's time.
        value=min(float(control.retries), patience_s / control.back_off_s),
        ordinary=4.0,
        given=float(control.retries),
    )
    yield SizeCount(name="retries", settings=(rate, end, retries), bytes_each=100.0)
    if demand.bursts:
        bursts = demand.bursts
        regions = Setting(key="demand.bursts.regions", value=float(bursts.regions), ordinary=4.0)
        per_second = Setting(
            key="demand.bursts.period_s",
            value=1.0 / bursts.period_s,
            ordinary=1.0 / 32.0,
            given=bursts.period_s,
        )
        jitter = Setting(
            key="demand.bursts.jitter_s", value=20.0 * bursts.jitter_s, ordinary=20.0, given=bursts.jitter_s
        )
        horizon_s = forecasting.step_s * (forecasting.horizon_steps + 1)
        longer = forecasting.step_s > forecasting.horizon_steps
        beyond = Setting(
            key="forecasting.step_s" if longer else "forecasting.horizon_steps",
            value=horizon_s,
            ordinary=9.0,
            given=forecasting.step_s if longer else float(forecasting.horizon_steps),
        )
        span = max((end, history, jitter, beyond), key=lambda setting: setting.value)
        span = replace(span, value=2.0 * span.value, ordinary=2.0 * span.ordinary)
        yield SizeCount(name="bursts", settings=(regions, per_second, span), bytes_each=60.0)


def _clock_parts(scenario: Scenario, node: Setting, end: Setting, *, delay_s: float) -> Iterable[SizeCount]:
    forecasting, epoch_s = scenario.forecasting, scenario.control.decision_epoch_s
    per_second = Setting(key="control.decision_epoch_s", value=1.0 / epoch_s, ordinary=10.0, given=epoch_s)
    steps = Setting(
        key="forecasting.step_s", value=1.0 / forecasting.step_s, ordinary=1.0, given=forecasting.step_s
    )
    horizon = Setting(key="forecasting.horizon_steps", value=float(forecasting.horizon_steps), ordinary=8.0)
    history = Setting(key="forecasting.history_s", value=forecasting.history_s, ordinary=600.0)
    delay = Setting(key="links.processing_delay_s", value=delay_s, ordinary=1e-3)
    yield SizeCount(name="simulated seconds", settings=(end,), bytes_each=500.0)
    yield SizeCount(name="decisions at epochs", settings=(node, end, per_second), bytes_each=60.0)
    yield SizeCount(name="reports on their way", settings=(node, delay, per_second), bytes_each=64.0)
    yield SizeCount(name="rows of forecasts", settings=(node, horizon, end, steps), bytes_each=60.0)
    yield SizeCount(name="forecast values", settings=(node, horizon), bytes_each=100.0)
    yield SizeCount(name="counts before t = 0", settings=(node, history, steps), bytes_each=40.0)


def _hardware_parts(
    scenario: Scenario, node: Setting, link: Setting, end: Setting, *, emission_rate_hz: float | None
) -> Iterable[SizeCount]:
    hardware = scenario.links.hardware
    key = "nodes.memories" if scenario.nodes.memories_per_link is None else "nodes.memories_per_link"
    qubits = Setting(
        key=key,
        value=float(scenario.nodes.memories_per_link or scenario.nodes.memories or 16),
        ordinary=32.0,
    )
    # A policy may keep a list of the pairs in the quarter of them that stock may take.
    yield SizeCount(name="qubits", settings=(node, qubits), bytes_each=6.0)
    if isinstance(hardware, SourceLink):
        rate_hz = scenario.nodes.source_rate_hz
        of_node = _highest(rate_hz) if rate_hz is not None else 0.0
        share = 1.0 if emission_rate_hz is None else emission_rate_hz / max(node.value * of_node, 1e-300)
        emissions = Setting(key="nodes.source_rate_hz", value=of_node * min(share, 1.0), ordinary=50.0)
        yield SizeCount(name="emissions", settings=(node, emissions, end), bytes_each=1.0)
        return
    modes = Setting(key="links.hardware.modes", value=float(getattr(hardware, "modes", 1)), ordinary=10.0)
    yield SizeCount(name="modes of links", settings=(link, modes), bytes_each=4000.0)


def _outage_parts(scenario: Scenario, node: Setting, link: Setting, end: Setting) -> Iterable[SizeCount]:
    outages = scenario.outages
    one = Setting(key="outages.controller", value=1.0, ordinary=1.0)
    for name, places in (("links", link), ("nodes", node), ("controller", one)):
        law = getattr(outages, name)
        if law is not None:
            mean_s = law.mean_up_s + law.mean_down_s
            per_second = Setting(
                key=f"outages.{name}.mean_up_s", value=1.0 / mean_s, ordinary=0.01, given=law.mean_up_s
            )
            yield SizeCount(name="outages", settings=(places, per_second, end), bytes_each=800.0)


def _graph_size(scenario: Scenario) -> tuple[float, float]:
    """Nodes and links as the topology's parameters have them; 100 and 400 where they say nothing."""
    topology = scenario.topology
    try:
        factory = registry.load("topology", topology.kind)
        parameters = parameters_of(factory, topology.parameters, path="topology.parameters")
    except QdpemError:
        # Whoever builds the network says it better.
        return 100.0, 400.0
    return getattr(parameters, "size", (100.0, 400.0))


def _topology_key(scenario: Scenario) -> str:
    """The parameter of the topology with the highest number; its kind if none has a number."""
    numbers: Mapping[str, float] = {
        name: value
        for name, value in scenario.topology.parameters.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    return f"topology.parameters.{max(numbers, key=numbers.__getitem__)}" if numbers else "topology"


def _demanded_pairs(scenario: Scenario, nodes: float) -> float:
    demand = scenario.demand
    if demand.weights == "endpoints":
        return 1.0
    if demand.weights == "neighbourhood" and demand.neighbourhood and demand.neighbourhood.peers:
        return nodes * min(float(demand.neighbourhood.peers), nodes)
    return nodes * nodes / 2.0


def _guessed_rate_hz(scenario: Scenario, nodes: float) -> float:
    """Two swaps for each request: what repeaters can carry, times the load factor."""
    return (scenario.demand.load_factor or 1.0) * nodes * _highest(scenario.nodes.repeater_rate_hz) / 4.0


def _highest(per_node: PerNode) -> float:
    return per_node.high if isinstance(per_node, Uniform) else float(per_node)


def _largest(warm_up_s: float, key: str, measured_s: float) -> Setting:
    longest = key if warm_up_s > measured_s else "window.measured_s"
    return Setting(key=longest, value=warm_up_s + measured_s, ordinary=360.0)


def _longer(first: Setting, second: Setting) -> Setting:
    return first if first.value > second.value else second


def _gib(number: float) -> str:
    return f"{number / 2**30:.3g}"
