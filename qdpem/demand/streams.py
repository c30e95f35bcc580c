"""Arrivals of requests: all processes of a mixture, each from its own keyed random streams.

With neighbourhood demand, `demand/peers/V` (topology seed) draws the peers of node V. Streams run outwards
from t = 0, so that a longer window or history adds requests and changes none. A process more changes no
other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.neighbourhood import neighbourhood_weights
from qdpem.demand.processes.poisson import build_poisson
from qdpem.demand.processes.process import DemandProcess, DrawnRequests, Span
from qdpem.demand.processes.session import build_session
from qdpem.demand.processes.timetable import build_timetable
from qdpem.demand.processes.trace.build import build_trace
from qdpem.demand.requests import Requests
from qdpem.errors import Fault, QdpemError, ScenarioError
from qdpem.network.graph import Network
from qdpem.scenario.schema import Neighbourhood, RequestClass, Scenario, Session, Timetable
from qdpem.scenario.words import Application, Repetition

_MAX_REQUESTS = 1e8
"""The most requests that a run draws. Each takes about 100 bytes in memory."""


def pair_weights(scenario: Scenario, network: Network, *, seed: int) -> Floats:
    """Fraction of all requests from each source (row) to each destination, float64 [N, N].

    Symmetric with zero diagonal; the sum is 1. An unordered pair's weight is split equally between its two
    directions. Peers are drawn under the scenario's topology seed, or `seed` if it has none. Raises
    ScenarioError when the topology lacks a demand matrix that the scenario asks for, or when no pair has any
    weight.
    """
    if scenario.demand.weights == "matrix":
        matrix = network.graph.demand_weights
        if matrix is None:
            message = f'"matrix" needs a topology with its own demand matrix, which {network.graph.name!r}'
            raise ScenarioError([Fault("demand.weights", message + ' has not; use "uniform"')])
        # Directions are averaged because pairs are undirected, and a request may start at either end.
        weights = 0.5 * (matrix + matrix.T)
    elif scenario.demand.weights == "endpoints":
        weights = np.zeros((network.node_count, network.node_count))
        weights[0, -1] = weights[-1, 0] = 1.0
    elif scenario.demand.weights == "neighbourhood":
        root = seed if scenario.topology_seed is None else scenario.topology_seed
        weights = neighbourhood_weights(network, scenario.demand.neighbourhood or Neighbourhood(), seed=root)
    else:
        weights = np.ones((network.node_count, network.node_count))
    np.fill_diagonal(weights, 0.0)
    total = weights.sum()
    if not (weights >= 0.0).all() or not 0.0 < total < math.inf:
        message = f"the weights of all pairs sum to {total:g}; all must be 0 or more and one above 0"
        raise ScenarioError([Fault("demand.weights", message)])
    return np.asarray(weights / total)


def generate_arrivals(scenario: Scenario, network: Network, *, seed: int) -> Arrivals:
    """All requests of traffic `seed`, from -history_s to the end of the window.

    The truth extends past both ends by the forecast horizon, so that the true demand of every forecast step
    is known. Raises ScenarioError as `pair_weights`, `assign_regions` and `build_trace` do, and QdpemError
    for a scenario whose `load_factor` has not been turned into a rate.
    """
    _check_count(scenario)
    _check_draws(scenario)
    weights = pair_weights(scenario, network, seed=seed)
    processes = build_processes(scenario, network, weights, seed=seed)
    history_s = scenario.forecasting.history_s
    if scenario.demand.arrivals == "batch":
        return Arrivals(
            requests=_batch(scenario.demand.classes, weights),
            history=_requests([], (), history=True),
            history_s=history_s,
            processes=processes,
        )
    before: list[tuple[int, DrawnRequests]] = []
    after: list[tuple[int, DrawnRequests]] = []
    for index, process in enumerate(processes):
        drawn_before, drawn_after = process.draw()
        before += [(index, part) for part in drawn_before]
        after += [(index, part) for part in drawn_after]
    classes = [process.classes for process in processes]
    return Arrivals(
        requests=_requests(after, classes, history=False),
        history=_requests(before, classes, history=True),
        history_s=history_s,
        processes=processes,
    )


def build_processes(
    scenario: Scenario, network: Network, weights: Floats, *, seed: int
) -> tuple[DemandProcess, ...]:
    """The processes of the mixture under one seed, the Poisson process first."""
    demand, forecasting = scenario.demand, scenario.forecasting
    if demand.rate_hz is None and demand.arrivals != "batch":
        raise QdpemError(
            f"demand.load_factor = {demand.load_factor} is not yet a rate;"
            " `qdpem.demand.offered_load` makes it one"
        )
    rate_hz = demand.rate_hz or 0.0
    span = Span(
        history_s=forecasting.history_s,
        end_s=scenario.window.end_s,
        beyond_s=forecasting.step_s * (forecasting.horizon_steps + 1),
    )
    processes: list[DemandProcess] = []
    if demand.classes:
        poisson = build_poisson(
            demand.classes,
            demand.bursts,
            network,
            weights,
            rate_hz=demand.poisson_fraction * rate_hz,
            span=span,
            topology_seed=seed if scenario.topology_seed is None else scenario.topology_seed,
            seed=seed,
        )
        processes.append(poisson)
    for name, settings in demand.processes.items():
        own_hz = settings.fraction * rate_hz
        if isinstance(settings, Timetable):
            process: DemandProcess = build_timetable(
                name, settings, network, weights, rate_hz=own_hz, span=span, seed=seed
            )
        elif isinstance(settings, Session):
            process = build_session(name, settings, network, weights, rate_hz=own_hz, span=span, seed=seed)
        else:
            process = build_trace(name, settings, network, rate_hz=own_hz, span=span, seed=seed)
        processes.append(process)
    return tuple(processes)


def _check_count(scenario: Scenario) -> None:
    """Raise ScenarioError for more requests than the memory of a computer holds."""
    demand, end_s, history_s = scenario.demand, scenario.window.end_s, scenario.forecasting.history_s
    # Before thinning there are candidates at the rate of a burst all the time.
    peak_hz = (demand.rate_hz or 0.0) * (demand.bursts.peak if demand.bursts else 1.0)
    count = peak_hz * (end_s + history_s)
    if count > _MAX_REQUESTS:
        path = "window.measured_s" if end_s >= history_s else "forecasting.history_s"
        wrong = (
            f"{end_s + history_s:g} s at up to {peak_hz:g} requests/s are {count:.3g} requests; should be"
            f" at most {_MAX_REQUESTS:g}: shorten the time or lower the rate"
        )
        raise ScenarioError([Fault(path, wrong)], origin=f"the scenario {scenario.name!r}")


def _check_draws(scenario: Scenario) -> None:
    """Raise ScenarioError for a process that draws far more than it keeps, beyond the same limit."""
    demand = scenario.demand
    span_s = scenario.window.end_s + scenario.forecasting.history_s
    for name, process in demand.processes.items():
        rate_hz = process.fraction * (demand.rate_hz or 0.0)
        if isinstance(process, Timetable):
            key, drawn_hz, what = "skipped_fraction", rate_hz * process.starts_per_request, "starts"
            value = process.skipped_fraction
        elif isinstance(process, Session):
            key, drawn_hz, what = "on_s", rate_hz * process.rate_factor, "candidate requests"
            value = process.on_s
        else:
            # A trace draws no more than it keeps.
            continue
        if drawn_hz * span_s > _MAX_REQUESTS:
            wrong = (
                f"{value:g} makes {drawn_hz * span_s:.3g} {what} of {rate_hz * span_s:.3g} requests in"
                f" {span_s:g} s; should be at most {_MAX_REQUESTS:g}"
            )
            fault = Fault(f"demand.processes.{name}.{key}", wrong)
            raise ScenarioError([fault], origin=f"the scenario {scenario.name!r}")


def _batch(classes: tuple[RequestClass, ...], weights: Floats) -> Requests:
    """One request of each class for each node pair with any weight, all at t = 0."""
    source, destination = (np.repeat(nodes, len(classes)) for nodes in np.nonzero(np.triu(weights)))
    count = len(source)
    request_class = np.tile(np.arange(len(classes)), count // len(classes))
    drawn = DrawnRequests(np.zeros(count), source, destination, request_class)
    return _requests([(0, drawn)], [classes], history=False)


def _requests(
    drawn: Sequence[tuple[int, DrawnRequests]],
    classes: Sequence[tuple[RequestClass, ...]],
    *,
    history: bool,
) -> Requests:
    """All requests in order of time; equal times keep the order of processes and nodes.

    Args:
        drawn: parts, each with the index of its process.
        classes: the classes of every process.
        history: whether they come before t = 0.
    """
    # The classes of all processes in one row: the index of a class there names its process too.
    first = np.cumsum([0, *map(len, classes)])
    every = [each for own in classes for each in own]
    empty = np.zeros(0, dtype=np.int64)
    patience_of = _column([each.patience_s for each in every], np.float64)
    columns = [
        (np.zeros(0), empty, empty, empty, np.zeros(0)),
        *(_with_class(part, int(first[index]), patience_of) for index, part in drawn),
    ]
    time_s, source, destination, request_class, patience_s = (
        np.concatenate(column) for column in zip(*columns, strict=True)
    )
    # Ids follow this order, so ties must not depend on the sorting algorithm.
    order = np.argsort(time_s, kind="stable")
    time_s, request_class = time_s[order], request_class[order]
    count = len(order)

    return Requests(
        # History gets negative ids, so that ids of the run start at 0 however long the history is.
        id=np.arange(count, dtype=np.int64) - (count if history else 0),
        time_s=time_s,
        source=source[order],
        destination=destination[order],
        target_fidelity=_column([each.target_fidelity for each in every], np.float64)[request_class],
        pairs=_column([each.pairs for each in every], np.int64)[request_class],
        deadline_s=time_s + patience_s[order],
        application=_column([Application(each.application).code for each in every], np.int64)[request_class],
        repeat_until_deadline=_column(
            [Repetition(each.repeat_until_deadline).code for each in every], np.int64
        )[request_class],
        process=np.searchsorted(first, request_class, side="right") - 1,
    )


def _with_class(
    part: DrawnRequests, first: int, patience_of: Floats
) -> tuple[Floats, Ints, Ints, Ints, Floats]:
    """The columns of a part, with the index of the class among those of all processes, and the patience."""
    request_class = part.request_class + first
    patience_s = patience_of[request_class] if part.patience_s is None else part.patience_s
    return part.time_s, part.source, part.destination, request_class, patience_s


def _column(values: list[Any], dtype: type) -> NDArray[Any]:
    return np.array(values, dtype=dtype)
