"""Herald timing: the birth of a fresh pair, the storage of its halves before that, and its announcement to
the ends.

On a source-limited link one node emits; it is the sender. The pair is born when its other half is heralded
at the far end, one link delay after the emission. The sender has stored its half for that long, and learns
of the pair one link delay later. On an attempt-limited link physics has compiled all times, in seconds from
the start of the attempt. The pair is born when the first of its ends knows of it, and each half is stored
from a moment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from physics.interface import PhysicsModel, State
from qdpem.network.graph import Network

NO_SENDER = -1


@dataclass(frozen=True, kw_only=True)
class HeraldTiming:
    """Times of one link's fresh pairs, in seconds.

    `birth_s`: from the emission, or the start of the attempt, to the birth. `stored_s`, by node: how long
    the memory at either end has held its half at the birth. `known_after_s`, by node: from the birth until
    either end knows of the pair.
    """

    birth_s: float
    stored_s: dict[int, float]
    known_after_s: dict[int, float]


class FreshPairs:
    """Herald timings, and states at birth, of the fresh pairs of a network; each is computed once."""

    def __init__(self, network: Network, physics: PhysicsModel) -> None:
        self._network = network
        self._physics = physics
        self._timings: dict[tuple[int, int], HeraldTiming] = {}
        self._states: dict[tuple[int, int, int], State] = {}

    def timing(self, link: int, sender: int) -> HeraldTiming:
        """Times of a fresh pair; `sender` is the end that emitted, NO_SENDER if the link attempts."""
        timing = self._timings.get((link, sender))
        if timing is None:
            timing = self._timings[link, sender] = self._work_out(link, sender)
        return timing

    def state(self, link: int, ends: tuple[int, int], sender: int) -> State:
        """The state at birth with its ends in the order of `ends`: fresh, then aged by the time in memory."""
        key = (link, ends[0], sender)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = self._aged(link, ends, sender)
        return state

    def _aged(self, link: int, ends: tuple[int, int], sender: int) -> State:
        network, stored_s = self._network, self.timing(link, sender).stored_s
        state = network.links[link].fresh
        # `fresh` is compiled with the lower node first.
        if int(network.graph.link_ends[link, 0]) != ends[0]:
            state = self._physics.flip(state)
        for end in ends:
            if stored_s[end] > 0.0:
                memory = network.hardware[end].memory
                held = (memory if end == ends[0] else None, memory if end == ends[1] else None)
                state = self._physics.age(state, *held, stored_s[end])
        return state

    def _work_out(self, link: int, sender: int) -> HeraldTiming:
        first, second = self._network.graph.link_ends[link].tolist()
        compiled = self._network.links[link]
        if compiled.source_limited:
            delay_s = float(self._network.delay_s[link])
            # The sender stores its half for one delay, and hears of the herald after another.
            at_sender = {end: delay_s if end == sender else 0.0 for end in (first, second)}
            return HeraldTiming(birth_s=delay_s, stored_s=at_sender, known_after_s=at_sender)
        birth_s = min(compiled.known_s)
        from_s, known_s = compiled.stored_from_s, compiled.known_s
        return HeraldTiming(
            birth_s=birth_s,
            stored_s={first: birth_s - from_s[0], second: birth_s - from_s[1]},
            known_after_s={first: known_s[0] - birth_s, second: known_s[1] - birth_s},
        )
