"""Reliability against a least-squares slope, and what a site without history believes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdpem.policies.dpem.reliability import Reliability
from qdpem.policies.inventory.expected_needs import PeerKind

PEERS = [PeerKind(0, destination, 0.7, 1) for destination in (1, 2, 3)]
_KEPT, _PRIOR = 0.98, 0.05

step = st.tuples(
    st.lists(st.floats(0.0, 3.0), min_size=3, max_size=3), st.lists(st.integers(0, 4), min_size=3, max_size=3)
)


@given(st.lists(step, min_size=1, max_size=30))
def test_reliability_is_the_faded_least_squares_slope_through_zero(
    steps: list[tuple[list[float], list[int]]],
) -> None:
    """One step of the past counts .98 of the next, and a belief of slope 1 weighs .05."""
    reliability = Reliability(2)
    for expected, came in steps:
        reliability.next_step(0, dict(zip(PEERS, expected, strict=True)))
        for peer, count in zip(PEERS, came, strict=True):
            for _ in range(count):
                reliability.count(0, peer)
    reliability.next_step(0, {})
    weight = np.repeat(_KEPT ** np.arange(len(steps) - 1, -1, -1.0), 3)
    x = np.array([value for expected, _ in steps for value in expected])
    y = np.array([float(value) for _, came in steps for value in came])
    root = np.sqrt(np.append(weight, _PRIOR))
    slope = np.linalg.lstsq((root * np.append(x, 1.0))[:, None], root * np.append(y, 1.0), rcond=None)[0][0]
    assert reliability.of(0) == pytest.approx(float(np.clip(slope, 0.0, 2.0)), rel=1e-9)
    # The other site has seen nothing.
    assert reliability.of(1) == 1.0


def test_what_nobody_expected_does_not_count_and_the_past_fades() -> None:
    reliability = Reliability(1)
    for _ in range(400):
        reliability.next_step(0, {PEERS[0]: 1.0})
        reliability.count(0, PEERS[1])
    assert reliability.of(0) < 0.01
    for _ in range(400):
        reliability.next_step(0, {PEERS[0]: 1.0})
        reliability.count(0, PEERS[0])
    assert reliability.of(0) > 0.98


def test_a_saved_reliability_goes_on_as_the_first() -> None:
    first, second = Reliability(2), Reliability(2)
    first.next_step(0, {PEERS[0]: 0.5, PEERS[1]: 0.25})
    first.count(0, PEERS[1])
    second.load_state({name: array.copy() for name, array in first.state().items()})
    for reliability in (first, second):
        reliability.count(0, PEERS[0])
        reliability.next_step(0, {})
    assert first.of(0) == second.of(0) != 1.0
