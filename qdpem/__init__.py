"""qdpem: an open, physics-grounded laboratory for entanglement allocation in quantum networks.

Every name below is loaded when it is first used, so that `import qdpem` takes milliseconds:

>>> import qdpem
>>> "local-minhop" in qdpem.list_names("policy")
True
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physics.plans import Plan
    from physics.plugins.load import load_physics
    from qdpem.errors import PolicyError, QdpemError, RecordError, ScenarioError, StudyError, UnknownNameError
    from qdpem.events.recorder import MemoryRecorder
    from qdpem.metrics.definitions import METRICS
    from qdpem.metrics.metrics import measure
    from qdpem.metrics.realised_demand import realised_requests
    from qdpem.metrics.reward import rewards
    from qdpem.policies.dpem.training.train import train
    from qdpem.policy.conformance import check_policy
    from qdpem.policy.forecaster import ForecastContext, Forecaster
    from qdpem.policy.interface import (
        CONTROLLER,
        Allocation,
        Context,
        Decisions,
        Observation,
        Policy,
        per_site,
    )
    from qdpem.policy.tuning import tunable
    from qdpem.records.audit.audit import audit
    from qdpem.records.compare import differing_data_sets
    from qdpem.records.reader import open_record
    from qdpem.records.replay.replay import replay
    from qdpem.records.writer import RecordWriter
    from qdpem.registry import list_names
    from qdpem.scenario.load import load_scenario, parse_scenario
    from qdpem.scenario.schema import Arm, Scenario
    from qdpem.simulation.arms import find_arm
    from qdpem.simulation.run import Run, simulate
    from qdpem.simulation.simulation import Simulation
    from qdpem.study.analysis.results import StudyResult
    from qdpem.study.export.export import export
    from qdpem.study.run import run_study
    from qdpem.study.stored_study import open_study
    from qdpem.study.sweep import SweepResult, run_sweep
    from qdpem.study.tuning.tune import tune

    __version__: str

_HOMES = MappingProxyType(
    {
        "physics.plans": ("Plan",),
        "physics.plugins.load": ("load_physics",),
        "qdpem.errors": (
            "PolicyError",
            "QdpemError",
            "RecordError",
            "ScenarioError",
            "StudyError",
            "UnknownNameError",
        ),
        "qdpem.events.recorder": ("MemoryRecorder",),
        "qdpem.metrics.definitions": ("METRICS",),
        "qdpem.metrics.metrics": ("measure",),
        "qdpem.metrics.realised_demand": ("realised_requests",),
        "qdpem.metrics.reward": ("rewards",),
        "qdpem.policies.dpem.training.train": ("train",),
        "qdpem.policy.conformance": ("check_policy",),
        "qdpem.policy.forecaster": ("ForecastContext", "Forecaster"),
        "qdpem.policy.interface": (
            "CONTROLLER",
            "Allocation",
            "Context",
            "Decisions",
            "Observation",
            "Policy",
            "per_site",
        ),
        "qdpem.policy.tuning": ("tunable",),
        "qdpem.records.audit.audit": ("audit",),
        "qdpem.records.compare": ("differing_data_sets",),
        "qdpem.study.export.export": ("export",),
        "qdpem.records.reader": ("open_record",),
        "qdpem.records.replay.replay": ("replay",),
        "qdpem.records.writer": ("RecordWriter",),
        "qdpem.registry": ("list_names",),
        "qdpem.scenario.load": ("load_scenario", "parse_scenario"),
        "qdpem.scenario.schema": ("Arm", "Scenario"),
        "qdpem.simulation.arms": ("find_arm",),
        "qdpem.simulation.run": ("Run", "simulate"),
        "qdpem.simulation.simulation": ("Simulation",),
        "qdpem.study.analysis.results": ("StudyResult",),
        "qdpem.study.run": ("run_study",),
        "qdpem.study.stored_study": ("open_study",),
        "qdpem.study.sweep": ("SweepResult", "run_sweep"),
        "qdpem.study.tuning.tune": ("tune",),
    }
)
_HOME_OF = MappingProxyType({name: home for home, names in _HOMES.items() for name in names})

_MARK = "links/heralding.py"
"""A file by which the package `physics` of this project is known."""

__all__ = [
    "CONTROLLER",
    "METRICS",
    "Allocation",
    "Arm",
    "Context",
    "Decisions",
    "ForecastContext",
    "Forecaster",
    "MemoryRecorder",
    "Observation",
    "Plan",
    "Policy",
    "PolicyError",
    "QdpemError",
    "RecordError",
    "RecordWriter",
    "Run",
    "Scenario",
    "ScenarioError",
    "Simulation",
    "StudyError",
    "StudyResult",
    "SweepResult",
    "UnknownNameError",
    "__version__",
    "audit",
    "check_policy",
    "differing_data_sets",
    "export",
    "find_arm",
    "list_names",
    "load_physics",
    "load_scenario",
    "measure",
    "open_record",
    "open_study",
    "parse_scenario",
    "per_site",
    "realised_requests",
    "replay",
    "rewards",
    "run_study",
    "run_sweep",
    "simulate",
    "train",
    "tunable",
    "tune",
]


def _refuse_other_physics() -> None:
    """Raise ImportError if a folder or file of the user's hides the package `physics`.

    Python searches the directory of a script first, where a folder called `physics` is likely. It is found
    without an import. Namespace packages, which have no file, are hidden by the installed package instead.
    """
    from importlib.util import find_spec
    from os.path import dirname, exists, join

    spec = find_spec("physics")
    if spec is not None and any(
        exists(join(folder, _MARK)) for folder in spec.submodule_search_locations or ()
    ):
        return
    if spec is None:
        raise ImportError("qdpem needs the package physics that is installed with it; install qdpem again")
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "?")
    place = dirname(found) if found.endswith("__init__.py") else found
    raise ImportError(
        f"{place} hides the package physics that qdpem needs; rename it, or run where Python does not find it"
        " first"
    )


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("qdpem")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qdpem' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


_refuse_other_physics()
