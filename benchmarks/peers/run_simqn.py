"""The chain as an application for SimQN 0.2.3: its kernel, channels, memories and Werner pairs.

Written like SimQN's own EntanglementDistributionApp, which knows neither loss nor retries: a node
sends a half through the quantum channel, which loses it at the link's rate, hears of its arrival by a
classical packet or tries again, and swaps lane with equal lane as soon as it knows of a pair on either side.
"""

from __future__ import annotations

import time
from typing import Any

from case import ATTEMPT_S, COHERENCE_S, FRESH_FIDELITY, HOP_S, Case, asked_case, link_success, tell
from qns.entity.cchannel.cchannel import ClassicPacket, RecvClassicPacket
from qns.entity.node.app import Application
from qns.entity.qchannel.qchannel import RecvQubitPacket
from qns.models.delay.constdelay import ConstantDelayModel
from qns.models.epr import WernerStateEntanglement
from qns.network import QuantumNetwork
from qns.network.topology import LineTopology
from qns.network.topology.topo import ClassicTopology
from qns.simulator.event import func_to_event
from qns.simulator.simulator import Simulator
from qns.utils.rnd import set_seed

_SLOTS_PER_S = 10**9
"""SimQN rounds times down to a slot; a nanosecond is far below all times of the chain."""


class RepeaterApp(Application):
    """One node: `left[k]` and `right[k]` are the pairs that end, or begin, in its qubits of lane k."""

    def __init__(self) -> None:
        super().__init__()
        self.add_handler(self.photon_arrives, [RecvQubitPacket])
        self.add_handler(self.packet_arrives, [RecvClassicPacket])

    def join(self, chain: list[RepeaterApp], position: int, lanes: int, fidelities: list[float]) -> None:
        """Take a place in the chain."""
        self.chain, self.position, self.fidelities = chain, position, fidelities
        self.memory = self.get_node().memories[0]
        self.left: list[Any] = [None] * lanes
        self.right: list[Any] = [None] * lanes
        self.heralded = [False] * lanes
        self.neighbour_free = [True] * lanes
        self.timers: list[Any] = [None] * lanes
        self.pairs_made = 0

    def begin(self, lane: int) -> None:
        """Attempt with the right neighbour if both have a free qubit."""
        if self.neighbour_free[lane] and self.right[lane] is None:
            self.neighbour_free[lane] = False
            self.attempt(lane)

    def attempt(self, lane: int) -> None:
        """Send one half; if no herald arrives within a round trip, send the next."""
        pair = self._new_pair(FRESH_FIDELITY)
        pair.lane, pair.first, pair.last = lane, self.position, self.position + 1
        neighbour = self.chain[self.position + 1].get_node()
        self.get_node().get_qchannel(neighbour).send(pair, neighbour)
        simulator = self.get_simulator()
        due = simulator.tc + simulator.time(sec=ATTEMPT_S)
        self.timers[lane] = func_to_event(due, self.attempt, by=self, lane=lane)
        simulator.add_event(self.timers[lane])

    def photon_arrives(self, _node: Any, event: RecvQubitPacket) -> None:
        """The right end of a new pair: keep it and herald it."""
        pair = event.qubit
        self._keep(pair)
        self._send(pair.first, {"word": "herald", "lane": pair.lane})
        self.swap(pair.lane)

    def packet_arrives(self, _node: Any, event: RecvClassicPacket) -> None:
        """Handle a message from another node."""
        message = event.packet.get()
        lane = message["lane"]
        if message["word"] == "herald":
            # Otherwise the retry would send another half into a qubit in use.
            self.timers[lane].cancel()
            self.heralded[lane] = True
            self.swap(lane)
        elif message["word"] == "free":
            self.neighbour_free[lane] = True
            self.begin(lane)
        else:
            self._correct(lane, message["pair"])

    def swap(self, lane: int) -> None:
        """Join the pairs on either side, if both are known here."""
        before, after = self.left[lane], self.right[lane]
        if before is None or after is None or not self.heralded[lane]:
            return
        self._release(before)
        self._release(after)
        self.pairs_made += 1
        pair = before.swapping(after, name=f"{self.position}-{self.pairs_made}")
        pair.lane, pair.first, pair.last, pair.told = lane, before.first, after.last, 0
        self._keep(pair)
        self.heralded[lane] = False
        for end in (pair.first, pair.last):
            self._send(end, {"word": "correct", "lane": lane, "pair": pair.name})
        self._send(self.position - 1, {"word": "free", "lane": lane})
        self.begin(lane)

    def _correct(self, lane: int, name: str) -> None:
        """An end hears of a swap; a pair of the whole chain is delivered once both ends have."""
        pair = self.right[lane] if self.position == 0 else self.left[lane]
        if self.position not in (0, len(self.chain) - 1) or pair is None or pair.name != name:
            return
        pair.told += 1
        # Both ends know: only then may the qubits be read and used again.
        if pair.told == 2:
            self._release(pair)
            self.fidelities.append(float(pair.fidelity))
            self.chain[0].heralded[lane] = False
            self.chain[0].begin(lane)
            self.chain[-1]._send(len(self.chain) - 2, {"word": "free", "lane": lane})

    def _new_pair(self, fidelity: float) -> WernerStateEntanglement:
        self.pairs_made += 1
        return WernerStateEntanglement(fidelity=fidelity, name=f"{self.position}-{self.pairs_made}")

    def _keep(self, pair: WernerStateEntanglement) -> None:
        first, last = self.chain[pair.first], self.chain[pair.last]
        first.right[pair.lane] = last.left[pair.lane] = pair
        first.memory.write(pair)
        last.memory.write(pair)

    def _release(self, pair: WernerStateEntanglement) -> None:
        """Read both halves, which applies the decay of either memory."""
        first, last = self.chain[pair.first], self.chain[pair.last]
        first.memory.read(pair)
        last.memory.read(pair)
        first.right[pair.lane] = last.left[pair.lane] = None

    def _send(self, position: int, message: dict[str, Any]) -> None:
        node, target = self.get_node(), self.chain[position].get_node()
        node.get_cchannel(target).send(ClassicPacket(msg=message, src=node, dest=target), next_hop=target)


