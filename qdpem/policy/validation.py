"""The checks of a policy's decisions and of forecasts. A broken rule is raised as a sentence.

The sentence names the policy or the forecaster, the time, the rule and the value.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from physics.plans import Plan
from qdpem.errors import PolicyError
from qdpem.events.words import Purpose
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policy.interface import CONTROLLER, Allocation, Context, Decisions, Observation

MAX_END_ROUNDS = 1
_PURPOSES = tuple(Purpose)
_WHOLE = (int, np.integer)
_NUMBER = (int, float, np.integer, np.floating)
_FLAG = (bool, np.bool_)
_TYPE_NAMES: Mapping[Any, str] = MappingProxyType(
    {_NUMBER: "a number", _WHOLE: "a whole number", _FLAG: "True or False", Plan: "a Plan"}
)
_FIELD_TYPES: Mapping[str, Any] = MappingProxyType(
    {
        "source": _WHOLE,
        "destination": _WHOLE,
        "pairs": _WHOLE,
        "request": _WHOLE,
        "target_fidelity": _NUMBER,
        "expires_s": _NUMBER,
        "plan": Plan,
        "retry_low_fidelity": _FLAG,
    }
)


def validate(
    decisions: Decisions,
    observations: Observation,
    context: Context,
    *,
    policy_name: str,
    message_width: int | None = None,
) -> None:
    """Raise PolicyError unless the rules allow every allocation, discard, message and info array.

    The check takes a few microseconds per allocation. `observations` are those that the policy saw: a request
    waits, and a pair is in stock, if it is in the row of the site that decided.

    Args:
        decisions: the answer of the policy.
        observations: what it answers.
        context: of the run.
        policy_name: its name in messages.
        message_width: the numbers in a message of a site; any when None.
    """
    check = _Validator(
        policy_name=policy_name, observations=observations, context=context, message_width=message_width
    )
    check.types(decisions)
    check.shapes(decisions)
    if decisions.discards:
        check.discards(decisions.discards)
    if not decisions.allocations:
        return
    requested_pairs: Counter[int] = Counter()
    rows = {site: row for row, site in enumerate(observations.site.tolist())}
    for allocation in decisions.allocations:
        row = check.deciding_row(allocation, rows)
        check.path(allocation, row)
        check.common(allocation)
        if allocation.purpose == Purpose.SERVE:
            # Several allocations may serve one request: together they may not exceed its pairs.
            requested_pairs[allocation.request] += allocation.pairs
            check.serve(allocation, row, requested_pairs[allocation.request])
        else:
            check.stock(allocation)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Validator:
    policy_name: str
    observations: Observation
    context: Context
    message_width: int | None = None

    def fail(self, rule: str, value: object) -> NoReturn:
        """Raise with the value and the rule that it breaks."""
        where = f"policy {self.policy_name!r} at {self.observations.time_s:.6g} s"
        raise PolicyError(f"{where} decided {value}; {rule}")

    def types(self, decisions: Decisions) -> None:
        """A policy may be anyone's code: what it returns has the types that the rules below rely on."""
        if not isinstance(decisions, Decisions):
            self.fail("`act` must return Decisions", f"{decisions!r:.60}")
        for name, kind in (("allocations", Allocation), ("discards", _WHOLE)):
            value = getattr(decisions, name)
            if not isinstance(value, tuple):
                self.fail(f"{name} must be a tuple", f"{name} {value!r:.60}")
            for item in value:
                if not isinstance(item, kind):
                    wanted = "Allocations" if kind is Allocation else "ids of pairs"
                    self.fail(f"{name} must hold {wanted}", f"{item!r:.60} of {type(item)} in {name}")
        for allocation in decisions.allocations:
            self.field_types(allocation)
        if decisions.messages is not None and not isinstance(decisions.messages, np.ndarray):
            self.fail("messages must be an array", f"messages {decisions.messages!r:.60}")
        for name, values in decisions.info.items():
            if not isinstance(values, np.ndarray):
                self.fail(
                    f"info must hold arrays whose first axis is S = {len(self.observations)}",
                    f"info {name!r} of {type(values)}",
                )

    def field_types(self, allocation: Allocation) -> None:
        path = allocation.path
        if not isinstance(path, tuple) or not all(isinstance(node, _WHOLE) for node in path):
            self.fail("a path is a tuple of ints", f"path {path!r:.60}")
        for name, kind in _FIELD_TYPES.items():
            value = getattr(allocation, name)
            if not isinstance(value, kind):
                wanted = _TYPE_NAMES[kind]
                self.fail(f"{name} must be {wanted}", f"{name} {value!r:.60} of {type(value)}")

    def shapes(self, decisions: Decisions) -> None:
        sites = len(self.observations)
        messages = decisions.messages
        width = self.message_width
        if messages is not None and (
            messages.dtype.kind not in "fiu"
            or messages.ndim != 2
            or messages.shape != (sites, messages.shape[1] if width is None else width)
        ):
            wanted = "message_width" if width is None else f"message_width = {width}"
            self.fail(
                f"messages must be numbers [S, {wanted}] with S = {sites}",
                f"messages {messages.dtype} of shape {messages.shape}",
            )
        for name, values in decisions.info.items():
            if values.ndim == 0 or len(values) != sites:
                self.fail(
                    f"the first axis of an info array must be S = {sites}",
                    f"info {name!r} of shape {values.shape}",
                )

    def discards(self, ids: tuple[int, ...]) -> None:
        visible = set(self.observations.stock_id.ravel().tolist())
        for pair in ids:
            if pair < 0 or pair not in visible:
                self.fail(
                    "a discard must name a pair in the stock of an observed site",
                    f"the discard of pair {pair}",
                )

    def deciding_row(self, allocation: Allocation, rows: dict[int, int]) -> int:
        site = allocation.source if self.context.control == "local" else CONTROLLER
        if site not in rows:
            rule = "the source of a local allocation must be a site of the observation"
            self.fail(
                rule if site >= 0 else "only the controller decides, and only in an observation of its own",
                allocation,
            )
        return rows[site]

    def path(self, allocation: Allocation, row: int) -> None:
        """A path is simple, from source to destination, over links or owned stock, through repeaters."""
        path, network = allocation.path, self.context.network
        if len(path) < 2 or path[0] != allocation.source or path[-1] != allocation.destination:
            self.fail("a path must begin at the source and end at the destination", allocation)
        if not all(0 <= node < network.node_count for node in path):
            self.fail(f"nodes are 0 to {network.node_count - 1}", f"path {path}")
        if len(set(path)) != len(path):
            self.fail("a path must visit no node twice", f"path {path}")
        # After the range check, because a negative index would read another node's rate.
        for node in path[1:-1]:
            if network.repeater_rate_hz[node] <= 0.0:
                self.fail("inner nodes must have a working repeater", f"path {path} through node {node}")
        for first, second in itertools.pairwise(path):
            if (first, second) not in network.link_between:
                self.over_stock(allocation, (first, second), row)

    def over_stock(self, allocation: Allocation, step: tuple[int, int], row: int) -> None:
        """A step over no link is a stocked pair that its first node owns, if pregeneration allows it."""
        pregeneration = self.context.pregeneration
        if pregeneration not in ("end-to-end", "virtual-link"):
            self.fail(
                f"with pregeneration {pregeneration!r} each step must be a link", f"path {allocation.path}"
            )
        if len(allocation.path) > 2 and pregeneration != "virtual-link":
            self.fail(
                f"with pregeneration {pregeneration!r} stock serves only a whole path (s, d)",
                f"path {allocation.path}",
            )
        # In the row of the deciding site only: a site may use no pair that it does not observe.
        owned = (self.observations.stock_owner[row] == step[0]) & (
            self.observations.stock_partner[row] == step[1]
        )
        if not (owned & (self.observations.stock_ready[row] == 1)).any():
            self.fail(
                "a step that is no link must be a ready stocked pair of its first node",
                f"path {allocation.path}",
            )

    def common(self, allocation: Allocation) -> None:
        now_s = self.observations.time_s
        if allocation.purpose not in _PURPOSES:
            self.fail(f"a purpose is one of {_PURPOSES}", f"purpose {allocation.purpose!r}")
        self.plan(allocation)
        if allocation.pairs < 1:
            self.fail("pairs must be 1 or more", f"pairs {allocation.pairs}")
        # Negated, so that NaN is refused too; so is NaN by the chained comparison below.
        if not (allocation.expires_s > now_s and math.isfinite(allocation.expires_s)):
            self.fail("expires_s must be later than now, and finite", f"expires_s {allocation.expires_s:g}")
        if not 0.25 < allocation.target_fidelity <= 1.0:
            self.fail(
                "a target lies above 1/4 and is at most 1", f"target_fidelity {allocation.target_fidelity:g}"
            )

    def plan(self, allocation: Allocation) -> None:
        """The simulation can carry out fewer plans than `Plan` can describe."""
        plan = allocation.plan
        if plan.end_rounds and not all(
            step in self.context.network.link_between for step in itertools.pairwise(allocation.path)
        ):
            self.fail("pairs distilled end to end are made over links only", allocation)
        self.rounds(allocation)
        if plan.end_rounds > MAX_END_ROUNDS:
            self.fail(f"end_rounds is 0 to {MAX_END_ROUNDS}", plan)

    def rounds(self, allocation: Allocation) -> None:
        """Rounds are on links, one number for each if they differ. A stocked pair is not distilled again."""
        each, steps = allocation.plan.rounds_per_link, list(itertools.pairwise(allocation.path))
        if not allocation.plan.fits(len(steps)):
            self.fail(
                f"rounds_per_link has one number for each of {len(steps)} steps, or one number for all", each
            )
        if max((each,) if isinstance(each, int) else each) > MAX_ROUNDS:
            self.fail(f"rounds_per_link is 0 to {MAX_ROUNDS}", allocation.plan)
        if isinstance(each, int):
            return
        for step, rounds in zip(steps, each, strict=True):
            if rounds and step not in self.context.network.link_between:
                self.fail(f"the step {step} is a stocked pair, which takes no rounds", each)

    def serve(self, allocation: Allocation, row: int, total_pairs: int) -> None:
        """A serve is for a pending request, between its ends, and no later, worse or larger than it."""
        observations = self.observations
        columns = (observations.request_id[row] == allocation.request).nonzero()[0]
        if allocation.request < 0 or not len(columns):
            self.fail("serve must name a request that waits at its site", f"request {allocation.request}")
        column = int(columns[0])
        ends = (
            int(observations.request_source[row, column]),
            int(observations.request_destination[row, column]),
        )
        if (allocation.source, allocation.destination) != ends:
            self.fail(f"request {allocation.request} is from {ends[0]} to {ends[1]}", allocation)
        target = float(observations.request_target_fidelity[row, column])
        if allocation.target_fidelity < target:
            self.fail(
                f"the target must be at least the request's {target:g}",
                f"target_fidelity {allocation.target_fidelity:g}",
            )
        deadline_s = float(observations.request_deadline_s[row, column])
        if allocation.expires_s > deadline_s:
            self.fail(
                f"a serve expires by the deadline {deadline_s:.9g} s",
                f"expires_s {allocation.expires_s:.9g}",
            )
        if observations.request_repeat_until_deadline[row, column] > 0 and any(
            step not in self.context.network.link_between for step in itertools.pairwise(allocation.path)
        ):
            self.fail("a repeating request is served over links only", f"path {allocation.path}")
        pairs = int(observations.request_pairs[row, column])
        if total_pairs > pairs:
            self.fail(
                f"request {allocation.request} asks for {pairs} pairs", f"allocations of {total_pairs} pairs"
            )

    def stock(self, allocation: Allocation) -> None:
        """Stock is for no request, and limited by the pregeneration of the arm."""
        if allocation.request != -1:
            self.fail("stock is for no request: its request must be -1", f"request {allocation.request}")
        pregeneration = self.context.pregeneration
        if pregeneration == "none":
            self.fail("pregeneration 'none' allows no stock", f"stock over path {allocation.path}")
        link = (allocation.source, allocation.destination) in self.context.network.link_between
        if len(allocation.path) > 2 and pregeneration == "link":
            self.fail("pregeneration 'link' allows stock with neighbours only", f"path {allocation.path}")
        if len(allocation.path) == 2 and not link:
            self.fail("stock is made over links, not out of one stocked pair", f"path {allocation.path}")
