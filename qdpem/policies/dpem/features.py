"""The features of options and sites: numbers of about -1 to 1, all from the site's own observation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
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
    Observation,
)

OPTIONS = 2 + PATHS
"""0: nothing. 1: serve from stock, or stock a pair with the first hop. 2 + k: over path k."""

QUANTILE = 0.9
MAX_STOCK_S = 10.0

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


def saturate(value: Floats) -> Floats:
    """x / (1 + x), which maps [0, inf) onto [0, 1)."""
    bounded: Floats = value / (1.0 + value)
    return bounded


def nan_to_zero(value: Floats) -> Floats:
    """The value, or 0 where it is NaN because the site has not heard it."""
    return np.where(np.isnan(value), 0.0, value)


class PoissonQuantile:
    """The upper quantile of a Poisson count from its mean, by a table.

    P(X <= n) = Q(n + 1, mean), with Q the regularised upper incomplete gamma function. The quantile is
    therefore at most n while the mean is at most the inverse of P(n + 1, .) = 1 - Q(n + 1, .) at 1 - level.
    """

    def __init__(self, level: float, *, largest: int = 64) -> None:
        from scipy.special import gammaincinv

        self._limits = gammaincinv(np.arange(1, largest + 1), 1.0 - level)

    def __call__(self, mean: Floats) -> Floats:
        """Smallest n with P(X <= n) >= level, elementwise, at most `largest`."""
        return np.searchsorted(self._limits, mean, side="left").astype(np.float64)


class FeatureEncoder:
    """Encodes options and sites of one run as features. It has no memory between calls."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._upper = PoissonQuantile(QUANTILE)

    def options(
        self, observations: Observation, rows: Ints, slots: list[Slot], static: Floats, own: Floats
    ) -> Floats:
        """The features of the slots in use, float64 [M, O, F]; the page "How `dpem` learns" defines them.

        Args:
            observations: S rows, one per site.
            rows: the row of each slot's site, int64 [M].
            slots: the M slots in use.
            static: blocks of `PathTable`, float64 [M, PATHS + 1, len(COLUMNS)].
            own: the result of `own`, float64 [S, 3].
        """
        table = np.zeros((len(slots), OPTIONS, len(FEATURES)))
        table[:, 0, _NAMED["nothing"]] = 1.0
        serves = np.array([slot.request >= 0 for slot in slots])
        from_stock = np.zeros((len(slots), PATHS + 1), dtype=np.bool_)
        from_stock[:, 0] = serves
        # The slack of a request is the time to its deadline; that of stock is how long it stays useful.
        life_s = np.minimum(static[:, :, COLUMNS["life_s"]], MAX_STOCK_S)
        slack_s = np.array([slot.expires_s for slot in slots]) - observations.time_s
        slack = np.where(serves[:, None], np.maximum(slack_s, 0.0)[:, None], life_s)
        slack = np.where(np.isfinite(slack), slack, MAX_STOCK_S)
        wait_s = np.where(from_stock, 0.0, static[:, :, COLUMNS["wait_s"]])
        wait_s = wait_s * np.array([float(slot.pairs) for slot in slots])[:, None]
        margin = np.where(
            from_stock,
            np.array([slot.fidelity_margin for slot in slots])[:, None],
            static[:, :, COLUMNS["margin"]],
        )
        generated = ~from_stock
        options = table[:, 1:]
        options[:, :, _NAMED["stock"]] = ~serves[:, None]
        options[:, :, _NAMED["from_stock"]] = from_stock
        options[:, :, _NAMED["hops"]] = static[:, :, COLUMNS["hops"]] * generated / 4.0
        options[:, :, _NAMED["rounds"]] = static[:, :, COLUMNS["rounds"]] * generated / 2.0
        options[:, :, _NAMED["fidelity_margin"]] = np.clip(5.0 * margin, -1.0, 1.0)
        # 1e-9 only avoids 0 / 0.
        options[:, :, _NAMED["wait_fraction"]] = wait_s / (wait_s + slack + 1e-9)
        token_s = static[:, :, COLUMNS["token_s"]] * generated
        options[:, :, _NAMED["token_fraction"]] = token_s / (token_s + slack + 1e-9)
        tokens, backlog = self._next_hop(observations, rows, static)
        options[:, :, _NAMED["next_tokens"]] = np.where(generated, tokens, 1.0)
        options[:, :, _NAMED["next_backlog"]] = np.where(generated, backlog, 0.0)
        self._fill_shared(table, observations, rows, slots, slack, own[rows])
        return np.clip(table, -1.0, 2.0)

    def _fill_shared(
        self,
        table: Floats,
        observations: Observation,
        rows: Ints,
        slots: list[Slot],
        slack: Floats,
        own: Floats,
    ) -> None:
        """Fill in the columns that all options of a slot share. Option 0, nothing, gets the slack of path 0.

        Args:
            table: the features, float64 [M, O, F], changed in place.
            observations: S rows, one per site.
            rows: the row of each slot's site, int64 [M].
            slots: the M slots in use.
            slack: time left of each option but nothing, in seconds, float64 [M, PATHS + 1].
            own: token fraction, free-memory fraction and backlog of each slot's site, float64 [M, 3].
        """
        for name, column in (("own_tokens", 0), ("own_memories", 1), ("own_backlog", 2)):
            table[:, :, _NAMED[name]] = own[:, column, None]
        table[:, :, _NAMED["stock_held"]] = np.array([slot.stock / BASE_STOCK for slot in slots])[:, None]
        mean = self._expected(observations, rows, slots, slack[:, 1])
        table[:, :, _NAMED["forecast_mean"]] = saturate(mean)[:, None]
        table[:, :, _NAMED["forecast_upper"]] = saturate(self._upper(mean))[:, None]
        table[:, 1:, _NAMED["slack"]] = saturate(slack)
        table[:, 0, _NAMED["slack"]] = saturate(slack[:, 1])

    def _expected(self, observations: Observation, rows: Ints, slots: list[Slot], span_s: Floats) -> Floats:
        """Forecast requests [M] of each slot's pair over the steps that `span_s` [M] covers, at least one."""
        # The forecast is of all the site's requests; a pair gets its destination's fraction of those so far.
        ahead = np.cumsum(nan_to_zero(observations.forecast[:, 0])[rows], axis=1)
        if not ahead.shape[1]:
            return np.zeros(len(slots))
        steps = np.ceil(span_s / self._context.forecasting.step_s).astype(np.int64)
        last = np.clip(steps, 1, ahead.shape[1]) - 1
        fractions = np.array([slot.request_fraction for slot in slots])
        expected: Floats = np.maximum(ahead[np.arange(len(slots)), last] * fractions, 0.0)
        return expected

    def own(self, observations: Observation) -> Floats:
        """Token fraction, free-memory fraction and emission backlog of every site, float64 [S, 3]."""
        network = self._context.network
        status = nan_to_zero(observations.status[:, 0])
        memories = np.maximum(network.memories[observations.site], 1)
        return np.stack(
            [
                np.clip(status[:, TOKENS] / network.repeater_burst, -1.0, 1.0),
                np.clip(status[:, FREE_MEMORIES] / memories, 0.0, 1.0),
                saturate(np.maximum(status[:, EMISSION_BACKLOG], 0.0)),
            ],
            axis=1,
        )

    def _next_hop(self, observations: Observation, rows: Ints, static: Floats) -> tuple[Floats, Floats]:
        """Token fraction and backlog last reported by the next hop of each path, [M, PATHS + 1] each.

        The next hop of a one-hop path is its end, which swaps nothing: it gets a full bucket and no swaps.
        """
        hop = static[:, :, COLUMNS["next_hop"]].astype(np.int64)
        match = observations.observed_node[rows][:, None, :] == hop[:, :, None]
        # argmax of no match is 0; `reported` removes these.
        column = match.argmax(axis=2)
        reported = match.any(axis=2)
        status = nan_to_zero(observations.status[rows[:, None], column]) * reported[:, :, None]
        tokens = np.clip(status[:, :, TOKENS] / self._context.network.repeater_burst, -1.0, 1.0)
        swaps = np.maximum(status[:, :, TOKEN_BACKLOG] + status[:, :, ORDERED_SWAPS], 0.0)
        is_end = static[:, :, COLUMNS["hops"]] <= 1
        tokens = np.where(is_end, 1.0, tokens)
        backlog = np.maximum(status[:, :, EMISSION_BACKLOG], 0.0) + np.where(is_end, 0.0, swaps)
        return tokens, saturate(backlog)

    def sites(self, observations: Observation, own: Floats) -> NDArray[np.float32]:
        """The critic's inputs for each site, float32 [S, len(SITE_FEATURES)]."""
        status = np.maximum(nan_to_zero(observations.status), 0.0)
        others = (observations.observed_node >= 0).sum(axis=1) - 1
        around = status[:, 1:, TOKEN_BACKLOG].sum(axis=1) / np.maximum(others, 1)
        waiting = observations.request_id >= 0
        deadlines = np.where(waiting, observations.request_deadline_s, np.inf).min(axis=1, initial=np.inf)
        # No pending request: 1e9 s saturates to 1.
        slack = np.where(np.isfinite(deadlines), np.maximum(deadlines - observations.time_s, 0.0), 1e9)
        stocked = observations.stock_partner >= 0
        ready = stocked & (observations.stock_ready > 0)
        ahead = np.maximum(nan_to_zero(observations.forecast[:, 0]), 0.0)
        columns = (
            own[:, 0],
            own[:, 1],
            own[:, 2],
            saturate(status[:, 0, TOKEN_BACKLOG]),
            saturate(around),
            saturate(waiting.sum(axis=1).astype(np.float64)),
            saturate(slack),
            saturate(ready.sum(axis=1).astype(np.float64)),
            saturate((stocked & ~ready).sum(axis=1).astype(np.float64)),
            saturate(ahead[:, :1].sum(axis=1)),
            saturate(ahead.sum(axis=1)),
            (observations.reason == _EPOCH).astype(np.float64),
        )
        return np.stack(columns, axis=1).astype(np.float32)
