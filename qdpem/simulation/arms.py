"""Arms: completes their settings, and builds the policies and forecasters they name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qdpem import registry
from qdpem.demand.requests import Arrivals
from qdpem.errors import Fault, ScenarioError, UnknownNameError
from qdpem.policy.interface import ForecastContext, Forecaster, Policy
from qdpem.scenario.load import parameters_of
from qdpem.scenario.renamed import new_name
from qdpem.scenario.schema import Arm, Forecasting, Scenario


def find_arm(scenario: Scenario, name: str) -> Arm:
    """The arm called `name` in the scenario's study, else the registered policy of that name.

    Raises UnknownNameError with the nearest right name.
    """
    arms = scenario.study.arms if scenario.study else ()
    for arm in arms:
        if arm.name == name:
            return resolve_arm(arm)
    if name not in registry.list_names("policy") and (new := new_name("policy", name)):
        raise UnknownNameError("policy", name, (), renamed=new)
    registry.load("policy", name)
    return resolve_arm(Arm(name=name))


def resolve_arm(arm: Arm) -> Arm:
    """The arm with control, pregeneration and forecaster of its policy where it does not set them.

    Raises UnknownNameError for an unknown policy or forecaster, ScenarioError when the policy cannot take
    the arm's control.
    """
    policy = arm.policy or arm.name
    factory = registry.load("policy", policy)
    if arm.control not in (None, factory.control):
        message = (
            f"{arm.control!r} is not possible: the policy {policy!r} works under {factory.control!r} control"
        )
        raise ScenarioError([Fault(f"arm {arm.name}.control", message)])
    forecaster = arm.forecaster or factory.forecaster
    registry.load("forecaster", forecaster)
    return replace(
        arm,
        policy=policy,
        control=factory.control,
        pregeneration=arm.pregeneration or factory.pregeneration,
        forecaster=forecaster,
    )


def sound_arms(arms: Iterable[Arm], *, origin: str) -> tuple[Arm, ...]:
    """All arms resolved, after a check of every policy's parameters.

    Raises ScenarioError with the faults of all arms, `origin` being where they come from, and
    UnknownNameError as `resolve_arm` does.
    """
    resolved: list[Arm] = []
    faults: list[Fault] = []
    for arm in arms:
        try:
            resolved.append(resolve_arm(arm))
            build_policy(resolved[-1])
        except ScenarioError as error:
            faults += error.faults
    if faults:
        raise ScenarioError(faults, origin=origin)
    return tuple(resolved)


def build_policy(arm: Arm) -> Policy:
    """A new policy of a resolved arm. Raises ScenarioError for parameters that it does not take."""
    factory = registry.load("policy", arm.policy)
    policy: Policy = factory(parameters_of(factory, arm.parameters, path=f"arm {arm.name}.parameters"))
    return policy


def build_forecaster(name: str) -> Forecaster:
    """A new forecaster with its default parameters."""
    factory = registry.load("forecaster", name)
    forecaster: Forecaster = factory(parameters_of(factory, {}, path=f"forecaster {name}"))
    return forecaster


def fitted_forecaster(
    arm: Arm, settings: Forecasting, arrivals: Arrivals, *, nodes: int, seed: int
) -> Forecaster:
    """The forecaster of a resolved arm, fitted to the requests before t = 0.

    Args:
        arm: names the forecaster.
        settings: step and horizon of forecasts.
        arrivals: the history; an oracle sees the requests of the run as well.
        nodes: number of nodes.
        seed: root seed of the run.
    """
    forecaster = build_forecaster(arm.forecaster or "none")
    forecaster.reset(
        ForecastContext(
            node_count=nodes,
            step_s=settings.step_s,
            horizon_steps=settings.horizon_steps,
            seed=seed,
            truth=arrivals if forecaster.oracle else None,
        )
    )
    # Whole steps only, the last of which ends at t = 0.
    steps = int(arrivals.history_s / settings.step_s + 1e-9)
    start_s = -steps * settings.step_s
    forecaster.fit(arrivals.history.counts(nodes=nodes, start_s=start_s, step_s=settings.step_s, steps=steps))
    return forecaster
