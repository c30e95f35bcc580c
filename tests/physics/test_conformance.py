"""The shipped suite passes our models and catches broken ones by the law they break.

Models that are sound in themselves, but not the physics of their hardware: `test_conformance_hardware`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from physics.conformance import AGREEMENT, LAWS, Check, check_model
from physics.hardware import DepolarisingMemory, RelaxingMemory
from physics.interface import NO_ATTEMPTS, PhysicsModel
from physics.models.pauli import PauliModel
from physics.qubits import channels, states
from physics.sampling import check_attempts
from tests.helpers.qutip_operators import transfer_matrix

CARRIED_OUT = "every operation is carried out"
TRACE = "trace is 1"
POSITIVE = "states are Hermitian and positive"
FIDELITY = "0 <= F <= 1 and F = <Phi+|rho|Phi+>"
SURVIVE = "states survive as density matrices"
LINKS = "links have sound probabilities and times"
MATCH_HARDWARE = "links match their hardware"
FALL = "links succeed less often the longer they are"
STATIONS = "ideal stations herald as photons interfere"
SEMIGROUP = "storage is a semigroup in time and attempts"
OWN_END = "storage leaves the other end alone"
DECAY = "memories decay with time and counted attempts"
GROUND = "qubits relax to |0>"
BATCHES = "batches equal single operations"
RATES = "stored pairs first lose F at their memories' rates"
PERFECT_SWAP = "perfect pairs swap to a perfect pair"
WERNER_SWAP = "Werner pairs swap to F1 F2 + (1-F1)(1-F2)/3"
ASSOCIATIVE = "swaps are associative"
DRAWN = "drawn swaps are forced ones"
BORN = "outcomes are drawn by Born's rule"
REPORTED = "swaps report the probability of their outcome"
NOISY_SWAP = "noisy swaps of Werner pairs have their node's noise"
WERNER_ROUND = "Werner pairs distil as in Bennett et al. 1996"
ROUNDS = "every round of distillation raises F"
DISTIL_PROBABILITY = "distillation succeeds with its probability"
NOISY_ROUND = "noisy rounds on Werner pairs have their nodes' noise"
ENDS = "the ends are alike"
SAME = "the same call gives the same bits"
UNTOUCHED = "arguments are left as they were"
REFUSED = "nonsense is refused"
EQUAL = f"{AGREEMENT} 'qutip'"


def broken_laws(model: PhysicsModel) -> dict[str, Check]:
    return {check.law: check for check in check_model(model) if not check.passed}


@pytest.mark.mostly_slow
@pytest.mark.parametrize("rng_seed", [0, 7])
def test_the_default_model_conforms(pauli, rng_seed):
    checks = check_model(pauli, rng_seed=rng_seed)
    assert [check for check in checks if not check.passed] == []
    assert [check.law for check in checks] == [*LAWS, EQUAL]
    # Born's rule is measured by bisection, to 2^-33, and rates by differences of F.
    assert max(check.worst for check in checks if check.law not in (BORN, RATES)) < 1e-13
    assert max(check.worst for check in checks if check.law == RATES) < 1e-11


@pytest.mark.slow
def test_the_reference_conforms_and_is_compared_with_none(reference):
    checks = check_model(reference)
    assert [check for check in checks if not check.passed] == []
    assert [check.law for check in checks] == [*LAWS]


def test_both_models_are_physics_models(model):
    assert isinstance(model, PhysicsModel)


class Alone(PauliModel):
    """Names no reference: held to the laws alone."""

    reference = None


class Leaky(Alone):
    """Loses trace in storage, steadily."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        aged = super().age(state, first, second, duration_s, attempts)
        return aged if first is second is None else aged * np.exp(-1e-6 * duration_s)


def dephases(memory):
    return isinstance(memory, RelaxingMemory) and memory.relaxation_s == np.inf


class ZFlip(Alone):
    """Flips Z with probability 1 - e^(-t/T), as some simulators do: two halves are not a whole."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        aged = super().age(state, None, None, duration_s)
        for memory, axis in ((first, 1), (second, 0)):
            if dephases(memory):
                kept = 2.0 * np.exp(-duration_s / memory.dephasing_s) - 1.0
                left = np.array([1.0, kept, kept, 1.0])
                aged = aged * (left[:, None] if axis == 1 else left)
        others = [None if dephases(memory) else memory for memory in (first, second)]
        return super().age(super().age(aged, *others, duration_s), first, second, 0.0, attempts)


class TooLongT2(Alone):
    """Lets coherences live a hundredth longer than relaxation allows: positive, but not completely."""

    def decay_of(self, memory):
        decay = super().decay_of(memory)
        if not decay.relaxes:
            return decay
        return replace(decay, per_second=decay.per_second / np.array([1.0, 1.01, 1.01, 1.0]))


class Boastful(Alone):
    """Reports fidelities above 1."""

    def fidelity(self, state):
        return super().fidelity(state) * 1.01


class Forgetful(Alone):
    """Does not count attempts."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        check_attempts(attempts)
        return super().age(state, first, second, duration_s)


