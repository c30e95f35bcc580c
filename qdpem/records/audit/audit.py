"""Replay every pair of a record again under another physics model, and says where the two differ.

All it needs is in the record: scenario and seed give the network and the uniforms that decided swaps and
distillations, the rows of `pairs` say what was born where, made of what, and when. What is compared: the
fidelity of every pair, the outcome of every swap, the success of every distillation, the success probability
and fresh fidelity of every link; that times, ends and parents fit together is checked as well.
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
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.records.audit.lineage import DISTILLATION, SWAP, Lineage
from qdpem.records.audit.replay import ContradictionError, MissingPairError, Replay
from qdpem.records.reader import Record
from qdpem.rng import stream
from qdpem.scenario.schema import PhysicsChoice

TOLERANCE = 1e-9
"""What rounding may add up to over the life of a pair, between two exact models."""
_TELL_EVERY = 64


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that differs by more than the tolerance, or cannot be (`deviation` inf).

    `pair` is its id, -1 for a link; `operation` says "link", "swap" or "distillation"; `what` is the value
    meant, or a sentence where there are no two values and `recorded` and `replayed` are NaN.
    """

    pair: int
    operation: str
    what: str
    recorded: float = math.nan
    replayed: float = math.nan
    deviation: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found: the fidelities of `compared` of `pairs` pairs, under `reference` for `physics`.

    `unknown`: pairs chosen that could not be replayed, because the run stopped before their story was
    written or because a pair they were made of contradicts itself. `drawn`: whether outcomes were drawn
    again from the seed. `worst` is the largest finite deviation seen; `findings`, worst first, are those
    above `tolerance`.
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
    """Replay `record` under the model `against`, or the reference that the record's own model names.

    With a `limit` at most so many pairs are compared: whole stories (a pair and all it was made of; one at
    least), drawn by the record's seed and so always the same. `progress` is told how many pairs of how many
    are done. A record whose run stopped is followed as far as its rows go.

    Raises RecordError for a record without the tables or columns it takes, or whose scenario no longer gives
    its network; UnknownNameError for a model that is not registered.
    """
    pairs = _pairs(record)
    name = against or named_reference(record)
    model = _model(record, name)
    network = build_network(record.scenario, model, seed=record.seed)
    _check_network(record, network)
    lives = Replay(record, pairs, network=network, model=model)
    book = _Book(tolerance)
    _compare_links(record, network, model, book)
    chosen = _chosen(lives.lineage, limit=limit, seed=record.seed)
    compared, unknown = _compare_pairs(lives, chosen, book, progress)
    _compare_failures(lives, chosen, book)
    _check_rows(lives, chosen, book, whole=record.complete)
    return Audit(
        physics=record.scenario.physics.model,
        reference=name,
        pairs=len(lives.lineage),
        compared=compared,
        unknown=unknown,
        swaps=lives.done[SWAP],
        distillations=lives.done[DISTILLATION],
        drawn=lives.draws,
        tolerance=tolerance,
        worst=book.worst,
        findings=tuple(sorted(book.findings, key=lambda one: (-one.deviation, one.pair))),
    )


def named_reference(record: Record) -> str:
    """The registered name that the record's own model gives as its `reference`; RecordError without one."""
    own = record.scenario.physics.model
    known = registry.list_names("physics")
    made = f"{record.path} was made with the physics model {own!r}, which"
    choice = f"choose a model to audit against with --against: {', '.join(known)}"
    if own not in known:
        raise RecordError(f"{made} is not installed here; {choice}")
    reference = getattr(registry.load("physics", own), "reference", None)
    if not reference:
        raise RecordError(f"{made} names no reference; {choice}")
    return str(reference)


