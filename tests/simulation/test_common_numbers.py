"""Common random numbers: one seed gives every arm the same requests, emissions and coins, and what pairing
arms on seeds is worth. Adding a node or an arm changes no other stream.

Draws are listened to where streams are made, whatever the simulation does with them; what a run did with
them is read from its record alone.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from physics.hardware import DirectLink
from qdpem import rng
from qdpem.events.words import PairOutcome
from qdpem.metrics.metrics import measure
from qdpem.network.build import build_network, build_physics
from qdpem.rng import stream
from qdpem.scenario.schema import Arm, Topology, Uniform
from qdpem.simulation.run import simulate
from tests.helpers.arms import ARMS

ETA = 10 ** (-(2.6 + 0.24 * 20.0) / 10)
BUSY = {
    "nodes": 5,
    "rate_hz": 15.0,
    "memories": 8,
    "target_fidelity": 0.93,
    "swap_success_probability": 0.6,
    "measured_s": 8.0,
}
SIZE_PLACE = {"random": 0, "standard_exponential": 0, "exponential": 1, "geometric": 1, "uniform": 2}

Key = tuple[str, str, tuple[float, ...]]


class Listener:
    """Hears all that is drawn: by key of the stream, way of drawing and its parameters, in order."""

    def __init__(self, monkeypatch) -> None:
        self.heard: dict[Key, list[np.ndarray]] = defaultdict(list)
        original = rng.stream

        def listening(seed: int, key: str):
            return Heard(original(seed, key), lambda *drawn: self._note(key, *drawn))

        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("qdpem") and vars(module).get("stream") is original:
                monkeypatch.setattr(module, "stream", listening)

    def _note(self, key: str, method: str, parameters: tuple[float, ...], values: np.ndarray) -> None:
        self.heard[key, method, parameters].append(values)

    def take(self) -> dict[Key, np.ndarray]:
        """What was heard since the last time."""
        taken = {key: np.concatenate(values) for key, values in self.heard.items()}
        self.heard.clear()
        return taken


class Heard:
    """A generator whose draws are told; what it does not list cannot be drawn."""

    def __init__(self, generator, tell) -> None:
        self._generator = generator
        self._tell = tell

    def __getattr__(self, method: str):
        place = SIZE_PLACE[method]

        def draw(*arguments):
            values = getattr(self._generator, method)(*arguments)
            self._tell(method, arguments[:place], np.atleast_1d(np.array(values)))
            return values

        return draw


@pytest.fixture
def listener(monkeypatch) -> Listener:
    return Listener(monkeypatch)


def _assert_common(one: dict[Key, np.ndarray], other: dict[Key, np.ndarray]) -> None:
    for key in one.keys() & other.keys():
        count = min(len(one[key]), len(other[key]))
        assert one[key][:count].tobytes() == other[key][:count].tobytes(), key


def _kinds(heard: dict[Key, np.ndarray]) -> set[str]:
    return {key[0].partition("/")[0] for key in heard}


def _attempting(scenario):
    """The same with links limited by their attempts."""
    weights = (0.96, 0.02, 0.01, 0.01)
    hardware = DirectLink(success_probability=0.2, attempt_period_s=5e-3, fresh_weights=weights)
    return replace(scenario, links=replace(scenario.links, hardware=hardware))


@pytest.mark.slow
@pytest.mark.parametrize("attempts", [False, True], ids=["sources", "attempts"])
def test_every_stream_is_the_same_in_all_arms(attempts, line, listener):
    """Of each entity the k-th draw is one number, in every arm that comes to draw it."""
    scenario = _attempting(line(**BUSY)) if attempts else line(**BUSY)
    heard = {}
    for arm in ARMS:
        simulate(scenario, arm, seed=21)
        heard[arm.name] = listener.take()
    fed_by = "link" if attempts else "source"
    for name, mine in heard.items():
        assert _kinds(mine) >= {"demand", "repeater", "distillation", "back-off", fed_by}, name
        _assert_common(heard["local-minhop"], mine)
        # Beside what a policy draws for itself, arms differ in how far they draw, not in what they draw from.
        shared = [key for key in mine if key in heard["local-minhop"]]
        assert len(shared) >= 4 + 4 + 5 + 5
    # The test can tell: another seed draws other numbers.
    simulate(scenario, ARMS[0], seed=22)
    with pytest.raises(AssertionError):
        _assert_common(heard["local-minhop"], listener.take())


@pytest.mark.mostly_slow
@pytest.mark.parametrize("attempts", [False, True], ids=["sources", "attempts"])
@pytest.mark.parametrize("arm", ["local-stock", "central-fcfs"])
def test_a_node_more_changes_no_other_stream(arm, attempts, line, listener):
    """A line of six in place of five, as much demand a node: every stream of the five is as before."""
    heard = []
    for nodes in (5, 6):
        scenario = line(**BUSY | {"nodes": nodes, "rate_hz": 3.0 * nodes})
        simulate(_attempting(scenario) if attempts else scenario, Arm(name=arm), seed=23)
        heard.append(listener.take())
    small, large = heard
    _assert_common(small, large)
    # A coin that nobody tossed in the larger run is not drawn; all else of the five nodes is there.
    assert _kinds({key: small[key] for key in small.keys() - large.keys()}) <= {"distillation", "back-off"}
    assert len(small.keys() & large.keys()) > 35


def test_a_node_more_changes_nobodys_rates_and_arrival_times(line):
    """Rates drawn per node, and when each node asks, do not hang on how many nodes there are."""
    networks, arrivals = [], []
    for nodes in (5, 6):
        scenario = line(nodes=nodes, rate_hz=2.0 * nodes)
        drawn = Uniform(low=1.0, high=9.0)
        scenario = replace(
            scenario, nodes=replace(scenario.nodes, repeater_rate_hz=drawn, source_rate_hz=drawn)
        )
        networks.append(build_network(scenario, build_physics(scenario), seed=24))
        arrivals.append(simulate(scenario, Arm(name="local-minhop"), seed=24).arrivals.requests)
    for rates in ("repeater_rate_hz", "source_rate_hz"):
        small, large = (getattr(network, rates) for network in networks)
        assert np.array_equal(small, large[:5])
        assert len(set(large.tolist())) == 6
    for node in range(5):
        small_s, large_s = (requests.time_s[requests.source == node] for requests in arrivals)
        assert len(small_s) > 20
        assert np.allclose(small_s, large_s, rtol=0.0, atol=1e-9)


@pytest.mark.mostly_slow
@pytest.mark.parametrize(
    "names",
    [
        ("Aachen", "Bonn", "Celle", "Dresden"),
        ("Dresden", "Aachen", "Bonn", "Celle"),
    ],
    ids=["after the others", "before the others"],
)
def test_a_node_more_in_a_map_of_names_changes_nobodys_arrivals(names, line, tmp_path):
    """Three named nodes and a fourth, as much demand a node: the three ask when they asked before."""
    arrivals = []
    for chosen in (("Aachen", "Bonn", "Celle"), names):
        path = tmp_path / f"{len(chosen)}.json"
        links = [{"source": one, "target": other, "length_km": 20.0} for one, other in pairwise(chosen)]
        path.write_text(json.dumps({"nodes": [{"id": name} for name in chosen], "edges": links}))
        scenario = line(rate_hz=2.0 * len(chosen))
        scenario = replace(scenario, topology=Topology(kind="file", parameters={"path": str(path)}))
        run = simulate(scenario, Arm(name="local-minhop"), seed=28)
        requests, index = run.arrivals.requests, run.network.graph.node_names.index
        arrivals.append({name: requests.time_s[requests.source == index(name)] for name in chosen})
    for name in ("Aachen", "Bonn", "Celle"):
        few, many = (found[name] for found in arrivals)
        assert len(few) == len(many) > 20
        assert np.allclose(few, many, rtol=0.0, atol=1e-9)


@pytest.mark.slow
def test_requests_are_the_same_in_all_arms(line):
    """Who asks for what, when, and by when: one table for all."""
    columns = (
        "request",
        "time_s",
        "source",
        "destination",
        "target_fidelity",
        "pairs",
        "deadline_s",
        "application",
    )
    found = set()
    for arm in ARMS:
        requests = simulate(line(**BUSY), arm, seed=25).tables["requests"]
        order = np.argsort(requests["request"])
        found.add(tuple(requests[name][order].tobytes() for name in columns))
    assert len(found) == 1


@pytest.mark.slow
def test_all_pairs_of_all_arms_come_from_the_drawn_emissions_each_used_once(line):
    """FreshPairs less the light's way are emissions of the sender's own stream; no two pairs share one."""
    scenario = line(**BUSY)
    used = {}
    for arm in ARMS:
        run = simulate(scenario, arm, seed=26)
        pairs, network = run.tables["pairs"], run.network
        fresh = pairs["sender"] >= 0
        sent_s = pairs["born_s"][fresh] - network.delay_s[pairs["link"][fresh]]
        used[arm.name] = set()
        for node, name in enumerate(network.graph.node_names):
            gaps = stream(26, f"source/{name}").exponential(1.0 / (60.0 * ETA), 256)
            drawn_s = np.cumsum(gaps)
            mine_s = np.sort(sent_s[pairs["sender"][fresh] == node])
            assert drawn_s[-1] > 9.0
            place = np.searchsorted(drawn_s, mine_s - 1e-9)
            assert np.allclose(drawn_s[place], mine_s, rtol=0.0, atol=1e-9)
            assert len(set(place.tolist())) == len(place) > 20
            used[arm.name] |= {(node, index) for index in place.tolist()}
    first = used["local-minhop"]
    for name, mine in used.items():
        # By chance two arms would share as many as the product of the shares they use of all emissions.
        assert len(first & mine) > 0.5 * min(len(first), len(mine)), name


def _swaps(pairs) -> list[tuple[float, int, bool]]:
    """When and where each swap was and whether it succeeded, in order of time."""
    ends = dict(zip(pairs["pair"].tolist(), zip(pairs["first"], pairs["second"], strict=True), strict=True))
    swaps = []
    made = (pairs["link"] < 0) & (pairs["first_parent"] >= 0)
    parents = pairs["first_parent"][made].tolist(), pairs["second_parent"][made].tolist()
    for born_s, left, right in zip(pairs["born_s"][made].tolist(), *parents, strict=True):
        (node,) = set(ends[left]) & set(ends[right])
        swaps.append((born_s, int(node), True))
    childless = (pairs["outcome"] == PairOutcome.SWAPPED.code) & ~np.isin(
        pairs["pair"], np.concatenate(parents)
    )
    failed = defaultdict(list)
    for pair, end_s in zip(
        pairs["pair"][childless].tolist(), pairs["end_s"][childless].tolist(), strict=True
    ):
        failed[end_s].append(set(ends[pair]))
    for end_s, (left, right) in failed.items():
        (node,) = left & right
        swaps.append((end_s, int(node), False))
    return sorted(swaps)


@pytest.mark.slow
def test_the_kth_swap_of_a_node_has_the_kth_coin_in_every_arm(line):
    """Success is u < 0.6 of the node's stream, swap by swap in order of time, whatever was swapped."""
    for arm in ARMS:
        run = simulate(line(**BUSY), arm, seed=27)
        swaps = _swaps(run.tables["pairs"])
        assert len(swaps) > 30, arm.name
        for node, name in enumerate(run.network.graph.node_names):
            told = [success for _, where, success in swaps if where == node]
            draws = stream(27, f"repeater/{name}").random(256)
            assert told == (draws[: len(told)] < 0.6).tolist(), arm.name


