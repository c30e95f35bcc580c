"""A request that waits for a decision, as plain numbers, and the allocation that serves it."""

from __future__ import annotations

from dataclasses import dataclass, field

from physics.plans import Plan


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The one thing a policy decides: make `pairs` pairs between two nodes, at this quality, along this path.

    `path`: nodes from `source` to `destination`. Two consecutive nodes are neighbours, or the two ends of a
    stocked end-to-end pair that the first of them owns (a whole path (s, d) over such a pair serves from
    stock). `purpose` is "serve" with the id of a waiting `request`, or "stock" with request -1; the
    source then owns the pair and keeps it until `expires_s`. `plan` has at most two rounds of distillation
    on each link, the same number on all links or one number for each step of the path, and one end round.
    """

    source: int
    destination: int
    target_fidelity: float
    path: tuple[int, ...]
    expires_s: float
    plan: Plan = field(default_factory=Plan)
    pairs: int = 1
    purpose: str = "serve"
    request: int = -1


@dataclass(frozen=True, kw_only=True)
class PendingRequest:
    """One waiting request of an observation: `Observation.requests` makes them.

    `application` is the code of a `scenario.words.Application`; `attempts` counts the allocations made for it
    so far; a `persistent` one asks for `pairs` at a time until its deadline.
    """

    id: int
    source: int
    destination: int
    target_fidelity: float
    pairs: int
    deadline_s: float
    application: int = -1
    attempts: int = 0
    persistent: bool = False

    def allocation(self, path: tuple[int, ...], *, plan: Plan | None = None) -> Allocation:
        """Serve it over `path` at its own target until its deadline."""
        return Allocation(
            source=self.source,
            destination=self.destination,
            target_fidelity=self.target_fidelity,
            path=path,
            expires_s=self.deadline_s,
            plan=plan or Plan(),
            pairs=self.pairs,
            purpose="serve",
            request=self.id,
        )
