"""Many pairs at once: an optional second seam, and `PauliBatches`, which serves it for `PauliModel`.

A batch is an array whose first axis numbers the pairs. All pairs of one call share their hardware; each has
its own age, outcome and uniform. A single number stands for all pairs alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics.hardware import Memory, NodeHardware
from physics.interface import NO_ATTEMPTS
from physics.pauli import PauliModel
from physics.sampling import check_possible, check_protocol, choose, succeeds

States: TypeAlias = Any
"""n two-qubit states in the model's own form."""

Floats: TypeAlias = NDArray[np.float64]

_NEAR = 1e-12
"""Closer than this to a threshold, the rule of `physics.sampling` decides pair by pair."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SwappedBatch:
    """Swaps' results: bool (n,), int64 (n,) and states. A failed one has outcome -1 and a state of NaN."""

    success: NDArray[np.bool_]
    outcome: NDArray[np.int64]
    state: States


@dataclass(frozen=True, eq=False, kw_only=True)
class DistilledBatch:
    """Distillations' results: bool (n,), float64 (n,) and states; a failed one's state is NaN."""

    success: NDArray[np.bool_]
    success_probability: Floats
    state: States


@runtime_checkable
class BatchedPhysicsModel(Protocol):
    """MUST give for each pair what the `PhysicsModel` of the same name gives, choices included."""

    name: str

    def age_many(
        self,
        states: States,
        first: Memory | None,
        second: Memory | None,
        duration_s: ArrayLike,
        attempts: tuple[ArrayLike, ArrayLike] = NO_ATTEMPTS,
    ) -> States:
        """Store both ends of each pair for its own `duration_s` (n,), with its own `attempts`."""

    def swap_many(
        self,
        left: States,
        right: States,
        node: NodeHardware,
        u: ArrayLike,
        outcome: ArrayLike | None = None,
    ) -> SwappedBatch:
        """Swap each pair of `left` with its own of `right`; `outcome` (n,), 0..3, forces them all."""

    def distil_many(
        self,
        kept: States,
        spent: States,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: ArrayLike,
    ) -> DistilledBatch:
        """One round of `protocol` on each two pairs; succeeds where u < p."""

    def fidelity_many(self, states: States) -> Floats:
        """<Phi+| rho |Phi+> of each, float64 (n,)."""


