"""From what a run recorded to what a node may learn from: its own decisions and its own rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.metrics.reward import Rewards
from qdpem.policies.dpem.training.ppo import Batch, generalised_advantage

Floats = NDArray[np.float64]

NOTED = ("features", "mask", "option", "site_features", "log_probability", "value")


@dataclass(frozen=True, eq=False, kw_only=True)
class Transitions:
    """K decisions of all sites of one episode in order of (site, time), those with a choice alone.

    `noted`: NOTED name -> array with first axis K. `reward` [K]: what the site earned until its next
    decision, discounted from this one; `discount` [K]: exp(-(time to the next) / tau). A site's last
    decision has neither (0, 0): its value stands in for what the episode's end cut off.
    """

    site: NDArray[np.int64]
    noted: Mapping[str, NDArray[Any]]
    reward: Floats
    discount: Floats


def collect(
    noted: Sequence[Mapping[str, NDArray[Any]]],
    decisions: Mapping[str, NDArray[Any]],
    rewards: Rewards,
    *,
    discount_time_s: float,
) -> Transitions:
    """Join a policy's notes with the table `decisions`, row by row, and credit each reward.

    A reward belongs to its site's last decision before it. Raises ValueError if notes and rows are not
    one to one.
    """
    joined = {name: np.concatenate([note[name] for note in noted]) for name in NOTED}
    if len(joined["option"]) != len(decisions["time_s"]):
        raise ValueError(
            f"a run noted {len(joined['option'])} decisions but recorded {len(decisions['time_s'])};"
            " they must be one to one"
        )
    chose = np.flatnonzero(joined["mask"].any(axis=(1, 2)))
    order = chose[np.lexsort((chose, decisions["time_s"][chose], decisions["deciding_node"][chose]))]
    site, time_s = decisions["deciding_node"][order].astype(np.int64), decisions["time_s"][order]
    reward, discount = np.zeros(len(order)), np.zeros(len(order))
    follows = np.flatnonzero(site[1:] == site[:-1])
    discount[follows] = np.exp(-(time_s[follows + 1] - time_s[follows]) / discount_time_s)
    for node in np.unique(site).tolist():
        first, last = np.searchsorted(site, [node, node + 1])
        mine = rewards.site == node
        earned_s, amount = rewards.time_s[mine], rewards.amount[mine]
        credited = first + np.searchsorted(time_s[first:last], earned_s, side="left") - 1
        kept = (credited >= first) & (credited < last - 1)
        worth = amount * np.exp(-(earned_s - time_s[np.maximum(credited, 0)]) / discount_time_s)
        np.add.at(reward, credited[kept], worth[kept])
    return Transitions(
        site=site,
        noted={name: array[order] for name, array in joined.items()},
        reward=reward,
        discount=discount,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ReturnScale:
    """Each node's own running mean and deviation of returns, float64 [N]; never shared."""

    mean: Floats
    deviation: Floats
    seen: NDArray[np.bool_]

    @classmethod
    def initial(cls, nodes: int) -> ReturnScale:
        """Mean 0 and deviation 1 until a node has seen returns."""
        return cls(mean=np.zeros(nodes), deviation=np.ones(nodes), seen=np.zeros(nodes, dtype=np.bool_))

    def updated(self, returns: Floats, valid: NDArray[np.bool_], *, weight: float = 0.3) -> ReturnScale:
        """Moved by `weight` towards the statistics of returns [N, B]; set to them the first time."""
        count = np.maximum(valid.sum(axis=1), 1)
        mean = (returns * valid).sum(axis=1) / count
        deviation = np.sqrt((((returns - mean[:, None]) * valid) ** 2).sum(axis=1) / count)
        deviation = np.maximum(deviation, 1e-3)
        found = valid.any(axis=1)
        step = np.where(found, np.where(self.seen, weight, 1.0), 0.0)
        return ReturnScale(
            mean=self.mean + step * (mean - self.mean),
            deviation=self.deviation + step * (deviation - self.deviation),
            seen=self.seen | found,
        )


def to_batch(
    episodes: Sequence[Transitions], *, nodes: int, scale: ReturnScale, gae_lambda: float
) -> tuple[Batch, ReturnScale]:
    """All episodes' decisions padded to [N, B], with advantages and normalised targets."""
    rows: list[list[tuple[int, NDArray[np.int64]]]] = [[] for _ in range(nodes)]
    advantages = []
    for number, episode in enumerate(episodes):
        advantages.append(np.zeros(len(episode.site)))
        for node in range(nodes):
            first, last = np.searchsorted(episode.site, [node, node + 1])
            if last - first < 2:
                continue
            kept = np.arange(first, last - 1)
            value = scale.mean[node] + scale.deviation[node] * episode.noted["value"][first:last]
            advantages[-1][kept] = generalised_advantage(
                episode.reward[kept],
                value[:-1],
                episode.discount[kept],
                last_value=float(value[-1]),
                gae_lambda=gae_lambda,
            )
            rows[node].append((number, kept))
    size = max(max((sum(len(kept) for _, kept in mine) for mine in rows), default=0), 1)
    padded = _pad(episodes, rows, size=size)
    advantage = _pad_one(advantages, rows, size=size)
    valid = np.zeros((nodes, size), dtype=np.bool_)
    for node, mine in enumerate(rows):
        valid[node, : sum(len(kept) for _, kept in mine)] = True
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
    return {name: _pad_one([episode.noted[name] for episode in episodes], rows, size=size) for name in NOTED}


def _pad_one(
    arrays: Sequence[NDArray[Any]], rows: list[list[tuple[int, NDArray[np.int64]]]], *, size: int
) -> NDArray[Any]:
    """Each node's rows of `arrays` (one per episode) one after another, zeros behind, [N, size, ...]."""
    padded = np.zeros((len(rows), size, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for node, mine in enumerate(rows):
        start = 0
        for number, kept in mine:
            padded[node, start : start + len(kept)] = arrays[number][kept]
            start += len(kept)
    return padded
