"""The chain on SeQUeNCe 0.8.5 or 1.3.1: routers, Barrett-Kok links, swapping rules, RequestApp; ket states.

One reservation of all memories from end to end takes the place of the standing request. SeQUeNCe's link
takes two rounds where the others take one, and its fidelity is a number beside the state that does not fall
while a pair is stored; for a swap it multiplies the two and a factor 0.95. Here the rule for Werner states
replaces that.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from typing import Any

from case import (
    COHERENCE_S,
    DETECTOR_EFFICIENCY,
    FRESH_FIDELITY,
    HOP_KM,
    HOP_S,
    LOSS_DB_PER_KM,
    MEMORY_EFFICIENCY,
    SOURCE_HZ,
    Case,
    asked_case,
    tell,
)
from sequence.app.request_app import RequestApp
from sequence.entanglement_management import swapping
from sequence.topology.router_net_topo import RouterNetTopo

_PS_PER_S = 10**12
_START_S = 0.1
"""By then the reservation is made, even on long chains."""
_MIN_FIDELITY = 0.3
_FOR_EVER_PS = 10**16


class ReceivingApp(RequestApp):
    """Notes the fidelity of every pair its node receives."""

    def __init__(self, node: Any) -> None:
        super().__init__(node)
        self.fidelities: list[float] = []

    def get_memory(self, info: Any) -> None:
        """A pair is ready: receive it, which sets its memory free."""
        fidelity, received = info.fidelity, self.memory_counter
        super().get_memory(info)
        if self.memory_counter > received:
            self.fidelities.append(fidelity)


def werner_swap(_protocol: object, first: float, second: float) -> float:
    """Fidelity of the pair that a perfect swap makes of two Werner pairs: their weights multiply."""
    weight = (4.0 * first - 1.0) / 3.0 * (4.0 * second - 1.0) / 3.0
    return (1.0 + 3.0 * weight) / 4.0


def chain_fidelity(nodes: int) -> float:
    """Fidelity of every pair of the chain: fresh Werner pairs swapped, as nothing is lost in storage here."""
    fidelity = FRESH_FIDELITY
    for _ in range(nodes - 2):
        fidelity = werner_swap(None, fidelity, FRESH_FIDELITY)
    return fidelity


def description(case: Case) -> dict[str, Any]:
    """The chain in SeQUeNCe's own format."""
    names = [f"r{position:02d}" for position in range(case.nodes)]
    detector = {"efficiency": DETECTOR_EFFICIENCY, "count_rate": 5e7, "time_resolution": 100}
    memories = {
        "fidelity": FRESH_FIDELITY,
        "frequency": SOURCE_HZ,
        "efficiency": MEMORY_EFFICIENCY,
        "coherence_time": COHERENCE_S,
    }
    hops = range(case.nodes - 1)
    return {
        "templates": {"chain": {"MemoryArray": memories, "SingleAtomBSM": {"detectors": [detector] * 2}}},
        "nodes": [
            {"name": name, "type": "QuantumRouter", "seed": 1000 * case.seed + position, "template": "chain"}
            | {"memo_size": 2 * case.memories}
            for position, name in enumerate(names)
        ],
        "qconnections": [
            {"node1": names[hop], "node2": names[hop + 1], "type": "meet_in_the_middle", "template": "chain"}
            | {"distance": 1e3 * HOP_KM, "attenuation": 1e-3 * LOSS_DB_PER_KM}
            | {"seed": 1000 * case.seed + 500 + hop}
            for hop in hops
        ],
        "cconnections": [
            {"node1": names[first], "node2": names[last], "delay": round((last - first) * HOP_S * _PS_PER_S)}
            for first in range(case.nodes)
            for last in range(first + 1, case.nodes)
        ],
        "formalism": "ket_vector",
        "is_parallel": False,
        "stop_time": _FOR_EVER_PS,
    }


def build(case: Case) -> tuple[Any, ReceivingApp]:
    """The timeline, run until the chain is reserved, and the application at its source."""
    # SeQUeNCe calls it at every swap, so the class is patched before the network is built. Since 1.0 each
    # formalism has a class of its own; that of kets is the one of circuits.
    protocol = getattr(swapping, "EntanglementSwappingA_Circuit", None) or swapping.EntanglementSwappingA
    protocol.updated_fidelity = werner_swap
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(description(case), file)
        file.flush()
        topology = RouterNetTopo(file.name)
    routers = sorted(topology.get_nodes_by_type(RouterNetTopo.QUANTUM_ROUTER), key=lambda node: node.name)
    source, _ = ReceivingApp(routers[0]), RequestApp(routers[-1])
    timeline = topology.get_timeline()
    timeline.init()
    start_ps = round(_START_S * _PS_PER_S)
    source.start(routers[-1].name, start_ps, _FOR_EVER_PS, case.memories, _MIN_FIDELITY)
    timeline.stop_time = start_ps
    timeline.run()
    if not source.reservation_result:
        raise RuntimeError("SeQUeNCe refused the reservation of the whole chain")
    return timeline, source


def main() -> None:
    """Run the asked case."""
    case = asked_case(__doc__.splitlines()[0])
    timeline, source = build(case)
    timeline.stop_time += round(case.warm_up_s * _PS_PER_S)
    timeline.run()
    before, delivered = timeline.run_counter, len(source.fidelities)
    timeline.stop_time += round(case.simulated_s * _PS_PER_S)
    began = time.perf_counter()
    timeline.run()
    wall_s = time.perf_counter() - began
    events = timeline.run_counter - before
    wanted = chain_fidelity(case.nodes)
    if any(not math.isclose(fidelity, wanted, abs_tol=1e-9) for fidelity in source.fidelities):
        raise RuntimeError(f"SeQUeNCe swaps by another rule than the one given: {source.fidelities[0]:.6f}")
    tell("sequence", case, wall_s=wall_s, fidelities=source.fidelities[delivered:], events=events)


if __name__ == "__main__":
    main()
