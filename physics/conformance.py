"""The laws that any physics model must keep: run your own model through them with `check_model`.

A model with an attribute `exact = True` claims to represent every two-qubit state and to carry out every
operation exactly; it is also held to the QuTiP reference. Other models (say, a Werner simplification) are
asked only for what holds of their own states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from physics import links, states
from physics.hardware import DepolarisingMemory, Memory, NodeHardware, RelaxingMemory, SourceLink
from physics.interface import DensityMatrix, PhysicsModel, State

TOLERANCE = 1e-9
"""What a law may be missed by."""
EXACT_TOLERANCE = 1e-12
"""What a model that claims exactness may differ from the reference by."""

_DEPOLARISING = DepolarisingMemory(depolarising_s=2.0)
_RELAXING = RelaxingMemory(relaxation_s=1.5, dephasing_s=0.8)
_SLOW_DEPHASING = RelaxingMemory(relaxation_s=0.6, dephasing_s=1.2)
_MEMORIES: tuple[Memory | None, ...] = (None, _DEPOLARISING, _RELAXING, _SLOW_DEPHASING)
_PERFECT = NodeHardware(memory=_DEPOLARISING)
_NOISY = NodeHardware(memory=_DEPOLARISING, gate_fidelity=0.97, readout_fidelity=0.98)
_LOSSY = NodeHardware(
    memory=_RELAXING, swap_success_probability=0.5, gate_fidelity=0.9, readout_fidelity=0.95
)
_NODES = (_PERFECT, _NOISY, _LOSSY)
_LINK = SourceLink(efficiency=0.7, fresh_fidelity=0.93)

Deviation = tuple[float, str]
"""How far something is from what the law says, and where."""


@dataclass(frozen=True)
class Check:
    """One law: whether it held, the worst deviation seen, and where that was or what was raised."""

    law: str
    passed: bool
    worst: float
    detail: str


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What every law gets: the model, matrices to try, and the model's own states of them."""

    model: PhysicsModel
    matrices: tuple[DensityMatrix, ...]

    def states(self) -> list[State]:
        return [self.model.from_density_matrix(matrix) for matrix in self.matrices]

    def gap(self, one: State, other: State) -> float:
        difference = self.model.density_matrix(one) - self.model.density_matrix(other)
        return float(np.abs(difference).max())

    def results(self) -> Iterator[tuple[str, State]]:
        """A state out of every operation, over states and hardware."""
        model, own = self.model, self.states()
        yield "link", model.link(_LINK, 25.0).fresh
        for number, (state, other) in enumerate(pairwise(own)):
            yield f"from_density_matrix, state {number}", state
            yield f"flip, state {number}", model.flip(state)
            for first, second in product(_MEMORIES, _MEMORIES):
                yield f"age, state {number}, {first}, {second}", model.age(state, first, second, 0.37)
            for node, outcome in product(_NODES, range(4)):
                swapped = model.swap(state, other, node, 0.0, outcome)
                yield f"swap, state {number}, outcome {outcome}, {node}", swapped.state
            for first_node, second_node in product(_NODES, _NODES):
                distilled = model.distil(state, other, first_node, second_node, "dejmps", 0.0)
                yield f"distil, state {number}, {first_node}, {second_node}", distilled.state


Law = Callable[[_Bench], Iterator[Deviation]]


def check_model(model: PhysicsModel, *, rng_seed: int = 0) -> tuple[Check, ...]:
    """Put `model` through every law on random full-rank states drawn from `rng_seed`; one Check per law.

    Nothing is raised for a model that breaks a law: an exception out of it is a failed check that says so.

    >>> from physics.pauli import PauliModel
    >>> all(check.passed for check in check_model(PauliModel()))
    True
    """
    generator = np.random.default_rng(rng_seed)
    special = (states.bell_state(0), states.werner(0.8), states.bell_diagonal((0.7, 0.15, 0.1, 0.05)))
    random = tuple(states.random_state(generator) for _ in range(3))
    bench = _Bench(model=model, matrices=(*special, *random))
    checks = [_judge(law, rule, bench, TOLERANCE) for law, rule in _LAWS.items()]
    if getattr(model, "exact", False) and not _is_reference(model):
        checks.append(_judge("agrees with the QuTiP reference", _agreement, bench, EXACT_TOLERANCE))
    return tuple(checks)


