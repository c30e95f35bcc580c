"""The report: one HTML file with everything inside it, made from a study's outcomes and records."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from physics.hardware import DirectLink, Fibre, LinkHardware, SourceLink
from qdpem.provenance import provenance
from qdpem.scenario.load import scenario_hash, scenario_text
from qdpem.scenario.schema import Demand, Links, Neighbourhood, Nodes, Outages, Scenario, Uniform
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.csv import write_whole
from qdpem.study.report.findings import demand_sentence, findings
from qdpem.study.report.tables import report_tables
from qdpem.study.report.wording import counted

CAVEATS = (
    "No public traces of requests for entanglement exist: the demand is a model, stated in the scenario.",
    "Physics is pair by pair: correlations over more than one pair are out of scope.",
    "Hardware numbers are stated choices, not measurements of a deployed network.",
)

_STANDING = {"no": "", "pair": ", asking on pair by pair", "link": ", asking on with every link at work"}


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """One figure of the report: SVG text and what it shows."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Appendix:
    """What outcomes alone do not say: figures, the network in words, its warnings, the command that ran."""

    drawings: tuple[ReportFigure, ...] = ()
    warnings: tuple[str, ...] = ()
    topology: str = ""
    capacity: str = ""
    command: str = ""


def write_report(result: StudyResult, *, path: Path, appendix: Appendix) -> None:
    """Write the report to `path`, whole or not at all."""
    write_whole(path, render_report(result, appendix=appendix))


