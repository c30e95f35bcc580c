"""The demand of a study in words: its rate, its mixture of processes, their classes, and who asks whom."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from qdpem.scenario.schema import (
    Bursts,
    Demand,
    Neighbourhood,
    Process,
    RequestClass,
    Session,
    Trace,
)
from qdpem.scenario.tables.demand import POISSON
from qdpem.scenario.words import NodeMap
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.wording import counted, listed

_REPETITION = {
    "no": "",
    "pair": ", renewed after each delivered pair",
    "link": ", renewed with every link at work",
}


def demand_sentence(result: StudyResult) -> str:
    """The rate of requests over the seeds, the rule that sets it, and the processes of a mixture."""
    demand = result.scenario.demand
    if demand.arrivals == "batch":
        return "all requests arrive at t = 0"
    mixture = f"; {mixture_words(demand)}" if demand.processes else ""
    if demand.rate_hz is not None:
        return f"{demand.rate_hz:g} requests/s on average{mixture}"
    rates_hz = [rate for rate in map(result.asked_hz, result.seeds) if not math.isnan(rate)]
    rule = (
        f"peak at {demand.load_factor:g} of the rate at which the network of each seed could serve"
        f" {demand.served_fraction:.0%} of the requests in the long run"
    )
    if not rates_hz:
        return rule + mixture
    mean = math.fsum(rates_hz) / len(rates_hz)
    seeds = f"{mean:.3g} requests/s on average, {min(rates_hz):.3g} to {max(rates_hz):.3g} by seed"
    return f"{rule}: {seeds}{mixture}"


def mixture_words(demand: Demand) -> str:
    """The share and the kind of every process.

    >>> from qdpem.scenario.load import load_scenario
    >>> mixture_words(load_scenario("jobs").demand)
    '70% from jobs (timetable) and 30% from poisson'
    """
    parts = [f"{process.fraction:.0%} from {name} ({process.kind})" for name, process in _processes(demand)]
    if demand.classes:
        parts.append(f"{demand.poisson_fraction:.0%} from {POISSON}")
    return listed(parts)


def demand_facts(demand: Demand, *, rate: str) -> Iterator[tuple[str, str]]:
    """Names and values of a table: the rate (as `rate` words it), node pairs, processes and their classes."""
    yield "demand", rate
    yield "node pairs", _node_pairs(demand)
    for name, process in _processes(demand):
        yield f"process: {name}", f"{process.fraction:.0%} of the requests, {_process_words(process)}"
        yield from _class_facts(process.classes, of=f", {name}")
    if demand.classes:
        if demand.processes:
            yield f"process: {POISSON}", f"{demand.poisson_fraction:.0%} of the requests, at random times"
        yield from _class_facts(demand.classes, of=f", {POISSON}" if demand.processes else "")
        yield "bursts", _bursts(demand)


def _processes(demand: Demand) -> list[tuple[str, Process]]:
    return list(demand.processes.items())


def _class_facts(classes: tuple[RequestClass, ...], *, of: str) -> Iterator[tuple[str, str]]:
    """One fact for each class; `of` names its process."""
    fractions = math.fsum(each.fraction for each in classes)
    whole = "these" if of else "the requests"
    for each in classes:
        yield (
            f"class: {each.application}{of}",
            f"{each.fraction / fractions:.0%} of {whole}, {counted(each.pairs, 'pair')}"
            f" of fidelity {each.target_fidelity:g} or more within {each.patience_s:g} s"
            f"{_REPETITION[each.repeat_until_deadline]}",
        )


def _process_words(process: Process) -> str:
    if isinstance(process, Trace):
        return _trace_words(process)
    if isinstance(process, Session):
        return (
            f"in sessions: each pair of nodes is on for {process.on_s:g} s and off for {process.off_s:g} s"
            " on average, and asks at random while it is on"
        )
    words = [
        f"on timetables: each pair of nodes has a period within {process.period_spread:.0%} of the mean",
        f"jitter {process.jitter_s:g} s{' from start to start' if process.jitter_accumulates else ''}",
    ]
    for fraction, what in (
        (process.skipped_fraction, "of the starts skipped"),
        (process.unannounced_fraction, "of the requests unannounced"),
    ):
        if fraction:
            words.append(f"{fraction:.0%} {what}")
    return ", ".join(words)


def _trace_words(process: Trace) -> str:
    """The file by its name only: a report goes to other machines."""
    words = [f"following the trace {Path(process.path).name} from its second {process.start_s:g} on"]
    if process.time_compression != 1.0:
        words.append(f"its time compressed by {process.time_compression:g}")
    if process.exponent != 1.0:
        words.append(f"its traffic raised to the power of {process.exponent:g}")
    if process.node_map is NodeMap.RANK:
        words.append("its busiest nodes put where most links are")
    return ", ".join(words)


def _node_pairs(demand: Demand) -> str:
    if (
        demand.processes
        and not demand.classes
        and all(isinstance(each, Trace) for each in demand.processes.values())
    ):
        return "those of the trace"
    if demand.weights == "endpoints":
        return "the topology's first and last node"
    if demand.weights != "neighbourhood":
        return f"pairs of nodes weighted by {demand.weights}"
    neighbourhood = demand.neighbourhood or Neighbourhood()
    picked = f", {neighbourhood.peers} drawn for each node" if neighbourhood.peers is not None else ""
    return f"pairs of nodes {neighbourhood.min_hops} to {neighbourhood.max_hops} hops apart{picked}"


def _bursts(demand: Demand) -> str:
    if demand.bursts is None:
        return "none" if demand.arrivals == "batch" else "none: stationary Poisson arrivals"
    bursts: Bursts = demand.bursts
    timing = {
        "calendar": f"jitter {bursts.jitter_s:g} s",
        "memoryless": "memoryless: exponential times on and off",
        "cascading": f"each region {bursts.lag_s or 0.0:g} s after the previous one, the first memoryless",
    }
    return (
        f"{bursts.regions} regions, each at {bursts.peak:g} times its mean rate for {bursts.duration_s:g} s"
        f" about every {bursts.period_s:g} s ({timing[bursts.timing]})"
    )
