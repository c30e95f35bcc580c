"""The size of a run, foreseen from its scenario: what it counts, how much memory, how long before it begins.

The estimate is a sum over parts. Each part counts one kind of thing (requests, rows of forecasts, modes of
links, ...) by the product of the settings that cause it, and gives each a constant number of bytes. It is
meant to tell megabytes from terabytes. The constants were measured in runs of shipped scenarios with one
setting enlarged; arms differ, and the estimate is for one that uses everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from physics.hardware import SourceLink
from qdpem import registry
from qdpem.errors import QdpemError, SizeError
from qdpem.scenario.demand_size import demand_counts, demanded_pairs, highest_rate_hz
from qdpem.scenario.faults.validation import parameters_of
from qdpem.scenario.schema import Scenario
from qdpem.scenario.size_counts import MAX_COUNT, Setting, SizeCount, SizeEstimate, gib_text

_PAIR_S = 2e-3
"""Paths of one pair of nodes with demand; up to fifty times as long on lattices, where paths are alike."""


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
        *demand_counts(scenario, node, end, rate_hz=rate_hz),
        *_clock_parts(scenario, node, end, delay_s=delay_s or 1e-3 + scenario.links.processing_delay_s),
        *_hardware_parts(scenario, node, link, end, emission_rate_hz=emission_rate_hz),
        *_outage_parts(scenario, node, link, end),
        SizeCount(name="pairs of nodes", settings=(node, node), bytes_each=100.0),
    ]
    pairs = demanded_pairs(scenario, node.value)
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
            f"it would need about {gib_text(needed)} GiB of memory{at_once}, and this machine has"
            f" {gib_text(memory_bytes)}: {estimate.largest}"
        )
    elif estimate.most.count > MAX_COUNT:
        refusal = f"it would take weeks or longer: {estimate.most}"
    if not refusal:
        return estimate.warnings()
    if oversize:
        return (refusal,)
    raise SizeError(f"the run is too large: {refusal}. Lower it, or begin anyway with --oversize")


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
        of_node = highest_rate_hz(rate_hz) if rate_hz is not None else 0.0
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


def _largest(warm_up_s: float, key: str, measured_s: float) -> Setting:
    longest = key if warm_up_s > measured_s else "window.measured_s"
    return Setting(key=longest, value=warm_up_s + measured_s, ordinary=360.0)
