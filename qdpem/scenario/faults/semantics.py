"""Checks the meaning of a well-formed scenario: registered names, fractions, targets and seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from physics.hardware import SourceLink
from qdpem import registry
from qdpem.errors import Fault, QdpemError, ScenarioError, UnknownNameError
from qdpem.scenario.faults.messages import described
from qdpem.scenario.faults.renamed import new_name
from qdpem.scenario.faults.validation import parameters_of
from qdpem.scenario.schema import STRONGEST, Demand, PerNode, RequestClass, Scenario, Study, Topology
from qdpem.scenario.tables.demand import FRACTION_TOLERANCE

KEY_THRESHOLD_FIDELITY = 0.835
"""A Werner pair below this fidelity gives no BBM92 key; its key fraction is zero at F = 0.8349."""

_LEAVE_OUT = 'an inherited claim is left out with without = ["study.claim"] or --set study.claim='
TUNING_SEEDS = range(100)
_SEED_RANGES = {"tuning": TUNING_SEEDS, "test": range(1000, 1030), "training": range(10000, 2**63)}


def semantic_faults(scenario: Scenario) -> list[Fault]:
    """All faults of a scenario whose types and ranges are right."""
    return [
        *_unknown("physics model", "physics", scenario.physics.model, "physics.model"),
        *_topology_faults(scenario.topology),
        *_source_faults(scenario),
        *_demand_faults(scenario.demand),
        *(_study_faults(scenario.study) if scenario.study else []),
    ]


def seed_range(seeds: Iterable[int]) -> tuple[str, ...]:
    """The ranges that the seeds lie in: tuning (0-99), test (1000-1029) and training (from 10000).

    >>> seed_range([1000, 1004])
    ('test',)
    >>> seed_range([7, 1000])
    ('tuning', 'test')
    """
    given = list(seeds)
    return tuple(name for name, span in _SEED_RANGES.items() if any(seed in span for seed in given))


def _unknown(word: str, kind: str, name: str, path: str) -> list[Fault]:
    known = registry.list_names(kind)
    if name in known:
        return []
    return [Fault(path, str(UnknownNameError(word, name, known, renamed=new_name(kind, name))))]


def _topology_faults(topology: Topology) -> list[Fault]:
    """An unknown kind, or parameters it does not take."""
    faults = _unknown("topology", "topology", topology.kind, "topology.kind")
    if faults:
        return faults
    try:
        factory = registry.load("topology", topology.kind)
        parameters_of(factory, topology.parameters, path="topology.parameters")
    except ScenarioError as error:
        return list(error.faults)
    except QdpemError as error:
        return [Fault("topology.kind", str(error))]
    return []


def _source_faults(scenario: Scenario) -> list[Fault]:
    """A missing source rate, which source-limited links need."""
    if scenario.nodes.source_rate_hz is not None or not isinstance(scenario.links.hardware, SourceLink):
        return []
    wrong = f"is missing; should be {described(PerNode)}, because links.hardware is of the kind 'source'"
    return [Fault("nodes.source_rate_hz", wrong)]


def _demand_faults(demand: Demand) -> list[Fault]:
    faults = _class_faults(demand.classes, "demand.classes") if demand.classes else []
    for name, process in demand.processes.items():
        faults += _class_faults(process.classes, f"demand.processes.{name}.classes")
    return faults


def _class_faults(classes: Sequence[RequestClass], path: str) -> list[Fault]:
    """Fractions that do not sum to 1, and targets of QKD that give no key."""
    faults = []
    total = math.fsum(kind.fraction for kind in classes)
    if abs(total - 1.0) > FRACTION_TOLERANCE:
        faults.append(Fault(path, f"the fractions sum to {total:g}; should sum to 1"))
    for index, kind in enumerate(classes):
        if kind.application == "qkd" and kind.target_fidelity <= KEY_THRESHOLD_FIDELITY:
            wrong = (
                f"{kind.target_fidelity:g} is not allowed for qkd; should be above"
                f" {KEY_THRESHOLD_FIDELITY}, below which a pair gives no key"
            )
            faults.append(Fault(f"{path}.{index}.target_fidelity", wrong))
    return faults


def _study_faults(study: Study) -> list[Fault]:
    names = [arm.name for arm in study.arms]
    faults = [
        Fault(f"study.arms.{index}.name", f"{name!r} is the name of an arm above; should be unique")
        for index, name in enumerate(names)
        if name in names[:index]
    ]
    for index, arm in enumerate(study.arms):
        path = f"study.arms.{index}"
        key = "policy" if arm.policy else "name"
        faults.extend(_unknown("policy", "policy", arm.policy or arm.name, f"{path}.{key}"))
        if arm.forecaster is not None:
            faults.extend(_unknown("forecaster", "forecaster", arm.forecaster, f"{path}.forecaster"))
        if arm.name == STRONGEST:
            wrong = "stands for the arm that performs best; should be another word"
            faults.append(Fault(f"{path}.name", f"{arm.name!r} {wrong}"))
    if study.reference not in (STRONGEST, *names):
        faults.append(Fault("study.reference", str(UnknownNameError("arm", study.reference, names))))
    if study.claim is not None:
        faults += [
            Fault(f"study.claim.{key}", f"{UnknownNameError('arm', name, names)}; {_LEAVE_OUT}")
            for key, name in (("arm", study.claim.arm), ("against", study.claim.against))
            if name and name not in names
        ]
    return faults + _seed_faults(study.seeds) + _tuning_seed_faults(study.tuning_seeds)


def _tuning_seed_faults(seeds: Sequence[int]) -> list[Fault]:
    misplaced = [str(seed) for seed in seeds if seed not in TUNING_SEEDS]
    faults = _duplicate_faults(seeds, "study.tuning_seeds")
    if misplaced:
        wrong = f"{', '.join(misplaced)} cannot be among them; should be 0 to 99, which no comparison uses"
        faults.append(Fault("study.tuning_seeds", wrong))
    return faults


def _duplicate_faults(seeds: Sequence[int], path: str) -> list[Fault]:
    duplicates = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    listed = ", ".join(str(seed) for seed in duplicates)
    return [Fault(path, f"{listed} is given more than once; should be given once")] if duplicates else []


def _seed_faults(seeds: Sequence[int]) -> list[Fault]:
    faults = _duplicate_faults(seeds, "study.seeds")
    ranges = seed_range(seeds)
    if len(ranges) > 1:
        wrong = (
            f"{' and '.join(ranges)} seeds are mixed; should be of one range:"
            " 0-99 tuning, 1000-1029 test, 10000 up training"
        )
        faults.append(Fault("study.seeds", wrong))
    return faults
