"""The errors of qdpem. A message states the fault, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from physics import errors
from physics.errors import nearest

__all__ = [
    "Fault",
    "ForecastError",
    "MissingPackagesError",
    "PluginError",
    "PolicyError",
    "QdpemError",
    "RecordError",
    "ScenarioError",
    "SizeError",
    "StudyError",
    "UnknownNameError",
    "is_text",
    "nearest",
]


def is_text(value: str) -> bool:
    """Whether a record can hold `value`: UTF-8 without NUL, which ends a text in HDF5.

    >>> is_text("Zürich"), is_text("a\\0b"), is_text("\\ud800")
    (True, False, False)
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


class QdpemError(Exception):
    """Anything a user of qdpem can cause and mend; `qdpem` prints it without a traceback."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the constructor with the message alone, which fails or garbles an error that comes
        # back from a worker process.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[QdpemError], args: tuple[Any, ...], values: dict[str, Any]) -> QdpemError:
    """An error as it was, without a call of its constructor."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(values)
    return error


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a scenario: the dotted path of the value and a sentence."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ScenarioError(QdpemError):
    """A scenario with one or more faults, all of them listed."""

    def __init__(self, faults: Sequence[Fault], *, origin: str = "the scenario") -> None:
        self.faults = tuple(faults)
        self.origin = origin
        count = "one fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{origin} has {count}:\n{lines}")


class UnknownNameError(QdpemError, errors.UnknownNameError):
    """A name that is not registered; the message suggests the nearest registered one.

    `renamed` is the name that took its place, if there is one.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, renamed: str | None = None) -> None:
        super().__init__(kind, name, known)
        if renamed is not None:
            # Replaces the message, which the base class has put together without the new name.
            self.args = (f"no {kind} is called {name!r}; it is now {renamed!r}",)


class MissingPackagesError(QdpemError):
    """Work that needs packages which are not installed; the message names the extra that installs them."""

    def __init__(self, user: str, packages: Sequence[str], *, extra: str) -> None:
        self.user, self.packages, self.extra = user, tuple(packages), extra
        super().__init__(f'{user} needs {", ".join(packages)}; install with: pip install "qdpem[{extra}]"')


class PolicyError(QdpemError):
    """A decision that breaks a rule; the message names the policy, the time and the rule."""


class ForecastError(QdpemError):
    """A forecast that breaks a rule; the message names the forecaster, the time, the node and the value."""


class PluginError(QdpemError):
    """Code of a plugin raised an error; the message names its package and the line."""


class RecordError(QdpemError):
    """A record that cannot be written or read."""


class SizeError(QdpemError):
    """A run that is larger than the machine; the message names the number and the key that drives it."""


class StudyError(QdpemError):
    """A study, training or command that cannot go on."""
