"""The table of a class of requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.fields import CHECKED, Positive, QubitCount
from qdpem.scenario.words import Application, Repetition


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RequestClass:
    """One kind of request and its fraction of all requests."""

    application: Application
    """What the pairs are for. Pairs for "qkd" are measured without waiting."""
    fraction: Positive
    """Fraction of all requests; the fractions of all classes sum to 1."""
    target_fidelity: Annotated[float, Field(gt=0.5, lt=1)]
    """Lowest true fidelity that satisfies the request; for qkd above 0.835."""
    patience_s: Positive
    """Time from a request's arrival to its deadline."""
    pairs: QubitCount = 1
    """Pairs requested at once."""
    repeat_until_deadline: Repetition = Repetition.NO
    """Whether a request asks again until its deadline, for `pairs` at a time, each delivered by itself.
    "pair" begins the next pair when the last was delivered; "link" keeps every link generating."""
