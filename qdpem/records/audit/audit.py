"""Replays every pair of a record under another physics model, and reports where the two differ.

The record holds all that is needed, its map included: no other file is read. The seed gives the uniforms that
decided swaps and distillations. The rows of `pairs` give where and when each pair was born, and its parents.
The audit compares the fidelity of every pair, the outcome of every swap, the success of every distillation,
and the success probability and fresh fidelity of every link. It also checks that times, ends and parents are
consistent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics.interface import PhysicsModel
from qdpem import registry
from qdpem.errors import RecordError
from qdpem.events.tables import PAIRS
from qdpem.network.build import build_physics, equip_graph
from qdpem.network.graph import Network
from qdpem.records.audit.lineage import DISTILLATION, SWAP, Lineage
from qdpem.records.audit.replay import ContradictionError, MissingPairError, PairReplay
from qdpem.records.reader import Record
from qdpem.records.recorded_map import recorded_graph
from qdpem.rng import stream
from qdpem.scenario.schema import PhysicsChoice

TOLERANCE = 1e-9
"""The largest difference that rounding may cause over the life of a pair, between two exact models."""
_PROGRESS_EVERY = 64


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A value that differs by more than the tolerance, or a contradiction in the record (`deviation` inf).

    `pair` is the id of the pair, -1 for a link; `operation` is "link", "swap" or "distillation". `what` names
    the value. For a contradiction it is a sentence, and `recorded` and `replayed` are NaN.
    """

    pair: int
    operation: str
    what: str
    recorded: float = math.nan
    replayed: float = math.nan
    deviation: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The result of an audit of a record made with the model `physics`, replayed under `reference`.

    `compared` of the `pairs` pairs of the record were replayed. `unknown` of the chosen ones could not be:
    the run stopped before their history was written, or a pair they were made of contradicts itself. `drawn`:
    whether outcomes were drawn again from the seed. `worst` is the largest finite deviation; `findings`,
    worst first, are those above `tolerance`.
    """

    physics: str
    reference: str
    pairs: int
    compared: int
    unknown: int
    swaps: int
    distillations: int
    drawn: bool
    tolerance: float
    worst: float
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        return not self.findings


def audit(
    record: Record,
    *,
    against: str | None = None,
    tolerance: float = TOLERANCE,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """PairReplay `record` under the model `against`, or the reference that the record's own model names.

    The record of a run that stopped early is audited as far as its rows go.

    Args:
        record: the record, of level "events" or "full".
        against: registered name of the physics model to replay with.
        tolerance: the largest deviation that is no finding.
        limit: the largest number of pairs to compare. Whole families are chosen, a pair with all that it was
            made of, and at least one. They are drawn by the record's seed, so the choice is always the same.
        progress: called with the number of pairs done and the number of pairs chosen.

    Raises RecordError for a record that lacks tables or columns, or the map of its run, and UnknownNameError
    for a model that is not registered.
    """
    pairs = _pairs(record)
    name = against or named_reference(record)
    model = _model(record, name)
    # Equipped by the reference, so that its links carry the values of the reference.
    network = equip_graph(recorded_graph(record), record.scenario, model, seed=record.seed)
    replay = PairReplay(record, pairs, network=network, model=model)
    findings = _Findings(tolerance)
    _compare_links(record, network, model, findings)
    chosen = _chosen(replay.lineage, limit=limit, seed=record.seed)
    compared, unknown = _compare_pairs(replay, chosen, findings, progress)
    _compare_failures(replay, chosen, findings)
    _check_rows(replay, chosen, findings, whole=record.complete)
    return Audit(
        physics=record.scenario.physics.model,
        reference=name,
        pairs=len(replay.lineage),
        compared=compared,
        unknown=unknown,
        swaps=replay.done[SWAP],
        distillations=replay.done[DISTILLATION],
        drawn=replay.draws,
        tolerance=tolerance,
        worst=findings.worst,
        findings=tuple(sorted(findings.items, key=lambda finding: (-finding.deviation, finding.pair))),
    )


def named_reference(record: Record) -> str:
    """The registered name that the record's own model gives as its `reference`. RecordError without one."""
    own = record.scenario.physics.model
    known = registry.list_names("physics")
    origin = f"{record.path} was made with the physics model {own!r}, which"
    choice = f"choose a model to audit against with --against: {', '.join(known)}"
    if own not in known:
        raise RecordError(f"{origin} is not installed here; {choice}")
    reference = getattr(registry.load("physics", own), "reference", None)
    if not reference:
        raise RecordError(f"{origin} names no reference; {choice}")
    return str(reference)


