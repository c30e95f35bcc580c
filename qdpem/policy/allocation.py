"""A pending request, one that waits for a decision, as plain numbers, and the allocation that serves it."""

from __future__ import annotations

from dataclasses import dataclass, field

from physics.plans import Plan


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The action of a policy: make `pairs` pairs between two nodes, at a target fidelity, along a path.

    - `path`: the nodes from `source` to `destination`. Two consecutive nodes are neighbours, or the ends of a
      stocked end-to-end pair that the first of them owns. A path (s, d) over such a pair serves from stock.
      Stocked link pairs are not named: nodes use those that suffice by themselves.
    - `purpose`: "serve" with the id of a pending `request`, or "stock" with request -1. The source then owns
      the pair and stores it until `expires_s`, whatever its fidelity becomes.
    - `plan`: at most two rounds of distillation on each link, given as one number for all links or one for
      each step of the path, and at most one end-to-end round.
    - `retry_low_fidelity`: what happens to a pair that both ends find below the request's target. False: it
      is delivered, and the request fails. True: it is discarded, and the request is pending again while
      `control.retries` and its deadline allow it.
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
    retry_low_fidelity: bool = False


@dataclass(frozen=True, kw_only=True)
class PendingRequest:
    """One pending request of an observation, as `Observation.requests` returns it.

    `pairs` are those that it does not have yet. `application` is an index into `scenario.words.Application`.
    `attempts` counts its allocations so far. A repeating request asks for `pairs` at a time until its
    deadline.
    """

    id: int
    source: int
    destination: int
    target_fidelity: float
    pairs: int
    deadline_s: float
    application: int = -1
    attempts: int = 0
    repeats: bool = False

    def allocation(
        self, path: tuple[int, ...], *, plan: Plan | None = None, retry_low_fidelity: bool = False
    ) -> Allocation:
        """An allocation of all its pairs over `path`, at its own target, until its deadline."""
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
            retry_low_fidelity=retry_low_fidelity,
        )