class MixedUp(Alone):
    """Stores each end in the other's memory."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        return super().age(state, second, first, duration_s, attempts[::-1])


class MiscountedEnds(Alone):
    """Books attempts at the other end."""

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        return super().age(state, first, second, duration_s, attempts[::-1])


class WrongCorrection(Alone):
    """Applies X where Z is due and Z where X is."""

    def swap(self, left, right, node, u, outcome=None):
        swapped = super().swap(left, right, node, u, outcome)
        if swapped.outcome not in (1, 2):
            return swapped
        wrong = states.PAULIS[1] @ states.PAULIS[3]
        signs = transfer_matrix((channels.Operator(wrong),)).diagonal()
        return replace(swapped, state=swapped.state * signs)


class WrongUniform(Alone):
    """Draws the outcome from u itself, not from what success has left of it."""

    def swap(self, left, right, node, u, outcome=None):
        if outcome is None and u < node.swap_success_probability < 1.0:
            always = replace(node, swap_success_probability=1.0)
            return super().swap(left, right, always, u)
        return super().swap(left, right, node, u, outcome)


class AllHeralding(Alone):
    """Takes linear optics for a complete Bell measurement that works half the time."""

    def swap(self, left, right, node, u, outcome=None):
        if node.bell_measurement == "linear-optics":
            half = 0.5 * node.swap_success_probability
            node = replace(node, bell_measurement="complete", swap_success_probability=half)
        return super().swap(left, right, node, u, outcome)


class Unturned(Alone):
    """DEJMPS without its rotation: both pairs are turned back beforehand."""

    def distil(self, kept, spent, first, second, protocol, u):
        if protocol == "dejmps":
            back = [
                transfer_matrix((channels.rotation_before("dejmps", sign=sign).dag(),)) for sign in (1, -1)
            ]
            kept, spent = (back[0] @ table @ back[1].T for table in (kept, spent))
        return super().distil(kept, spent, first, second, protocol, u)


class Eager(Alone):
    """Succeeds at every distillation."""

    def distil(self, kept, spent, first, second, protocol, u):
        return super().distil(kept, spent, first, second, protocol, 0.0)


class OneEnded(Alone):
    """Takes every pair to be the same from both ends."""

    def flip(self, state):
        return state


class Moody(Alone):
    """Has chance of its own."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(1)

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        aged = super().age(state, first, second, duration_s, attempts).copy()
        aged[1, 1] += 1e-14 * self.generator.random()
        return aged


class InPlace(Alone):
    """Ages the very state it was given."""

    def from_density_matrix(self, matrix):
        return super().from_density_matrix(matrix).copy()

    def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
        aged = super().age(state, first, second, duration_s, attempts)
        if not state.flags.writeable:
            return aged
        state[:] = aged
        return state


class Overconfident(Alone):
    """A link that succeeds more often than always when it is short."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        return replace(found, success_probability=found.success_probability * (1.1 if length_km else 12.0))


class Prophetic(Alone):
    """Knows of a pair before its qubits are stored."""

    def link(self, hardware, length_km):
        found = super().link(hardware, length_km)
        return replace(found, known_s=tuple(0.5 * time_s for time_s in found.stored_from_s))


class Credulous(Alone):
    """Takes any matrix."""

    def from_density_matrix(self, matrix):
        return states.pauli_table(np.asarray(matrix))


class OneDuration(Alone):
    """Stores all pairs of a batch for the duration of the first."""

    def age_many(self, states, first, second, duration_s, attempts=NO_ATTEMPTS):
        return super().age_many(states, first, second, np.broadcast_to(duration_s, len(states))[0], attempts)


class Crashing(Alone):
    def flip(self, state):
        raise RuntimeError("no flips today")


class SlightlyOff(PauliModel):
    """Keeps every law, and still is not the reference's physics: a depolarising memory errs least in Z."""

    def decay_of(self, memory):
        decay = super().decay_of(memory)
        if not isinstance(memory, DepolarisingMemory):
            return decay
        return replace(decay, per_second=decay.per_second * np.array([1.0, 0.9, 0.9, 1.2]))


