"""Synthetic observations of a small network, to check policies without a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics.hardware import DepolarisingMemory, NodeHardware, SourceLink
from physics.interface import PhysicsModel
from qdpem import registry
from qdpem.events.words import DecisionReason
from qdpem.network.graph import Graph, Network
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.interface import CONTROLLER, STATUS_WIDTH, Context, Observation
from qdpem.rng import stream
from qdpem.scenario.schema import ControlSettings, Forecasting
from qdpem.scenario.words import Application, Control, Pregeneration, Repetition

_TARGETS = (0.6, 0.7, 0.8)
_PATIENCE_S = (0.2, 2.0)
_IDS = 10_000
_IDLE_FRACTION = 0.6


def small_network(physics: PhysicsModel, *, side: int = 3, length_km: float = 10.0) -> Network:
    """A `side` x `side` grid with links of `length_km`; sources 40-80/s, repeaters 2-5/s, T = 60 s."""
    nodes = side * side
    index = np.arange(nodes).reshape(side, side)
    across = np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], axis=1)
    down = np.stack([index[:-1].ravel(), index[1:].ravel()], axis=1)
    ends = np.concatenate([across, down])
    ends = ends[np.lexsort((ends[:, 1], ends[:, 0]))]
    hardware = NodeHardware(memory=DepolarisingMemory(depolarising_s=60.0), gate_fidelity=0.995)
    compiled = physics.link(SourceLink(), length_km)
    return Network(
        graph=Graph(
            name="grid",
            node_names=tuple(f"node {node}" for node in range(nodes)),
            x_km=length_km * (np.arange(nodes) % side).astype(np.float64),
            y_km=length_km * (np.arange(nodes) // side).astype(np.float64),
            link_ends=ends,
            length_km=np.full(len(ends), length_km),
        ),
        source_rate_hz=np.linspace(40.0, 80.0, nodes),
        repeater_rate_hz=np.linspace(5.0, 2.0, nodes),
        repeater_burst=1.0,
        swap_time_s=1e-3,
        distillation_time_s=1e-3,
        memories=np.full(nodes, 16),
        remote_storage_quota=0.25,
        delay_s=np.full(len(ends), length_km / 2e5 + 1e-5),
        links=(compiled,) * len(ends),
        hardware=(hardware,) * nodes,
    )


def small_context(
    *,
    control: str = Control.LOCAL,
    pregeneration: str = Pregeneration.NONE,
    physics: PhysicsModel | None = None,
    seed: int = 0,
) -> Context:
    """The context of a run on `small_network`. Unless given, physics is the model registered as "pauli"."""
    model: PhysicsModel = physics if physics is not None else registry.load("physics", "pauli")()
    network = small_network(model)
    return Context(
        network=network,
        routes=Routes(network),
        estimates=Estimates(network, model),
        control=Control(control),
        pregeneration=Pregeneration(pregeneration),
        control_settings=ControlSettings(),
        forecasting=Forecasting(),
        site_stream=lambda site: stream(seed, f"policy/{site}"),
    )


def synthetic_observation(
    context: Context,
    draws: np.random.Generator,
    *,
    sites: Sequence[int] | None = None,
    time_s: float = 10.0,
    waiting: int = 3,
    stock: int = 4,
    top_pairs: int = 4,
    peers: int = 4,
    message_width: int = 0,
    unavailable: int = 0,
) -> Observation:
    """A random observation of `sites` that satisfies the contract of `Observation`.

    A node sees its own requests and stock and its neighbours' status, the controller everything. With local
    control, row i depends on its site and on the draws spent before it.

    Args:
        context: the network and the arm's settings.
        draws: the source of all random numbers.
        sites: the sites to observe; all unless given.
        time_s: the present time.
        waiting: requests per row.
        stock: stocked pairs per row if pregeneration allows stock, some of them not ready.
        top_pairs: maximum number of top pairs per row.
        peers: maximum number of peers per row that are forecast.
        message_width: numbers in a message.
        unavailable: maximum number of unavailable nodes, and of unavailable links, per row.
    """
    observed = tuple(context.sites if sites is None else sites)
    width = 1 + max(len(around) for around in context.network.neighbours)
    width = context.network.node_count if context.control == "central" else width
    builder = _RowBuilder(context, draws, time_s=time_s, width=width, message_width=message_width)
    rows = [
        builder.row(
            site,
            waiting=waiting,
            stock=stock,
            top_pairs=top_pairs,
            peers=peers,
            unavailable=unavailable,
            first_id=_IDS * row,
        )
        for row, site in enumerate(observed)
    ]
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Observation(time_s=time_s, **columns)


class _RowBuilder:
    """Draws the rows of an observation at `time_s` with `width` observed nodes, one call per site."""

    def __init__(
        self, context: Context, draws: np.random.Generator, *, time_s: float, width: int, message_width: int
    ) -> None:
        self._context = context
        self._draws = draws
        self._id_draws, self._carried_draws = draws.spawn(2)
        self._time_s = time_s
        self._width = width
        self._message_width = message_width

    def row(
        self,
        site: int,
        *,
        waiting: int,
        stock: int,
        top_pairs: int,
        peers: int,
        unavailable: int,
        first_id: int,
    ) -> dict[str, NDArray[Any]]:
        """One row of every column of `Observation`.

        Args:
            site: the node, or CONTROLLER.
            waiting: requests.
            stock: stocked pairs if pregeneration allows stock.
            top_pairs: maximum number of top pairs.
            peers: maximum number of peers that are forecast.
            unavailable: maximum number of unavailable nodes, and of unavailable links.
            first_id: smallest id that the row may use.
        """
        reason = self._draws.integers(len(DecisionReason))
        # Ids carry no knowledge: they have a stream of their own, so that a policy that reads them is caught.
        first_id += int(self._id_draws.integers(_IDS // 2))
        row: dict[str, NDArray[Any]] = {"site": np.array(site), "reason": np.array(reason)}
        return (
            row
            | self._status(site)
            | self._carried(site)
            | self._requests(site, waiting, first_id)
            | self._stock(site, stock, first_id)
            | self._top_pairs(site, top_pairs)
            | self._peers(site, peers)
            | self._unavailable(site, unavailable)
        )

    def _status(self, site: int) -> dict[str, NDArray[Any]]:
        network, draws, width = self._context.network, self._draws, self._width
        nodes = list(range(network.node_count))
        if site != CONTROLLER:
            nodes = [site, *(node for node, _ in network.neighbours[site])]
        count = len(nodes)
        observed_node = np.full(width, -1)
        observed_node[:count] = nodes
        status = np.full((width, STATUS_WIDTH + self._message_width), np.nan)
        status[:count, 0] = draws.integers(0, 17, count)
        # Many nodes are idle, because policies that order stock only while idle would else never do so.
        idle = draws.random((count, 1)) < _IDLE_FRACTION
        status[:count, 1] = np.where(idle[:, 0], 1.0, draws.random(count)) * network.repeater_burst
        status[:count, 2:6] = np.where(idle, 0, draws.poisson(1.0, (count, 4)))
        status[:count, 6:] = draws.normal(size=(count, self._message_width))
        age_s, forecast = (
            np.full(width, np.nan),
            np.full((width, self._context.forecasting.horizon_steps), np.nan),
        )
        age_s[:count] = draws.random(count) * 0.1
        forecast[:count] = draws.random((count, forecast.shape[1]))
        if site != CONTROLLER:
            # A node's knowledge of itself is not aged.
            age_s[0] = 0.0
        return {"observed_node": observed_node, "status": status, "status_age_s": age_s, "forecast": forecast}

    def _carried(self, site: int) -> dict[str, NDArray[Any]]:
        """Counts that grow with time: about ten times a second each link was used, or not quite."""
        count = np.full(self._width, -1)
        if site != CONTROLLER:
            degree = len(self._context.network.neighbours[site])
            by_link = int(10.0 * self._time_s) + self._carried_draws.integers(0, 2, degree)
            # A reservation that passes uses two links, and one that ends here uses one.
            count[: degree + 1] = [by_link.max(), *by_link]
        return {"carried_count": count}

    def _ends(self, site: int, count: int, *, neighbours_only: bool = False) -> tuple[list[int], list[int]]:
        network, draws = self._context.network, self._draws
        sources, destinations = [], []
        for _ in range(count):
            source = int(draws.integers(network.node_count)) if site == CONTROLLER else site
            others = [node for node in range(network.node_count) if node != source]
            if neighbours_only:
                others = [node for node, _ in network.neighbours[source]]
            sources.append(source)
            destinations.append(int(draws.choice(others)))
        return sources, destinations

    def _requests(self, site: int, count: int, first_id: int) -> dict[str, NDArray[Any]]:
        draws = self._draws
        sources, destinations = self._ends(site, count)
        return {
            "request_id": first_id + np.arange(count),
            "request_source": np.array(sources, dtype=np.int64),
            "request_destination": np.array(destinations, dtype=np.int64),
            "request_target_fidelity": draws.choice(_TARGETS, count),
            "request_pairs": draws.integers(1, 3, count),
            "request_deadline_s": self._time_s + draws.uniform(*_PATIENCE_S, count),
            "request_application": draws.integers(len(Application), size=count),
            "request_attempts": draws.integers(0, 3, count),
            "request_repeat_until_deadline": draws.integers(len(Repetition), size=count),
        }

    def _stock(self, site: int, count: int, first_id: int) -> dict[str, NDArray[Any]]:
        pregeneration, draws = self._context.pregeneration, self._draws
        count = 0 if pregeneration == "none" else count
        owners, partners = self._ends(site, count, neighbours_only=pregeneration == "link")
        ready = draws.random(count) < 0.75
        return {
            "stock_id": np.where(ready, first_id + np.arange(count), -1),
            "stock_owner": np.array(owners, dtype=np.int64),
            "stock_partner": np.array(partners, dtype=np.int64),
            "stock_age_s": np.where(ready, draws.random(count) * 5.0, np.nan),
            "stock_fidelity": draws.uniform(0.55, 0.95, count),
            "stock_ready": ready.astype(np.int64),
        }

    def _top_pairs(self, site: int, count: int) -> dict[str, NDArray[Any]]:
        sources, destinations = self._ends(site, count)
        # dict.fromkeys removes duplicates and keeps the order of the draws.
        ends = list(dict.fromkeys(zip(sources, destinations, strict=True)))
        pairs = np.full((2, count), -1)
        pairs[:, : len(ends)] = np.array(ends, dtype=np.int64).reshape(-1, 2).T
        rate_hz = np.full(count, np.nan)
        rate_hz[: len(ends)] = np.sort(self._draws.random(len(ends)))[::-1]
        return {"top_pair_source": pairs[0], "top_pair_destination": pairs[1], "top_pair_rate_hz": rate_hz}

    def _peers(self, site: int, count: int) -> dict[str, NDArray[Any]]:
        """Up to `count` peers with a forecast."""
        draws = self._draws
        sources, destinations = self._ends(site, count)
        target_fidelity = draws.choice(_TARGETS, count)
        pairs = draws.integers(1, 3, count)
        kinds = list(
            dict.fromkeys(zip(sources, destinations, target_fidelity.tolist(), pairs.tolist(), strict=True))
        )
        known = np.arange(count) < len(kinds)
        kinds += [(-1, -1, np.nan, 0)] * (count - len(kinds))
        shape = (count, self._context.forecasting.horizon_steps)
        source, destination, target, wanted = zip(*kinds, strict=True) if kinds else ((), (), (), ())
        return {
            "peer_source": np.array(source, dtype=np.int64),
            "peer_destination": np.array(destination, dtype=np.int64),
            "peer_target_fidelity": np.array(target, dtype=np.float64),
            "peer_pairs": np.array(wanted, dtype=np.int64),
            "peer_scheduled": np.where(known[:, None], draws.random(shape) * 0.3, 0.0),
            "peer_unscheduled": np.where(known[:, None], draws.random(shape) * 0.1, 0.0),
            "forecast_age_s": np.where(known, draws.random() * self._context.forecasting.step_s, np.nan),
        }

    def _unavailable(self, site: int, count: int) -> dict[str, NDArray[Any]]:
        """Up to `count` nodes other than the site itself, and up to as many links."""
        network, draws = self._context.network, self._draws
        row = {"unavailable_node": np.full(count, -1), "unavailable_link": np.full(count, -1)}
        others = [node for node in range(network.node_count) if node != site]
        for name, choices in (
            ("unavailable_node", others),
            ("unavailable_link", list(range(network.link_count))),
        ):
            if count:
                drawn = draws.choice(choices, draws.integers(count + 1), replace=False)
                row[name][: len(drawn)] = np.sort(drawn)
        return row