def _is_reference(model: PhysicsModel) -> bool:
    from physics.density_matrix import DensityMatrixModel

    return type(model) is DensityMatrixModel


def _judge(law: str, rule: Law, bench: _Bench, tolerance: float) -> Check:
    worst, where = 0.0, ""
    try:
        for deviation, place in rule(bench):
            if not deviation <= worst:
                worst, where = deviation, place
            if not deviation <= tolerance:
                break
    except Exception as error:  # a stranger's model may raise anything; that is a finding, not our failure
        return Check(law, False, float("inf"), f"raised {type(error).__name__}: {error}")
    passed = worst <= tolerance
    return Check(law, passed, worst, where if not passed else f"tolerance {tolerance:g}")


def _trace(bench: _Bench) -> Iterator[Deviation]:
    for place, state in bench.results():
        yield abs(complex(np.trace(bench.model.density_matrix(state))) - 1.0), place


def _positive(bench: _Bench) -> Iterator[Deviation]:
    for place, state in bench.results():
        matrix = bench.model.density_matrix(state)
        yield float(np.abs(matrix - matrix.conj().T).max()), f"not Hermitian: {place}"
        yield max(0.0, -float(np.linalg.eigvalsh(matrix)[0])), f"negative eigenvalue: {place}"


def _fidelity(bench: _Bench) -> Iterator[Deviation]:
    bell = states.bell_state(0)
    for place, state in bench.results():
        value = bench.model.fidelity(state)
        yield max(0.0, -value, value - 1.0), f"F = {value!r} is outside [0, 1]: {place}"
        meant = float(np.trace(bell @ bench.model.density_matrix(state)).real)
        yield abs(value - meant), f"F = {value!r} but <Phi+|rho|Phi+> = {meant!r}: {place}"


def _link(bench: _Bench) -> Iterator[Deviation]:
    for length_km in (0.0, 10.0, 100.0):
        compiled = bench.model.link(_LINK, length_km)
        place = f"length {length_km:g} km"
        probability = compiled.success_probability
        yield max(0.0, -probability, probability - 1.0), f"probability {probability!r}: {place}"
        yield max(0.0, -compiled.attempt_period_s), f"attempt period {compiled.attempt_period_s!r} s: {place}"
        fidelity = bench.model.fidelity(compiled.fresh)
        yield max(0.0, -fidelity, fidelity - 1.0), f"fresh fidelity {fidelity!r}: {place}"


def _semigroup(bench: _Bench) -> Iterator[Deviation]:
    model = bench.model
    for state in bench.states():
        for first, second in product(_MEMORIES, _MEMORIES):
            whole = model.age(state, first, second, 1.3)
            parts = state
            for duration_s in (0.1, 0.0, 0.7, 0.5):
                parts = model.age(parts, first, second, duration_s)
            yield bench.gap(whole, parts), f"1.3 s in one step and in three: {first}, {second}"
        yield bench.gap(model.age(state, None, None, 5.0), state), "memories None decay"
        yield bench.gap(model.age(state, _RELAXING, _DEPOLARISING, 0.0), state), "zero seconds change a state"


def _perfect_swap(bench: _Bench) -> Iterator[Deviation]:
    bell = bench.model.from_density_matrix(states.bell_state(0))
    for outcome in range(4):
        swapped = bench.model.swap(bell, bell, _PERFECT, 0.0, outcome)
        yield 0.0 if swapped.success else np.inf, f"forced outcome {outcome} failed"
        yield bench.gap(swapped.state, bell), f"outcome {outcome}"


