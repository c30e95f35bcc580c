"""Numbers, lists and arms as words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qdpem.scenario.schema import Arm


def counted(number: int, noun: str) -> str:
    """A number and its noun, singular or plural.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def p_text(value: float) -> str:
    """A p-value as text.

    >>> p_text(0.0002), p_text(0.04)
    ('< 0.001', '0.040')
    """
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def arm_factors(arm: Arm, between: str = " · ") -> str:
    """An arm's control, pregeneration, forecaster and policy, with `between` in their middle.

    >>> arm_factors(Arm(name="a", policy="dpem", control="local", pregeneration="link", forecaster="gru"))
    'local · link · gru · dpem'
    """
    return f"{arm.control} · {arm.pregeneration}{between}{arm.forecaster} · {arm.policy}"
