"""The shipped suite passes our models and catches broken ones by the law they break."""

from __future__ import annotations

import numpy as np
import pytest

from physics import states
from physics.conformance import check_model
from physics.interface import PhysicsModel, Swapped
from physics.pauli import PauliModel


@pytest.mark.parametrize("rng_seed", [0, 7])
def test_the_default_model_conforms(pauli, rng_seed):
    checks = check_model(pauli, rng_seed=rng_seed)
    assert [check for check in checks if not check.passed] == []
    assert "agrees with the QuTiP reference" in {check.law for check in checks}
    assert max(check.worst for check in checks) < 1e-12


def test_the_reference_conforms(reference):
    assert [check for check in check_model(reference) if not check.passed] == []


def test_both_models_are_physics_models(model):
    assert isinstance(model, PhysicsModel)


class Inexact(PauliModel):
    """Held to the laws alone."""

    exact = False


class Leaky(Inexact):
    """Loses trace in storage."""

    def age(self, state, first, second, duration_s):
        return super().age(state, first, second, duration_s) * (1.0 if duration_s == 0 else 0.999)


class Unsteady(Inexact):
    """Decays as if every stretch of storage lasted a millisecond longer: no semigroup."""

    def age(self, state, first, second, duration_s):
        return super().age(state, first, second, duration_s + 1e-3)


class Boastful(Inexact):
    """Reports fidelities above 1."""

    def fidelity(self, state):
        return super().fidelity(state) * 1.01


class Uncorrected(Inexact):
    """Forgets the correction."""

    def swap(self, left, right, node, u, outcome=None):
        swapped = super().swap(left, right, node, u, outcome)
        if not swapped.success:
            return swapped
        signs = self._swaps[node].signs[swapped.outcome]
        return Swapped(success=True, outcome=swapped.outcome, state=swapped.state * signs)


class Moody(Inexact):
    """Gives another answer each time."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def flip(self, state):
        self.calls += 1
        flipped = super().flip(state).copy()
        flipped[1, 1] += 1e-13 * self.calls
        return flipped


class Credulous(Inexact):
    """Takes any matrix."""

    def from_density_matrix(self, matrix):
        return states.pauli_table(np.asarray(matrix))


class Eager(Inexact):
    """Succeeds at every distillation."""

    def distil(self, kept, spent, first, second, protocol, u):
        return super().distil(kept, spent, first, second, protocol, 0.0)


class SlightlyOff(PauliModel):
    """Keeps every law, and still is not the reference's physics: T is a tenth too long."""

    def age(self, state, first, second, duration_s):
        return super().age(state, first, second, duration_s / 1.1)


class Crashing(Inexact):
    def flip(self, state):
        raise RuntimeError("no flips today")


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Leaky, "trace is 1"),
        (Unsteady, "storage is a semigroup in time"),
        (Boastful, "0 <= F <= 1 and F = <Phi+|rho|Phi+>"),
        (Uncorrected, "perfect pairs swap to a perfect pair"),
        (Moody, "deterministic, arguments untouched"),
        (Credulous, "wrong matrices are refused"),
        (Eager, "distillation raises Werner pairs and keeps its probability"),
        (SlightlyOff, "agrees with the QuTiP reference"),
        (Crashing, "the ends are symmetric"),
    ],
)
def test_a_broken_model_is_caught_by_its_law(broken, law):
    failed = {check.law: check for check in check_model(broken()) if not check.passed}
    assert law in failed
    assert failed[law].detail
    if broken is SlightlyOff:
        assert set(failed) == {law}
    if broken is Crashing:
        assert failed[law].detail == "raised RuntimeError: no flips today"


class WernerOnly(PauliModel):
    """A simplification that claims no exactness: every state is twirled to the Werner state of its F."""

    exact = False

    def twirled(self, table):
        weight = (4 * super().fidelity(table) - 1) / 3
        return np.diag([1.0, weight, -weight, weight])

    def from_density_matrix(self, matrix):
        return self.twirled(super().from_density_matrix(matrix))

    def age(self, state, first, second, duration_s):
        # One decay rate per end, whatever the kind of memory, is what a single number can keep.
        rates = [1 / getattr(m, "depolarising_s", getattr(m, "dephasing_s", 1)) for m in (first, second) if m]
        weight = state[1, 1] * np.exp(-duration_s * sum(rates))
        return np.diag([1.0, weight, -weight, weight])

    def distil(self, kept, spent, first, second, protocol, u):
        result = super().distil(kept, spent, first, second, protocol, u)
        state = self.twirled(result.state) if result.success else None
        return type(result)(
            success=result.success, success_probability=result.success_probability, state=state
        )

    def swap(self, left, right, node, u, outcome=None):
        swapped = super().swap(left, right, node, u, outcome)
        state = self.twirled(swapped.state) if swapped.success else None
        return Swapped(success=swapped.success, outcome=swapped.outcome, state=state)


def test_an_honest_simplification_is_not_held_to_the_reference():
    checks = check_model(WernerOnly())
    assert [check for check in checks if not check.passed] == []
    assert "agrees with the QuTiP reference" not in {check.law for check in checks}
