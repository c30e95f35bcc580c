"""The policy `dpem`: every node scores its own candidate allocations with a small shared network.

Source: Distributed Predictive Entanglement Management, the paper whose claim is tested, which leaves most of
the method open; proximal policy optimisation (Schulman et al. 2017).
Knowledge: the map, its own status, aged reports of neighbours, its stock and the forecast of its own demand.
Work: one pass of a small network over all candidates of all sites that are asked.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.errors import PolicyError
from qdpem.policies.dpem.actor_critic import (
    ACTOR,
    CRITIC,
    SHAPES,
    Weights,
    probabilities,
    sample,
    scores,
    stacked,
    values,
)
from qdpem.policies.dpem.candidates import CandidateBuilder, Candidates
from qdpem.policies.dpem.features import FEATURES
from qdpem.policies.dpem.slots import SLOTS
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.rng import move_to, position
from qdpem.scenario.words import Control, Pregeneration

RELEASED = Path(__file__).parent / "released" / "dpem.npz"
FORMAT = "qdpem-policy-1"


class Dpem:
    """Acts at every node with one shared scoring network, trained by proximal policy optimisation.

    The option of each slot is drawn, by the site's own stream, from the masked softmax of its scores divided
    by `temperature`. If `greedy`, it is the option of the highest score. `reset` raises PolicyError for
    central control and for a policy file that is missing or invalid.
    """

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """Which trained policy acts, and how it chooses."""

        policy_file: str = ""
        """Path of an .npz file that `qdpem train` wrote; "" is the released policy."""
        greedy: bool = False
        """Whether the most probable candidate is always taken. Otherwise candidates are sampled."""
        temperature: float = 0.5
        """Temperature of the sampling, above 0. Training samples at 1. On tuning seeds, 0.5 delivered as much
        with less contention."""

        def __post_init__(self) -> None:
            if not self.temperature > 0.0:
                raise ValueError(f"temperature is {self.temperature!r}; it must be above 0")

    name: ClassVar[str] = "dpem"
    family: ClassVar[str] = "dpem"
    control: ClassVar[Control] = Control.LOCAL
    pregeneration: ClassVar[Pregeneration] = Pregeneration.END_TO_END
    forecaster: ClassVar[str] = "gru"
    acts_every_epoch: ClassVar[bool] = True
    message_width: ClassVar[int] = 0

    def __init__(self, parameters: Dpem.Parameters | None = None, *, weights: Weights | None = None) -> None:
        """`weights`: stacked weights [N, ...] to use instead of a file's; critics are optional."""
        self.parameters = parameters or Dpem.Parameters()
        self._fixed_weights = weights
        self._weights: Weights = {}

    def reset(self, context: Context) -> None:
        """Begin a run on the network of `context`; forget the last one."""
        if context.control != "local":
            raise PolicyError(
                f"policy 'dpem' decides at every node; control is {context.control!r}, it must be 'local'"
            )
        nodes = context.network.node_count
        if self._fixed_weights is None:
            self._weights = stacked(load_actor(self.parameters.policy_file), nodes=nodes)
        else:
            self._set_weights(self._fixed_weights)
            count = len(self._weights[ACTOR[0]])
            if count != nodes:
                raise PolicyError(f"policy 'dpem' has weights for {count} nodes; the network has {nodes}")
        self._builder = CandidateBuilder(context)
        self._streams = [context.site_stream(site) for site in range(nodes)]

    def act(self, observations: Observation) -> Decisions:
        """Score and choose for all sites of `observations.site`, each from its own row."""
        candidates = self._builder.build(observations)
        option, log_probability = self._choose(observations, candidates)
        allocations: list[Allocation] = []
        for index, slot in enumerate(candidates.slots):
            chosen = int(option[slot.row, slot.number])
            allocation = self._builder.allocation(candidates, index, chosen, observations.time_s)
            if allocation is not None:
                allocations.append(allocation)
        info = {
            "option": option,
            "log_probability": log_probability,
            "value": self._values(observations, candidates),
            "mask": candidates.mask,
            "features": candidates.features,
            "site_features": candidates.site_features,
        }
        return Decisions(allocations=tuple(allocations), info=info)

    def files(self) -> dict[str, Path]:
        """The policy file, which every record of a run embeds."""
        return {"policy.npz": Path(self.parameters.policy_file or RELEASED)}

    def state(self) -> dict[str, NDArray[Any]]:
        """The stacked weights, each site's memory of this run, and its stream position, uint64 [N, 6]."""
        draws = np.stack([position(stream) for stream in self._streams])
        return {**self._weights, **self._builder.finder.state(), "draws": draws}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a state, after `reset`. Raises PolicyError for a missing array or one of a wrong shape."""
        self._set_weights(state)
        self._builder.finder.load_state(state)
        for stream, drawn in zip(self._streams, state["draws"], strict=True):
            move_to(stream, drawn)

    def _set_weights(self, state: Mapping[str, NDArray[Any]]) -> None:
        _require_shapes(
            {name: state[name][0] if name in state else None for name in ACTOR}, origin="the given state"
        )
        self._weights = {name: np.asarray(state[name]) for name in (*ACTOR, *CRITIC) if name in state}

    def _choose(self, observations: Observation, candidates: Candidates) -> tuple[NDArray[np.int64], Floats]:
        """Options int64 [S, SLOTS] and the log-probability [S] of each site's whole decision.

        Slots are drawn independently, so a decision's log-probability is the sum over its slots.
        """
        option = np.zeros((len(observations), SLOTS), dtype=np.int64)
        log_probability = np.zeros(len(observations))
        rows, numbers = np.nonzero(candidates.mask.any(axis=2))
        if not len(rows):
            return option, log_probability
        mask = candidates.mask[rows, numbers]
        score = scores(self._weights, observations.site[rows], candidates.features[rows, numbers])
        probability = probabilities(score / self.parameters.temperature, mask)
        if self.parameters.greedy:
            chosen = np.where(mask, score, -np.inf).argmax(axis=1)
        else:
            # A site draws SLOTS numbers whenever it has a choice, so that the draws do not depend on which
            # slots are in use, and none depends on another site.
            u = np.zeros((len(observations), SLOTS))
            for row in np.unique(rows).tolist():
                u[row] = self._streams[int(observations.site[row])].random(SLOTS)
            chosen = sample(probability, u[rows, numbers])
        option[rows, numbers] = chosen
        # `rows` repeats a site once for each of its slots, which plain indexed addition would count once.
        np.add.at(log_probability, rows, np.log(probability[np.arange(len(rows)), chosen]))
        return option, log_probability

    def _values(self, observations: Observation, candidates: Candidates) -> Floats:
        """Each site's normalised value [S]; NaN without critics, which are never released."""
        if CRITIC[0] not in self._weights:
            return np.full(len(observations), np.nan)
        return values(self._weights, observations.site, candidates.site_features)


