"""Arms: from a scenario's table to a policy and a forecaster that can run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from qdpem import registry
from qdpem.demand.arrivals import Arrivals
from qdpem.errors import Fault, MissingPackagesError, ScenarioError, UnknownNameError
from qdpem.policy.forecaster import ForecastContext, Forecaster
from qdpem.policy.interface import Policy
from qdpem.scenario.faults.renamed import new_name
from qdpem.scenario.load import parameters_of
from qdpem.scenario.schema import Arm, Forecasting, Scenario


@dataclass(frozen=True, kw_only=True, eq=False)
class ResolvedArm:
    """An arm whose names are looked up and whose parameters are checked, once for all of its runs.

    `arm` states its policy, control, pregeneration and forecaster. `factory` is the registered policy, and
    `parameters` is an instance of `factory.Parameters`, or None for a policy without parameters.
    """

    arm: Arm
    factory: Any
    parameters: Any

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.arm.name

    @property
    def forecaster(self) -> str:
        """The name of the arm's forecaster."""
        return self.arm.forecaster or "none"

    @cached_property
    def learned_files(self) -> Mapping[str, Path]:
        """The files that its policy and its forecaster act with, by name.

        A policy or a forecaster lists them in a method `files()`, such as {"policy.npz": path}. The first
        access builds both. Raises ScenarioError when the policy refuses its parameters.
        """
        paths: dict[str, Path] = {}
        for user in (self.build_policy(), build_forecaster(self.forecaster)):
            paths |= getattr(user, "files", dict)()
        return paths

    def read_learned_files(self) -> dict[str, bytes]:
        """The present contents of `learned_files`; a path without a file is left out."""
        return {name: path.read_bytes() for name, path in self.learned_files.items() if path.is_file()}

    def build_policy(self) -> Policy:
        """A new policy with the arm's parameters."""
        policy: Policy = self.factory(self.parameters)
        return policy


def find_arm(scenario: Scenario, name: str) -> ResolvedArm:
    """The arm called `name` in the scenario's study, otherwise the registered policy of that name.

    Raises UnknownNameError with the nearest existing name, and what `resolve_arm` raises.
    """
    arms = scenario.study.arms if scenario.study else ()
    for arm in arms:
        if arm.name == name:
            return resolve_arm(arm)
    # A former name gets its own error, which gives the new one.
    if name not in registry.list_names("policy") and (new := new_name("policy", name)):
        raise UnknownNameError("policy", name, (), renamed=new)
    registry.load("policy", name)
    return resolve_arm(Arm(name=name))


def resolve_arm(arm: Arm | ResolvedArm) -> ResolvedArm:
    """The arm with its policy's control, pregeneration and forecaster where it names none.

    A resolved arm is returned as it is. Raises UnknownNameError for an unknown policy or forecaster,
    ScenarioError when the policy runs under another control or does not take the parameters, and
    MissingPackagesError when its forecaster needs packages that are not installed.
    """
    if isinstance(arm, ResolvedArm):
        return arm
    policy = arm.policy or arm.name
    factory = registry.load("policy", policy)
    if arm.control not in (None, factory.control):
        message = (
            f"{arm.control!r} is not possible: the policy {policy!r} works under {factory.control!r} control"
        )
        raise ScenarioError([Fault(f"arm {arm.name}.control", message)])
    forecaster = arm.forecaster or factory.forecaster
    # Built only to see that it can be, before anything is run or written.
    build_forecaster(forecaster)
    full = replace(
        arm,
        policy=policy,
        control=factory.control,
        pregeneration=arm.pregeneration or factory.pregeneration,
        forecaster=forecaster,
    )
    parameters = parameters_of(factory, arm.parameters, path=f"arm {arm.name}.parameters")
    return ResolvedArm(arm=full, factory=factory, parameters=parameters)


def resolve_arms(arms: Iterable[Arm], *, origin: str) -> tuple[ResolvedArm, ...]:
    """All arms resolved; each policy and forecaster is built once to see that it accepts its parameters.

    Raises one ScenarioError with the faults of all arms of `origin`, and UnknownNameError as `resolve_arm`
    does.
    """
    resolved: list[ResolvedArm] = []
    faults: list[Fault] = []
    for arm in arms:
        try:
            resolved.append(resolve_arm(arm))
            # This access builds the policy and the forecaster, which check their parameters.
            _ = resolved[-1].learned_files
        except ScenarioError as error:
            faults += error.faults
        except MissingPackagesError as error:
            faults.append(Fault(f"arm {arm.name}", f"{error}, or leave it out: --without {arm.name}"))
    # Faults of all arms at once, so that they can be mended together.
    if faults:
        raise ScenarioError(faults, origin=origin)
    return tuple(resolved)


def build_forecaster(name: str) -> Forecaster:
    """A new forecaster with its default parameters."""
    factory = registry.load("forecaster", name)
    forecaster: Forecaster = factory(parameters_of(factory, {}, path=f"forecaster {name}"))
    return forecaster


def reset_forecaster(
    arm: Arm, settings: Forecasting, arrivals: Arrivals, *, nodes: int, seed: int
) -> Forecaster:
    """The forecaster of a resolved arm, reset for a run and not yet fitted.

    Args:
        arm: names the forecaster.
        settings: step, horizon and history of forecasts.
        arrivals: the truth, which an oracle sees.
        nodes: number of nodes.
        seed: root seed of the run.
    """
    forecaster = build_forecaster(arm.forecaster or "none")
    forecaster.reset(
        ForecastContext(
            node_count=nodes,
            max_peers=settings.max_peers,
            step_s=settings.step_s,
            horizon_steps=settings.horizon_steps,
            history_s=arrivals.history_s,
            seed=seed,
            truth=arrivals if forecaster.oracle else None,
        )
    )
    return forecaster
