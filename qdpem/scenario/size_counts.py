"""What a run counts: kinds of things, the settings that cause them, and the memory that they take."""

from __future__ import annotations

import math
from dataclasses import dataclass

WARN_BYTES = 4 * 2**30
WARN_COUNT = 1e9
"""A run that counts more of one thing takes about an hour or more: a microsecond or several for each."""
MAX_COUNT = 1e12
"""At a microsecond each these take eleven days."""
WARN_SETUP_S = 60.0
_BASE_BYTES = 180e6
"""Python with its packages."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A factor of a count, with its value in scenarios of ordinary size.

    `given` is the setting as the scenario has it, where that is not the factor itself.
    """

    key: str
    value: float
    ordinary: float
    given: float | None = None

    @property
    def excess(self) -> float:
        """How many times as large as ordinary it is."""
        return self.value / self.ordinary


@dataclass(frozen=True, kw_only=True)
class SizeCount:
    """One kind of thing that a run counts, and the settings of which the count is the product."""

    name: str
    settings: tuple[Setting, ...]
    bytes_each: float = 0.0

    @property
    def count(self) -> float:
        """How many there are."""
        return math.prod(setting.value for setting in self.settings)

    @property
    def memory_bytes(self) -> float:
        """What all of them take."""
        return self.count * self.bytes_each

    @property
    def driver(self) -> Setting:
        """The setting that is largest for its kind."""
        return max(self.settings, key=lambda setting: setting.excess)

    def __str__(self) -> str:
        driver = self.driver
        given = driver.value if driver.given is None else driver.given
        return f"{self.count:.2g} {self.name}, because {driver.key} is {given:.4g}"


@dataclass(frozen=True, kw_only=True)
class SizeEstimate:
    """The parts of a run, and the seconds that pass before its first simulated second."""

    parts: tuple[SizeCount, ...]
    setup_s: float
    setup_key: str

    @property
    def memory_bytes(self) -> float:
        """The memory of one run."""
        return _BASE_BYTES + sum(part.memory_bytes for part in self.parts)

    @property
    def largest(self) -> SizeCount:
        """The part that takes most memory."""
        return max(self.parts, key=lambda part: part.memory_bytes)

    @property
    def most(self) -> SizeCount:
        """The part with the highest count."""
        return max(self.parts, key=lambda part: part.count)

    def warnings(self) -> tuple[str, ...]:
        """A sentence for memory, counts and set-up, as far as they are above their thresholds."""
        sentences = []
        if self.memory_bytes > WARN_BYTES:
            sentences.append(
                f"it will need about {gib_text(self.memory_bytes)} GiB of memory: {self.largest}"
            )
        if self.most.count > WARN_COUNT:
            sentences.append(f"it will take long: {self.most}")
        if self.setup_s > WARN_SETUP_S:
            minutes = self.setup_s / 60.0
            sentences.append(
                f"it will take about {minutes:.2g} minutes or more before it begins: {self.setup_key}"
            )
        return tuple(sentences)


def gib_text(number: float) -> str:
    """Bytes as GiB, in three digits."""
    return f"{number / 2**30:.3g}"
