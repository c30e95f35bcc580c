"""When a training ends: convergence by the held-out score; and its curve for TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import MissingPackagesError, ScenarioError
from qdpem.policies.dpem.training.course import tensorboard
from qdpem.policies.dpem.training.course.convergence import converged_row, first_converged, shall_end
from qdpem.policies.dpem.training.course.state import CurveRow
from qdpem.rng import stream
from qdpem.scenario.schema import Training
from tests.helpers.dpem import tiny_scenario


def curve(scores: list[float]) -> list[CurveRow]:
    return [
        CurveRow(
            round=number,
            decisions=10 * number,
            simulated_s=60.0 * (number + 1),
            delivery_ratio=0.5,
            contended_claims_per_request=0.0,
            mean_reward=0.0,
            held_out_delivery=score,
        )
        for number, score in enumerate(scores)
    ]


def test_convergence_is_the_first_score_that_stays_by_its_definition() -> None:
    """By trying every place: all later scores within 5 % of the mean of the last fifth."""
    for case in range(200):
        generator = stream(case, "test/convergence")
        count = int(generator.integers(1, 16))
        scores = (0.7 + 0.05 * generator.normal(size=count) / np.arange(1, count + 1)).tolist()
        level = np.mean(scores[count - math.ceil(count / 5) :])
        stays = [
            all(abs(score - level) <= 0.05 * level for score in scores[place:]) for place in range(count)
        ]
        expected = stays.index(True) if any(stays) and count >= 5 else None
        assert first_converged(scores) == expected


def test_a_training_stops_when_its_score_has_stayed_and_not_before() -> None:
    settings = Training(rounds=100, evaluation_rounds=2, stop_evaluations=4)
    nan = math.nan
    rising = [nan, 0.2, nan, 0.5, nan, 0.69, nan, 0.70, nan, 0.71, nan]
    assert not shall_end(curve(rising), settings)
    assert shall_end(curve([*rising, 0.70]), settings)
    assert not shall_end(curve([*rising, 0.70]), Training(rounds=100))
    row = converged_row(curve([*rising, 0.70]))
    assert row is not None
    assert row.round == 5
    assert shall_end(curve([nan] * 100), settings)
    assert converged_row(curve([nan])) is None


def test_stopping_by_a_score_needs_scores() -> None:
    with pytest.raises(ScenarioError, match="evaluation_rounds must be 1 or more"):
        tiny_scenario("training.stop_evaluations=3")


def test_without_tensorboard_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdpem.extras.find_spec", lambda name: None if name == "tensorboard" else name)
    with pytest.raises(MissingPackagesError, match=r'pip install "qdpem\[tensorboard\]"'):
        tensorboard.require_tensorboard()


def test_a_curve_that_goes_on_is_one_curve_in_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = curve([0.4, math.nan, 0.6])
    with tensorboard.tensorboard_rows(tmp_path, []) as write:
        write(rows[0])
    with tensorboard.tensorboard_rows(tmp_path, rows[:1]) as write:
        write(rows[1])
        write(rows[2])
    events = EventAccumulator(str(tmp_path)).Reload()
    shown = [(event.step, round(event.value, 6)) for event in events.Scalars("training/simulated_s")]
    assert shown == [(0, 60.0), (1, 120.0), (2, 180.0)]
    assert [event.step for event in events.Scalars("training/held_out_delivery")] == [0, 2]
