"""Two oracles: one knows the generator of the demand, the other the demand itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from qdpem.arrays import Floats
from qdpem.demand.requests import Arrivals
from qdpem.errors import QdpemError
from qdpem.policy.interface import ForecastContext

_MAX_DEVIATIONS = 8.0
_MIN_JITTER_S = 1e-9


class _Oracle:
    """The common part of both oracles: the truth, and a clock that counts updates from t = 0."""

    name: ClassVar[str]
    oracle: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """None."""

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()

    def reset(self, context: ForecastContext) -> None:
        """Begin a run at t = 0. Raises QdpemError when the context holds no truth."""
        if context.truth is None:
            raise QdpemError(f"the forecaster {self.name!r} is an oracle and must be given the truth")
        self._context = context
        self._truth: Arrivals = context.truth
        self._steps = 0

    def fit(self, history: NDArray[np.int64]) -> None:  # noqa: ARG002
        """Set the clock to t = 0, where the history ends; its counts are not used."""
        self._steps = 0

    def update(self, counts: NDArray[np.int64]) -> None:  # noqa: ARG002
        """Advance the clock by one step; the counts are not used."""
        self._steps += 1

    def state(self) -> dict[str, NDArray[Any]]:
        """The clock."""
        return {"steps": np.array(self._steps)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved clock."""
        self._steps = int(state["steps"])


class ClairvoyantForecast(_Oracle):
    """The actual counts of the coming steps; 0 after the last request of the run. A bound, not a target."""

    name: ClassVar[str] = "clairvoyant"

    def reset(self, context: ForecastContext) -> None:
        """Begin a run and count its requests per step."""
        super().reset(context)
        times = self._truth.requests.time_s
        steps = int(np.floor(times.max(initial=0.0) / context.step_s)) + 1 if len(times) else 0
        self._counts = self._truth.requests.counts(
            nodes=context.node_count, start_s=0.0, step_s=context.step_s, steps=steps
        )

    def forecast(self) -> Floats:
        """The counts of the next steps, float64 [N, H]."""
        ahead = np.zeros((self._context.node_count, self._context.horizon_steps))
        # Past the end of the run the slice is short or empty, and zeros remain.
        coming = self._counts[self._steps : self._steps + self._context.horizon_steps]
        ahead[:, : len(coming)] = coming.T
        return ahead


