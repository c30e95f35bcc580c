"""The paths that served the requests of a run."""

from __future__ import annotations

from qdpem.events.words import RequestOutcome
from qdpem.simulation.run import Run


def delivered_hz_by_path(run: Run) -> dict[tuple[int, ...], float]:
    """Requests delivered per second in the window, by the inner nodes of the path that served them."""
    tables = run.tables
    assert tables is not None
    requests, steps, allocations = (tables[name] for name in ("requests", "path_steps", "allocations"))
    inner: dict[int, list[int]] = {}
    for allocation, position, node in zip(
        steps["allocation"].tolist(), steps["position"].tolist(), steps["node"].tolist(), strict=True
    ):
        inner.setdefault(allocation, []).append(node if position else -1)
    by_request = dict(zip(allocations["request"].tolist(), allocations["allocation"].tolist(), strict=True))
    rate_hz: dict[tuple[int, ...], float] = {}
    for request, end_s, outcome in zip(
        requests["request"].tolist(), requests["end_s"].tolist(), requests["outcome"].tolist(), strict=True
    ):
        if outcome == RequestOutcome.DELIVERED.code and end_s >= 10.0:
            key = tuple(inner[by_request[request]][1:-1])
            rate_hz[key] = rate_hz.get(key, 0.0) + 1.0 / 60.0
    return rate_hz
