"""Conformance passes honest policies and catches each kind of cheat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdpem.errors import ScenarioError, UnknownNameError
from qdpem.network.outages import Unavailable
from qdpem.policy.conformance import Check, check_named_policy, check_policy
from qdpem.policy.interface import Allocation, Context, Decisions, Observation, Policy, per_site
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.policy.validation import validate
from qdpem.rng import move_to, position, stream
from qdpem.scenario.words import Control, Pregeneration


@dataclass(frozen=True, kw_only=True)
class NoParameters:
    pass


class Honest:
    """A stranger's policy in a few lines: shortest path, drawn at random from the site's own stream."""

    Parameters = NoParameters
    name = "honest"
    control: Control = "local"
    pregeneration: Pregeneration = "none"
    forecaster = "none"
    acts_every_epoch = False
    message_width = 1

    def reset(self, context: Context) -> None:
        self.context = context
        self.streams = {site: context.site_stream(site) for site in context.sites}
        self.seen = np.zeros(context.network.node_count, dtype=np.int64)

    def act(self, observations: Observation) -> Decisions:
        said = per_site(self.rule, observations, self.context)
        self.seen[observations.site] += 1
        return replace(
            said, messages=np.ones((len(observations), 1)), info={"seen": self.seen[observations.site]}
        )

    def rule(self, observation: Observation, context: Context) -> tuple[Allocation, ...]:
        return tuple(
            self.allocation(observation, column) for column in range(observation.request_id.shape[1])
        )

    def allocation(self, observation: Observation, column: int) -> Allocation:
        source, destination = (
            int(observation.request_source[0, column]),
            int(observation.request_destination[0, column]),
        )
        paths = self.context.routes.paths(source, destination)
        return Allocation(
            source=source,
            destination=destination,
            target_fidelity=float(observation.request_target_fidelity[0, column]),
            path=paths[self.streams[int(observation.site[0])].integers(len(paths))].nodes,
            expires_s=float(observation.request_deadline_s[0, column]),
            request=int(observation.request_id[0, column]),
        )

    def state(self) -> dict[str, NDArray[Any]]:
        draws = np.stack([position(self.streams[site]) for site in self.context.sites])
        return {"seen": self.seen.copy(), "draws": draws}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.seen = state["seen"].copy()
        for site, drawn in zip(self.context.sites, state["draws"], strict=True):
            move_to(self.streams[site], drawn)


class PeeksAtRequests(Honest):
    """Serves only while few requests of all sites are urgent."""

    def act(self, observations: Observation) -> Decisions:
        urgent = (observations.request_deadline_s - observations.time_s < 0.5).mean()
        return (
            super().act(observations)
            if urgent < 0.2
            else Decisions(info={"seen": self.seen[observations.site]})
        )


class PeeksAtNews(Honest):
    """Believes what any site has heard of outages."""

    def rule(self, observation: Observation, context: Context) -> tuple[Allocation, ...]:
        return super().rule(observation, context) if len(self.unavailable.links) % 2 else ()

    def act(self, observations: Observation) -> Decisions:
        heard = [observations.unavailable(row) for row in range(len(observations))]
        self.unavailable = Unavailable(links=frozenset[int]().union(*(one.links for one in heard)))
        return super().act(observations)


class PeeksInItsVector(Honest):
    """Allocates honestly but notes the mean of everybody's status."""

    def act(self, observations: Observation) -> Decisions:
        said = super().act(observations)
        return replace(said, info={"mean": np.full(len(observations), np.nanmean(observations.status))})


class PeeksAtDraws(Honest):
    """All sites draw from one stream, so each depends on how many draws the others took."""

    def reset(self, context: Context) -> None:
        super().reset(context)
        shared = context.site_stream(4)
        self.streams = dict.fromkeys(context.sites, shared)


class RemembersOthers(Honest):
    """Looks at other rows only to remember them for the next call."""

    def reset(self, context: Context) -> None:
        super().reset(context)
        self.before = 0.0

    def act(self, observations: Observation) -> Decisions:
        said = Decisions(info={"before": np.full(len(observations), self.before)})
        self.before = float(observations.request_deadline_s.max())
        return said


class NeverForgets(Honest):
    """Something of the last run lives on in the class."""

    runs: list[int] = []  # noqa: RUF012

    def reset(self, context: Context) -> None:
        super().reset(context)
        self.runs.append(1)
        self.seen += len(self.runs)