def _pairing():
    path = Path(__file__).parents[2] / "benchmarks" / "pairing.py"
    spec = importlib.util.spec_from_file_location("pairing_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_spreads_of_a_difference_by_hand():
    """Gaps 0.10, 0.05, 0.15: variance 0.0025; the arms' own 0.0100 and 0.0175; ratio 0.0275 / 0.0025 = 11."""
    found = _pairing().spreads(np.array([0.5, 0.7, 0.6]), np.array([0.4, 0.65, 0.45]))
    assert found["difference"] == pytest.approx(0.1, abs=1e-12)
    assert found["paired_spread"] == pytest.approx((0.0025 / 3) ** 0.5, abs=1e-12)
    assert found["unpaired_spread"] == pytest.approx((0.0275 / 3) ** 0.5, abs=1e-12)
    assert found["variance_ratio"] == pytest.approx(11.0, abs=1e-9)


@pytest.mark.slow
def test_pairing_arms_on_seeds_narrows_their_difference_by_its_covariance(line):
    """Var(x - y) = Var x + Var y - 2 Cov(x, y), on eight seeds of a short line; the figures are printed."""
    scenario = line(nodes=5, rate_hz=14.0, pairs=2, measured_s=10.0)
    scores = [
        np.array([_delivery(scenario, arm, seed) for seed in range(8)])
        for arm in (Arm(name="local-stock"), Arm(name="local-minhop"))
    ]
    found = _pairing().spreads(*scores)
    print(found)
    own = [values.var(ddof=1) for values in scores]
    shared = float(np.cov(*scores)[0, 1])
    assert found["unpaired_spread"] == pytest.approx((sum(own) / 8) ** 0.5, rel=1e-12)
    assert found["paired_spread"] == pytest.approx(((sum(own) - 2 * shared) / 8) ** 0.5, rel=1e-9)
    # Eight seeds of this line show it beyond doubt: correlation above 0.5, hence a ratio well above 1.
    assert shared / (own[0] * own[1]) ** 0.5 > 0.5
    assert found["variance_ratio"] > 1.0


def _delivery(scenario, arm: Arm, seed: int) -> float:
    tables = simulate(scenario, arm, seed=seed).tables
    return measure(tables, start_s=scenario.window.warm_up_s, end_s=scenario.window.end_s)["delivery_ratio"]
