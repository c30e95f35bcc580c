"""Regular starts in a list of times: period, next start and its spread, from the last requests of a peer.

Some of the times may be no regular starts (unannounced requests), and some starts may be missing (skipped).
`start_chains` finds the starts; lines through them foresee the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.forecasting.features.start_chains import Singles, best_starts

REMEMBERED = 32
"""The most recent requests of a peer that count."""

PREDICTORS = 3
"""Ways to foresee the next start: a line through all starts, through the recent ones, from the last one."""

_RECENT = 0.8
"""Each start counts this much less than the next one in the line through the recent ones."""
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
    members, periods, gain = best_starts(relative[:, absent:], rate.astype(np.float32))
    chain, multiple = np.zeros(times.shape, dtype=np.bool_), np.zeros(times.shape, dtype=np.int64)
    chain[:, absent:], multiple[:, absent:] = members, periods
    return _lines(times, chain, multiple, gain, count)


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
