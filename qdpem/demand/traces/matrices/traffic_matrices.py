"""A series of traffic matrices as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import QdpemError


@dataclass(frozen=True, eq=False, kw_only=True)
class TrafficMatrices:
    """Traffic between N nodes in T intervals of equal length without a gap.

    `volume` float64 [T, N, N]: traffic from node i (row) to node j (column) in each interval, 0 or more, with
    zero diagonal, in `unit`. It is dense: the longest public series, 48 096 matrices of 12 nodes, takes
    55 MB.
    `time_s` float64 [T]: start of each interval in seconds of the trace; the first is 0. `step_s`: length of
    an interval. `unit`: as the file states it, "not stated" if it states none. `origin`: the file, and whom
    it names as its source. `notes`: one sentence for everything that was left out, filled or changed since.

    Raises QdpemError for arrays that break one of these rules. The arrays become read-only.
    """

    node_names: tuple[str, ...]
    time_s: Floats
    step_s: float
    volume: Floats
    unit: str
    origin: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        nodes, intervals = len(self.node_names), len(self.time_s)
        if nodes < 2 or len(set(self.node_names)) < nodes:
            raise QdpemError(
                f"the traffic of {self.origin} has {nodes} nodes with {len(set(self.node_names))} names;"
                " should be two or more nodes with a name each"
            )
        check_regular_times(self.time_s, self.step_s, self.origin)
        if self.volume.shape != (intervals, nodes, nodes):
            raise QdpemError(
                f"the traffic of {self.origin} has the shape {self.volume.shape}; should be"
                f" {(intervals, nodes, nodes)}: intervals, nodes, nodes"
            )
        wrong = ~(np.isfinite(self.volume) & (self.volume >= 0.0))
        wrong |= np.eye(nodes, dtype=np.bool_) & (self.volume != 0.0)
        if wrong.any():
            interval, source, destination = (int(index) for index in np.argwhere(wrong)[0])
            names = f"{self.node_names[source]}>{self.node_names[destination]}"
            should = "0, as a node asks itself for nothing" if source == destination else "0 or more"
            raise QdpemError(
                f"the traffic {names} of {self.origin} at {self.time_s[interval]:g} s is"
                f" {self.volume[interval, source, destination]:g}; should be {should}"
            )
        self.time_s.flags.writeable = self.volume.flags.writeable = False


def check_regular_times(time_s: Floats, step_s: float, origin: str) -> None:
    """Raise QdpemError unless there are times, and they are 0, step_s, 2 step_s and so on."""
    if not len(time_s) or not step_s > 0.0 or not np.isfinite(step_s):
        raise QdpemError(
            f"the traffic of {origin} has {len(time_s)} intervals of {step_s:g} s; should be one or more"
            " of a length above 0"
        )
    # Compressed times are quotients, which round.
    off = np.abs(time_s - step_s * np.arange(len(time_s))) > 1e-6 * step_s
    if off.any():
        index = int(off.argmax())
        raise QdpemError(
            f"interval {index + 1} of {origin} starts at {time_s[index]:g} s; should be {step_s * index:g} s"
        )