class ServesTooLate(Honest):
    def allocation(self, observation: Observation, column: int) -> Allocation:
        made = super().allocation(observation, column)
        return replace(made, expires_s=made.expires_s + 1.0)


class ForgetsItsState(Honest):
    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        pass


class DrawsAfresh(Honest):
    """Takes up its memory, but begins its streams again."""

    def state(self) -> dict[str, NDArray[Any]]:
        return {"seen": self.seen.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.seen = state["seen"].copy()


class Breaks(Honest):
    def act(self, observations: Observation) -> Decisions:
        raise ValueError("no idea")


def failed(policy: type[Honest], *, calls: int = 12) -> set[str]:
    checks = check_policy(policy, small_context(), calls=calls)
    assert all(isinstance(check, Check) and check.detail for check in checks)
    return {check.rule for check in checks if not check.passed}


def test_an_honest_policy_passes() -> None:
    policy: Policy = Honest()
    assert policy.name == "honest"
    assert failed(Honest) == set()


@pytest.mark.mostly_slow(5)
@pytest.mark.parametrize(
    ("cheat", "rule"),
    [
        (PeeksAtRequests, "locality"),
        (PeeksAtNews, "locality"),
        (PeeksInItsVector, "locality"),
        (PeeksAtDraws, "locality"),
        (RemembersOthers, "locality"),
        (NeverForgets, "determinism"),
        (ServesTooLate, "legal"),
        (ForgetsItsState, "state"),
        (DrawsAfresh, "state"),
        (Breaks, "legal"),
    ],
)
def test_each_cheat_is_caught(cheat: type[Honest], rule: str) -> None:
    assert rule in failed(cheat)


def test_details_say_what_was_seen() -> None:
    checks = {check.rule: check for check in check_policy(Breaks, small_context(), calls=2)}
    assert checks["legal"].detail == "raised ValueError: no idea"
    late = {check.rule: check for check in check_policy(ServesTooLate, small_context(), calls=2)}
    assert "by the deadline" in late["legal"].detail


@pytest.mark.parametrize("name", ["local-minhop", "central-fcfs", "central-expected-delay"])
def test_registered_baselines_conform(name: str) -> None:
    checks = check_named_policy(name, calls=10)
    assert [check for check in checks if not check.passed] == []


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'local-minhop'"):
        check_named_policy("local-minhops")


def test_a_policy_is_checked_with_the_parameters_given() -> None:
    checks = check_named_policy("local-minhop", {"storage_fraction": 0.0}, calls=5)
    assert [check for check in checks if not check.passed] == []
    with pytest.raises(ScenarioError, match=r"parameters\.storage"):
        check_named_policy("local-minhop", {"storage": 0.1})


@pytest.mark.parametrize("answer", [None, [3]])
def test_a_rule_that_answers_anything_but_allocations_is_named(answer: Any) -> None:
    def rule(observation: Observation, context: Context) -> Any:
        return answer

    context = small_context()
    with pytest.raises(TypeError, match=r"rule.* returned"):
        per_site(rule, synthetic_observation(context, stream(0, "rule")), context)


@pytest.mark.parametrize("control", ["local", "central"])
@pytest.mark.parametrize("pregeneration", ["none", "link", "end-to-end", "virtual-link"])
def test_synthetic_views_keep_their_promises(control: Control, pregeneration: Pregeneration) -> None:
    context = small_context(control=control, pregeneration=pregeneration)
    for call in range(5):
        observations = synthetic_observation(context, stream(call, "promises"), message_width=2)
        assert observations.site.tolist() == list(context.sites)
        validate(Decisions(), observations, context, policy_name="nobody")
        assert np.all(observations.request_deadline_s > observations.time_s)
        assert np.all(observations.request_source != observations.request_destination)
        assert np.all(np.isnan(observations.stock_age_s) == (observations.stock_ready == 0))
        assert (observations.stock_id.size == 0) == (pregeneration == "none")
        for observation in observations:
            known = set(observation.observed_node[0].tolist()) - {-1}
            site = int(observation.site[0])
            if control == "local":
                assert (
                    set(observation.request_source[0].tolist())
                    == set(observation.top_pair_source[0].tolist()) - {-1}
                    == {site}
                )
                assert known == {site} | {node for node, _ in context.network.neighbours[site]}
            else:
                assert known == set(range(9))
        if pregeneration == "link":
            ends = zip(
                observations.stock_owner.ravel().tolist(),
                observations.stock_partner.ravel().tolist(),
                strict=True,
            )
            assert all(pair in context.network.link_between for pair in ends)
