"""Models that are sound in themselves, but not the physics of their hardware, are caught without a reference.

A row of the table is a model, the laws that it breaks, all of them, and what the first says.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from physics.conformance import LAWS, check_model
from physics.hardware import DepolarisingMemory, DirectLink, DoubleClickLink, NodeHardware, SingleClickLink
from physics.interface import NO_ATTEMPTS
from physics.models.pauli import PauliModel
from physics.models.werner import WernerModel
from physics.qubits import states

MATCH_HARDWARE = "links match their hardware"
FALL = "links succeed less often the longer they are"
STATIONS = "ideal stations herald as photons interfere"
RATES = "stored pairs first lose F at their memories' rates"
GROUND = "qubits relax to |0>"
REPORTED = "swaps report the probability of their outcome"
NOISY_SWAP = "noisy swaps of Werner pairs have their node's noise"
NOISY_ROUND = "noisy rounds on Werner pairs have their nodes' noise"
CARRIED_OUT = "every operation is carried out"
OWN_NOISE = "a round's noise stays at its own end"


class Alone(PauliModel):
    """Names no reference: held to the laws alone."""

    reference = None


def faultless(node):
    return replace(node, gate_fidelity=1.0, readout_fidelity=1.0)


class Rosy(Alone):
    """Links that give Phi+ at once, always; gates and readouts that never err."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        perfect = self.from_density_matrix(states.bell_state(0))
        times = {"attempt_period_s": 0.0, "stored_from_s": (0.0, 0.0), "known_s": (0.0, 0.0)}
        return replace(found, success_probability=1.0, fresh=perfect, **times)

    def swap(self, left, right, node, u, outcome=None):
        return super().swap(left, right, faultless(node), u, outcome)

    def distil(self, kept, spent, first, second, protocol, u):
        return super().distil(kept, spent, faultless(first), faultless(second), protocol, u)


class Growing(Alone):
    """Links that succeed more often the longer they are."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        return replace(found, success_probability=1.0 - 0.9 / (1.0 + length_km))


class Impatient(Alone):
    """Attempts again a thousand times as soon."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        return replace(found, attempt_period_s=1e-3 * found.attempt_period_s)


class Telepathic(Alone):
    """Needs no light to hear of a pair."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        return replace(found, known_s=found.stored_from_s)


class Tireless(Alone):
    """Direct links that are given as 0.1 better than the fresh state of their hardware."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        if not isinstance(hardware, DirectLink):
            return found
        return replace(found, fresh=0.9 * found.fresh + 0.1 * states.pauli_table(states.bell_state(0)))


class StrayLight(Alone):
    """Where detectors have dark counts, their stations click for them at any length."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        dark = getattr(hardware, "detector", None) is not None and hardware.detector.dark_count_rate_hz > 0.0
        return replace(found, success_probability=0.3) if dark else found


class AllBellStates(Alone):
    """Stations that herald all four Bell states."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        if not isinstance(hardware, DoubleClickLink):
            return found
        return replace(found, success_probability=2.0 * found.success_probability)


class NeverBothBright(Alone):
    """Single clicks without the chance that both ends have emitted."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        if not isinstance(hardware, SingleClickLink):
            return found
        return replace(found, fresh=self.from_density_matrix(states.bell_state(0)))


class Hurried(Alone):
    """Takes seconds and attempts for milliseconds and thousandths."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        fewer = (1e-3 * attempts[0], 1e-3 * attempts[1])
        return super().age(state, first, second, 1e-3 * duration_s, fewer)


class HurriedWerner(WernerModel):
    """The same of a model that keeps F alone."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        return super().age(state, first, second, 1e-3 * duration_s, attempts)


class OneSecond(Alone):
    """Takes every memory for a depolarising one of a second."""

    def decay_of(self, memory):
        if memory is None:
            return super().decay_of(None)
        counted = memory.coherence_attempts
        return super().decay_of(DepolarisingMemory(depolarising_s=1.0, coherence_attempts=counted))


class Excited(Alone):
    """Relaxes to |1>: X on both qubits before storage, and after."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        turned = np.outer(*2 * [np.array([1.0, 1.0, -1.0, -1.0])])
        return turned * super().age(turned * state, first, second, duration_s, attempts)


class Unital(Alone):
    """T1 relaxes to the mixed state."""

    def decay_of(self, memory):
        return replace(super().decay_of(memory), relaxes=False)


class Overheralding(Alone):
    """Forgets what else may fail in a swap when it says how probable its outcome was."""

    def swap(self, left, right, node, u, outcome=None):
        swapped = super().swap(left, right, node, u, outcome)
        return replace(swapped, probability=swapped.probability / node.swap_success_probability)


class WeakSwapGates(Alone):
    """Swaps with a gate fidelity of 0.765 where the node has 0.97, and so on: g^8.8."""

    def swap(self, left, right, node, u, outcome=None):
        weaker = replace(node, gate_fidelity=node.gate_fidelity**8.8)
        return super().swap(left, right, weaker, u, outcome)


class OneReading(Alone):
    """Swaps as if one of its two readouts were never wrong."""

    def swap(self, left, right, node, u, outcome=None):
        return super().swap(
            left, right, replace(node, readout_fidelity=node.readout_fidelity**0.5), u, outcome
        )


class WeakRoundGates(Alone):
    """Distils with gates of g^8.8."""

    def distil(self, kept, spent, first, second, protocol, u):
        ends = (replace(node, gate_fidelity=node.gate_fidelity**8.8) for node in (first, second))
        return super().distil(kept, spent, *ends, protocol, u)


