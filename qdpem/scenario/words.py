"""The words a scenario chooses from, one enumeration per list.

A word is a string: `Control.LOCAL == "local"`, and TOML, JSON and HDF5 store it as such. Its `code` is its
place in the list, which is what columns of event tables and arrays of requests store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """A word from a list, with `code`, its place in the list.

    >>> Application.QKD.code, Application("computing").code, f"{Control.LOCAL!r}"
    (2, 1, "'local'")
    """

    code: int

    def __init__(self, _word: str) -> None:
        # A plain attribute: a property would cost a call at every row that is written.
        self.code = len(type(self).__members__)

    # Messages show a word as a user types it.
    __repr__ = str.__repr__

    @classmethod
    def from_code(cls, code: int) -> Self:
        """The word that a column stores as `code`."""
        return list(cls)[code]


class OrderedWord(Word):
    """A word from a list in which each word includes those before it."""

    def at_least(self, other: Self) -> bool:
        """Whether this word includes all that `other` stands for.

        >>> Pregeneration.END_TO_END.at_least(Pregeneration.LINK)
        True
        """
        return self.code >= other.code


class Control(Word):
    """The decision makers: every node for its own requests, or one controller for all."""

    LOCAL = "local"
    CENTRAL = "central"


class Pregeneration(OrderedWord):
    """The pairs that an arm may generate before any request needs them; each word includes those before it.

    None; pairs on single links; pairs between any two nodes, each of which serves a whole path; pairs between
    any two nodes as virtual links, which are steps of longer paths.
    """

    NONE = "none"
    LINK = "link"
    END_TO_END = "end-to-end"
    VIRTUAL_LINK = "virtual-link"


class Cleaning(Word):
    """What happens to a map with parallel links, loops, several parts or nodes without a position.

    It is refused; or it is mended by the rules of `qdpem.network.maps.cleaning`.
    """

    NONE = "none"
    STANDARD = "standard"


class PositionUnit(Word):
    """The unit of positions in a map: longitude and latitude in degrees, or x and y in km."""

    DEGREES = "degrees"
    KM = "km"


class Application(Word):
    """The purpose of a request's pairs. Pairs for quantum key distribution are measured without waiting."""

    TELEPORTATION = "teleportation"
    COMPUTING = "computing"
    QKD = "qkd"


class Repetition(Word):
    """The part of a request that starts again by itself until its deadline.

    None; the next pair when the last one is delivered; every link as soon as its qubits are free.
    """

    NO = "no"
    PAIR = "pair"
    LINK = "link"


class RepeaterKind(Word):
    """How a repeater limits its swaps per second: by tokens, or by serving one swap at a time."""

    TOKEN_BUCKET = "token-bucket"
    SERVER = "server"


class SwapOrder(Word):
    """When a repeater swaps: as soon as possible, by halves of the path, or from the source onwards."""

    ASAP = "asap"
    NESTED = "nested"
    LEFT_TO_RIGHT = "left-to-right"


class Arrivals(Word):
    """When requests arrive: as a Poisson process, or all at t = 0."""

    POISSON = "poisson"
    BATCH = "batch"


class DemandWeights(Word):
    """How requests are distributed over the pairs of nodes."""

    MATRIX = "matrix"
    UNIFORM = "uniform"
    NEIGHBOURHOOD = "neighbourhood"
    ENDPOINTS = "endpoints"


class BurstTiming(Word):
    """When bursts start: by a calendar, at random in each region, or at random and then region by region."""

    CALENDAR = "calendar"
    MEMORYLESS = "memoryless"
    CASCADING = "cascading"


class OutageKind(Word):
    """The resource that an outage makes unavailable."""

    LINK = "link"
    NODE = "node"
    CONTROLLER = "controller"


class RecordLevel(OrderedWord):
    """How much a record keeps: requests only, all events, or also every observation."""

    REQUESTS = "requests"
    EVENTS = "events"
    FULL = "full"


class Credit(Word):
    """What a decision of `dpem` is credited with in training: its own lineage, or all that its node earns."""

    LINEAGE = "lineage"
    DISCOUNTED = "discounted"


class Trainable(Word):
    """Which weights of the cloned networks are trained further: those linear in the score, or all."""

    HEAD = "head"
    ALL = "all"


class Aggregation(Word):
    """How a training makes one step of the updates of all nodes."""

    MEAN = "mean"
    TRIMMED_MEAN = "trimmed-mean"
    COORDINATE_MEDIAN = "coordinate-median"


class NoiseOrigin(Word):
    """Where the noise of differential privacy is added: to the sum of all updates, or to every update."""

    CENTRAL = "central"
    CLIENT = "client"


class NoiseSource(Word):
    """What the noise is drawn from: the seed, which repeats it, or the operating system, which does not."""

    SEED = "seed"
    SYSTEM = "system"


class Attack(Word):
    """What hostile nodes of a training report: their update reversed, magnified, or of false returns."""

    SIGN_FLIP = "sign-flip"
    SCALED = "scaled"
    POISONED_REWARD = "poisoned-reward"


class Sampling(Word):
    """How the nodes of a round are drawn: a fixed number of them, or each by itself (Poisson)."""

    FIXED_SIZE = "fixed-size"
    POISSON = "poisson"


class BoundKind(Word):
    """Which upper bounds a study computes: none, the flow bound, or the flow bound and the bounds in time."""

    NONE = "none"
    FLOW = "flow"
    TIME = "time"


class Engine(Word):
    """How a study runs its tasks: one after the other, or in worker processes."""

    SERIAL = "serial"
    LOKY = "loky"


class NodeMap(Word):
    """How the nodes of a trace are found in the network: by name, or the busiest where most links are."""

    NAME = "name"
    RANK = "rank"


class TraceGaps(Word):
    """What takes the place of intervals and cells that a trace lacks: an error, the value before, a line."""

    REFUSE = "refuse"
    REPEAT = "repeat"
    INTERPOLATE = "interpolate"
