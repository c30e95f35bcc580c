"""How a fresh pair comes to be: what passes before its birth and after it, and what its halves have waited.

A source-limited link is fed by the node that emits, its sender: the pair is born when the other half is
heralded at the far end, one link delay after the emission; the sender has then stored its half for as long,
and hears of it one link delay later. An attempt-limited link follows what physics compiled, in seconds from
the start of the attempt: the pair is born when the first of its ends knows of it, both halves having been
stored from their own moments on.
"""

from __future__ import annotations

from dataclasses import dataclass

from physics.interface import PhysicsModel, State
from qdpem.network.graph import Network

NO_SENDER = -1


@dataclass(frozen=True, kw_only=True)
class HeraldTiming:
    """Of one link, seconds: `birth_s` from the emission or start of the attempt to the birth.

    `stored_s`: how long either end's memory has held its half at the birth; `told_s`: how long after the
    birth either end knows of the pair. Both go by node.
    """

    birth_s: float
    stored_s: dict[int, float]
    told_s: dict[int, float]


class FreshPairs:
    """Courses and states at birth of a network's fresh pairs, worked out when first asked for and kept."""

    def __init__(self, network: Network, physics: PhysicsModel) -> None:
        self._network = network
        self._physics = physics
        self._courses: dict[tuple[int, int], HeraldTiming] = {}
        self._states: dict[tuple[int, int, int], State] = {}

    def course(self, link: int, sender: int) -> HeraldTiming:
        """What happens when; `sender` is the end whose source emitted, NO_SENDER if the link attempts."""
        found = self._courses.get((link, sender))
        if found is None:
            found = self._courses[link, sender] = self._work_out(link, sender)
        return found

    def state(self, link: int, ends: tuple[int, int], sender: int) -> State:
        """The pair as it is born, seen from `ends`: fresh, then aged by what each half has been stored."""
        key = (link, ends[0], sender)
        found = self._states.get(key)
        if found is None:
            found = self._states[key] = self._aged(link, ends, sender)
        return found

    def _aged(self, link: int, ends: tuple[int, int], sender: int) -> State:
        network, stored_s = self._network, self.course(link, sender).stored_s
        state = network.links[link].fresh
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
            sent = {end: delay_s if end == sender else 0.0 for end in (first, second)}
            return HeraldTiming(birth_s=delay_s, stored_s=sent, told_s=sent)
        birth_s = min(compiled.known_s)
        from_s, known_s = compiled.stored_from_s, compiled.known_s
        return HeraldTiming(
            birth_s=birth_s,
            stored_s={first: birth_s - from_s[0], second: birth_s - from_s[1]},
            told_s={first: known_s[0] - birth_s, second: known_s[1] - birth_s},
        )
