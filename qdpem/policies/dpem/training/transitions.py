"""The transitions that a node learns from: its own decisions and its own rewards, from a recorded run.

Letters in shapes: K decisions of an episode, N nodes, B decisions of a node in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.metrics.reward import Rewards
from qdpem.policies.dpem.training.ppo import Batch, generalised_advantage

TRAINING_OUTPUTS = ("features", "mask", "option", "site_features", "log_probability", "value")
"""The entries of `Decisions.info` that training reads."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Transitions:
    """The K decisions with a choice of one episode, of all sites, in order of (site, time).

    - `site`: int64 [K].
    - `outputs`: one array with first axis K for each name of TRAINING_OUTPUTS.
    - `reward`: [K], the rewards of the site until its next decision, discounted from this decision on.
    - `discount`: [K], exp(-(time to the next decision) / tau).

    Reward and discount of a site's last decision are 0: its value stands for the rewards that the end of the
    episode cut off.
    """

    site: NDArray[np.int64]
    outputs: Mapping[str, NDArray[Any]]
    reward: Floats
    discount: Floats


def collect(
    outputs: Sequence[Mapping[str, NDArray[Any]]],
    decisions: Mapping[str, NDArray[Any]],
    rewards: Rewards,
    *,
    discount_time_s: float,
) -> Transitions:
    """Join a policy's outputs with the table `decisions`, row by row, and credit each reward.

    A reward is credited to its site's last decision before it. Raises ValueError unless outputs and rows are
    one to one.
    """
    joined = {name: np.concatenate([call[name] for call in outputs]) for name in TRAINING_OUTPUTS}
    if len(joined["option"]) != len(decisions["time_s"]):
        raise ValueError(
            f"a run has outputs of {len(joined['option'])} decisions but recorded"
            f" {len(decisions['time_s'])}; they must be one to one"
        )
    # A decision without a choice has no gradient; its time passes to the decision before it.
    chose = np.flatnonzero(joined["mask"].any(axis=(1, 2)))
    order = chose[np.lexsort((chose, decisions["time_s"][chose], decisions["deciding_node"][chose]))]
    site, time_s = decisions["deciding_node"][order].astype(np.int64), decisions["time_s"][order]
    reward, discount = np.zeros(len(order)), np.zeros(len(order))
    # Rows are sorted by site, so a discount spans two decisions of one site only.
    follows = np.flatnonzero(site[1:] == site[:-1])
    discount[follows] = np.exp(-(time_s[follows + 1] - time_s[follows]) / discount_time_s)
    for node in np.unique(site).tolist():
        first, last = np.searchsorted(site, [node, node + 1])
        mine = rewards.site == node
        earned_s, amount = rewards.time_s[mine], rewards.amount[mine]
        # side="left": a reward at the very time of a decision belongs to the decision before it.
        credited = first + np.searchsorted(time_s[first:last], earned_s, side="left") - 1
        # Rewards before the first decision have none to credit; those after the last are cut off.
        counts = (credited >= first) & (credited < last - 1)
        discounted = amount * np.exp(-(earned_s - time_s[np.maximum(credited, 0)]) / discount_time_s)
        np.add.at(reward, credited[counts], discounted[counts])
    return Transitions(
        site=site,
        outputs={name: array[order] for name, array in joined.items()},
        reward=reward,
        discount=discount,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ReturnScale:
    """Each node's running mean and standard deviation of its returns, float64 [N]; never shared.

    Values are learned in these units (PopArt without its rescaling of weights, van Hasselt et al. 2016).
    `initialised` [N]: whether the node has had returns.
    """

    mean: Floats
    deviation: Floats
    initialised: NDArray[np.bool_]

    @classmethod
    def initial(cls, nodes: int) -> ReturnScale:
        """Mean 0 and deviation 1, which a node keeps until its first returns."""
        return cls(
            mean=np.zeros(nodes), deviation=np.ones(nodes), initialised=np.zeros(nodes, dtype=np.bool_)
        )

    def updated(self, returns: Floats, valid: NDArray[np.bool_], *, weight: float = 0.3) -> ReturnScale:
        """The scale after returns [N, B]: moved by `weight` towards their statistics, or set to the first."""
        count = np.maximum(valid.sum(axis=1), 1)
        mean = (returns * valid).sum(axis=1) / count
        deviation = np.sqrt((((returns - mean[:, None]) * valid) ** 2).sum(axis=1) / count)
        # Equal returns would give a deviation of 0 and infinite targets.
        deviation = np.maximum(deviation, 1e-3)
        has_returns = valid.any(axis=1)
        step = np.where(has_returns, np.where(self.initialised, weight, 1.0), 0.0)
        return ReturnScale(
            mean=self.mean + step * (mean - self.mean),
            deviation=self.deviation + step * (deviation - self.deviation),
            initialised=self.initialised | has_returns,
        )


def to_batch(
    episodes: Sequence[Transitions], *, nodes: int, scale: ReturnScale, gae_lambda: float
) -> tuple[Batch, ReturnScale]:
    """All episodes' decisions, padded to [N, B], with advantages and normalised targets; and the new scale.

    Values recorded with `scale` are turned back into returns. Targets are normalised with the new scale.
    """
    rows: list[list[tuple[int, NDArray[np.int64]]]] = [[] for _ in range(nodes)]
    advantages = []
    for number, episode in enumerate(episodes):
        advantages.append(np.zeros(len(episode.site)))
        for node in range(nodes):
            first, last = np.searchsorted(episode.site, [node, node + 1])
            # A last decision contributes only its value, so a single decision gives no transition.
            if last - first < 2:
                continue
            used = np.arange(first, last - 1)
            value = scale.mean[node] + scale.deviation[node] * episode.outputs["value"][first:last]
            advantages[-1][used] = generalised_advantage(
                episode.reward[used],
                value[:-1],
                episode.discount[used],
                last_value=float(value[-1]),
                gae_lambda=gae_lambda,
            )
            rows[node].append((number, used))
    size = max(max((sum(len(used) for _, used in mine) for mine in rows), default=0), 1)
    padded = _pad(episodes, rows, size=size)
    advantage = _pad_array(advantages, rows, size=size)
    valid = np.zeros((nodes, size), dtype=np.bool_)
    for node, mine in enumerate(rows):
        valid[node, : sum(len(used) for _, used in mine)] = True
    # Return = advantage + value, with the recorded value turned back into raw units.
    returns = advantage + scale.mean[:, None] + scale.deviation[:, None] * padded["value"]
    after = scale.updated(returns, valid)
    batch = Batch(
        features=padded["features"],
        mask=padded["mask"],
        option=padded["option"],
        site_features=padded["site_features"],
        log_probability=padded["log_probability"],
        advantage=advantage,
        target=(returns - after.mean[:, None]) / after.deviation[:, None] * valid,
        valid=valid,
    )
    return batch, after


def _pad(
    episodes: Sequence[Transitions], rows: list[list[tuple[int, NDArray[np.int64]]]], *, size: int
) -> dict[str, NDArray[Any]]:
    return {
        name: _pad_array([episode.outputs[name] for episode in episodes], rows, size=size)
        for name in TRAINING_OUTPUTS
    }


def _pad_array(
    arrays: Sequence[NDArray[Any]], rows: list[list[tuple[int, NDArray[np.int64]]]], *, size: int
) -> NDArray[Any]:
    """The rows of `arrays`, one array per episode, of each node, then zeros: [N, size, ...]."""
    padded = np.zeros((len(rows), size, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for node, mine in enumerate(rows):
        start = 0
        for number, used in mine:
            padded[node, start : start + len(used)] = arrays[number][used]
            start += len(used)
    return padded
