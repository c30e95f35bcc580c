"""The report of a study: one HTML file that contains everything, figures included."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from physics.hardware import DirectLink, Fibre, LinkHardware, SourceLink
from qdpem.provenance import provenance
from qdpem.scenario.load import scenario_hash, scenario_text
from qdpem.scenario.schema import Links, Nodes, Outages, Uniform
from qdpem.simulation.fingerprint import distributions
from qdpem.study.analysis.results import TUNED_MARK, StudyResult
from qdpem.study.report.csv import write_text_file
from qdpem.study.report.demand_words import demand_facts, demand_sentence
from qdpem.study.report.findings import MAX_SHOWN, findings
from qdpem.study.report.tables import report_tables
from qdpem.study.report.templates import page_template
from qdpem.study.report.terms import TERMS
from qdpem.study.report.wording import counted

CAVEATS = (
    "The demand is a model, stated in the scenario: no public traces of requests for entanglement exist.",
    "The physics treats each pair separately: correlations between pairs are out of scope.",
    "Hardware numbers are stated choices, not measurements of a deployed network.",
)


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """One figure of the report: its panels, of which a reader sees one at a time, and its caption.

    `panels`: the label of a panel's switch -> its SVG text. The only panel of a figure has the label "".
    """

    name: str
    panels: Mapping[str, str]
    caption: str


@dataclass(frozen=True, kw_only=True)
class Appendix:
    """The parts of a report that outcomes do not contain.

    These are the figures, a description of the network, its warnings, its flow bound, and the command.
    """

    figures: tuple[ReportFigure, ...] = ()
    warnings: tuple[str, ...] = ()
    topology: str = ""
    capacity: str = ""
    command: str = ""


def write_report(result: StudyResult, *, path: Path, appendix: Appendix) -> None:
    """Write the report to `path`, whole or not at all."""
    write_text_file(path, render_report(result, appendix=appendix))


def render_report(result: StudyResult, *, appendix: Appendix) -> str:
    """The report as HTML text. It loads nothing: style and figures are inside it."""
    sentences = findings(result)
    return page_template("report.html.jinja").render(
        **report_tables(result),
        **_setting(result, appendix),
        findings=sentences[:MAX_SHOWN],
        further_findings=sentences[MAX_SHOWN:],
        terms=TERMS,
        panel_count=max((len(figure.panels) for figure in appendix.figures), default=0),
    )


def _setting(result: StudyResult, appendix: Appendix) -> dict[str, Any]:
    scenario = result.scenario
    return {
        "title": scenario.name,
        "tuned_arms": result.tuned_arms,
        "tuned_mark": TUNED_MARK,
        "description": scenario.description
        or "Which arm delivers most requests in time and at their target fidelity?",
        "faults": result.faults,
        "failed_count": sum(bool(outcome.fault) for outcome in result.runs),
        "task_count": len(result.runs),
        "frontier": [figure for figure in appendix.figures if figure.name == "frontier"],
        "figures": [figure for figure in appendix.figures if figure.name != "frontier"],
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
    nodes, window = scenario.nodes, scenario.window
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
    ]
    if nodes.source_rate_hz is not None:
        facts.insert(2, ("sources", f"{_rate(nodes.source_rate_hz)} photon pairs/s each, before loss"))
    facts += demand_facts(scenario.demand, rate=demand_sentence(result))
    facts.append(("outages", _outages(scenario.outages)))
    facts += [("flow bound", appendix.capacity)] if appendix.capacity else []
    facts.append(("window", f"{window.measured_s:g} s measured after {window.warm_up_s:g} s of warm-up"))
    return [*facts, ("seeds", ", ".join(map(str, seeds)))]


def _rate(value: float | Uniform) -> str:
    return f"{value.low:g} to {value.high:g}" if isinstance(value, Uniform) else f"{value:g}"


def _link(link: LinkHardware) -> str:
    if isinstance(link, SourceLink):
        return f"{_fibre(link.fibre)}, fresh fidelity {link.fresh_fidelity:g}"
    shared = ("kind", "fibre", "detector")
    own = ", ".join(f"{name} = {value}" for name, value in asdict(link).items() if name not in shared)
    return (
        f"{link.kind}, {own}" if isinstance(link, DirectLink) else f"{link.kind}, {_fibre(link.fibre)}, {own}"
    )


def _timing(links: Links) -> str:
    return (", slotted" if links.slotted else "") + (
        "" if links.light_delay else "; messages without delay of light"
    )


def _fibre(fibre: Fibre) -> str:
    return f"{fibre.fixed_loss_db:g} dB + {fibre.loss_db_per_km:g} dB/km"


def _swaps(nodes: Nodes) -> str:
    cutoff = "no cut-off" if nodes.cutoff_s is None else f"cut-off after {nodes.cutoff_s:g} s"
    hardware = nodes.hardware
    return (
        f"{nodes.swap_order}, {cutoff}; {hardware.bell_measurement} Bell measurement, other steps"
        f" succeed with probability {hardware.swap_success_probability:g}"
    )


def _qubits(nodes: Nodes) -> str:
    if nodes.memories_per_link is None:
        return f"{nodes.memories} qubits per node"
    return f"{nodes.memories_per_link} qubits per node and link"


def _memory(memory: Any) -> str:
    if memory.kind == "depolarising":
        return f"depolarising time {memory.depolarising_s:g} s"
    return f"T1 {memory.relaxation_s:g} s, T2 {memory.dephasing_s:g} s"


def _outages(outages: Outages) -> str:
    """The outages in words."""
    parts = [
        f"{kind} up {each.mean_up_s:g} s and down {each.mean_down_s:g} s on average"
        for kind, each in (
            ("each link", outages.links),
            ("each node", outages.nodes),
            ("the controller", outages.controller),
        )
        if each is not None
    ]
    for count, kind in ((len(outages.scheduled), "scheduled"), (len(outages.joins), "until a node joins")):
        parts += [f"{count} {kind}"] if count else []
    return "; ".join(parts) or "none"


def _few_seeds(seeds: Sequence[int]) -> list[str]:
    if len(seeds) >= 30:
        return []
    few = f"{counted(len(seeds), 'seed')} {'is' if len(seeds) == 1 else 'are'} few"
    return [f"{few}; a small difference is unknown, not zero."]


def _commands(command: str) -> list[str]:
    """The study's command, one of its runs with the same overrides, and the replay and export of a record."""
    words = shlex.split(command)
    file = next((word for word in words if word.endswith(".toml")), "SCENARIO.toml")
    overrides = [word for pair in itertools.pairwise(words) if pair[0] == "--set" for word in pair]
    return [
        command or "qdpem study SCENARIO.toml",
        f"qdpem run {shlex.join([file, *overrides])} --arm ARM --seed SEED",
        "qdpem replay RECORD.h5",
        "qdpem export RECORD.h5 --format csv",
    ]


def _provenance(result: StudyResult) -> list[tuple[str, str]]:
    # Without the [study] table, as in the records: both have one hash.
    plain = replace(result.scenario, study=None)
    facts: Mapping[str, str] = provenance(scenario_hash=scenario_hash(plain))
    facts = {**facts, **distributions(result.scenario, result.arms)}
    rows = [(name.replace("_", " "), value) for name, value in facts.items() if value]
    wall = [outcome.wall_s for outcome in result.outcomes if math.isfinite(outcome.wall_s)]
    if wall:
        length_s = result.scenario.window.end_s
        rows.append(
            ("wall time of a run", f"{sum(wall) / len(wall):.1f} s for {length_s:g} simulated s (mean)")
        )
    return rows
