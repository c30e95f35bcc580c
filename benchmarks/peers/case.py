"""The case that all programs of the comparison run: one chain, one standing request between its ends.

Every hop has `memories` qubits at either end. The request takes all pairs that the chain can make, for ever.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

HOP_KM = 20.0
LOSS_DB_PER_KM = 0.2
LIGHT_KM_PER_S = 2e5
FRESH_FIDELITY = 0.98
COHERENCE_S = 1.0
"""Of each stored qubit: it depolarises as e^(-t/T), so a pair's Werner weight falls as e^(-2t/T)."""
MEMORY_EFFICIENCY = DETECTOR_EFFICIENCY = 0.9
SOURCE_HZ = 1e6

_PACKAGES = {"qdpem": "qdpem", "probe": "simpy", "simqn": "qns", "sequence": "sequence"}
"""The package whose version the rows of a program state."""

HOP_S = HOP_KM / LIGHT_KM_PER_S
ATTEMPT_S = 2.0 * HOP_S + 1.0 / SOURCE_HZ
"""One attempt per round trip: there, back, and one pulse."""


def link_success() -> float:
    """Probability that an attempt succeeds: a photon from either end, half of the Bell states identified."""
    arm = MEMORY_EFFICIENCY * DETECTOR_EFFICIENCY * 10.0 ** (-LOSS_DB_PER_KM * HOP_KM / 2.0 / 10.0)
    return 0.5 * arm**2


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run: `simulated_s` are measured, after `warm_up_s` in which the chain fills."""

    nodes: int
    memories: int
    seed: int
    warm_up_s: float
    simulated_s: float

    def __post_init__(self) -> None:
        if self.nodes < 3 or self.memories < 1:
            raise ValueError(
                f"nodes = {self.nodes}, memories = {self.memories}: at least 3 and 1 make a chain"
            )
        if not (self.simulated_s > 0.0 and self.warm_up_s >= 0.0):
            raise ValueError(
                f"simulated_s = {self.simulated_s}, warm_up_s = {self.warm_up_s}: must be above 0"
            )


def asked_case(about: str, *, warm_up_s: float = 0.05) -> Case:
    """The case of the command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--memories", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--warm-up-s", type=float, default=warm_up_s)
    parser.add_argument("--simulated-s", type=float, default=1.0)
    return Case(**vars(parser.parse_args()))


def tell(peer: str, case: Case, *, wall_s: float, fidelities: Sequence[float], events: int) -> None:
    """Print the measurement as one JSON line.

    Args:
        peer: the name of the program.
        case: the case that it has run.
        wall_s: the wall seconds of the measured time.
        fidelities: one for each delivered pair.
        events: the events of the measured time.
    """
    count = len(fidelities)
    spread = statistics.stdev(fidelities) / math.sqrt(count) if count > 1 else None
    print(
        json.dumps(
            {
                "peer": peer,
                "version": f"{_PACKAGES[peer]} {version(_PACKAGES[peer])}",
                "nodes": case.nodes,
                "memories": case.memories,
                "seed": case.seed,
                "simulated_s": case.simulated_s,
                "wall_s": wall_s,
                "delivered": count,
                "mean_fidelity": statistics.fmean(fidelities) if count else None,
                "standard_error": spread,
                "events": events,
            }
        )
    )