def _associative(bench: _Bench) -> Iterator[Deviation]:
    """(a b) c = a (b c); a first correction by frame m turns the second outcome k into k xor m."""
    swap = bench.model.swap
    for a, b, c in zip(*(bench.states()[start:] for start in range(3)), strict=False):
        for one, two in product(range(4), range(4)):
            early = swap(swap(a, b, _NOISY, 0.0, one).state, c, _LOSSY, 0.0, two).state
            late = swap(a, swap(b, c, _LOSSY, 0.0, one ^ two).state, _NOISY, 0.0, one).state
            yield bench.gap(early, late), f"outcomes {one} and {two}"


def _outcomes(bench: _Bench) -> Iterator[Deviation]:
    """A drawn swap is the forced one of its outcome; it fails exactly when u >= the success probability."""
    model, own = bench.model, bench.states()
    for left, right in pairwise(own):
        seen = []
        for u in np.linspace(0.0125, 0.9875, 40):
            drawn = model.swap(left, right, _LOSSY, float(u))
            expected = bool(u < _LOSSY.swap_success_probability)
            yield 0.0 if drawn.success == expected else np.inf, f"u = {u:g}, success {drawn.success}"
            if drawn.success:
                seen.append(drawn.outcome)
                forced = model.swap(left, right, _LOSSY, 0.0, drawn.outcome)
                yield bench.gap(drawn.state, forced.state), f"drawn and forced outcome {drawn.outcome} differ"
            else:
                yield 0.0 if drawn.state is None else np.inf, "a failed swap left a state"
        yield 0.0 if seen == sorted(seen) else np.inf, "outcomes do not rise with u"


def _distillation(bench: _Bench) -> Iterator[Deviation]:
    model = bench.model
    for fidelity in (0.55, 0.7, 0.9):
        pair = model.from_density_matrix(states.werner(fidelity))
        result = model.distil(pair, pair, _PERFECT, _PERFECT, "dejmps", 0.0)
        gain = model.fidelity(result.state) - model.fidelity(pair)
        yield 0.0 if gain > 0.0 else np.inf, f"F = {fidelity} changed by {gain:g}; it must rise"
    for kept, spent in pairwise(bench.states()):
        p = model.distil(kept, spent, _NOISY, _LOSSY, "dejmps", 0.0).success_probability
        yield max(0.0, -p, p - 1.0), f"success probability {p!r}"
        for u, expected in ((p - 1e-6, True), (p + 1e-6, False)):
            result = model.distil(kept, spent, _NOISY, _LOSSY, "dejmps", u)
            right = result.success == expected and (result.state is None) != expected
            yield 0.0 if right else np.inf, f"p = {p:g}, u = {u:g}, success {result.success}"


def _ends(bench: _Bench) -> Iterator[Deviation]:
    """Exchanging the ends of everything changes no probability and no fidelity.

    A correction at the other end gives another state of the same fidelity, so swaps are compared by F.
    """
    model = bench.model
    for a, b in pairwise(bench.states()):
        yield bench.gap(model.flip(model.flip(a)), a), "flip twice"
        turned = states.exchange_ends(model.density_matrix(a))
        yield float(np.abs(model.density_matrix(model.flip(a)) - turned).max()), "flip"
        aged = model.flip(model.age(a, _RELAXING, _DEPOLARISING, 0.4))
        yield bench.gap(aged, model.age(model.flip(a), _DEPOLARISING, _RELAXING, 0.4)), "age"
        for outcome in range(4):
            forward = model.swap(a, b, _NOISY, 0.0, outcome).state
            backward = model.swap(model.flip(b), model.flip(a), _NOISY, 0.0, outcome).state
            yield abs(model.fidelity(forward) - model.fidelity(backward)), f"swap, outcome {outcome}"
        one = model.distil(a, b, _NOISY, _LOSSY, "dejmps", 0.0)
        two = model.distil(model.flip(a), model.flip(b), _LOSSY, _NOISY, "dejmps", 0.0)
        yield abs(one.success_probability - two.success_probability), "distil, probability"
        yield abs(model.fidelity(one.state) - model.fidelity(two.state)), "distil, fidelity"


