"""Credit: the return of every decision of an episode, from the event tables.

By lineage, a decision is credited with what became of its own subject:

- about a request: its delivery, and the contended claims of its allocations, from the decision on;
- about a peer: all requests between the same two nodes, the claims of their allocations and of the stock
  made for them, and the pairs of that stock that expired;
- about a link: the requests between nodes whose paths crossed it, the claims of its stock, and the pairs of
  it that expired.

Later events count less, by exp(-dt / discount_time_s), except for requests, which end soon. The alternative
credits each decision with all later rewards of its node (`metrics.reward`), discounted alike: what nodes of a
plain multi-agent learner are credited with. Letters in shapes: E events, M decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.events.tables import Tables
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.metrics.reward import rewards
from qdpem.policies.dpem.chooser import Chosen
from qdpem.policies.dpem.networks import Kind
from qdpem.policies.dpem.training.experience import Experience
from qdpem.policies.dpem.training.external_cost import external_costs
from qdpem.scenario.schema import Reward
from qdpem.scenario.words import Credit


@dataclass(frozen=True, eq=False, kw_only=True)
class Stream:
    """Rewards of subjects: `key` int64 [E] of the subject, `time_s` and `amount` float64 [E]."""

    key: Ints
    time_s: Floats
    amount: Floats


def join(parts: Sequence[Stream]) -> Stream:
    """All events of several streams."""
    return Stream(
        key=np.concatenate([part.key for part in parts]).astype(np.int64),
        time_s=np.concatenate([part.time_s for part in parts]).astype(np.float64),
        amount=np.concatenate([part.amount for part in parts]).astype(np.float64),
    )


def returns(stream: Stream, key: Ints, time_s: Floats, *, discount_time_s: float) -> Floats:
    """Sum of the subject's later rewards, each times exp(-dt / discount_time_s), for decisions [M].

    >>> rewards = Stream(key=np.array([7, 7]), time_s=np.array([1.0, 3.0]), amount=np.array([1.0, 2.0]))
    >>> returns(rewards, np.array([7, 7, 8]), np.array([0.0, 2.0, 0.0]), discount_time_s=np.inf)
    array([3., 2., 0.])
    """
    order = np.lexsort((stream.time_s, stream.key))
    keys, times = stream.key[order], stream.time_s[order]
    later = _discounted_sums(keys, times, stream.amount[order], discount_time_s)
    # Decisions and events in one order; of equal times the decision comes first.
    is_event = np.concatenate([np.zeros(len(key)), np.ones(len(keys))])
    merged = np.lexsort((is_event, np.concatenate([time_s, times]), np.concatenate([key, keys])))
    place = np.argsort(merged)
    following = np.searchsorted(place[len(key) :], place[: len(key)])
    inside = np.minimum(following, len(keys) - 1)
    if not len(keys):
        return np.zeros(len(key))
    same = (following < len(keys)) & (keys[inside] == key)
    # Of another subject's event, which may be earlier, the exponential could overflow.
    until_s = np.where(same, times[inside] - time_s, 0.0)
    return np.where(same, later[inside] * np.exp(-until_s / discount_time_s), 0.0)


def _discounted_sums(keys: Ints, times: Floats, amounts: Floats, discount_time_s: float) -> Floats:
    """For each event the discounted sum of itself and the later ones of its subject."""
    sums = amounts.copy()
    # Backwards, because each sum contains the next one.
    for place in range(len(keys) - 2, -1, -1):
        if keys[place] == keys[place + 1]:
            fade = np.exp(-(times[place + 1] - times[place]) / discount_time_s)
            sums[place] += fade * sums[place + 1]
    return sums


def experience_of(
    log: Sequence[Chosen],
    tables: Tables,
    *,
    weights: Reward,
    credit: Credit,
    discount_time_s: float,
    end_s: float,
    nodes: int,
    external_cost_coef: float = 0.0,
) -> dict[Kind, Experience]:
    """The decisions of one episode with their returns, by kind.

    Decisions whose consequences the end of the episode cut off are left out: those about requests that are
    still open, and those about stock within one discount time of the end.

    Args:
        log: all choices of the episode.
        tables: its events.
        weights: of the reward; that of contended claims is the one that the policy was told.
        credit: by lineage, or all rewards of the node.
        discount_time_s: of rewards; for requests only with the rewards of the node.
        end_s: end of the episode.
        nodes: number of nodes.
        external_cost_coef: what a request that failed costs those that took what it waited for, in
            delivered requests.
    """
    streams = _Streams(tables, weights, nodes, external=external_cost_coef, reach_s=discount_time_s)
    experience = {}
    for kind in Kind:
        made = Experience.join(kind, [Experience.of(item) for item in log if item.choices.kind == kind])
        subject = made.subject[:, 0].astype(np.int64)
        if kind == Kind.SERVE:
            key, fade_s, closed = subject, np.inf, streams.closed[subject]
        else:
            key, fade_s = made.site * nodes + subject, discount_time_s
            closed = made.time_s <= end_s - discount_time_s
        if credit == Credit.DISCOUNTED:
            gain = returns(streams.site, made.site, made.time_s, discount_time_s=discount_time_s)
        else:
            gain = returns(streams.of[kind], key, made.time_s, discount_time_s=fade_s)
        experience[kind] = replace(made, gain=gain).where(closed)
    return experience


class _Streams:
    """The rewards of one episode by subject: requests, pairs of nodes, links; and by site."""

    def __init__(
        self, tables: Tables, weights: Reward, nodes: int, *, external: float = 0.0, reach_s: float = 8.0
    ) -> None:
        self._external_weight = external
        self._tables, self._weights, self._nodes = tables, weights, nodes
        requests = tables["requests"]
        self.closed = np.zeros(int(requests["request"].max(initial=-1)) + 1, dtype=np.bool_)
        self.closed[requests["request"]] = requests["outcome"] != RequestOutcome.OPEN.code
        earned = rewards(tables, weights=weights)
        self.site = Stream(key=earned.site, time_s=earned.time_s, amount=earned.amount)
        costs = self._claims()
        if external:
            costs = join([costs, self._external(reach_s)])
        delivered = self._delivered()
        allocations = tables["allocations"]
        ends = allocations["source"].astype(np.int64) * nodes + allocations["destination"]
        ids = allocations["allocation"].tolist()
        request_of = dict(zip(ids, allocations["request"].tolist(), strict=True))
        ends_of = dict(zip(ids, ends.tolist(), strict=True))
        of_request = np.array([request_of[item] for item in costs.key.tolist()], dtype=np.int64)
        of_ends = np.array([ends_of[item] for item in costs.key.tolist()], dtype=np.int64)
        served = of_request >= 0
        ends_of_request = requests["source"].astype(np.int64) * nodes + requests["destination"]
        by_ends = dict(zip(requests["request"].tolist(), ends_of_request.tolist(), strict=True))
        expired = self._expired()
        self.of: Mapping[Kind, Stream] = {
            Kind.SERVE: join(
                [
                    delivered,
                    Stream(key=of_request[served], time_s=costs.time_s[served], amount=costs.amount[served]),
                ]
            ),
            Kind.PEER: join(
                [
                    Stream(
                        key=np.array([by_ends[item] for item in delivered.key.tolist()], dtype=np.int64),
                        time_s=delivered.time_s,
                        amount=delivered.amount,
                    ),
                    Stream(key=of_ends, time_s=costs.time_s, amount=costs.amount),
                    expired,
                ]
            ),
            Kind.LINK: join(
                [
                    self._crossings(delivered),
                    Stream(key=of_ends[~served], time_s=costs.time_s[~served], amount=costs.amount[~served]),
                    expired,
                ]
            ),
        }

    def _delivered(self) -> Stream:
        """A reward for each request delivered, by its id."""
        requests = self._tables["requests"]
        chosen = requests["outcome"] == RequestOutcome.DELIVERED.code
        amount = np.full(int(chosen.sum()), self._weights.delivered)
        return Stream(key=requests["request"][chosen], time_s=requests["end_s"][chosen], amount=amount)

    def _claims(self) -> Stream:
        """A cost for each contended claim, by its allocation."""
        claims = self._tables["claims"]
        chosen = claims["contended"] == 1
        amount = np.full(int(chosen.sum()), -self._weights.contended)
        return Stream(key=claims["allocation"][chosen], time_s=claims["end_s"][chosen], amount=amount)

    def _external(self, reach_s: float) -> Stream:
        """A cost for each claim that failed requests of others waited behind, by its allocation."""
        key, time_s, cost = external_costs(self._tables, nodes=self._nodes, reach_s=reach_s)
        return Stream(key=key, time_s=time_s, amount=-self._external_weight * self._weights.delivered * cost)

    def _expired(self) -> Stream:
        """A cost for each stocked pair that expired, by its owner and the other end."""
        pairs = self._tables["pairs"]
        chosen = (pairs["owner"] >= 0) & (pairs["outcome"] == PairOutcome.EXPIRED.code)
        owner = pairs["owner"][chosen].astype(np.int64)
        other = np.where(pairs["first"][chosen] == owner, pairs["second"][chosen], pairs["first"][chosen])
        amount = np.full(len(owner), -self._weights.expired)
        return Stream(key=owner * self._nodes + other, time_s=pairs["end_s"][chosen], amount=amount)

    def _crossings(self, delivered: Stream) -> Stream:
        """The reward of each delivered request for every link that pairs of its ends crossed, both ways.

        Whichever path it took: credit for the path taken would reward a link for requests that it only drew
        from other links.
        """
        earned = dict(zip(delivered.key.tolist(), delivered.time_s.tolist(), strict=True))
        links = links_between(self._tables, self._nodes)
        requests = self._tables["requests"]
        ends = requests["source"].astype(np.int64) * self._nodes + requests["destination"]
        rows = [
            (link, earned[request])
            for request, key in zip(requests["request"].tolist(), ends.tolist(), strict=True)
            if request in earned
            for link in links.get(key, ())
        ]
        keys = np.array([row[0] for row in rows], dtype=np.int64)
        times = np.array([row[1] for row in rows], dtype=np.float64)
        return Stream(key=keys, time_s=times, amount=np.full(len(rows), self._weights.delivered))


def links_between(tables: Tables, nodes: int) -> dict[int, set[int]]:
    """For each pair of ends the links that any allocation between them crossed, in both directions.

    Ends and links are keys first x `nodes` + second.
    """
    allocations, steps = tables["allocations"], tables["path_steps"]
    keys = allocations["source"].astype(np.int64) * nodes + allocations["destination"]
    ends = dict(zip(allocations["allocation"].tolist(), keys.tolist(), strict=True))
    paths: dict[int, list[int]] = {}
    for allocation, node in zip(steps["allocation"].tolist(), steps["node"].tolist(), strict=True):
        paths.setdefault(allocation, []).append(node)
    links: dict[int, set[int]] = {}
    for allocation, path in paths.items():
        crossed = links.setdefault(ends[allocation], set())
        for first, second in pairwise(path):
            crossed |= {first * nodes + second, second * nodes + first}
    return links
