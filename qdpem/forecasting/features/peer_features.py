"""The inputs of a recurrent unit, kept up to date from step to step.

All peers of all nodes stand side by side, M = N x P, and no number of one enters another's. Times are in
steps, with t = 0 at the end of the history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.forecasting.features.harmonics import HARMONICS, MIN_MEAN, Calendar
from qdpem.forecasting.features.remembered import SMOOTHING, RememberedRequests
from qdpem.forecasting.features.schedule import SCHEDULES, WIDENINGS, phase, schedules
from qdpem.forecasting.features.starts import PREDICTORS, RegularStarts, find_starts

FEATURES = 2 + len(SMOOTHING) + 4 + 5 + 2 * PREDICTORS + 2 + 2 * HARMONICS
"""Features of a peer in a step (`PeerFeatures.advance`)."""

MIN_PERIOD = 4.0
"""Starts are looked for where the remembered requests are further apart than this on average, in steps."""

_TYPICAL = 1
"""The widening whose chances are a feature."""

_BLOCK = 64
"""Steps in which regular starts are looked for at once."""
_PRIOR_STEPS = 60.0
_PRIOR_COUNT = 0.3


class StepInputs(NamedTuple):
    """What the unit sees at the end of a step.

    `features` float32 [M, F]. `schedules` float32 [M, 9, H]: chances of regular starts. `mean` float64 [M]:
    requests per step so far.
    """

    features: NDArray[np.float32]
    schedules: NDArray[np.float32]
    mean: Floats


StepRequests: TypeAlias = tuple[Ints, Floats]
"""The requests of one step: the peer of each, and its time in steps, ascending."""


class PeerFeatures:
    """Features of M peers, one step after the other.

    Args:
        peers: M.
        horizon: steps ahead that schedules cover.
        calendar: of each peer; step 0 begins at t = 0.
    """

    def __init__(self, peers: int, *, horizon: int, calendar: Calendar) -> None:
        self._horizon, self._calendar = horizon, calendar
        self._past = RememberedRequests.nothing(peers)
        self._starts = RegularStarts.none(peers)

    def advance(self, step: int, peer: Ints, time: Floats) -> StepInputs:
        """Take in the requests of `step`, of these peers at these ascending times, in steps.

        Features: count and mean; three moving averages over the mean; time since the last request, number of
        requests, spread of gaps, whether known; of the regular starts their number, fraction kept, fraction
        left out, evidence and phase, and for each way to foresee the spread and the chance of a start in the
        horizon; strength, shape and harmonics of the calendar.
        """
        (inputs,) = self.advance_all(step, [(peer, time)])
        return inputs

    def advance_all(
        self, first_step: int, asked: Sequence[StepRequests], *, stride: int = 1
    ) -> Iterator[StepInputs]:
        """The inputs of consecutive steps, the same to the bit as those of `advance`, in less time.

        Each step is taken in when its inputs are asked for. Schedules take the most time: they are given for
        the last of each `stride` steps and for the last of all, and are empty [M, 0, H] for the others.
        """
        for begin in range(0, len(asked), _BLOCK):
            block = asked[begin : begin + _BLOCK]
            pasts = list(accumulate(block, lambda past, now: past.with_step(*now), initial=self._past))[1:]
            rows = [np.unique(peer) for peer, _ in block]
            # Starts depend only on the times that are remembered: those of all steps are found at once.
            found = _starts_in(
                np.concatenate([past.times[own] for past, own in zip(pasts, rows, strict=True)])
            )
            ends = np.cumsum([len(own) for own in rows]).tolist()
            for index, (past, own, end) in enumerate(zip(pasts, rows, ends, strict=True)):
                counts = np.bincount(block[index][0], minlength=len(past.total)).astype(np.float64)
                self._past = past
                if len(own):
                    self._starts = self._starts.with_rows(own, found.at(slice(end - len(own), end)))
                done = begin + index + 1
                complete = done % stride == 0 or done == len(asked)
                yield self._inputs(first_step + done - 1, counts, complete=complete)

    def _inputs(self, step: int, counts: Floats, *, complete: bool) -> StepInputs:
        """The inputs at the end of `step`, whose requests are taken in; with schedules if `complete`."""
        # The features need one widening only.
        widenings = WIDENINGS if complete else WIDENINGS[_TYPICAL : _TYPICAL + 1]
        peers, horizon, mean = len(self._past.total), self._horizon, self._mean()
        chances = schedules(self._starts, now=step + 1.0, horizon=horizon, widenings=widenings)
        typical = chances.reshape(peers, PREDICTORS, len(widenings), horizon)[
            :, :, _TYPICAL if complete else 0
        ]
        parts = (self._of_counts(counts, mean, step), self._of_starts(typical, step), self._of_calendar(step))
        features = np.concatenate(parts, axis=1).astype(np.float32)
        # A peer of which nothing is known yet shows nothing.
        features[~self._past.known] = 0.0
        return StepInputs(features, chances if complete else chances[:, :0], mean)

    def nothing(self) -> StepInputs:
        """The inputs when nothing is known."""
        peers = len(self._past.total)
        return StepInputs(
            features=np.zeros((peers, FEATURES), dtype=np.float32),
            schedules=np.zeros((peers, SCHEDULES, self._horizon), dtype=np.float32),
            mean=np.zeros(peers),
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which peers have asked so far, bool [M]."""
        return self._past.known

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is remembered."""
        parts: dict[str, RememberedRequests | RegularStarts | Calendar] = {
            "past": self._past,
            "starts": self._starts,
            "calendar": self._calendar,
        }
        return {
            f"{part}/{item.name}": getattr(value, item.name).copy()
            for part, value in parts.items()
            for item in fields(value)
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""

        def part(kind: type, name: str) -> Any:
            return kind(**{item.name: np.array(state[f"{name}/{item.name}"]) for item in fields(kind)})

        self._past, self._starts = part(RememberedRequests, "past"), part(RegularStarts, "starts")
        self._calendar = part(Calendar, "calendar")

    def _mean(self) -> Floats:
        """Requests per step so far; a weak prior keeps one request from certainty."""
        past = self._past
        return np.maximum((past.total + _PRIOR_COUNT) / (past.age + _PRIOR_STEPS), MIN_MEAN)

    def _of_counts(self, counts: Floats, mean: Floats, step: int) -> Floats:
        past = self._past
        levels = np.log((past.levels + 0.1 * mean[:, None]) / (1.1 * mean[:, None]))
        gap = np.maximum(step + 1.0 - np.nan_to_num(past.times[:, -1]), 0.0) * mean
        return np.column_stack(
            [
                (counts - mean) / (1.0 + mean),
                0.5 * np.log(mean),
                levels,
                np.log1p(gap),
                0.25 * np.log1p(past.total),
                past.gap_variation,
                past.known,
            ]
        )

    def _of_starts(self, typical: NDArray[np.float32], step: int) -> Floats:
        """From the chances [M, 3, H] with the typical widening."""
        starts = self._starts
        some = starts.seen > 1
        relative = np.where(some[:, None], starts.spread / np.maximum(starts.period, 1e-9), 1.0)
        return np.column_stack(
            [
                0.25 * np.log1p(starts.seen),
                starts.kept,
                starts.left_out,
                np.clip(starts.evidence, 0.0, 4.0),
                np.clip(phase(starts, step + 1.0), 0.0, 3.0),
                0.25 * np.log(np.clip(relative, 1e-3, 1.0)),
                typical.sum(axis=-1),
            ]
        )

    def _of_calendar(self, step: int) -> Floats:
        calendar = self._calendar
        # The harmonics of the step that comes next.
        waves = calendar.harmonics(np.array([step + 1]))[0]
        return np.column_stack([calendar.strength, calendar.shape, waves])


def _starts_in(times: Floats) -> RegularStarts:
    """The regular starts in each row of remembered times; a busy peer has none."""
    found = RegularStarts.none(len(times))
    if not len(times):
        return found
    count = np.isfinite(times).sum(axis=1)
    span = times[:, -1] - np.nanmin(times, axis=1)
    sparse = (count > 2) & (span > MIN_PERIOD * (count - 1))
    return found.with_rows(np.flatnonzero(sparse), find_starts(times[sparse])) if sparse.any() else found
