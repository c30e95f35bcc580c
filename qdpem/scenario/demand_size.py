"""What the demand of a scenario makes a run count: requests, candidates, starts, sessions, bursts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qdpem.scenario.schema import PerNode, Process, Scenario, Timetable, Trace, Uniform
from qdpem.scenario.size_counts import Setting, SizeCount

_HOPS = 4.0
"""Links of a typical path."""


def demand_counts(
    scenario: Scenario, node: Setting, end: Setting, *, rate_hz: float | None
) -> Iterable[SizeCount]:
    """The parts of demand. `rate_hz`: of requests, where the scenario does not state it."""
    demand, forecasting = scenario.demand, scenario.forecasting
    history = Setting(key="forecasting.history_s", value=forecasting.history_s, ordinary=600.0)
    pairs, key = max(
        zip(demand.all_classes, demand.class_keys, strict=True),
        key=lambda each: each[0].pairs * each[0].fraction,
    )
    wanted = Setting(
        # Without the number of the class: classes of one process differ in little else.
        key=f"{key.rpartition('.')[0]}.pairs",
        value=max(1.0, float(pairs.pairs * pairs.fraction)),
        ordinary=1.0,
        given=float(pairs.pairs),
    )
    hops = Setting(key="demand", value=_HOPS, ordinary=_HOPS)
    if demand.arrivals == "batch":
        ends = Setting(key=node.key, value=demanded_pairs(scenario, node.value), ordinary=5e3)
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
    for name, process in demand.processes.items():
        yield from _process_parts(scenario, f"demand.processes.{name}", process, node, end, rate=rate)
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
        beyond = _beyond(scenario)
        span = max((end, history, jitter, beyond), key=lambda setting: setting.value)
        span = replace(span, value=2.0 * span.value, ordinary=2.0 * span.ordinary)
        yield SizeCount(name="bursts", settings=(regions, per_second, span), bytes_each=60.0)


def _process_parts(
    scenario: Scenario, path: str, process: Process, node: Setting, end: Setting, *, rate: Setting
) -> Iterable[SizeCount]:
    """What one process draws before the run, over the history, the run and a horizon past both."""
    history = Setting(key="forecasting.history_s", value=scenario.forecasting.history_s, ordinary=600.0)
    longest = max((end, history, _beyond(scenario)), key=lambda setting: setting.value)
    span = replace(longest, value=2.0 * longest.value, ordinary=2.0 * longest.ordinary)
    own = replace(rate, value=process.fraction * rate.value)
    if isinstance(process, Trace):
        # The file says between how many pairs of nodes; each has a stream for either side of t = 0.
        ends = Setting(key=node.key, value=node.value * node.value, ordinary=1e4)
        yield SizeCount(name="pairs of nodes of a trace", settings=(ends,), bytes_each=2000.0)
        yield SizeCount(name="requests of a trace", settings=(own, span), bytes_each=100.0)
        return
    pairs = Setting(key=node.key, value=demanded_pairs(scenario, node.value), ordinary=5e3)
    yield SizeCount(name="pairs of nodes with a process of their own", settings=(pairs,), bytes_each=2000.0)
    if isinstance(process, Timetable):
        skipped = Setting(
            key=f"{path}.skipped_fraction",
            value=max(1.0, process.starts_per_request),
            ordinary=1.0,
            given=process.skipped_fraction,
        )
        starts_hz = own.value * skipped.value / pairs.value
        # Starts are drawn until jitter cannot bring them back: 8 deviations, which grow where it accumulates.
        if process.jitter_accumulates:
            reach = (1.0 + 8.0 * process.jitter_s * starts_hz) ** 2
        else:
            reach = 1.0 + 16.0 * process.jitter_s / span.value
        jitter = Setting(key=f"{path}.jitter_s", value=reach, ordinary=4.0, given=process.jitter_s)
        yield SizeCount(name="starts of timetables", settings=(own, skipped, jitter, span), bytes_each=60.0)
        return
    on_off_s = process.on_s + process.off_s
    per_second = Setting(
        key=f"{path}.{'on_s' if process.on_s > process.off_s else 'off_s'}",
        value=1.0 / on_off_s,
        ordinary=1.0 / 120.0,
        given=max(process.on_s, process.off_s),
    )
    factor = Setting(key=f"{path}.on_s", value=process.rate_factor, ordinary=6.0, given=process.on_s)
    yield SizeCount(name="sessions", settings=(pairs, per_second, span), bytes_each=60.0)
    yield SizeCount(name="candidate requests of sessions", settings=(own, factor, span), bytes_each=8.0)


def _beyond(scenario: Scenario) -> Setting:
    """Seconds past both ends of a run that forecasts look at."""
    forecasting = scenario.forecasting
    longer = forecasting.step_s > forecasting.horizon_steps
    return Setting(
        key="forecasting.step_s" if longer else "forecasting.horizon_steps",
        value=forecasting.step_s * (forecasting.horizon_steps + 1),
        ordinary=9.0,
        given=forecasting.step_s if longer else float(forecasting.horizon_steps),
    )


def demanded_pairs(scenario: Scenario, nodes: float) -> float:
    """About how many pairs of nodes have demand."""
    demand = scenario.demand
    if any(isinstance(process, Trace) for process in demand.processes.values()):
        return nodes * nodes / 2.0
    if demand.weights == "endpoints":
        return 1.0
    if demand.weights == "neighbourhood" and demand.neighbourhood and demand.neighbourhood.peers:
        return nodes * min(float(demand.neighbourhood.peers), nodes)
    return nodes * nodes / 2.0


def _guessed_rate_hz(scenario: Scenario, nodes: float) -> float:
    """Two swaps for each request: what repeaters can carry, times the load factor."""
    return (
        (scenario.demand.load_factor or 1.0) * nodes * highest_rate_hz(scenario.nodes.repeater_rate_hz) / 4.0
    )


def highest_rate_hz(per_node: PerNode) -> float:
    """The highest rate that a node may have."""
    return per_node.high if isinstance(per_node, Uniform) else float(per_node)


def _longer(first: Setting, second: Setting) -> Setting:
    return first if first.value > second.value else second