def render_report(result: StudyResult, *, appendix: Appendix) -> str:
    """The report as HTML text. It fetches nothing: style and figures are inside it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("qdpem.study.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.jinja").render(
        **report_tables(result), **_setting(result, appendix), findings=findings(result)
    )


def _setting(result: StudyResult, appendix: Appendix) -> dict[str, Any]:
    scenario = result.scenario
    return {
        "title": scenario.name,
        "question": scenario.description
        or "Which allocator delivers most pairs, at the wanted fidelity, in time?",
        "faults": result.faults,
        "failed_count": sum(bool(outcome.fault) for outcome in result.runs),
        "task_count": len(result.runs),
        "figures": appendix.drawings,
        "warnings": appendix.warnings,
        "facts": _facts(result, appendix),
        "scenario_text": json.dumps(json.loads(scenario_text(scenario)), indent=2, ensure_ascii=False),
        "caveats": (*_few_seeds(result.seeds), *CAVEATS),
        "commands": _commands(appendix.command),
        "paths": [str(outcome.path) for outcome in result.runs if not outcome.fault],
        "provenance": _provenance(result),
    }


def _facts(result: StudyResult, appendix: Appendix) -> list[tuple[str, str]]:
    scenario, seeds = result.scenario, result.seeds
    nodes, demand, window = scenario.nodes, scenario.demand, scenario.window
    facts = [
        ("topology", appendix.topology or scenario.topology.kind),
        ("length scale", f"{scenario.topology.length_scale:g}"),
        (
            "repeaters",
            f"{_rate(nodes.repeater_rate_hz)} swaps/s each, a {nodes.repeater_kind.replace('-', ' ')}",
        ),
        ("swaps", _swaps(nodes)),
        ("memories", f"{_qubits(nodes)}, {_memory(nodes.hardware.memory)}"),
        ("links", _link(scenario.links.hardware) + _timing(scenario.links)),
        ("physics model", scenario.physics.model),
        ("demand", demand_sentence(result)),
        ("who asks", _who(demand)),
    ]
    if nodes.source_rate_hz is not None:
        facts.insert(2, ("sources", f"{_rate(nodes.source_rate_hz)} photon pairs/s each, before loss"))
    fractions = sum(kind.fraction for kind in demand.classes)
    facts += [
        (
            f"class: {kind.application}",
            f"{kind.fraction / fractions:.0%} of the requests, {kind.pairs} pair{'s' if kind.pairs > 1 else ''}"
            f" of fidelity {kind.target_fidelity:g} or more within {kind.patience_s:g} s"
            f"{_STANDING[kind.persistence]}",
        )
        for kind in demand.classes
    ]
    facts += [("bursts", _bursts(scenario)), ("outages", _outages(scenario.outages))]
    facts += [("flow bound", appendix.capacity)] if appendix.capacity else []
    facts.append(("window", f"{window.measured_s:g} s measured after {window.warm_up_s:g} s of warm-up"))
    return [*facts, ("seeds", ", ".join(map(str, seeds)))]


def _who(demand: Demand) -> str:
    if demand.weights == "endpoints":
        return "the topology's first and last node"
    if demand.weights != "neighbourhood":
        return f"pairs weighed by {demand.weights}"
    neighbourhood = demand.neighbourhood or Neighbourhood()
    picked = f", {neighbourhood.peers} picked by each node" if neighbourhood.peers is not None else ""
    return f"pairs {neighbourhood.min_hops} to {neighbourhood.max_hops} hops apart{picked}"


def _rate(value: float | Uniform) -> str:
    return f"{value.low:g} to {value.high:g}" if isinstance(value, Uniform) else f"{value:g}"


def _link(link: LinkHardware) -> str:
    if isinstance(link, SourceLink):
        return f"{_fibre(link.fibre)}, fresh fidelity {link.fresh_fidelity:g}"
    told = {name: value for name, value in asdict(link).items() if name not in ("kind", "fibre", "detector")}
    own = ", ".join(f"{name} = {value}" for name, value in told.items())
    return (
        f"{link.kind}, {own}" if isinstance(link, DirectLink) else f"{link.kind}, {_fibre(link.fibre)}, {own}"
    )


def _timing(links: Links) -> str:
    return (", slotted" if links.slotted else "") + ("" if links.light_delay else "; messages without light")


def _fibre(fibre: Fibre) -> str:
    return f"{fibre.fixed_loss_db:g} dB + {fibre.loss_db_per_km:g} dB/km"


def _swaps(nodes: Nodes) -> str:
    cutoff = "no cut-off" if nodes.cutoff_s is None else f"cut-off after {nodes.cutoff_s:g} s"
    hardware = nodes.hardware
    return (
        f"{nodes.swap_order}, {cutoff}; {hardware.bell_measurement} Bell measurement, all else succeeds with"
        f" probability {hardware.swap_success_probability:g}"
    )


def _qubits(nodes: Nodes) -> str:
    if nodes.memories_per_link is None:
        return f"{nodes.memories} qubits per node"
    return f"{nodes.memories_per_link} qubits per node and link"


def _memory(memory: Any) -> str:
    if memory.kind == "depolarising":
        return f"depolarising time {memory.depolarising_s:g} s"
    return f"T1 {memory.relaxation_s:g} s, T2 {memory.dephasing_s:g} s"


def _bursts(scenario: Scenario) -> str:
    bursts = scenario.demand.bursts
    if bursts is None:
        return "none" if scenario.demand.arrivals == "batch" else "none: stationary Poisson arrivals"
    timing = {
        "calendar": f"jitter {bursts.jitter_s:g} s",
        "memoryless": "memoryless: on and off for exponential times",
        "cascading": f"each region {bursts.lag_s or 0.0:g} s after the one before, the first memoryless",
    }
    return (
        f"{bursts.regions} regions, each {bursts.peak:g} times its mean for {bursts.duration_s:g} s"
        f" about every {bursts.period_s:g} s ({timing[bursts.timing]})"
    )


def _outages(outages: Outages) -> str:
    """What goes and comes back, in words."""
    told = [
        f"{kind} up {each.mean_up_s:g} s and down {each.mean_down_s:g} s on average"
        for kind, each in (
            ("each link", outages.links),
            ("each node", outages.nodes),
            ("the controller", outages.controller),
        )
        if each is not None
    ]
    for count, what in ((len(outages.scheduled), "scheduled"), (len(outages.joins), "of nodes that join")):
        told += [f"{count} {what}"] if count else []
    return "; ".join(told) or "none"


def _few_seeds(seeds: Sequence[int]) -> list[str]:
    if len(seeds) >= 30:
        return []
    few = f"{counted(len(seeds), 'seed')} {'is' if len(seeds) == 1 else 'are'} few"
    return [f"{few}; read small differences as unknown, not as zero."]


def _commands(command: str) -> list[str]:
    """The study's command, then one run of it with the same overrides, and how to read its record."""
    words = shlex.split(command)
    file = next((word for word in words if word.endswith(".toml")), "SCENARIO.toml")
    overrides = [word for pair in itertools.pairwise(words) if pair[0] == "--set" for word in pair]
    return [
        command or "qdpem study SCENARIO.toml",
        f"qdpem run {shlex.join([file, *overrides])} --arm ARM --seed SEED",
        "qdpem export RECORD.h5 --format csv",
    ]


def _provenance(result: StudyResult) -> list[tuple[str, str]]:
    facts: Mapping[str, str] = provenance(scenario_hash=scenario_hash(result.scenario))
    shown = [(name.replace("_", " "), value) for name, value in facts.items() if value]
    wall = [outcome.wall_s for outcome in result.outcomes if math.isfinite(outcome.wall_s)]
    if wall:
        length_s = result.scenario.window.end_s
        shown.append(
            ("wall time of a run", f"{sum(wall) / len(wall):.1f} s for {length_s:g} simulated s (mean)")
        )
    return shown
