"""A policy of your own: serve each request over a path drawn at random, and measure it.

    python examples/own_policy.py

To give it a name that scenario files know, register the class in your package's `pyproject.toml`:

    [project.entry-points."qdpem.policies"]
    random-path = "your_package:RandomPath"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics.plans import Plan
from qdpem import load_scenario, simulate
from qdpem.metrics.metrics import measure
from qdpem.policy.interface import Allocation, Context, Decisions, Observation, per_site
from qdpem.scenario.schema import Arm

SCENARIO = Path(__file__).parent.parent / "scenarios" / "quickstart.toml"


class RandomPath:
    """Local control, serve only: any feasible path is as good as another."""

    @dataclass(frozen=True)
    class Parameters:
        """It has none."""

    name, control, pregeneration, forecaster = "random-path", "local", "none", "none"
    acts_every_epoch = False
    message_width = 0

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()

    def reset(self, context: Context) -> None:
        """Begin a run: one random stream per site, so that no site's draws depend on another's."""
        self.context = context
        self.streams = {site: context.site_stream(site) for site in context.sites}

    def act(self, observations: Observation) -> Decisions:
        """Every site follows the same rule."""
        return per_site(self.rule, observations, self.context)

    def rule(self, observation: Observation, context: Context) -> tuple[Allocation, ...]:
        """One allocation for each waiting request that some path can serve at its target."""
        site, made = int(observation.site[0]), []
        for column in (observation.request_id[0] >= 0).nonzero()[0]:
            target = float(observation.request_target_fidelity[0, column])
            destination = int(observation.request_destination[0, column])
            choices = []
            for path in context.routes.paths(site, destination, observation.unavailable()):
                rounds = context.estimates.rounds_for(path, target, age_s=0.2)
                if rounds is not None:
                    choices.append((path, rounds))
            if choices:
                path, rounds = choices[self.streams[site].integers(len(choices))]
                made.append(
                    Allocation(
                        source=site,
                        destination=destination,
                        target_fidelity=target,
                        path=path.nodes,
                        plan=Plan(rounds_per_link=rounds),
                        expires_s=float(observation.request_deadline_s[0, column]),
                        pairs=int(observation.request_pairs[0, column]),
                        request=int(observation.request_id[0, column]),
                    )
                )
        return tuple(made)

    def state(self) -> dict[str, Any]:
        """Nothing is learned."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to take up."""


def main() -> None:
    """Random paths against the fewest hops, on one seed."""
    scenario = load_scenario(SCENARIO, ["window.warm_up_s=5", "window.measured_s=20"])
    arm = Arm(name="local-minhop")
    for name, policy in (("random path", RandomPath()), ("fewest hops", None)):
        run = simulate(scenario, arm, seed=1, policy=policy)
        assert run.tables is not None
        metrics = measure(run.tables, start_s=5.0, end_s=25.0)
        print(f"{name}: {metrics['delivery_ratio']:.3f} delivered in time and at target")


if __name__ == "__main__":
    main()