@pytest.mark.mostly_slow(3)
@pytest.mark.parametrize(
    ("broken", "laws", "where"),
    [
        (
            Leaky,
            {TRACE, FIDELITY, SURVIVE, OWN_END, RATES, GROUND},
            r"by 3\.7e-07 .*age, Phi\+, .*first no memory, second Depol",
        ),
        (ZFlip, {SEMIGROUP, RATES}, r"in one step and in four, Phi\+, .*RelaxingMemory\(relaxation_s=inf"),
        (TooLongT2, {POSITIVE, SURVIVE, RATES}, r"age, .*dephasing_s=1\.2.* gave the eigenvalue -"),
        (
            Boastful,
            {FIDELITY, MATCH_HARDWARE, STATIONS, RATES, WERNER_SWAP, NOISY_SWAP, WERNER_ROUND, NOISY_ROUND},
            r"F = 1\.01 after from_density_matrix, Phi\+",
        ),
        (
            Forgetful,
            {DECAY, RATES},
            r"F fell by 0, .*0 s and \(9\.0, 0\.0\) attempts, first DepolarisingMemory",
        ),
        (MixedUp, {OWN_END, GROUND}, r"age by 0\.8 s, .* at one end, seen at the second"),
        (MiscountedEnds, {OWN_END, DECAY, RATES}, r"age by attempts"),
        (
            WrongCorrection,
            {PERFECT_SWAP, WERNER_SWAP, ASSOCIATIVE, NOISY_SWAP},
            r"Phi\+ with Phi\+, outcome 1",
        ),
        (
            WrongUniform,
            {BORN, REPORTED},
            r"up to 0 reach to u = 0\.25, not 0\.125: .*swap_success_probability=0\.5",
        ),
        (AllHeralding, {DRAWN, BORN, REPORTED, REFUSED}, r"bell_measurement='linear-optics'"),
        (Unturned, {ROUNDS}, r"from 0\.62\S* to 0\.57\S* in distil, round 2 of dejmps from Werner F = 0\.6"),
        (Eager, {DISTIL_PROBABILITY}, r"p = 0\.\d+, but u = 0\.\d+ succeeded: distil, .*bbpssw"),
        (OneEnded, {ENDS}, r"by 0\.\d+ .*: flip, random state 1"),
        (Moody, {SAME}, r"two calls differ: age, Phi\+"),
        (InPlace, {UNTOUCHED}, r"a state that was given has changed: age, Werner F = 0\.8"),
        (
            Overconfident,
            {LINKS, MATCH_HARDWARE, FALL, STATIONS},
            r"success_probability is 4\.\d+, above 1: link, SourceLink\(.*, 0 km",
        ),
        (Prophetic, {LINKS, MATCH_HARDWARE}, r"known_s\[1\] is .*, before the qubit is stored at .*, 10 km"),
        (Credulous, {REFUSED}, r"no ValueError for a matrix of trace 2 in from_density_matrix"),
        (
            OneDuration,
            {BATCHES},
            r"age_many, Phi-, 0\.05 s and \(1, 2\) attempts, first no memory",
        ),
        (Crashing, {CARRIED_OUT, ENDS, UNTOUCHED}, r"flip, Phi\+ raised RuntimeError: no flips today"),
        (SlightlyOff, {EQUAL}, r"by 0\.0\d+ \(1e-12 is allowed\): age, Phi\+"),
    ],
)
def test_a_broken_model_is_caught_by_its_law_alone(broken, laws, where):
    found = broken_laws(broken())
    assert set(found) == laws
    assert all(check.detail.startswith(f"the law {check.law!r} is broken") for check in found.values())
    assert all("\n" not in check.detail for check in found.values())
    first = found[min(laws, key=[*LAWS, EQUAL].index)]
    assert re.search(where, first.detail), first.detail


class Declared(OneEnded):
    """The same by design."""

    broken_by_design = MappingProxyType({ENDS: "pairs have no direction here"})


def test_a_law_broken_by_design_is_declared_with_its_reason():
    assert [check.declared for check in broken_laws(OneEnded()).values()] == [""]
    declared = broken_laws(Declared())
    assert {law: check.declared for law, check in declared.items()} == {ENDS: "pairs have no direction here"}


@pytest.mark.parametrize(
    ("declarations", "word"),
    [({"swaps are asociative": "we think so"}, ASSOCIATIVE), ({ASSOCIATIVE: ""}, "no reason")],
)
def test_a_declaration_of_no_law_or_without_a_reason_fails(declarations, word):
    class Wrong(Alone):
        broken_by_design = MappingProxyType(declarations)

    (check,) = broken_laws(Wrong()).values()
    assert not check.declared
    assert word in check.detail


def test_a_declared_law_that_holds_is_passed_and_told():
    class Modest(Alone):
        broken_by_design = MappingProxyType({ASSOCIATIVE: "we thought so"})

    checks = {check.law: check for check in check_model(Modest())}
    assert checks[ASSOCIATIVE].passed
    assert "yet it holds" in checks[ASSOCIATIVE].detail
