"""A model that derives from the default one: what its hooks return counts at every call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physics import DepolarisingMemory, NodeHardware, PauliModel
from physics.qubits.states import werner

MEMORY = DepolarisingMemory(depolarising_s=1.0)
NODE = NodeHardware(memory=MEMORY, gate_fidelity=0.98)


class EveryHook(PauliModel):
    """Each hook changes what the inherited one returns, and counts its calls."""

    name, reference = "every-hook", None

    def __init__(self):
        super().__init__()
        self.calls = []

    def storage(self, first, second):
        self.calls.append("storage")
        inherited = super().storage(first, second)
        return replace(inherited, per_second=2.0 * inherited.per_second)

    def swap_constants(self, node):
        self.calls.append("swap")
        return replace(super().swap_constants(node), success_probability=0.5)

    def dejmps_terms(self, first, second):
        self.calls.append("dejmps")
        coefficient, kept, spent = super().dejmps_terms(first, second)
        return 0.9 * coefficient, kept, spent

    def bbpssw_map(self, first, second):
        self.calls.append("bbpssw")
        return 0.8 * super().bbpssw_map(first, second)


def test_overridden_hooks_count_at_every_call_and_are_called_once():
    default, model = PauliModel(), EveryHook()
    pair = model.from_density_matrix(werner(0.9))
    for _ in range(2):
        aged = model.age(pair, MEMORY, MEMORY, 0.1)
        assert np.array_equal(aged, default.age(pair, MEMORY, MEMORY, 0.2))
        assert np.array_equal(model.age_many([pair], MEMORY, MEMORY, 0.1)[0], aged)
        assert not model.swap(pair, pair, NODE, 0.6).success
        for protocol, factor in (("dejmps", 0.9), ("bbpssw", 0.8)):
            probabilities = [
                each.distil(pair, pair, NODE, NODE, protocol, 0.0).success_probability
                for each in (default, model)
            ]
            assert probabilities[1] == pytest.approx(factor * probabilities[0], rel=1e-12)
    assert sorted(model.calls) == ["bbpssw", "dejmps", "storage", "swap"]
