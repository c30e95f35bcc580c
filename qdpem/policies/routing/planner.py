"""Which path and plan to take: least expected finish, with stock standing in for links or whole stretches.

Source: least expected completion time (`expected_finish`); what ageing may cost a path is a budget of Werner
weights, which multiply along swapped Werner pairs (Briegel et al. 1998). Knowledge: the map, what a site
believes is ahead, and the stock it knows of.
Work: O(K x plans x hops) for each request; with stock a look at each hop, and at each stocked remote pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from physics.plans import Plan
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path
from qdpem.network.path_estimates import ASSUMED_WAIT_FRACTION
from qdpem.policies.routing.delay_model import Backlog, Flags, Floats, PathFeatureCache, PathFeatures
from qdpem.policies.routing.stocked_pairs import (
    StockByEnds,
    StockedLinks,
    Taken,
    scaled,
    stocked_links,
    stocked_steps,
    weight_of,
)
from qdpem.policies.routing.virtual_links import VirtualLinks
from qdpem.policy.interface import Context

_KEPT_WAITS = 8192


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice:
    """A path and plan, when it is expected to finish, and the fresh pairs each hop makes for it.

    `cost_s`: what it was chosen by, its finish and the price of its work. `taken`: stocked pairs it counts
    on.
    """

    path: Path
    finish_s: float
    need: Floats
    cost_s: float
    rounds: int = 0
    end_rounds: int = 0
    taken: Taken = ()

    @property
    def lanes(self) -> int:
        """How many pairs are made end to end for one that is delivered."""
        return 1 << self.end_rounds

    @property
    def plan(self) -> Plan:
        """What an allocation says of it."""
        return Plan(rounds_per_link=self.rounds, end_rounds=self.end_rounds)


@dataclass(frozen=True, kw_only=True)
class RouteQuery:
    """What is asked of a choice: to finish `within_s` on an idle network and `busy_s` on this one.

    `left_s`: until the allocation expires, a share of which fresh pairs may wait beside stock.
    """

    source: int
    destination: int
    target_fidelity: float
    within_s: float
    pairs: int
    left_s: float
    busy_s: float


class Planner:
    """Chooses paths and plans by expected finish; keeps the options of every pair of nodes it met."""

    def __init__(
        self,
        context: Context,
        *,
        storage_fraction: float,
        resource_weight: float = 0.0,
        end_rounds: bool = False,
    ) -> None:
        self._context = context
        self._thrift = resource_weight
        self._wait_fraction = storage_fraction
        self._end_rounds = end_rounds
        idle = Backlog.idle(context.network)
        self._idle_waits = lru_cache(_KEPT_WAITS)(lambda options, pairs: options.waits(idle, pairs=pairs))
        self._virtual = VirtualLinks(context)
        self._options = PathFeatureCache(context)

    def choose(
        self,
        source: int,
        destination: int,
        load: Backlog,
        *,
        target_fidelity: float,
        within_s: float,
        pairs: int = 1,
        quiet: bool = False,
        unavailable: Unavailable = ALL_AVAILABLE,
        shelf: StockByEnds | None = None,
        left_s: float = 0.0,
        busy_s: float = np.inf,
    ) -> Choice | None:
        """The path and plan of least expected finish + `resource_weight` x work that reach the target; None if none.

        Believed age of the link pairs is `storage_fraction` of the expected finish. If no plan meets the target at
        that age, the quickest that meets it with fresh pairs is taken; if none does, and end rounds are
        allowed, the quickest that meets it by distilling two such pairs end to end. PathFeatures that even an
        idle network is not expected to finish within `within_s`, or this one within `busy_s`, are left out;
        `quiet` also leaves out paths over repeaters that are not idle. Paths go round what is `unavailable`. Pairs
        on the `shelf` stand in for links and, with the right to virtual links, for a stretch of a path, as
        far as ageing allows while `left_s` are left.
        """
        ask = RouteQuery(
            source=source,
            destination=destination,
            target_fidelity=target_fidelity,
            within_s=within_s,
            pairs=pairs,
            left_s=left_s,
            busy_s=busy_s,
        )
        options = self._options.between(source, destination, unavailable)
        plain = self._over_links(options, ask, load, quiet, shelf) if options is not None else None
        if not shelf or self._context.pregeneration != "virtual-link":
            return plain
        virtual = self._over_stock(ask, load, shelf, unavailable)
        if plain is None or (virtual is not None and virtual.cost_s < plain.cost_s):
            return virtual
        return plain

    def _over_links(
        self, options: PathFeatures, ask: RouteQuery, load: Backlog, quiet: bool, shelf: StockByEnds | None
    ) -> Choice | None:
        if quiet and not options.quiet(load).any():
            return None
        shelved = stocked_steps(options.paths, shelf) if shelf else None
        # No later than with what can be taken of it: what is late even so needs no closer look.
        soonest_s = options.finish_after_s(self._idle_waits(options, ask.pairs), shelved)
        if (soonest_s <= ask.within_s).any():
            near = None
            if shelf and shelved is not None:
                near = self._near(options, ask, shelf, shelved & (soonest_s[0] <= ask.within_s)[:, None])
            found = self._cheapest_good(options, ask, load, quiet, near)
            if found is not None:
                return found
        return self._end_to_end(options, ask, load) if self._end_rounds and not quiet else None

    def _cheapest_good(
        self, options: PathFeatures, ask: RouteQuery, load: Backlog, quiet: bool, near: StockedLinks | None
    ) -> Choice | None:
        stocked = near.stocked if near is not None else None
        finish_s = options.finish_s(load, pairs=ask.pairs, stocked=stocked)
        idle_s = options.finish_after_s(self._idle_waits(options, ask.pairs), stocked)
        work_s = options.work_s if stocked is None else options.work_without_s(stocked)
        allowed = (idle_s <= ask.within_s) & (finish_s <= ask.busy_s)
        if quiet:
            allowed &= options.quiet(load)
        cost_s = np.where(allowed, finish_s + self._thrift * ask.pairs * work_s, np.inf)
        order = _cheapest(cost_s)
        for fraction in (self._wait_fraction, 0.0):
            for rounds, row in order:
                aged = near if rounds == 0 else None
                age_s = fraction * float(finish_s[rounds, row])
                if self._fidelity(options.paths[row], rounds, age_s, aged, row) >= ask.target_fidelity:
                    need = options.need[rounds, row, : options.paths[row].hops]
                    return Choice(
                        path=options.paths[row],
                        rounds=rounds,
                        finish_s=float(finish_s[rounds, row]),
                        need=need if aged is None else np.where(aged.stocked[row, : len(need)], 0.0, need),
                        cost_s=float(cost_s[rounds, row]),
                        taken=() if aged is None else aged.taken[row],
                    )
        return None

    def _near(
        self, options: PathFeatures, ask: RouteQuery, shelf: StockByEnds, shelved: Flags
    ) -> StockedLinks | None:
        return stocked_links(
            options.paths,
            shelf,
            shelved,
            target_fidelity=ask.target_fidelity,
            pairs=ask.pairs,
            left_s=ask.left_s,
            estimates=self._context.estimates,
        )

    def _fidelity(self, path: Path, rounds: int, age_s: float, aged: StockedLinks | None, row: int) -> float:
        fidelity = self._context.estimates.fidelity(path, rounds=rounds, age_s=age_s)
        return fidelity if aged is None else scaled(fidelity, aged.factor[row])

    def _over_stock(
        self, ask: RouteQuery, load: Backlog, shelf: StockByEnds, unavailable: Unavailable
    ) -> Choice | None:
        """The cheapest path over a stocked remote pair that meets the target as nodes will see it."""
        best = None
        for ends, ways in self._virtual.between(ask.source, ask.destination, shelf, unavailable):
            options = ways.options
            idle_s = options.finish_after_s(self._idle_waits(options, ask.pairs))[0]
            in_time = np.flatnonzero(idle_s <= ask.within_s).tolist()
            if not in_time:
                continue
            finish_s = options.finish_s(load, pairs=ask.pairs)[0]
            cost_s = finish_s + self._thrift * ask.pairs * options.work_s[0]
            for row in in_time:
                if best is not None and cost_s[row] >= best.cost_s:
                    continue
                wait_s = float(finish_s[row])
                age_s = max(ASSUMED_WAIT_FRACTION * ask.left_s, self._wait_fraction * wait_s)
                others = self._virtual.weight(ways, row, age_s=age_s)
                good = [
                    fidelity
                    for fidelity in sorted(shelf[ends])
                    if others * self._virtual.aged(ends, fidelity, wait_s) >= weight_of(ask.target_fidelity)
                ][: ask.pairs]
                if len(good) == ask.pairs:
                    best = Choice(
                        path=options.paths[row],
                        finish_s=wait_s,
                        need=options.need[0, row, : options.paths[row].hops],
                        cost_s=float(cost_s[row]),
                        taken=tuple((ends, fidelity) for fidelity in good),
                    )
        return best

    def _end_to_end(self, options: PathFeatures, ask: RouteQuery, load: Backlog) -> Choice | None:
        """The quickest plan whose pairs meet the target once two are distilled into one end to end."""
        network, estimates = self._context.network, self._context.estimates
        compared_s = network.distillation_time_s + np.array([path.delay_s for path in options.paths])
        twice = 2 * ask.pairs
        in_time = options.finish_after_s(self._idle_waits(options, twice)) + compared_s <= ask.within_s
        if not in_time.any():
            return None
        finish_s = options.finish_s(load, pairs=twice) + compared_s
        cost_s = finish_s + self._thrift * twice * options.work_s
        allowed = in_time & (finish_s <= ask.busy_s)
        for rounds, row in _cheapest(np.where(allowed, cost_s, np.inf)):
            path, age_s = options.paths[row], self._wait_fraction * float(finish_s[rounds, row])
            fidelity, takes = estimates.end_to_end(path, rounds=rounds, age_s=age_s)
            if fidelity >= ask.target_fidelity:
                return Choice(
                    path=path,
                    rounds=rounds,
                    end_rounds=1,
                    finish_s=float(finish_s[rounds, row]),
                    need=takes * options.need[rounds, row, : path.hops],
                    cost_s=float(cost_s[rounds, row]),
                )
        return None


def _cheapest(cost_s: Floats) -> list[tuple[int, int]]:
    """(rounds, row) of finite costs, the least first."""
    order = np.argsort(cost_s.ravel(), kind="stable")[: np.isfinite(cost_s).sum()].tolist()
    return [divmod(index, cost_s.shape[1]) for index in order]
