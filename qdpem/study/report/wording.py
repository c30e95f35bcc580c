"""Numbers and lists as sentences and tables say them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """How many, in words.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def p_text(value: float) -> str:
    """A p-value as tables and sentences print it.

    >>> p_text(0.0002), p_text(0.04)
    ('< 0.001', '0.040')
    """
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
