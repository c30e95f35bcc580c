"""One short row of numbers per option, all of which the site may know, about -1 to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdpem.events.words import DecisionReason
from qdpem.policies.dpem.paths import COLUMNS, PATHS
from qdpem.policies.dpem.slots import BASE_STOCK, Slot
from qdpem.policy.interface import (
    EMISSION_BACKLOG,
    FREE_MEMORIES,
    ORDERED_SWAPS,
    TOKEN_BACKLOG,
    TOKENS,
    Context,
    Floats,
    Ints,
    Observation,
)

OPTIONS = 2 + PATHS
"""0: nothing. 1: serve from stock, or stock an elementary pair on the way. 2 + k: over path k."""

QUANTILE = 0.9
LONGEST_STOCK_S = 10.0

FEATURES = (
    "nothing", "stock", "from_stock", "hops", "rounds", "fidelity_margin", "wait_fraction", "token_fraction",
    "own_tokens", "own_memories", "own_backlog", "next_tokens", "next_backlog", "stock_held",
    "forecast_mean", "forecast_upper", "slack",
)  # fmt: skip
SITE_FEATURES = (
    "tokens", "memories", "emission_backlog", "token_backlog", "neighbour_backlog", "waiting", "slack",
    "stock_ready", "stock_ordered", "forecast_step", "forecast_horizon", "epoch",
)  # fmt: skip

_NAMED = {name: column for column, name in enumerate(FEATURES)}
_EPOCH = DecisionReason.EPOCH.code


def squash(value: Floats) -> Floats:
    """x / (1 + x): any number of 0 or more onto [0, 1)."""
    bounded: Floats = value / (1.0 + value)
    return bounded


def known(value: Floats) -> Floats:
    """The value, or 0 where nothing is known (NaN)."""
    return np.where(np.isnan(value), 0.0, value)


class PoissonQuantile:
    """Upper quantile of a Poisson count from its mean, by table.

    P(X <= n) = Q(n + 1, mean), so the quantile is n while mean lies below the inverse of the lower
    incomplete gamma function (n + 1) at 1 - level.
    """

    def __init__(self, level: float, *, largest: int = 64) -> None:
        from scipy.special import gammaincinv

        self._limits = gammaincinv(np.arange(1, largest + 1), 1.0 - level)

    def __call__(self, mean: Floats) -> Floats:
        """Smallest n with P(X <= n) >= level, elementwise, at most `largest`."""
        return np.searchsorted(self._limits, mean, side="left").astype(np.float64)


class FeatureEncoder:
    """Describes options and sites of one run; keeps nothing from one call to the next."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._upper = PoissonQuantile(QUANTILE)

    def options(
        self, observations: Observation, rows: Ints, slots: list[Slot], static: Floats, own: Floats
    ) -> Floats:
        """Feature rows of slots in use, float64 [M, O, F]; column meanings stand in docs/learning.md."""
        table = np.zeros((len(slots), OPTIONS, len(FEATURES)))
        table[:, 0, _NAMED["nothing"]] = 1.0
        serves = np.array([slot.request >= 0 for slot in slots])
        from_stock = np.zeros((len(slots), PATHS + 1), dtype=np.bool_)
        from_stock[:, 0] = serves
        life_s = np.minimum(static[:, :, COLUMNS["life_s"]], LONGEST_STOCK_S)
        slack_s = np.array([slot.expires_s for slot in slots]) - observations.time_s
        slack = np.where(serves[:, None], np.maximum(slack_s, 0.0)[:, None], life_s)
        slack = np.where(np.isfinite(slack), slack, LONGEST_STOCK_S)
        wait_s = np.where(from_stock, 0.0, static[:, :, COLUMNS["wait_s"]])
        wait_s = wait_s * np.array([float(slot.pairs) for slot in slots])[:, None]
        margin = np.where(
            from_stock, np.array([slot.margin for slot in slots])[:, None], static[:, :, COLUMNS["margin"]]
        )
        made = ~from_stock
        options = table[:, 1:]
        options[:, :, _NAMED["stock"]] = ~serves[:, None]
        options[:, :, _NAMED["from_stock"]] = from_stock
        options[:, :, _NAMED["hops"]] = static[:, :, COLUMNS["hops"]] * made / 4.0
        options[:, :, _NAMED["rounds"]] = static[:, :, COLUMNS["rounds"]] * made / 2.0
        options[:, :, _NAMED["fidelity_margin"]] = np.clip(5.0 * margin, -1.0, 1.0)
        options[:, :, _NAMED["wait_fraction"]] = wait_s / (wait_s + slack + 1e-9)
        token_s = static[:, :, COLUMNS["token_s"]] * made
        options[:, :, _NAMED["token_fraction"]] = token_s / (token_s + slack + 1e-9)
        tokens, backlog = self._next_hop(observations, rows, static)
        options[:, :, _NAMED["next_tokens"]] = np.where(made, tokens, 1.0)
        options[:, :, _NAMED["next_backlog"]] = np.where(made, backlog, 0.0)
        self._describe_slot(table, observations, rows, slots, slack, own[rows])
        return np.clip(table, -1.0, 2.0)

    def _describe_slot(
        self,
        table: Floats,
        observations: Observation,
        rows: Ints,
        slots: list[Slot],
        slack: Floats,
        own: Floats,
    ) -> None:
        """Fill in what all options of a slot share; nothing has the slack of the best path."""
        for name, column in (("own_tokens", 0), ("own_memories", 1), ("own_backlog", 2)):
            table[:, :, _NAMED[name]] = own[:, column, None]
        table[:, :, _NAMED["stock_held"]] = np.array([slot.held / BASE_STOCK for slot in slots])[:, None]
        mean = self._expected(observations, rows, slots, slack[:, 1])
        table[:, :, _NAMED["forecast_mean"]] = squash(mean)[:, None]
        table[:, :, _NAMED["forecast_upper"]] = squash(self._upper(mean))[:, None]
        table[:, 1:, _NAMED["slack"]] = squash(slack)
        table[:, 0, _NAMED["slack"]] = squash(slack[:, 1])

    def _expected(self, observations: Observation, rows: Ints, slots: list[Slot], span_s: Floats) -> Floats:
        """Forecast requests of each slot's pair over the steps that `span_s` covers, at least one, [M]."""
        ahead = np.cumsum(known(observations.forecast[:, 0])[rows], axis=1)
        if not ahead.shape[1]:
            return np.zeros(len(slots))
        steps = np.ceil(span_s / self._context.forecasting.step_s).astype(np.int64)
        last = np.clip(steps, 1, ahead.shape[1]) - 1
        fractions = np.array([slot.fraction for slot in slots])
        expected: Floats = np.maximum(ahead[np.arange(len(slots)), last] * fractions, 0.0)
        return expected

    def own(self, observations: Observation) -> Floats:
        """Token share, free memory share and emission backlog of every site asked, [S, 3]."""
        network = self._context.network
        status = known(observations.status[:, 0])
        memories = np.maximum(network.memories[observations.site], 1)
        return np.stack(
            [
                np.clip(status[:, TOKENS] / network.repeater_burst, -1.0, 1.0),
                np.clip(status[:, FREE_MEMORIES] / memories, 0.0, 1.0),
                squash(np.maximum(status[:, EMISSION_BACKLOG], 0.0)),
            ],
            axis=1,
        )

    def _next_hop(self, observations: Observation, rows: Ints, static: Floats) -> tuple[Floats, Floats]:
        """Token share and backlog that the next hop of each path last told, [M, PATHS + 1] each."""
        hop = static[:, :, COLUMNS["next_hop"]].astype(np.int64)
        match = observations.known[rows][:, None, :] == hop[:, :, None]
        column = match.argmax(axis=2)
        heard = match.any(axis=2)
        status = known(observations.status[rows[:, None], column]) * heard[:, :, None]
        tokens = np.clip(status[:, :, TOKENS] / self._context.network.repeater_burst, -1.0, 1.0)
        swaps = np.maximum(status[:, :, TOKEN_BACKLOG] + status[:, :, ORDERED_SWAPS], 0.0)
        last = static[:, :, COLUMNS["hops"]] <= 1
        tokens = np.where(last, 1.0, tokens)
        backlog = np.maximum(status[:, :, EMISSION_BACKLOG], 0.0) + np.where(last, 0.0, swaps)
        return tokens, squash(backlog)

    def sites(self, observations: Observation, own: Floats) -> NDArray[np.float32]:
        """What the critic sees of each site, float32 [S, len(SITE_FEATURES)]."""
        status = np.maximum(known(observations.status), 0.0)
        others = (observations.known >= 0).sum(axis=1) - 1
        around = status[:, 1:, TOKEN_BACKLOG].sum(axis=1) / np.maximum(others, 1)
        waiting = observations.request_id >= 0
        deadlines = np.where(waiting, observations.request_deadline_s, np.inf).min(axis=1, initial=np.inf)
        slack = np.where(np.isfinite(deadlines), np.maximum(deadlines - observations.time_s, 0.0), 1e9)
        stocked = observations.stock_partner >= 0
        ready = stocked & (observations.stock_ready > 0)
        ahead = np.maximum(known(observations.forecast[:, 0]), 0.0)
        columns = (
            own[:, 0],
            own[:, 1],
            own[:, 2],
            squash(status[:, 0, TOKEN_BACKLOG]),
            squash(around),
            squash(waiting.sum(axis=1).astype(np.float64)),
            squash(slack),
            squash(ready.sum(axis=1).astype(np.float64)),
            squash((stocked & ~ready).sum(axis=1).astype(np.float64)),
            squash(ahead[:, :1].sum(axis=1)),
            squash(ahead.sum(axis=1)),
            (observations.reason == _EPOCH).astype(np.float64),
        )
        return np.stack(columns, axis=1).astype(np.float32)
