"""Regular starts in a list of times: period, next start and its spread, from the last requests of a peer.

Some of the times may be no regular starts (unannounced requests), and some starts may be missing (skipped).
For a period T, times are joined to a chain by the best predecessor of each (dynamic programming). A link of
length m T + e is more likely than a request at random by

    log P(m) - log(T r) - log(s sqrt(2 pi)) - (e/T)^2 / (2 s^2),    P(m) = (1 - q) q^(m - 1),

r the mean rate, s one of `_SPREADS`; every time left out costs `_LEFT_OUT`. Differences of times, and their
halves and thirds, are the periods that are tried.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints

Singles: TypeAlias = NDArray[np.float32]

REMEMBERED = 32
"""The most recent requests of a peer that count."""

PREDICTORS = 3
"""Ways to foresee the next start: a line through all starts, through the recent ones, from the last one."""

_RECENT = 0.8
"""Each start counts this much less than the next one in the line through the recent ones."""
_SPREADS = np.array([0.015, 0.05, 0.15], dtype=np.float32)
_SKIPPED = 0.2
_LEFT_OUT = 1.6
_LAGS = 4
_TRIED_LAST = 8
_TRIED = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 4))
"""Pairs (lag, divisor): differences between each time and the one `lag` before it, over `divisor`."""
_MAX_MULTIPLE = 9999.0
_MIN_COLUMNS = 5
_MIN_SPREAD = 1e-3
_PRIOR_SPREAD = 0.02
_CHUNK = 128


@dataclass(frozen=True, eq=False, kw_only=True)
class RegularStarts:
    """The regular starts of B peers; all zeros for a peer whose times show none.

    `seen` [B]: starts in the chain. `kept` [B]: fraction of the starts that were not skipped. `left_out` [B]:
    fraction of the remembered times that are no starts. `evidence` [B]: log-likelihood of the chain over that
    of a Poisson process, for each time. `last`, `period`, `spread` float64 [B, 3], for each way to foresee
    the next start: start c after the last one is expected at last + c period, with the deviation spread.
    """

    seen: Floats
    kept: Floats
    left_out: Floats
    evidence: Floats
    last: Floats
    period: Floats
    spread: Floats

    @classmethod
    def none(cls, peers: int) -> RegularStarts:
        """No regular starts at any peer."""
        narrow, wide = np.zeros(peers), np.zeros((peers, PREDICTORS))
        return cls(
            seen=narrow, kept=narrow, left_out=narrow, evidence=narrow, last=wide, period=wide, spread=wide
        )

    def at(self, rows: slice) -> RegularStarts:
        """Those of the peers in these rows."""
        return RegularStarts(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def with_rows(self, rows: Ints, other: RegularStarts) -> RegularStarts:
        """A copy in which `other` takes the place of these rows."""
        columns = {}
        for item in fields(self):
            columns[item.name] = getattr(self, item.name).copy()
            columns[item.name][rows] = getattr(other, item.name)
        return RegularStarts(**columns)


def find_starts(times: Floats) -> RegularStarts:
    """The regular starts in ascending `times` float64 [B, K]; NaN fills the columns before the first one."""
    parts = [_find(times[first : first + _CHUNK]) for first in range(0, len(times), _CHUNK)]
    if not parts:
        return RegularStarts.none(0)
    return RegularStarts(
        **{
            item.name: np.concatenate([getattr(part, item.name) for part in parts])
            for item in fields(RegularStarts)
        }
    )


def _find(times: Floats) -> RegularStarts:
    known = np.isfinite(times)
    count = known.sum(axis=1)
    # From the last time backwards, in single precision: differences matter, not the clock.
    relative = np.where(known, times - times[:, -1:], np.nan).astype(np.float32)
    span = -np.nanmin(np.where(known, relative, 0.0), axis=1)
    rate = np.maximum(count - 1, 1) / np.maximum(span, 1e-6)
    # Columns in which no peer has a time are not looked at. The lines are through all columns, so that a sum
    # has the same order, and the same last bit, whoever else is there.
    absent = times.shape[1] - max(int(count.max()), _MIN_COLUMNS)
    members, periods, gain = _best_chain(relative[:, absent:], rate.astype(np.float32))
    chain, multiple = np.zeros(times.shape, dtype=np.bool_), np.zeros(times.shape, dtype=np.int64)
    chain[:, absent:], multiple[:, absent:] = members, periods
    return _lines(times, chain, multiple, gain, count)


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


def _best_chain(relative: Singles, rate: Singles) -> tuple[Flags, Ints, Singles]:
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


def _lines(times: Floats, chain: Flags, multiple: Ints, gain: Singles, count: Ints) -> RegularStarts:
    """Lines through the starts of the chains, and what they foresee."""
    seen = chain.sum(axis=1)
    some = seen > 1
    number = np.cumsum(np.where(chain, multiple, 0), axis=1)
    last_number = number[:, -1]
    back = np.where(chain, number - last_number[:, None], 0).astype(np.float64)
    reference = np.where(some, times[:, -1], 0.0)
    since = np.where(chain, times - reference[:, None], 0.0)
    age = np.where(chain, seen[:, None] - np.cumsum(chain, axis=1), 0)
    links, steps = np.maximum(seen - 1, 1), np.maximum(last_number, 1)
    last_start = since[np.arange(len(times)), np.where(chain, np.arange(chain.shape[1]), -1).max(axis=1)]
    mean_period = (last_start - np.where(chain, since, np.inf).min(axis=1, initial=np.inf)) / steps
    mean_period = np.where(some, mean_period, 0.0)
    columns = [
        _line(back, since, chain.astype(np.float64), mean_period),
        _line(back, since, chain * _RECENT**age, mean_period),
        _from_last(since, chain, multiple, mean_period, last_start, links),
    ]
    last, period, spread = (np.stack(each, axis=1) for each in zip(*columns, strict=True))
    wide = some[:, None]
    return RegularStarts(
        seen=np.where(some, seen, 0).astype(np.float64),
        kept=np.where(some, (links + 2.0) / (steps + 2.1), 0.0),
        left_out=np.where(some, 1.0 - seen / np.maximum(count, 1), 0.0),
        evidence=np.where(some, gain / np.maximum(count, 1), 0.0),
        last=np.where(wide, last + reference[:, None], 0.0),
        period=np.where(wide, period, 0.0),
        spread=np.where(wide, spread, 0.0),
    )


def _line(
    number: Floats, since: Floats, weight: Floats, mean_period: Floats
) -> tuple[Floats, Floats, Floats]:
    """Expected time of the last start, period, and deviation of the next start, by weighted least squares."""
    total = np.maximum(weight.sum(axis=1), 1e-12)
    effective = total**2 / np.maximum((weight**2).sum(axis=1), 1e-12)
    mean_number = (weight * number).sum(axis=1) / total
    mean_time = (weight * since).sum(axis=1) / total
    from_mean = number - mean_number[:, None]
    square = (weight * from_mean**2).sum(axis=1)
    period = (weight * from_mean * since).sum(axis=1) / np.maximum(square, 1e-12)
    at_last = mean_time - period * mean_number
    residual = since - at_last[:, None] - number * period[:, None]
    # One observation of the prior keeps two starts, through which a line goes exactly, from certainty.
    squares = (weight * residual**2).sum(axis=1) * effective / total + (_PRIOR_SPREAD * mean_period) ** 2
    variance = squares / np.maximum(effective - 2.0 + 1.0, 1.0)
    share = 1.0 / effective + (1.0 - mean_number) ** 2 * total / np.maximum(square * effective, 1e-12)
    spread = np.sqrt(variance * (1.0 + share))
    return at_last, period, np.maximum(spread, _MIN_SPREAD * mean_period)


def _from_last(
    since: Floats, chain: Flags, multiple: Ints, mean_period: Floats, last_start: Floats, links: Ints
) -> tuple[Floats, Floats, Floats]:
    """The same from the last start alone, as starts drift whose displacements accumulate."""
    before = np.where(chain, since, -np.inf)
    previous = np.maximum.accumulate(before, axis=1)
    previous = np.concatenate([np.full((len(since), 1), -np.inf), previous[:, :-1]], axis=1)
    linked = chain & np.isfinite(previous)
    length = np.where(linked, since - np.where(linked, previous, 0.0), 0.0)
    error = np.where(linked, length - multiple * mean_period[:, None], 0.0)
    # The variance of a link grows with the starts that it spans.
    squares = (error**2 / np.maximum(multiple, 1)).sum(axis=1) + (_PRIOR_SPREAD * mean_period) ** 2
    variance = squares / links * (1.0 + 1.0 / links)
    return last_start, mean_period, np.maximum(np.sqrt(variance), _MIN_SPREAD * mean_period)
