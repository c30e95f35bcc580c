"""The chain of times that are most likely the starts of one period, for many peers at once.

For a period T, times are joined to a chain by the best predecessor of each (dynamic programming). A link of
length m T + e is more likely than a request at random by

    log P(m) - log(T r) - log(s sqrt(2 pi)) - (e/T)^2 / (2 s^2),    P(m) = (1 - q) q^(m - 1),

r the mean rate, s one of `_SPREADS`; every time left out costs `_LEFT_OUT`. Differences of times, and their
halves and thirds, are the periods that are tried.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Ints

Singles: TypeAlias = NDArray[np.float32]

_SPREADS = np.array([0.015, 0.05, 0.15], dtype=np.float32)
_SKIPPED = 0.2
_LEFT_OUT = 1.6
_LAGS = 4
_TRIED_LAST = 8
_TRIED = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 4))
"""Pairs (lag, divisor): differences between each time and the one `lag` before it, over `divisor`."""
_MAX_MULTIPLE = 9999.0


def _periods(relative: Singles) -> Singles:
    """The periods to try, float32 [B, C]; NaN where there are too few times."""
    width = relative.shape[1]
    tried = []
    for lag, divisor in _TRIED:
        last = range(max(lag, width - _TRIED_LAST), width)
        rows = np.array(last)
        tried.append((relative[:, rows] - relative[:, rows - lag]) / divisor)
    periods = np.concatenate(tried, axis=1)
    return np.where(periods > 0.0, periods, np.nan)


def best_starts(relative: Singles, rate: Singles) -> tuple[Flags, Ints, Singles]:
    """Members of the best chain [B, K], periods since the member before [B, K], and its gain [B]."""
    rows = np.arange(len(relative))
    # Peers last: arrays of [S, C, B] are combined several times faster than of [B, C, S].
    period = np.ascontiguousarray(_periods(relative).T)
    constant = _constant(period, rate)
    total = _chain_values(np.ascontiguousarray(relative.T), period, constant)
    after = np.float32(_LEFT_OUT) * np.arange(len(total) - 1, -1, -1, dtype=np.float32)
    best = total.reshape(len(total), -1, len(rows)).max(axis=1) - after[:, None]
    # Of equal chains the one that ends first, of those the first period, of those the first spread.
    end = best.argmax(axis=0)
    option = total[end, :, :, rows].transpose(0, 2, 1).reshape(len(rows), -1).argmax(axis=1)
    own, spread = np.divmod(option, len(_SPREADS))
    lags = _lags_used(
        relative, period[own, rows], constant[spread, own, rows], spread, total[:, spread, own, rows].T
    )
    chain, multiple = _trace(relative, period[own, rows], lags, end.copy())
    return chain, multiple, np.maximum(best[end, rows], 0.0)


def _constant(period: Singles, rate: Singles) -> Singles:
    """The part of a link's gain that only depends on period and spread, float32 [S, C, B]."""
    constant = np.log(1.0 - _SKIPPED) - np.log(period * rate)
    spread = np.log(_SPREADS * np.sqrt(2.0 * np.pi))
    constant = (constant - spread[:, None, None]).astype(np.float32)
    # A period that cannot be tried has the likelihood 0.
    return np.where(np.isnan(constant), np.float32(-np.inf), constant)


def _chain_values(relative: Singles, period: Singles, constant: Singles) -> Singles:
    """The gain of the best chain to each time, 0 for none, float32 [K, S, C, B]; `relative` is [K, B]."""
    width, shape = len(relative), constant.shape
    total = np.zeros((width, *shape), dtype=np.float32)
    inverse = _inverse_squares()[:, None, None]
    # All is done in place: new arrays would take as long as what is put into them.
    gap, whole, link, error = (
        np.empty(each, dtype=np.float32) for each in (*2 * (shape[1:],), *2 * (shape,))
    )
    for now in range(1, width):
        for lag in range(1, min(now, _LAGS) + 1):
            np.divide(relative[now] - relative[now - lag], period, out=gap)
            _split_gap(gap, whole)
            np.add(constant, whole, out=link)
            link -= np.multiply(gap, inverse, out=error)
            if lag > 1:
                link -= _left_out(lag)
            link += total[now - lag]
            # Times that are not there give NaN, which is above nothing.
            np.fmax(total[now], link, out=total[now])
    return total


def _lags_used(relative: Singles, period: Singles, constant: Singles, spread: Ints, total: Singles) -> Ints:
    """How many times before each one its predecessor is, 0 for none, [B, K]; of equals the nearest.

    Each peer has one period [B] and spread, and the `total` [B, K] of its best chains to each time.
    """
    lags = np.zeros(total.shape, dtype=np.int64)
    inverse = _inverse_squares()[spread][:, None]
    for lag in range(min(_LAGS, total.shape[1] - 1), 0, -1):
        gap = (relative[:, lag:] - relative[:, :-lag]) / period[:, None]
        skips = np.empty_like(gap)
        _split_gap(gap, skips)
        link = constant[:, None] + skips
        link -= gap * inverse
        link -= _left_out(lag)
        link += total[:, :-lag]
        used = (link == total[:, lag:]) & (link > 0.0)
        lags[:, lag:][used] = lag
    return lags


def _split_gap(gap: Singles, whole: Singles) -> None:
    """Put into `gap`, in periods, its squared distance from a whole number, and the gain for that in `whole`.

    The gain is that of the starts that are skipped in between.
    """
    _periods_between(gap, out=whole)
    gap -= whole
    gap *= gap
    whole -= np.float32(1.0)
    whole *= np.float32(np.log(_SKIPPED))


def _inverse_squares() -> Singles:
    return np.asarray(0.5 / _SPREADS**2, dtype=np.float32)


def _left_out(lag: int) -> np.float32:
    """The cost of the times between a start and the one that is `lag` before it."""
    return np.float32(_LEFT_OUT) * np.float32(lag - 1)


def _periods_between(gap: Singles, out: Singles | None = None) -> Singles:
    """The whole number of periods, 1 or more, nearest to a gap in periods."""
    whole = np.rint(gap, out=out)
    return np.asarray(np.maximum(whole, np.float32(1.0), out=whole))


def _trace(relative: Singles, period: Singles, lags: Ints, end: Ints) -> tuple[Flags, Ints]:
    """Follow the predecessors of each peer, `lags` [B, K] before each time, from the end of its chain."""
    peers, width = relative.shape
    chain, multiple = np.zeros((peers, width), dtype=np.bool_), np.zeros((peers, width), dtype=np.int64)
    at, going = end, np.flatnonzero(lags[np.arange(peers), end])
    chain[going, end[going]] = True
    while len(going):
        now, before = at[going], at[going] - lags[going, at[going]]
        gap = (relative[going, now] - relative[going, before]) / period[going]
        multiple[going, now] = np.minimum(_periods_between(gap), _MAX_MULTIPLE)
        chain[going, before] = True
        at[going] = before
        going = going[lags[going, before] > 0]
    return chain, multiple