class PauliBatches:
    """`PauliModel`'s physics on batches of its tables, float64 (n, 4, 4); every result is read-only.

    It shares the model's constants, memories of a subclass's own `decay_of` included, and its choices: a
    pair's outcome and success are those that the model gives for the same uniform. States agree to rounding.

    >>> from physics.hardware import DepolarisingMemory
    >>> model = PauliModel()
    >>> batches = PauliBatches(model)
    >>> memory = DepolarisingMemory(depolarising_s=1.0)
    >>> pairs = np.array([np.diag([1.0, w, -w, w]) for w in (0.9, 0.95)])
    >>> aged = batches.age_many(pairs, memory, memory, [0.0, 0.1])
    >>> swapped = batches.swap_many(aged, pairs, NodeHardware(memory=memory), [0.3, 0.8])
    >>> swapped.outcome.tolist(), batches.fidelity_many(swapped.state).round(6).tolist()
    ([1, 3], [0.8575, 0.804178])
    """

    def __init__(self, model: PauliModel) -> None:
        self._model = model
        self.name = model.name

    def age_many(
        self,
        states: Floats,
        first: Memory | None,
        second: Memory | None,
        duration_s: ArrayLike,
        attempts: tuple[ArrayLike, ArrayLike] = NO_ATTEMPTS,
    ) -> Floats:
        """Store both ends. Raises ValueError for times or attempts below 0 or not finite; wrong shapes."""
        tables = _flat("states", states)
        storage = self._model.storage(first, second)
        count = len(tables)
        durations = _amounts("duration_s", duration_s, count)
        parts = (storage.per_first_attempt, storage.per_second_attempt)
        made = () if attempts is NO_ATTEMPTS else _attempts(attempts, count)
        with np.errstate(over="ignore"):  # to -inf, of which nothing is left
            aged = np.multiply.outer(durations, storage.per_second.ravel())
            for counts, part in zip(made, parts, strict=False):
                aged += np.multiply.outer(counts, part.ravel())
        np.exp(aged, aged)
        if storage.shifted is None or storage.restored is None:
            aged *= tables
        else:
            aged *= tables @ storage.shifted
            aged = aged @ storage.restored
        return _finished(aged)

    def swap_many(
        self,
        left: Floats,
        right: Floats,
        node: NodeHardware,
        u: ArrayLike,
        outcome: ArrayLike | None = None,
    ) -> SwappedBatch:
        """Swap at `node` as `PauliModel.swap` does. Raises its errors, and ValueError for wrong shapes."""
        constants = self._model.swap_constants(node)
        one, other = (_flat(name, t).reshape(-1, 4, 4) for name, t in (("left", left), ("right", right)))
        _same_number("left", one, "right", other)
        if outcome is None:
            seen = (one[:, 0] * other[:, :, 0]) @ constants.weights.T
            found = _drawn(_uniforms(u, len(one)), constants.success_probability, seen)
        else:
            found = _forced(outcome, len(one))
        middles = np.tile(constants.weights, 4)[found].reshape(-1, 4, 4)
        joined = (one * middles) @ other
        success = found >= 0
        probability = np.where(success, joined[:, 0, 0], np.nan)
        if outcome is not None:
            _check_possible(found, probability)
        joined *= np.array(constants.signs)[found]
        joined /= probability[:, None, None]
        success.setflags(write=False)
        found.setflags(write=False)
        return SwappedBatch(success=success, outcome=found, state=_finished(joined))

    def distil_many(
        self,
        kept: Floats,
        spent: Floats,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: ArrayLike,
    ) -> DistilledBatch:
        """One round as `PauliModel.distil` does it. Raises its errors, and ValueError for wrong shapes."""
        check_protocol(protocol)
        one, other = _flat("kept", kept), _flat("spent", spent)
        _same_number("kept", one, "spent", other)
        if protocol == "dejmps":
            terms = zip(*self._model.dejmps_terms(first, second), strict=True)
            flat = sum(
                coefficient.ravel() * one[:, i.ravel()] * other[:, k.ravel()] for coefficient, i, k in terms
            )
        else:
            w, v = _twirled_weights(one), _twirled_weights(other)
            flat = np.stack((np.ones_like(w), w, v, w * v), axis=1) @ self._model.bbpssw_map(first, second)
        probability = flat[:, 0].copy()
        success = _succeed(_uniforms(u, len(one)), probability)
        flat /= np.where(success, probability, np.nan)[:, None]
        success.setflags(write=False)
        probability.setflags(write=False)
        return DistilledBatch(success=success, success_probability=probability, state=_finished(flat))

    def fidelity_many(self, states: Floats) -> Floats:
        """<Phi+| rho |Phi+> = (1 + R_11 - R_22 + R_33)/4 of each, float64 (n,)."""
        tables = _flat("states", states)
        fidelity: Floats = 0.25 * (1.0 + tables[:, 5] - tables[:, 10] + tables[:, 15])
        fidelity.setflags(write=False)
        return fidelity


def _flat(name: str, states: ArrayLike) -> Floats:
    if np.iscomplexobj(states):
        raise ValueError(f"{name} are complex; they must be real, (n, 4, 4): one Pauli table a pair")
    tables = np.asarray(states, dtype=np.float64)
    if tables.ndim != 3 or tables.shape[1:] != (4, 4):
        raise ValueError(f"{name} have shape {tables.shape}; they must be (n, 4, 4): one Pauli table a pair")
    return tables.reshape(len(tables), 16)