class _Findings:
    """Collects the deviations above the tolerance, and the worst of all."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.worst = 0.0
        self.items: list[Finding] = []

    def compare(self, pair: int, operation: str, what: str, recorded: float, replayed: float) -> None:
        """Compare two values of one quantity. A recorded NaN is always a finding."""
        self.add(pair, operation, what, recorded, replayed, abs(recorded - replayed))

    def add(
        self, pair: int, operation: str, what: str, recorded: float, replayed: float, deviation: float
    ) -> None:
        """Take two values and the distance between them."""
        if math.isfinite(deviation):
            self.worst = max(self.worst, deviation)
        # Negated, so that NaN counts as a deviation.
        if not deviation <= self._tolerance:
            off = deviation if math.isfinite(deviation) else math.inf
            self.items.append(
                Finding(
                    pair=pair,
                    operation=operation,
                    what=what,
                    recorded=float(recorded),
                    replayed=float(replayed),
                    deviation=off,
                )
            )

    def contradiction(self, pair: int, operation: str, sentence: str) -> None:
        """Take a contradiction, described by a sentence."""
        self.items.append(Finding(pair=pair, operation=operation, what=sentence))


def _pairs(record: Record) -> dict[str, NDArray[Any]]:
    if "pairs" not in record.tables or "allocations" not in record.tables:
        raise RecordError(
            f"{record.path} has no table of pairs, so there is nothing to audit: it was recorded at level"
            f" {record.scenario.record.level!r}; run again with --set record.level=events"
        )
    columns = record.tables["pairs"]
    missing = [f"pairs/{name}" for name in PAIRS.names if name not in columns]
    missing += [] if "protocol" in record.tables["allocations"] else ["allocations/protocol"]
    if missing:
        version = record.provenance.get("qdpem_version", "of another version")
        raise RecordError(
            f"{record.path} was made by qdpem {version}, which did not record what an audit needs"
            f" ({', '.join(missing)}); run it again with this one"
        )
    return {name: columns[name] for name in PAIRS.names}


def _model(record: Record, name: str) -> PhysicsModel:
    """The model `name`, built with those of the record's physics parameters that it takes."""
    kind = getattr(registry.load("physics", name), "Parameters", None)
    accepted = [] if kind is None else [field.name for field in fields(kind)]
    given = record.scenario.physics.parameters
    choice = PhysicsChoice(model=name, parameters={key: given[key] for key in given if key in accepted})
    return build_physics(replace(record.scenario, physics=choice))


def _compare_links(record: Record, network: Network, model: PhysicsModel, findings: _Findings) -> None:
    links = record.tables["links"]
    for row, compiled in enumerate(network.links):
        values = {
            "success_probability": compiled.success_probability,
            "fresh_fidelity": model.fidelity(compiled.fresh),
            "delay_s": float(network.delay_s[row]),
        }
        for name, replayed in values.items():
            findings.compare(-1, "link", f"{name} of link {row}", float(links[name][row]), replayed)


def _chosen(lineage: Lineage, *, limit: int | None, seed: int) -> set[int]:
    """The rows to replay: all, or whole families drawn at random until the next would be too many."""
    if limit is None or limit >= len(lineage):
        return set(range(len(lineage)))
    families = lineage.families()
    labels, sizes = np.unique(families, return_counts=True)
    order = stream(seed, "audit").permutation(len(labels))
    # Right: families that fill the limit exactly still fit.
    count = int(np.searchsorted(np.cumsum(sizes[order]), limit, side="right"))
    return set(np.flatnonzero(np.isin(families, labels[order[: max(count, 1)]])).tolist())


def _compare_pairs(
    replay: PairReplay, chosen: set[int], findings: _Findings, progress: Callable[[int, int], None] | None
) -> tuple[int, int]:
    """PairReplay the chosen pairs by birth; returns how many were compared and how many could not be."""
    compared = unknown = 0
    pairs = replay.lineage.columns
    # Ids ascend with births, so the parents of a pair are replayed before the pair.
    for done, row in enumerate(sorted(chosen, key=pairs["pair"].__getitem__)):
        if progress is not None and done % _PROGRESS_EVERY == 0:
            progress(done, len(chosen))
        pair, operation = pairs["pair"][row], replay.lineage.made_by(row)
        try:
            fidelity, draw = replay.pair(row)
        except MissingPairError:
            # No finding: the rows that explain it were never written, or have been reported already.
            unknown += 1
        except ContradictionError as error:
            unknown += 1
            findings.contradiction(pair, operation, str(error))
        else:
            compared += 1
            findings.compare(pair, operation, "fidelity", pairs["fidelity"][row], fidelity)
            if draw is not None:
                findings.add(pair, operation, draw.what, draw.recorded, draw.replayed, draw.deviation)
    if progress is not None:
        progress(len(chosen), len(chosen))
    return compared, unknown


def _compare_failures(replay: PairReplay, chosen: set[int], findings: _Findings) -> None:
    """Check that the uniforms of the seed make those operations fail that produced no pair."""
    for operation in replay.lineage.operations:
        if operation.result >= 0 or operation.left not in chosen:
            continue
        pair = replay.lineage.columns["pair"][operation.left]
        try:
            draw = replay.fail(operation)
        except MissingPairError:
            continue
        except ContradictionError as error:
            findings.contradiction(pair, operation.kind, str(error))
        else:
            if draw is not None:
                what = f"{draw.what} of the {operation.kind} that ended it"
                findings.add(pair, operation.kind, what, draw.recorded, draw.replayed, draw.deviation)


def _check_rows(replay: PairReplay, chosen: set[int], findings: _Findings, *, whole: bool) -> None:
    """Check that every id occurs once and, unless the run stopped, that none and no partner is missing."""
    lineage = replay.lineage
    ids = np.array(lineage.columns["pair"], dtype=np.int64)
    known, times = np.unique(ids, return_counts=True)
    for pair in known[times > 1].tolist():
        findings.contradiction(pair, "", "its id is in more than one row")
    if whole:
        for pair in np.setdiff1d(np.arange(len(ids)), ids).tolist():
            findings.contradiction(pair, "", "it is missing from a record that is marked complete")
    # The last row of a killed run may lack its partner without a fault.
    for row in lineage.unpaired:
        if row in chosen and (whole or row != len(ids) - 1):
            sentence = "the pair that it was swapped or distilled with does not follow it"
            findings.contradiction(int(ids[row]), lineage.made_by(row), sentence)
