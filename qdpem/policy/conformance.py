"""The laws that every policy must keep: `qdpem check policy NAME`.

>>> from qdpem.policy.conformance import check_named_policy
>>> all(check.passed for check in check_named_policy("local-minhop"))
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem import registry
from qdpem.policy.checks import Check as Check
from qdpem.policy.checks import RuleViolationError, evenly_spaced, require_same_arrays, run_check
from qdpem.policy.interface import Allocation, Context, Decisions, Observation, Policy
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.policy.validation import validate
from qdpem.rng import stream
from qdpem.scenario.faults.validation import parameters_of

PolicyFactory: TypeAlias = Callable[[], Policy]
_STEP_S = 0.1
_UNAVAILABLE = 2
"""Maximum number of unavailable nodes, and of unavailable links, in the observations of a trial."""


def check_named_policy(
    name: str, parameters: Mapping[str, Any] | None = None, *, calls: int = 50, seed: int = 0
) -> tuple[Check, ...]:
    """Run `check_policy` on the policy registered as `name`, with its own control and pregeneration.

    `parameters` are as in a scenario; those left out have their defaults. Raises UnknownNameError for a name
    that is not registered, and ScenarioError for parameters that the policy does not take.
    """
    factory = registry.load("policy", name)
    chosen = parameters_of(factory, parameters or {}, path="parameters")
    context = small_context(control=factory.control, pregeneration=factory.pregeneration, seed=seed)
    return check_policy(lambda: factory(chosen), context, calls=calls, seed=seed)


def check_policy(
    policy_factory: PolicyFactory, context: Context, *, calls: int = 50, seed: int = 0
) -> tuple[Check, ...]:
    """Run every rule on fresh policies of `policy_factory`; a rule whose run raises is broken.

    - legal: all decisions pass `validation.validate`.
    - determinism: two copies, and one reset and run again, decide the same to the bit.
    - locality (local control): in `calls` calls, all other sites' rows and draws are changed; the decisions
      of each tried site stay the same to the bit.
    - one by one (local control): a site allocates the same whether it is observed alone or with all others.
    - explanation (with `explain`): it has a row for each site, and asking for it changes no decision.
    - state: `load_state` takes what `state` gave, `state` returns it again, and the copy continues as the
      original does.
    """
    trial = _PolicyTrial(policy_factory=policy_factory, context=context, calls=calls, seed=seed)
    rules: dict[str, Callable[[], str]] = {"legal": trial.legal, "determinism": trial.determinism}
    if context.control == "local":
        rules |= {"locality": trial.locality, "one by one": trial.one_by_one}
    if hasattr(policy_factory(), "explain"):
        rules["explanation"] = trial.explanation
    rules["state"] = trial.state
    return tuple(run_check(rule, check) for rule, check in rules.items())


def with_other_rows(observations: Observation, other: Observation, *, row: int) -> Observation:
    """`observations` with every row but `row` taken from `other`, which has the same sites."""
    columns = {}
    for item in fields(observations):
        if item.name != "time_s":
            column = getattr(other, item.name).copy()
            column[row] = getattr(observations, item.name)[row]
            columns[item.name] = column
    return Observation(time_s=observations.time_s, **columns)


@dataclass(frozen=True, eq=False, kw_only=True)
class _PolicyTrial:
    policy_factory: PolicyFactory
    context: Context
    calls: int
    seed: int

    def begin(self, context: Context | None = None) -> Policy:
        policy = self.policy_factory()
        policy.reset(context or self.context)
        return policy

    @cached_property
    def decisions(self) -> list[Decisions]:
        """What a new policy decides in every call."""
        policy = self.begin()
        return [policy.act(observations) for observations in self.observations()]

    def observations(self, key: str = "calls") -> list[Observation]:
        """A sequence of observations of all sites, new and the same for the same key."""
        draws = stream(self.seed, f"conformance/{key}")
        # Read after `reset`, which may set the width to the size of the network.
        width = self.begin().message_width
        return [
            synthetic_observation(
                self.context,
                draws,
                time_s=10.0 + _STEP_S * call,
                message_width=width,
                unavailable=_UNAVAILABLE,
            )
            for call in range(self.calls)
        ]

    def legal(self) -> str:
        name, allocations = self.begin().name, 0
        for decisions, observations in zip(self.decisions, self.observations(), strict=True):
            validate(decisions, observations, self.context, policy_name=name)
            allocations += len(decisions.allocations)
        return f"{allocations} allocations in {self.calls} calls, all legal"

    def determinism(self) -> str:
        second = self.begin()
        expected = [_answer(decisions) for decisions in self.decisions]
        for call, observations in enumerate(self.observations()):
            _require_same(expected[call], _answer(second.act(observations)), f"call {call} of a second copy")
        # The used copy is reset: whatever its first run left behind would show.
        second.reset(self.context)
        for call, observations in enumerate(self.observations()):
            _require_same(expected[call], _answer(second.act(observations)), f"call {call} after reset")
        return f"{self.calls} calls, three runs, the same to the bit"

    def locality(self) -> str:
        sequence, others = self.observations(), self.observations("elsewhere")
        rows = evenly_spaced(len(sequence[0]), 3)
        for row in rows:
            site = int(sequence[0].site[row])
            # Streams differ too, so that a policy that draws from another site's stream is caught.
            disturbed = self.begin(self._other_draws(site))
            for call, (observations, other) in enumerate(zip(sequence, others, strict=True)):
                changed = with_other_rows(observations, other, row=row)
                theirs = disturbed.act(changed)
                subject = (
                    f"the answer of site {site} in call {call} when only other sites' rows and draws change"
                )
                mine = _answer_of_site(self.decisions[call], observations, row)
                _require_same(mine, _answer_of_site(theirs, changed, row), subject)
        return f"{self.calls} calls for each of {len(rows)} sites, the same to the bit"

    def one_by_one(self) -> str:
        alone, calls = self.begin(), min(self.calls, 10)
        for call, observations in enumerate(self.observations()[:calls]):
            for row, observation in enumerate(observations):
                expected = _allocations_by(self.decisions[call], int(observations.site[row]))
                if alone.act(observation).allocations != expected:
                    raise RuleViolationError(
                        f"site {int(observations.site[row])}, observed alone, allocates otherwise"
                        f" in call {call}"
                    )
        return f"{calls} calls, each site allocates alone as with all others"

    def state(self) -> str:
        original, copies = self.begin(), (self.begin(), self.begin())
        sequence = self.observations()[:10]
        for observations in sequence:
            original.act(observations)
        # Copied, because a policy may return its own arrays and change them later.
        saved = {name: array.copy() for name, array in original.state().items()}
        for copy in copies:
            copy.load_state(saved)
            require_same_arrays(saved, copy.state(), "the state given back")
        for call, observations in enumerate(sequence):
            expected = _answer(original.act(observations))
            for copy in copies:
                _require_same(
                    expected, _answer(copy.act(observations)), f"call {call} of a copy with the saved state"
                )
        return f"{len(saved)} arrays, the same after a round trip"

    def explanation(self) -> str:
        plain, explained = self.begin(), self.begin()
        names: set[str] = set()
        for call, observations in enumerate(self.observations("explanation")):
            expected = _answer(plain.act(observations))
            _require_same(expected, _answer(explained.act(observations)), f"call {call} after an explanation")
            arrays = explained.explain()  # type: ignore[attr-defined]
            for name, values in arrays.items():
                if np.ndim(values) == 0 or len(values) != len(observations):
                    raise RuleViolationError(
                        f"the array {name!r} of the explanation in call {call} has shape {np.shape(values)};"
                        f" its first axis must be S = {len(observations)}"
                    )
            names.update(arrays)
        return f"{self.calls} calls, {len(names)} arrays, decisions the same to the bit"

    def _other_draws(self, site: int) -> Context:
        """The context with new streams for all sites but one."""

        def site_stream(other: int) -> np.random.Generator:
            if other == site:
                return self.context.site_stream(other)
            return stream(self.seed + 1, f"conformance/draws/{other}")

        return replace(self.context, site_stream=site_stream)


_Answer: TypeAlias = tuple[tuple[Allocation, ...], tuple[int, ...], dict[str, NDArray[Any]]]


def _answer(decisions: Decisions) -> _Answer:
    arrays = dict(decisions.info)
    if decisions.messages is not None:
        arrays["messages"] = decisions.messages
    return decisions.allocations, decisions.discards, arrays


def _answer_of_site(decisions: Decisions, observations: Observation, row: int) -> _Answer:
    """The answer of the site of one row: its allocations, its discards, its rows of all arrays."""
    _, discards, arrays = _answer(decisions)
    # Discards carry no site, so they are assigned by the stock in which the site sees them.
    own = set(observations.stock_id[row].tolist())
    return (
        _allocations_by(decisions, int(observations.site[row])),
        tuple(pair for pair in discards if pair in own),
        {name: array[row] for name, array in arrays.items()},
    )


def _allocations_by(decisions: Decisions, site: int) -> tuple[Allocation, ...]:
    return tuple(item for item in decisions.allocations if item.source == site)


def _require_same(first: _Answer, second: _Answer, subject: str) -> None:
    if first[0] != second[0]:
        raise RuleViolationError(f"{subject} differs: {_difference(first[0], second[0])}")
    if first[1] != second[1]:
        raise RuleViolationError(f"{subject} differs: discards {first[1]} and {second[1]}")
    require_same_arrays(first[2], second[2], subject)


def _difference(first: Sequence[Allocation], second: Sequence[Allocation]) -> str:
    def unlike() -> Iterator[str]:
        for mine, theirs in zip(first, second, strict=False):
            if mine != theirs:
                yield f"{mine} and {theirs}"
        yield f"{len(first)} and {len(second)} allocations"

    return next(unlike())
