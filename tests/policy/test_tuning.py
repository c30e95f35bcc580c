"""Spaces of tunable parameters: what is said with a field is what `tune` reads."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from qdpem.policy.tuning import Choices, Range, search_space, tunable


def test_the_space_is_read_from_the_fields() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        step: float = tunable(0.1, low=1e-3, high=1.0, log=True)
        base_stock_level: int = tunable(1, low=0, high=4, pregeneration="end-to-end")
        unseen: int = tunable(1, low=0, high=2, control="local")
        kept: bool = tunable(True, choices=(True, False))
        margin: float = 0.01

    space = search_space(Parameters, pregeneration="virtual-link", control="local")
    assert space == {
        "step": Range(1e-3, 1.0, log=True),
        "base_stock_level": Range(0, 4),
        "unseen": Range(0, 2),
        "kept": Choices((True, False)),
    }
    assert space["base_stock_level"].whole
    assert not space["step"].whole
    assert Parameters().base_stock_level == 1
    assert search_space(Parameters, pregeneration="end-to-end", control="local") == space
    assert set(search_space(Parameters, pregeneration="link", control="local")) == {"step", "kept", "unseen"}
    assert set(search_space(Parameters, pregeneration="none", control="central")) == {"step", "kept"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"default": 3.0, "low": 0.0, "high": 1.0}, "lies outside"),
        ({"default": 3.0}, "needs low and high, or choices"),
        (
            {"default": 1.0, "low": 0.0, "high": 1.0, "choices": (1.0, 2.0)},
            "needs low and high, or choices",
        ),
        ({"default": 0.5, "low": 0.0, "high": 1.0, "log": True}, "must begin above 0"),
        ({"default": 1.0, "low": 2.0, "high": 1.0}, "low must be below high"),
        ({"default": 1, "choices": (1,)}, "two or more"),
    ],
)
def test_a_wrong_space_is_a_sentence(said: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tunable(**said)