def build(case: Case, simulator: Simulator) -> tuple[list[RepeaterApp], list[float]]:
    """The installed chain, and the list that receives the fidelities of delivered pairs."""
    topology = LineTopology(
        nodes_number=case.nodes,
        nodes_apps=[RepeaterApp()],
        qchannel_args={"delay": HOP_S, "bandwidth": 0, "drop_rate": 1.0 - link_success()},
        memory_args=[{"capacity": 2 * case.memories, "decoherence_rate": 1.0 / COHERENCE_S}],
    )
    network = QuantumNetwork(topo=topology, classic_topo=ClassicTopology.All)
    place = {node: position for position, node in enumerate(network.nodes)}
    for channel in network.cchannels:
        first, last = (place[node] for node in channel.node_list)
        channel.delay_model = ConstantDelayModel(delay=abs(first - last) * HOP_S)
    network.install(simulator)
    chain = [node.get_apps(RepeaterApp)[0] for node in network.nodes]
    fidelities: list[float] = []
    for position, app in enumerate(chain):
        app.join(chain, position, case.memories, fidelities)
    return chain, fidelities


def main() -> None:
    """Run the asked case."""
    case = asked_case(__doc__.splitlines()[0])
    set_seed(case.seed)
    simulator = Simulator(0.0, case.warm_up_s + case.simulated_s, accuracy=_SLOTS_PER_S)
    chain, fidelities = build(case, simulator)
    mark: dict[str, float] = {}

    def warm() -> None:
        mark.update(events=simulator.total_events, delivered=len(fidelities), wall_s=time.perf_counter())

    simulator.add_event(func_to_event(simulator.time(sec=case.warm_up_s), warm))
    for app in chain[:-1]:
        for lane in range(case.memories):
            app.begin(lane)
    simulator.run()
    tell(
        "simqn",
        case,
        wall_s=time.perf_counter() - mark["wall_s"],
        fidelities=fidelities[int(mark["delivered"]) :],
        events=simulator.total_events - int(mark["events"]),
    )


if __name__ == "__main__":
    main()