def load_actor(policy_file: str) -> Weights:
    """The shared actor of a policy file, "" for the released one. Raises PolicyError for an invalid file."""
    path = Path(policy_file) if policy_file else RELEASED
    if not path.is_file():
        raise PolicyError(f"policy 'dpem' finds no policy file {path}; make one with `qdpem train SCENARIO`")
    arrays = _read(path)
    file_format = str(arrays.get("format", "none"))
    if file_format != FORMAT:
        raise PolicyError(f"{path} has format {file_format!r}; a policy file of this version has {FORMAT!r}")
    if tuple(arrays.get("features", np.array([])).tolist()) != FEATURES:
        raise PolicyError(f"{path} was trained on other features than this version's; train it again")
    _require_shapes({name: arrays.get(name) for name in ACTOR}, origin=str(path))
    return {name: arrays[name].astype(np.float64) for name in ACTOR}


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # NpzFile, not np.load: the latter takes a file that is no zip for a pickle and reports only that.
        with path.open("rb") as raw, np.lib.npyio.NpzFile(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PolicyError(f"{path} is not a policy file (.npz): {error}") from error


def save_actor(path: Path, actor: Weights, *, scenario: str, statement: str) -> None:
    """Write one shared actor as a policy file, whole or not at all. Equal weights give equal bytes."""
    # Single precision, as in training; it halves the file.
    arrays: dict[str, Any] = {name: actor[name].astype(np.float32) for name in ACTOR}
    partial = path.with_name(f".{path.stem}.partial.npz")
    np.savez(
        partial,
        format=np.array(FORMAT),
        features=np.array(FEATURES),
        scenario=np.array(scenario),
        statement=np.array(statement),
        **arrays,
    )
    os.replace(partial, path)


def _require_shapes(actor: Mapping[str, NDArray[Any] | None], *, origin: str) -> None:
    for name in ACTOR:
        array = actor[name]
        shape = None if array is None else array.shape
        if shape != SHAPES[name]:
            raise PolicyError(f"{origin} has {name} of shape {shape}; it must be {SHAPES[name]}")