class BayesFilterForecast(_Oracle):
    """The true expectation of the coming counts, given the generator and its present state.

    At time t it knows the rates, the regions, the nominal clock of bursts, and every burst that has started.
    With a calendar, a started burst lasts to its known end. A burst k that has not started, nominally at g =
    phase + k period, starts at g + jitter Z, where Z is standard normal given that the start is after t. The
    length of [a, b) that it covers has the expectation, with F the distribution function of its start and I
    an integral of F,

        integral from a to b of F(x) - F(x - duration) dx = I(b) - I(a) - I(b - duration) + I(a - duration),
        I(x) = [j (y Phi(y) + phi(y)) - j (y_t Phi(y_t) + phi(y_t)) - (x - t) Phi(y_t)] / (1 - Phi(y_t))

    for x > t and 0 before, with j = jitter, y = (x - g)/j and y_t = (t - g)/j. This is exact while
    neighbouring bursts of a region cannot overlap (period well above duration + 6 jitter). Otherwise the
    covered fractions are added and capped at 1.

    A region that switches on and off without memory is on at x > t with probability c + (s - c) exp(-k (x -
    t)), where s is 1 if it is on at t and 0 otherwise, c = duration/period, and k is the sum of both
    switching rates. In a cascade a region repeats region 0 with a delay of `lag_s` for each region between
    them.
    """

    name: ClassVar[str] = "bayes-filter"

    def forecast(self) -> Floats:
        """Expected counts of the next steps, float64 [N, H]."""
        context, truth = self._context, self._truth
        now_s = self._steps * context.step_s
        edges_s: Floats = now_s + context.step_s * np.arange(context.horizon_steps + 1, dtype=np.float64)
        fraction = np.zeros((int(truth.region.max(initial=0)) + 1, len(edges_s) - 1))
        if truth.period_s > 0.0:
            covered_fraction = (
                self._calendar_fraction if truth.timing == "calendar" else self._switching_fraction
            )
            fraction = np.array([covered_fraction(region, now_s, edges_s) for region in range(len(fraction))])
        factor = truth.low + (truth.high - truth.low) * np.minimum(fraction, 1.0)
        return np.asarray(factor[truth.region] * truth.base_rate_hz[:, None] * context.step_s)

    def _calendar_fraction(self, region: int, now_s: float, edges_s: Floats) -> Floats:
        """Expected fraction of each step that bursts of `region` cover, float64 [H]."""
        truth = self._truth
        begin_s, end_s = truth.bursts_s[truth.bursts_s[:, 0] == region][:, 1:].T
        begun = begin_s <= now_s
        # Overlapping bursts are joined in the truth. Until the next one starts, a burst is known to end after
        # its own duration only.
        end_s = np.where(end_s - truth.duration_s <= now_s, end_s, begin_s + truth.duration_s)
        started = np.clip(edges_s[:, None] - begin_s[begun], 0.0, (end_s - begin_s)[begun]).sum(axis=1)
        nominal_s = self._unstarted(region, now_s, float(edges_s[-1]), begin_s[begun], end_s[begun])
        by_start = _start_integral(edges_s[:, None], nominal_s, now_s, truth.jitter_s)
        by_end = _start_integral(edges_s[:, None] - truth.duration_s, nominal_s, now_s, truth.jitter_s)
        covered = started + (by_start - by_end).sum(axis=1)
        return np.asarray(np.diff(covered) / np.diff(edges_s))

    def _switching_fraction(self, region: int, now_s: float, edges_s: Floats) -> Floats:
        """Expected fraction of each step in which a region without a calendar is on, float64 [H]."""
        truth = self._truth
        leader = 0 if truth.timing == "cascading" else region
        begin_s, end_s = truth.bursts_s[truth.bursts_s[:, 0] == leader][:, 1:].T
        # A delayed region sees region 0 as it was `lag_s` ago: part of its future is already known.
        edges_s = edges_s - (region - leader) * truth.lag_s
        known_s, ahead_s = np.minimum(edges_s, now_s), np.maximum(edges_s - now_s, 0.0)
        past = np.clip(known_s[:, None] - begin_s, 0.0, end_s - begin_s).sum(axis=1)
        on = bool(((begin_s <= now_s) & (now_s < end_s)).any())
        fraction = truth.duration_s / truth.period_s
        rate_hz = 1.0 / truth.duration_s + 1.0 / (truth.period_s - truth.duration_s)
        # expm1 keeps the digits for steps that are short against the switching time.
        coming = fraction * ahead_s - (on - fraction) * np.expm1(-rate_hz * ahead_s) / rate_hz
        return np.asarray(np.diff(past + coming) / np.diff(edges_s))

    def _unstarted(
        self, region: int, now_s: float, until_s: float, begin_s: Floats, end_s: Floats
    ) -> NDArray[np.float64]:
        """Nominal starts of the bursts of `region` that may still start before `until_s`, float64 [K].

        Args:
            region: index of the region.
            now_s: present time.
            until_s: end of the horizon.
            begin_s: starts of the bursts that have started, float64 [B].
            end_s: their ends, float64 [B]; joined bursts stand for several nominal starts.
        """
        truth = self._truth
        phase_s, period_s = float(truth.phase_s[region]), truth.period_s
        reach_s = _MAX_DEVIATIONS * truth.jitter_s
        k = np.arange(
            np.floor((now_s - reach_s - phase_s) / period_s),
            np.ceil((until_s + reach_s - phase_s) / period_s) + 1.0,
        )
        # A joined burst stands for all nominal starts from its first to its last.
        first = np.round((begin_s - phase_s) / period_s)
        last = np.round((end_s - truth.duration_s - phase_s) / period_s)
        started = ((k[:, None] >= first) & (k[:, None] <= last)).any(axis=1)
        return np.asarray(phase_s + period_s * k[~started])


def _start_integral(x_s: Floats, nominal_s: Floats, now_s: float, jitter_s: float) -> Floats:
    """Integral up to `x_s` of the distribution function of a start that is after `now_s`, in seconds.

    Shapes broadcast. The integral is 0 for a start that is overdue with a probability below 1e-12: the
    generator drew no such burst.
    """
    # Without jitter the distribution is a step; a nanosecond keeps the formula finite.
    j = max(jitter_s, _MIN_JITTER_S)

    def integral(y: Floats) -> Floats:
        return np.asarray(y * ndtr(y) + np.exp(-0.5 * y * y) / np.sqrt(2.0 * np.pi))

    since_s = np.maximum(x_s - now_s, 0.0)
    begun = (now_s - nominal_s) / j
    left = ndtr(-begun)
    area = j * (integral((now_s + since_s - nominal_s) / j) - integral(begun)) - since_s * ndtr(begun)
    return np.asarray(np.where(left > 1e-12, area / np.maximum(left, 1e-12), 0.0))
