"""Conformance passes honest policies and catches each kind of cheat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdpem.errors import UnknownNameError
from qdpem.network.outages import Away
from qdpem.policy.conformance import Check, check_named_policy, check_policy
from qdpem.policy.interface import Allocation, Context, Decisions, Policy, Views, per_site
from qdpem.policy.synthetic import small_context, synthetic_views
from qdpem.policy.validation import validate
from qdpem.rng import move_to, position, stream
from qdpem.scenario.schema import Control, Rights


@dataclass(frozen=True, kw_only=True)
class NoParameters:
    pass


class Honest:
    """A stranger's policy in a few lines: shortest path, drawn at random from the site's own stream."""

    Parameters = NoParameters
    name = "honest"
    control: Control = "local"
    rights: Rights = "serve"
    knowledge = "none"
    asks_at_epochs = False
    news_width = 1

    def reset(self, context: Context) -> None:
        self.context = context
        self.streams = {site: context.site_stream(site) for site in context.sites}
        self.seen = np.zeros(context.network.node_count, dtype=np.int64)

    def decide(self, views: Views) -> Decisions:
        said = per_site(self.rule, views, self.context)
        self.seen[views.site] += 1
        return replace(said, news=np.ones((len(views), 1)), vectors={"seen": self.seen[views.site]})

    def rule(self, view: Views, context: Context) -> tuple[Allocation, ...]:
        return tuple(self.allocation(view, column) for column in range(view.request_id.shape[1]))

    def allocation(self, view: Views, column: int) -> Allocation:
        source, destination = int(view.request_source[0, column]), int(view.request_destination[0, column])
        paths = self.context.routes.paths(source, destination)
        return Allocation(
            source=source,
            destination=destination,
            target_fidelity=float(view.request_target_fidelity[0, column]),
            path=paths[self.streams[int(view.site[0])].integers(len(paths))].nodes,
            expires_s=float(view.request_deadline_s[0, column]),
            request=int(view.request_id[0, column]),
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

    def decide(self, views: Views) -> Decisions:
        urgent = (views.request_deadline_s - views.time_s < 0.5).mean()
        return super().decide(views) if urgent < 0.2 else Decisions(vectors={"seen": self.seen[views.site]})


class PeeksAtNews(Honest):
    """Believes what any site has heard of outages."""

    def rule(self, view: Views, context: Context) -> tuple[Allocation, ...]:
        return super().rule(view, context) if len(self.away.links) % 2 else ()

    def decide(self, views: Views) -> Decisions:
        heard = [views.away(row) for row in range(len(views))]
        self.away = Away(links=frozenset[int]().union(*(one.links for one in heard)))
        return super().decide(views)


class PeeksInItsVector(Honest):
    """Allocates honestly but notes the mean of everybody's status."""

    def decide(self, views: Views) -> Decisions:
        said = super().decide(views)
        return replace(said, vectors={"mean": np.full(len(views), np.nanmean(views.status))})


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

    def decide(self, views: Views) -> Decisions:
        said = Decisions(vectors={"before": np.full(len(views), self.before)})
        self.before = float(views.request_deadline_s.max())
        return said


class NeverForgets(Honest):
    """Something of the last run lives on in the class."""

    runs: list[int] = []  # noqa: RUF012

    def reset(self, context: Context) -> None:
        super().reset(context)
        self.runs.append(1)
        self.seen += len(self.runs)


class ServesTooLate(Honest):
    def allocation(self, view: Views, column: int) -> Allocation:
        made = super().allocation(view, column)
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
    def decide(self, views: Views) -> Decisions:
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


@pytest.mark.parametrize("name", ["local-minhop", "central-fcfs", "central-live"])
def test_registered_baselines_conform(name: str) -> None:
    checks = check_named_policy(name, calls=10)
    assert [check for check in checks if not check.passed] == []


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'local-minhop'"):
        check_named_policy("local-minhops")


@pytest.mark.parametrize("control", ["local", "central"])
@pytest.mark.parametrize("rights", ["serve", "elementary", "remote", "virtual"])
def test_synthetic_views_keep_their_promises(control: Control, rights: Rights) -> None:
    context = small_context(control=control, rights=rights)
    for call in range(5):
        views = synthetic_views(context, stream(call, "promises"), news_width=2)
        assert views.site.tolist() == list(context.sites)
        validate(Decisions(), views, context, policy_name="nobody")
        assert np.all(views.request_deadline_s > views.time_s)
        assert np.all(views.request_source != views.request_destination)
        assert np.all(np.isnan(views.stock_age_s) == (views.stock_ready == 0))
        assert (views.stock_id.size == 0) == (rights == "serve")
        for view in views:
            known = set(view.known[0].tolist()) - {-1}
            site = int(view.site[0])
            if control == "local":
                assert (
                    set(view.request_source[0].tolist()) == set(view.peer_source[0].tolist()) - {-1} == {site}
                )
                assert known == {site} | {node for node, _ in context.network.neighbours[site]}
            else:
                assert known == set(range(9))
        if rights == "elementary":
            ends = zip(views.stock_owner.ravel().tolist(), views.stock_partner.ravel().tolist(), strict=True)
            assert all(pair in context.network.link_between for pair in ends)
