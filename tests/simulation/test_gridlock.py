"""Saturated for ever: a chain of 17 nodes with few qubits delivers as much at the end as at the beginning."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.scenario.load import load_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate

CHAIN = Path(__file__).parents[2] / "scenarios" / "chain.toml"
OWN = ("nodes.memories=", "nodes.memories_per_link=4")
SHARED = ("nodes.memories=4",)


@pytest.mark.mostly_repeated(2)
@pytest.mark.slow
@pytest.mark.parametrize("memory", [OWN, SHARED], ids=["own qubits", "shared qubits"])
@pytest.mark.parametrize(
    ("weights", "rate_hz", "swap_success"),
    [("endpoints", 500.0, 1.0), ("uniform", 1500.0, 1.0), ("uniform", 600.0, 0.5)],
    ids=["end to end", "all pairs", "all pairs, half the swaps fail"],
)
def test_a_saturated_chain_of_seventeen_nodes_never_locks(memory, weights, rate_hz, swap_success):
    """Deliveries in each tenth of the run, and in the last as many as in the first.

    Most requests are refused: the demand is beyond what the qubits allow. A tenth is two patiences long.
    Counts of the first and the last three tenths differ by at most 4.9 deviations of two Poisson counts
    (false alarm 1e-6; in truth they spread less): about 60 each or more, so that a fall by three quarters
    is found.
    """
    scenario = load_scenario(
        CHAIN,
        [
            "topology.parameters.nodes=17",
            f"nodes.hardware.swap_success_probability={swap_success}",
            f"demand.weights={weights}",
            "demand.arrivals=poisson",
            f"demand.rate_hz={rate_hz}",
            "demand.classes.0.repeat_until_deadline=no",
            "demand.classes.0.patience_s=0.05",
            "control.back_off_s=0.001",
            "window.warm_up_s=0.2",
            "window.measured_s=1",
            *memory,
        ],
    )
    requests = simulate(scenario, Arm(name="local-minhop"), seed=1000).tables["requests"]
    delivered = requests["outcome"] == RequestOutcome.DELIVERED.code
    assert delivered.mean() < 0.75
    counts = np.histogram(requests["end_s"][delivered], bins=10, range=(0.2, 1.2))[0]
    assert counts.min() > 0
    first, last = counts[:3].sum(), counts[-3:].sum()
    assert abs(first - last) <= 4.9 * math.sqrt(first + last)


@pytest.mark.mostly_repeated(1)
@pytest.mark.slow
@pytest.mark.parametrize("repeat_until_deadline", ["link", "pair"])
@pytest.mark.parametrize("swap_success", [1.0, 0.5])
def test_a_repeating_request_over_seventeen_nodes_never_locks(repeat_until_deadline, swap_success):
    """Links make as many pairs in the last tenth of the run as in the first, and pairs go on being delivered.

    Counts of fresh pairs of two tenths differ by at most 6 deviations of two Poisson counts: there are many
    of them, and they scatter less than Poisson's for waiting evens them out.
    """
    scenario = load_scenario(
        CHAIN,
        [
            "topology.parameters.nodes=17",
            f"nodes.hardware.swap_success_probability={swap_success}",
            f"demand.classes.0.repeat_until_deadline={repeat_until_deadline}",
            "demand.classes.0.pairs=4",
            "links.hardware.modes=4",
            "window.warm_up_s=0.2",
            "window.measured_s=1",
            *OWN,
        ],
    )
    pairs = simulate(scenario, Arm(name="local-minhop"), seed=1000).tables["pairs"]
    fresh_s = pairs["born_s"][pairs["first_parent"] < 0]
    counts = np.histogram(fresh_s, bins=10, range=(0.2, 1.2))[0]
    assert counts.min() > 500
    assert abs(counts[0] - counts[-1]) <= 6.0 * math.sqrt(counts[0] + counts[-1])
    if swap_success == 1.0:
        delivered_s = pairs["end_s"][pairs["outcome"] == PairOutcome.DELIVERED.code]
        assert np.histogram(delivered_s, bins=10, range=(0.2, 1.2))[0].min() > 10
