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

import numpy as np

from qdpem.arrays import Flags, Floats, Ints

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
_MIN_SPREAD = 1e-3
_PRIOR_SPREAD = 0.02
_CHUNK = 256


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
    chain, multiple, gain = _best_chain(relative, rate.astype(np.float32))
    return _lines(times, chain, multiple, gain, count)


def _periods(relative: Floats) -> Floats:
    """The periods to try, float32 [B, C]; NaN where there are too few times."""
    width = relative.shape[1]
    tried = []
    for lag, divisor in _TRIED:
        last = range(max(lag, width - _TRIED_LAST), width)
        rows = np.array(last)
        tried.append((relative[:, rows] - relative[:, rows - lag]) / divisor)
    periods = np.concatenate(tried, axis=1)
    return np.where(periods > 0.0, periods, np.nan)


def _best_chain(relative: Floats, rate: Floats) -> tuple[Flags, Ints, Floats]:
    """Members of the best chain [B, K], periods since the member before [B, K], and its gain [B]."""
    peers, width = relative.shape
    period = _periods(relative)
    constant = np.log(1.0 - _SKIPPED) - np.log(period * rate[:, None])[:, None, :, None]
    constant = (constant - np.log(_SPREADS * np.sqrt(2.0 * np.pi))).astype(np.float32)
    inverse = (0.5 / _SPREADS**2).astype(np.float32)
    skip, left_out = np.float32(np.log(_SKIPPED)), np.float32(_LEFT_OUT)
    shape = (peers, period.shape[1], len(_SPREADS))
    total = np.zeros((width, *shape), dtype=np.float32)
    lag_used = np.zeros((width, *shape), dtype=np.int8)
    multiples = np.zeros((width, *shape), dtype=np.int16)
    for now in range(1, width):
        lags = np.arange(1, min(_LAGS, now) + 1)
        gap = (relative[:, now, None] - relative[:, now - lags])[:, :, None] / period[:, None, :]
        whole = np.maximum(np.rint(gap), 1.0)
        # [B, L, C, S]: predecessor, period and spread.
        squares = ((gap - whole) ** 2)[..., None] * inverse
        link = constant + ((whole - 1.0) * skip)[..., None] - squares
        link -= (left_out * (lags - 1).astype(np.float32))[None, :, None, None]
        link += np.moveaxis(total[now - lags], 0, 1)
        link = np.where(np.isnan(link), -np.inf, link)
        best = link.argmax(axis=1)
        value = np.take_along_axis(link, best[:, None], axis=1)[:, 0]
        joined = value > 0.0
        total[now] = np.where(joined, value, 0.0)
        lag_used[now] = np.where(joined, best + 1, 0)
        steps = np.take_along_axis(np.broadcast_to(whole[..., None], link.shape), best[:, None], axis=1)[:, 0]
        multiples[now] = np.where(joined, np.minimum(np.nan_to_num(steps), 9999), 0)
    after = (left_out * np.arange(width - 1, -1, -1, dtype=np.float32))[:, None, None, None]
    final = np.moveaxis(total - after, 0, 1).reshape(peers, -1)
    chosen = final.argmax(axis=1)
    return *_trace(lag_used, multiples, chosen), np.maximum(final[np.arange(peers), chosen], 0.0)


def _trace(lag_used: Ints, multiples: Ints, chosen: Ints) -> tuple[Flags, Ints]:
    """Follow the predecessors from the end of the chosen chain of each peer."""
    width, peers = lag_used.shape[:2]
    end, option = np.divmod(chosen, int(np.prod(lag_used.shape[2:])))
    rows = np.arange(peers)
    lags = lag_used.reshape(width, peers, -1)[:, rows, option].T
    whole = multiples.reshape(width, peers, -1)[:, rows, option].T
    chain, multiple = np.zeros((peers, width), dtype=np.bool_), np.zeros((peers, width), dtype=np.int64)
    at, going = end, np.ones(peers, dtype=np.bool_)
    for _ in range(width):
        lag = lags[rows, at]
        chain[rows[going], at[going]] = True
        multiple[rows[going], at[going]] = whole[rows, at][going]
        going = going & (lag > 0)
        at = np.where(going, at - lag, at)
    return chain & (chain.sum(axis=1) > 1)[:, None], multiple


def _lines(times: Floats, chain: Flags, multiple: Ints, gain: Floats, count: Ints) -> RegularStarts:
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
