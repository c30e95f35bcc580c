"""The choice among options: by the networks of a node, or by a teacher to be imitated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.policies.dpem.networks import Kind, Weights, probabilities, sample, scores


@dataclass(frozen=True, eq=False, kw_only=True)
class Choices:
    """M decisions of one kind, made at one time.

    - `site` int64 [M]: the node that decides.
    - `subject` float64 [M, 3]: what each decision is about. The id of a request and its allocations so
      far; the destination, target fidelity and pairs of a peer; the neighbour of a link. Unused columns are
      0.
    - `features` float32 [M, O, F], `mask` bool [M, O]: the options, and which of them are allowed.
    """

    kind: Kind
    time_s: float
    site: Ints
    subject: Floats
    features: NDArray[np.float32]
    mask: Flags


@dataclass(frozen=True, eq=False, kw_only=True)
class Chosen:
    """The answers to `Choices`: `option` int64 [M], and `probability` float64 [M, O] of every option.

    `teacher` int64 [M]: the option of the rule that a clone imitates.
    """

    choices: Choices
    option: Ints
    probability: Floats
    teacher: Ints

    @property
    def log_probability(self) -> Floats:
        """Of the option taken, float64 [M]; 0 where a teacher chose."""
        return np.asarray(np.log(self.probability[np.arange(len(self.option)), self.option]))


_HELD_S = {Kind.SERVE: 1.0, Kind.PEER: 8.0, Kind.LINK: 16.0}
"""How long the uniform of a subject is held."""

_LEAST_HELD = 1000
"""Numbers that are held at least before those whose time is over are dropped."""


class Chooser:
    """Scores options with the weights of each site and draws one by the site's own stream.

    The uniform number of a draw is held for its subject: the same request, peer or link is decided about
    again and again, and independent draws would undo each other before either had an effect. With a held
    number a site tries one course of action for a while, which makes its consequences visible (correlated
    exploration: Hollenstein et al. 2024). Each decision alone keeps the probabilities of its softmax.

    Args:
        weights: actors of all nodes, stacked [N, ...].
        streams: one for each node.
        temperature: scores are divided by it before the softmax.
        greedy: take the highest score instead of drawing.
        follows_teacher: do what the teacher would do, and score only for the log.
        log: where to append every choice; None keeps only those of the last call of `act`.
    """

    def __init__(
        self,
        weights: Weights,
        streams: Sequence[np.random.Generator],
        *,
        temperature: float,
        greedy: bool,
        follows_teacher: bool = False,
        log: list[Chosen] | None = None,
    ) -> None:
        self.weights = weights
        self._streams = streams
        self._temperature = temperature
        self._greedy = greedy
        self._follows_teacher = follows_teacher
        self._log = log
        self.made: list[Chosen] = []
        self._held: dict[tuple[float, ...], tuple[float, float]] = {}
        self._most_held = _LEAST_HELD

    def choose(self, choices: Choices, teacher: Ints) -> Ints:
        """One allowed option for each decision, int64 [M]; `teacher` is what the imitated rule would take."""
        if not len(choices.site):
            return np.zeros(0, dtype=np.int64)
        if self._follows_teacher:
            option = teacher
            probability = np.zeros(choices.mask.shape)
            probability[np.arange(len(option)), option] = 1.0
        else:
            option, probability = self._draw(choices)
        chosen = Chosen(choices=choices, option=option, probability=probability, teacher=teacher)
        self.made.append(chosen)
        if self._log is not None:
            self._log.append(chosen)
        return option

    def begin_call(self) -> None:
        """Forget the choices of the last call of `act`."""
        self.made = []

    def _draw(self, choices: Choices) -> tuple[Ints, Floats]:
        features = choices.features.astype(np.float64)
        score = scores(self.weights, "actor", choices.kind, choices.site, features)
        probability = probabilities(score / self._temperature, choices.mask)
        if self._greedy:
            option = np.where(choices.mask, score, -np.inf).argmax(axis=1)
        else:
            option = sample(probability, self._uniforms(choices))
        return option, probability

    def state(self) -> dict[str, NDArray[np.float64]]:
        """The numbers that are held, one row each: kind, site, subject, until when, and the number."""
        rows = [(*subject, *held) for subject, held in self._held.items()]
        return {"held_uniforms": np.array(rows, dtype=np.float64).reshape(-1, 7)}

    def load_state(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Restore held numbers."""
        self._held = {
            (int(row[0]), int(row[1]), *row[2:5]): (row[5], row[6]) for row in state["held_uniforms"].tolist()
        }

    def _uniforms(self, choices: Choices) -> Floats:
        """The number of each decision: the held one, or a new one from the stream of its site."""
        until_s = choices.time_s + _HELD_S[choices.kind]
        kind = list(Kind).index(choices.kind)
        u = np.empty(len(choices.site))
        for row, (site, subject) in enumerate(
            zip(choices.site.tolist(), choices.subject.tolist(), strict=True)
        ):
            key = (kind, site, *subject)
            if key not in self._held or self._held[key][0] <= choices.time_s:
                self._held[key] = until_s, self._streams[site].random()
            u[row] = self._held[key][1]
        if len(self._held) > self._most_held:
            # Numbers of requests that are over would pile up in a long run.
            self._held = {name: held for name, held in self._held.items() if held[0] > choices.time_s}
            self._most_held = max(2 * len(self._held), _LEAST_HELD)
        return u