class _Book:
    """Takes down what deviates by more than the tolerance, and the worst of all."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.worst = 0.0
        self.findings: list[Finding] = []

    def compare(self, pair: int, operation: str, what: str, recorded: float, replayed: float) -> None:
        """Two values of one thing; a recorded NaN is as far off as can be."""
        self.note(pair, operation, what, recorded, replayed, abs(recorded - replayed))

    def note(
        self, pair: int, operation: str, what: str, recorded: float, replayed: float, deviation: float
    ) -> None:
        """Two values and how far they are apart."""
        if math.isfinite(deviation):
            self.worst = max(self.worst, deviation)
        if not deviation <= self._tolerance:
            off = deviation if math.isfinite(deviation) else math.inf
            self.findings.append(
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
        """Something that cannot be."""
        self.findings.append(Finding(pair=pair, operation=operation, what=sentence))


def _pairs(record: Record) -> dict[str, NDArray[Any]]:
    if "pairs" not in record.tables or "allocations" not in record.tables:
        raise RecordError(
            f"{record.path} keeps no pairs, so there is nothing to audit: it was recorded at level"
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
    taken = [] if kind is None else [field.name for field in fields(kind)]
    given = record.scenario.physics.parameters
    choice = PhysicsChoice(model=name, parameters={key: given[key] for key in given if key in taken})
    return build_physics(replace(record.scenario, physics=choice))


def _check_network(record: Record, network: Network) -> None:
    links = record.tables["links"]
    ends, length_km = np.column_stack([links["first"], links["second"]]), links["length_km"]
    graph = network.graph
    if not (np.array_equal(ends, graph.link_ends) and np.allclose(length_km, graph.length_km, rtol=1e-12)):
        raise RecordError(
            f"the network of {record.path} cannot be built again: its scenario gives other links here"
        )


def _compare_links(record: Record, network: Network, model: PhysicsModel, book: _Book) -> None:
    links = record.tables["links"]
    for row, compiled in enumerate(network.links):
        values = {
            "success_probability": compiled.success_probability,
            "fresh_fidelity": model.fidelity(compiled.fresh),
        }
        for name, replayed in values.items():
            book.compare(-1, "link", f"{name} of link {row}", float(links[name][row]), replayed)


def _chosen(lineage: Lineage, *, limit: int | None, seed: int) -> set[int]:
    """The rows to replay: all, or whole stories drawn at random until the next would be too many."""
    if limit is None or limit >= len(lineage):
        return set(range(len(lineage)))
    stories = lineage.stories()
    names, sizes = np.unique(stories, return_counts=True)
    order = stream(seed, "audit").permutation(len(names))
    count = int(np.searchsorted(np.cumsum(sizes[order]), limit, side="right"))
    return set(np.flatnonzero(np.isin(stories, names[order[: max(count, 1)]])).tolist())


def _compare_pairs(
    lives: Replay, chosen: set[int], book: _Book, progress: Callable[[int, int], None] | None
) -> tuple[int, int]:
    """Live the chosen pairs in the order of their births; how many were compared, how many could not be."""
    compared = unknown = 0
    pairs = lives.lineage.columns
    for place, row in enumerate(sorted(chosen, key=pairs["pair"].__getitem__)):
        if progress is not None and place % _TELL_EVERY == 0:
            progress(place, len(chosen))
        pair, operation = pairs["pair"][row], lives.lineage.made_by(row)
        try:
            fidelity, draw = lives.live(row)
        except MissingPairError:
            unknown += 1
        except ContradictionError as error:
            unknown += 1
            book.contradiction(pair, operation, str(error))
        else:
            compared += 1
            book.compare(pair, operation, "fidelity", pairs["fidelity"][row], fidelity)
            if draw is not None:
                book.note(pair, operation, draw.what, draw.recorded, draw.replayed, draw.deviation)
    if progress is not None:
        progress(len(chosen), len(chosen))
    return compared, unknown


def _compare_failures(lives: Replay, chosen: set[int], book: _Book) -> None:
    """Operations that made nothing: the uniforms of the seed must let them fail."""
    for operation in lives.lineage.operations:
        if operation.made >= 0 or operation.left not in chosen:
            continue
        pair = lives.lineage.columns["pair"][operation.left]
        try:
            draw = lives.fail(operation)
        except MissingPairError:
            continue
        except ContradictionError as error:
            book.contradiction(pair, operation.kind, str(error))
        else:
            if draw is not None:
                what = f"{draw.what} of the {operation.kind} that ended it"
                book.note(pair, operation.kind, what, draw.recorded, draw.replayed, draw.deviation)


def _check_rows(lives: Replay, chosen: set[int], book: _Book, *, whole: bool) -> None:
    """Every id once; unless the run stopped, none is missing and no operation ended one pair alone."""
    lineage = lives.lineage
    ids = np.array(lineage.columns["pair"], dtype=np.int64)
    known, times = np.unique(ids, return_counts=True)
    for pair in known[times > 1].tolist():
        book.contradiction(pair, "", "its id stands in more than one row")
    if whole:
        for pair in np.setdiff1d(np.arange(len(ids)), ids).tolist():
            book.contradiction(pair, "", "it is missing from a record that says it is complete")
    for row in lineage.alone:
        if row in chosen and (whole or row != len(ids) - 1):
            sentence = "the pair that it was swapped or distilled with does not follow it"
            book.contradiction(int(ids[row]), lineage.made_by(row), sentence)