def _finished(tables: Floats) -> Floats:
    """A batch to hand out: float64 (n, 4, 4), read-only."""
    finished = tables.reshape(len(tables), 4, 4)
    finished.setflags(write=False)
    return finished


def _same_number(name: str, one: Floats, other_name: str, other: Floats) -> None:
    if len(one) != len(other):
        raise ValueError(f"{other_name} are {len(other)} pairs; they must be {len(one)}, as many as {name}")


def _spread(name: str, values: ArrayLike, count: int) -> NDArray[Any]:
    given = np.asarray(values)
    if given.shape not in ((), (count,)):
        raise ValueError(f"{name} has shape {given.shape}; it must be one number, or ({count},): one a pair")
    return np.broadcast_to(given, (count,))


def _check_all(right: NDArray[np.bool_], name: str, values: NDArray[Any], allowed: str) -> None:
    if not right.all():
        pair = int(np.argmin(right))
        raise ValueError(f"{name} of pair {pair} is {values[pair].item()!r}; it must be {allowed}")


def _amounts(name: str, values: ArrayLike, count: int) -> Floats:
    amounts = _spread(name, values, count).astype(np.float64, copy=False)
    _check_all((amounts >= 0.0) & (amounts < np.inf), name, amounts, "0 or more, and finite")
    return amounts


def _attempts(attempts: tuple[ArrayLike, ArrayLike], count: int) -> tuple[Floats, ...]:
    try:
        first, second = attempts
    except (TypeError, ValueError):
        allowed = "two, one an end: each one number, or one a pair"
        raise ValueError(f"attempts are {attempts!r}; they must be {allowed}") from None
    return _amounts("attempts[0]", first, count), _amounts("attempts[1]", second, count)


def _uniforms(u: ArrayLike, count: int) -> Floats:
    uniforms = _spread("u", u, count).astype(np.float64, copy=False)
    allowed = "0 or more and below 1: a uniform on [0, 1)"
    _check_all((uniforms >= 0.0) & (uniforms < 1.0), "u", uniforms, allowed)
    return uniforms


def _forced(outcome: ArrayLike, count: int) -> NDArray[np.int64]:
    given = _spread("outcome", outcome, count)
    right = np.isin(given, (0, 1, 2, 3)) & (given.dtype.kind in "iu")
    _check_all(right, "outcome", given, "0, 1, 2 or 3 (Phi+, Phi-, Psi+, Psi-)")
    return given.astype(np.int64)


def _drawn(u: Floats, success_probability: float, probabilities: Floats) -> NDArray[np.int64]:
    """Each pair's outcome, -1 when its swap fails: `physics.sampling.choose` with the outcomes' (n, 4)."""
    lucky = u < success_probability
    remainder = np.divide(u, success_probability, out=np.ones_like(u), where=lucky)
    gap = np.cumsum(probabilities, axis=1) - remainder[:, None]
    above = gap > 0.0
    found = np.where(above[:, 3], above.argmax(axis=1), -1)
    for pair in np.flatnonzero((np.abs(gap) <= _NEAR).any(axis=1)):
        choice = choose(float(remainder[pair]), probabilities[pair].tolist())
        found[pair] = -1 if choice is None else choice
    return np.where(lucky, found, -1)


def _succeed(u: Floats, probability: Floats) -> NDArray[np.bool_]:
    gap = probability - u
    success: NDArray[np.bool_] = gap > 0.0
    for pair in np.flatnonzero(np.abs(gap) <= _NEAR):
        success[pair] = succeeds(float(u[pair]), float(probability[pair]))
    return success


def _check_possible(outcome: NDArray[np.int64], probability: Floats) -> None:
    if len(outcome):
        pair = int(np.argmin(probability))
        check_possible(int(outcome[pair]), float(probability[pair]))


def _twirled_weights(tables: Floats) -> Floats:
    """The weights of the Werner states of the same fidelities, (n,)."""
    weights: Floats = (tables[:, 5] - tables[:, 10] + tables[:, 15]) / 3.0
    return weights