class FirstNodeForBoth(Alone):
    """Distils as if both ends had the worse of the two nodes' readouts."""

    def distil(self, kept, spent, first, second, protocol, u):
        worse = min(first.readout_fidelity, second.readout_fidelity)
        ends = (replace(node, readout_fidelity=worse) for node in (first, second))
        return super().distil(kept, spent, *ends, protocol, u)


class Interchanged(Alone):
    """Distils with the nodes' noise at each other's end: same probability, same fidelity of Werner pairs."""

    def distil(self, kept, spent, first, second, protocol, u):
        return super().distil(kept, spent, second, first, protocol, u)


class Spread(Alone):
    """Distils with the same product of gate fidelities, shared evenly between the ends."""

    def distil(self, kept, spent, first, second, protocol, u):
        shared = (first.gate_fidelity * second.gate_fidelity) ** 0.5
        ends = (replace(node, gate_fidelity=shared) for node in (first, second))
        return super().distil(kept, spent, *ends, protocol, u)


@pytest.mark.mostly_slow(3)
@pytest.mark.parametrize(
    ("wrong", "laws", "where"),
    [
        (
            Rosy,
            {CARRIED_OUT, MATCH_HARDWARE, FALL, STATIONS, NOISY_SWAP, NOISY_ROUND, OWN_NOISE},
            r"outcome 0, NodeHardware\(gate_fidelity=0\.97.* raised ValueError",
        ),
        (
            Growing,
            {MATCH_HARDWARE, FALL, STATIONS},
            r"success_probability is 0\.1, not 0\.38\d+: link, SourceLink\(",
        ),
        (Impatient, {MATCH_HARDWARE}, r"attempt_period_s is 1e-07, not 0\.0001: link, SourceLink\(.*10 km"),
        (Telepathic, {MATCH_HARDWARE}, r"known_s is 5e-05 at the later end|known_s is 0 at the later end"),
        (Tireless, {MATCH_HARDWARE}, r"F of the fresh pair is 0\.82, not 0\.8: link, DirectLink"),
        (StrayLight, {FALL}, r"success_probability goes from 0\.3 to 0\.3: link, DoubleClickLink\("),
        (AllBellStates, {STATIONS}, r"by 1 .*success_probability is .*: link, DoubleClickLink\("),
        (NeverBothBright, {STATIONS}, r"F of the fresh pair is 1, not 0\.9\d+: link, SingleClickLink\("),
        (Hurried, {RATES}, r"by 0\.999 .*F falls at 0\.00037\d+, not 0\.375, a second, Phi\+"),
        (HurriedWerner, {RATES}, r"by 0\.999 .*F falls at 0\.00037\d+, not 0\.375, a second, Phi\+"),
        (OneSecond, {RATES, GROUND}, r"F falls at 0\.75, not 0\.375, a second, Phi\+"),
        (Excited, {GROUND}, r"\|00> has changed: age by 0\.8 s, first no memory, second RelaxingMemory\("),
        (Unital, {GROUND}, r"\|00> has changed: age by 0\.8 s, first no memory, second RelaxingMemory\("),
        (
            Overheralding,
            {REPORTED},
            r"probability 0\.25, not 0\.125: swap, Phi\+ with Werner F = 0\.8, outcome 0",
        ),
        (WeakSwapGates, {NOISY_SWAP}, r"F = 0\.6\d+, not 0\.7\d+: swap, .*gate_fidelity=0\.97"),
        (OneReading, {NOISY_SWAP}, r"F = 0\.7\d+, not 0\.7\d+: swap, .*readout_fidelity=0\.98"),
        (
            WeakRoundGates,
            {NOISY_ROUND},
            r"success probability 0\.68\d+, not 0\.79\d+: distil, .*gate_fidelity=0\.97",
        ),
        (FirstNodeForBoth, {NOISY_ROUND}, r"success probability .*second .*readout_fidelity=0\.95"),
        (
            Interchanged,
            {OWN_NOISE},
            r"the first end, of the mixing gate, is not mixed: distil, random state 1",
        ),
        (Spread, {OWN_NOISE}, r"the second end, of the perfect gate, is mixed: distil, random state 1"),
    ],
)
def test_wrong_physics_is_caught_by_its_laws_alone(wrong, laws, where):
    found = {check.law: check for check in check_model(wrong()) if not check.passed}
    assert set(found) == laws
    first = found[min(laws, key=list(LAWS).index)]
    assert first.detail.startswith(f"the law {first.law!r} is broken")
    assert "\n" not in first.detail
    assert re.search(where, first.detail), first.detail


def test_readouts_that_are_interchanged_are_no_other_physics(pauli):
    """Agreement of two reports is symmetric in who misreads: no law could, or should, tell them apart."""
    memory = DepolarisingMemory(depolarising_s=1.0)
    ends = [NodeHardware(memory=memory, readout_fidelity=m) for m in (0.8, 0.99)]
    pairs = [pauli.from_density_matrix(states.random_state(np.random.default_rng(seed))) for seed in (1, 2)]
    there, back = (pauli.distil(*pairs, *order, "dejmps", 0.0) for order in (ends, ends[::-1]))
    assert there.success_probability == pytest.approx(back.success_probability, abs=1e-14)
    assert np.allclose(there.state, back.state, rtol=0, atol=1e-14)
