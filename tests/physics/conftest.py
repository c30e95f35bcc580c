"""Both models, built once: they are stateless but for what they have compiled."""

from __future__ import annotations

import pytest

from physics.models.density_matrix import DensityMatrixModel
from physics.models.pauli import PauliModel


@pytest.fixture(scope="session")
def pauli() -> PauliModel:
    return PauliModel()


@pytest.fixture(scope="session")
def reference() -> DensityMatrixModel:
    return DensityMatrixModel()


@pytest.fixture(scope="session", params=["pauli", "qutip"])
def model(request, pauli, reference):
    return pauli if request.param == "pauli" else reference
