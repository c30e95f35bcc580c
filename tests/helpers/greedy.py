"""A policy that takes all it can get, at once."""

from __future__ import annotations

from collections.abc import Iterator

from physics.plans import Plan
from qdpem.policy.interface import Allocation, Decisions


class Greedy:
    """Serves each request at once over its shortest path, as early as it can; keeps a pair on every link."""

    name = "greedy"
    acts_every_epoch = True
    message_width = 0

    def __init__(self, rounds: int = 0) -> None:
        self._rounds = rounds

    def reset(self, context) -> None:
        self._context = context

    def act(self, observations) -> Decisions:
        return Decisions(
            allocations=tuple(one for observation in observations for one in self._allocations(observation))
        )

    def _allocations(self, observation) -> Iterator[Allocation]:
        routes, stocks = self._context.routes, self._context.pregeneration != "none"
        for column, request in enumerate(observation.request_id[0].tolist()):
            source, destination = (
                int(observation.request_source[0, column]),
                int(observation.request_destination[0, column]),
            )
            deadline_s = float(observation.request_deadline_s[0, column])
            if request >= 0 and deadline_s > observation.time_s:
                paths = routes.paths(source, destination)
                yield Allocation(
                    source=source,
                    destination=destination,
                    target_fidelity=float(observation.request_target_fidelity[0, column]),
                    path=paths[request % len(paths)].nodes if paths else (source, destination),
                    plan=Plan(rounds_per_link=self._rounds),
                    pairs=int(observation.request_pairs[0, column]),
                    expires_s=deadline_s,
                    request=request,
                )
        site = int(observation.site[0])
        if stocks and site >= 0:
            for other, _ in self._context.network.neighbours[site]:
                if not (observation.stock_partner[0] == other).any():
                    yield Allocation(
                        source=site,
                        destination=other,
                        target_fidelity=0.7,
                        path=(site, other),
                        expires_s=observation.time_s + 2.0,
                        purpose="stock",
                    )