def _deterministic(bench: _Bench) -> Iterator[Deviation]:
    """Twice the same, bit for bit, and no argument changed in place."""
    own = bench.states()
    before = [bench.model.density_matrix(state).tobytes() for state in own]
    for (place, one), (_, two) in zip(bench.results(), bench.results(), strict=True):
        same = bench.model.density_matrix(one).tobytes() == bench.model.density_matrix(two).tobytes()
        yield 0.0 if same else np.inf, f"two calls differ: {place}"
    for a, b in pairwise(own):
        bench.model.age(a, _RELAXING, _DEPOLARISING, 1.0)
        bench.model.swap(a, b, _NOISY, 0.3)
        bench.model.distil(a, b, _NOISY, _LOSSY, "dejmps", 0.0)
    after = [bench.model.density_matrix(state).tobytes() for state in own]
    yield 0.0 if before == after else np.inf, "an operation changed a state it was given"


def _refusals(bench: _Bench) -> Iterator[Deviation]:
    bell = states.bell_state(0)
    skewed = bell.copy()
    skewed[0, 1] = 0.2
    wrong = {
        "trace 2": 2.0 * bell,
        "a negative eigenvalue": np.diag([0.6, 0.6, -0.1, -0.1]).astype(complex),
        "no Hermitian matrix": skewed,
        "a number that is not finite": np.full((4, 4), np.nan, dtype=complex),
    }
    for what, matrix in wrong.items():
        try:
            bench.model.from_density_matrix(matrix)
        except ValueError:
            yield 0.0, what
        else:
            yield np.inf, f"from_density_matrix took {what}"


def _agreement(bench: _Bench) -> Iterator[Deviation]:
    from physics.density_matrix import DensityMatrixModel

    reference = _Bench(model=DensityMatrixModel(), matrices=bench.matrices)
    for (place, ours), (_, theirs) in zip(bench.results(), reference.results(), strict=True):
        difference = bench.model.density_matrix(ours) - reference.model.density_matrix(theirs)
        yield float(np.abs(difference).max()), place
    probability = bench.model.link(_LINK, 25.0).success_probability
    yield abs(probability - links.compile_link(_LINK, 25.0).success_probability), "link success probability"
    for (a, b), (x, y) in zip(pairwise(bench.states()), pairwise(reference.states()), strict=True):
        for u in (0.0, 0.1, 0.25, 0.375, 0.49, 0.5, 0.9):
            ours, theirs = bench.model.swap(a, b, _LOSSY, u), reference.model.swap(x, y, _LOSSY, u)
            same = (ours.success, ours.outcome) == (theirs.success, theirs.outcome)
            yield (
                0.0 if same else np.inf,
                f"swap chose outcome {ours.outcome}, not {theirs.outcome}, at u = {u}",
            )
        one = bench.model.distil(a, b, _NOISY, _LOSSY, "dejmps", 0.0).success_probability
        two = reference.model.distil(x, y, _NOISY, _LOSSY, "dejmps", 0.0).success_probability
        yield abs(one - two), "distillation probability"


_LAWS: dict[str, Law] = {
    "trace is 1": _trace,
    "states are Hermitian and positive": _positive,
    "0 <= F <= 1 and F = <Phi+|rho|Phi+>": _fidelity,
    "links are probabilities and physical states": _link,
    "storage is a semigroup in time": _semigroup,
    "perfect pairs swap to a perfect pair": _perfect_swap,
    "swaps are associative": _associative,
    "drawn swaps are forced ones": _outcomes,
    "distillation raises Werner pairs and keeps its probability": _distillation,
    "the ends are symmetric": _ends,
    "deterministic, arguments untouched": _deterministic,
    "wrong matrices are refused": _refusals,
}
