"""Streams of requests with a known truth, made here and not by the room that makes them for runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qdpem.demand.requests import Arrivals, Requests


def _requests(time_s: np.ndarray, source: np.ndarray) -> Requests:
    whole, real = np.zeros(len(time_s), dtype=np.int64), np.zeros(len(time_s))
    return Requests(
        id=whole,
        time_s=time_s,
        source=source,
        destination=whole,
        target_fidelity=real,
        pairs=whole,
        deadline_s=real,
        application=whole,
        repeat_until_deadline=whole,
    )


def _make(
    *,
    seed: int,
    rates_hz: np.ndarray,
    peak: float = 3.0,
    period_s: float = 32.0,
    duration_s: float = 8.0,
    jitter_s: float = 1.0,
    history_s: float = 600.0,
    end_s: float = 300.0,
    regions: int = 4,
) -> Arrivals:
    generator = np.random.default_rng(seed)
    phase_s = generator.uniform(0.0, period_s, regions)
    k = np.arange(-np.ceil(history_s / period_s) - 2, np.ceil(end_s / period_s) + 3)
    bursts = []
    for region in range(regions):
        begin = phase_s[region] + k * period_s + jitter_s * generator.standard_normal(len(k))
        bursts += [(region, start, start + duration_s) for start in np.sort(begin).tolist()]
    fraction = duration_s / period_s
    low = (1.0 - peak * fraction) / (1.0 - fraction)
    region = np.arange(len(rates_hz)) % regions
    times, sources = [], []
    for node, rate in enumerate(rates_hz.tolist()):
        span = end_s + history_s
        time_s = np.sort(generator.uniform(-history_s, end_s, generator.poisson(rate * peak * span)))
        own = np.array([(start, end) for burst, start, end in bursts if burst == region[node]])
        inside = np.searchsorted(own[:, 0], time_s, "right") > np.searchsorted(own[:, 1], time_s, "right")
        kept = time_s[generator.random(len(time_s)) * peak < np.where(inside, peak, low)]
        times.append(kept)
        sources.append(np.full(len(kept), node, dtype=np.int64))
    time_s, source = np.concatenate(times), np.concatenate(sources)
    order = np.argsort(time_s)
    time_s, source = time_s[order], source[order]
    return Arrivals(
        requests=_requests(time_s[time_s >= 0.0], source[time_s >= 0.0]),
        history=_requests(time_s[time_s < 0.0], source[time_s < 0.0]),
        history_s=history_s,
        bursts_s=np.array(bursts),
        region=region,
        base_rate_hz=rates_hz.astype(float),
        low=low,
        high=peak,
        phase_s=phase_s,
        period_s=period_s,
        duration_s=duration_s,
        jitter_s=jitter_s,
    )


@pytest.fixture(scope="session")
def make_arrivals() -> Callable[..., Arrivals]:
    """A maker of `Arrivals` with regional bursts by thinning; `peak=1` is stationary Poisson."""
    return _make
