"""A policy of your own: serve each request over a path drawn at random, and measure it.

    python examples/own_policy.py

To give it a name for scenario files, register the class in your package's `pyproject.toml`:

    [project.entry-points."qdpem.policies"]
    random-path = "your_package:RandomPath"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdpem import (
    Allocation,
    Arm,
    Context,
    Decisions,
    Observation,
    Plan,
    load_scenario,
    measure,
    per_site,
    simulate,
)
from qdpem.rng import move_to, position

SCENARIO = Path(__file__).parent.parent / "scenarios" / "quickstart.toml"


class RandomPath:
    """Every node serves its own requests, each over a random path that reaches its target."""

    @dataclass(frozen=True)
    class Parameters:
        """There are none."""

    name = family = "random-path"
    control = "local"
    pregeneration = forecaster = "none"
    acts_every_epoch = False
    message_width = 0

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()

    def reset(self, context: Context) -> None:
        """Begin a run, with a random stream for each site, so that no site's draws depend on another's."""
        self.context = context
        self.streams = {site: context.site_stream(site) for site in context.sites}

    def act(self, observations: Observation) -> Decisions:
        """Apply `serve` to every site of the observation."""
        return per_site(self.serve, observations, self.context)

    def serve(self, observation: Observation, context: Context) -> tuple[Allocation, ...]:
        """Allocations for the pending requests of one site."""
        stream = self.streams[int(observation.site[0])]
        allocations = []
        for request in observation.requests():
            options = []
            for path in context.routes.paths(request.source, request.destination, observation.unavailable()):
                # The fewest rounds of distillation that meet the target if link pairs wait 0.2 s.
                rounds = context.estimates.rounds_for(path, request.target_fidelity, age_s=0.2)
                if rounds is not None:
                    options.append((path, Plan(rounds_per_link=rounds)))
            if options:
                path, plan = options[stream.integers(len(options))]
                allocations.append(request.allocation(path.nodes, plan=plan))
        return tuple(allocations)

    def state(self) -> dict[str, Any]:
        """Nothing is learned, but the position of each stream belongs to the state."""
        return {str(site): position(stream) for site, stream in self.streams.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue each stream where it was saved."""
        for site, stream in self.streams.items():
            move_to(stream, state[str(site)])


def main() -> None:
    """Compare random paths with the paths of fewest hops on one seed."""
    scenario = load_scenario(SCENARIO, ["window.warm_up_s=5", "window.measured_s=20"])
    arm = Arm(name="local-minhop")
    for name, policy in (("random path", RandomPath()), ("fewest hops", None)):
        run = simulate(scenario, arm, seed=1, policy=policy)
        assert run.tables is not None
        metrics = measure(run.tables, start_s=5.0, end_s=25.0)
        print(f"{name}: {metrics['delivery_ratio']:.3f} delivered in time and at target")


if __name__ == "__main__":
    main()
