"""What one seed holds, drawn before anything runs: the sample and the requests that bounds are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from physics.interface import PhysicsModel
from qdpem.bounds.fidelity_reach import FidelityReach
from qdpem.bounds.master import Groups
from qdpem.bounds.seed_supply import SeedSample, Tiers, whole
from qdpem.bounds.time_bound import bins_in
from qdpem.demand.requests import Requests
from qdpem.draws.attempts import AttemptSequence
from qdpem.draws.emissions import Emissions
from qdpem.draws.herald_timing import NO_SENDER, FreshPairs
from qdpem.draws.outcome_draws import swap_draws
from qdpem.network.graph import Network
from qdpem.rng import pair_key, stream

Ints = NDArray[np.int64]

_OF_A_PERIOD = 1e-5
_ROUNDING = 1e-12
_SLACK_S = 1e-6


def draw_seed_sample(network: Network, physics: PhysicsModel, *, seed: int, end_s: float) -> SeedSample:
    """All chances of `seed` over [0, end_s]: the same streams that a run draws from."""
    tiers, fresh_pairs = Tiers.build(network), FreshPairs(network, physics)
    birth_s = np.array([_birth_s(fresh_pairs, network, link) for link in range(network.link_count)])
    period_s = np.array([one.attempt_period_s for one in network.links])
    server = network.repeater_kind == "server"
    with np.errstate(divide="ignore"):
        own_s = 1.0 / network.repeater_rate_hz if server else np.full(network.node_count, network.swap_time_s)
    emission_s = _emissions(network, tiers, seed=seed, end_s=end_s)
    successes = [
        _successes(network, link, seed=seed, last_s=end_s - float(birth_s[link]))
        for link in range(network.link_count)
    ]
    return SeedSample(
        end_s=end_s,
        tiers=tiers,
        emission_s=emission_s,
        successes=successes,
        period_s=period_s,
        birth_s=birth_s,
        draws=_draws(network, physics, _swaps(network, tiers, emission_s, successes, end_s), seed=seed),
        token_rate_hz=network.repeater_rate_hz,
        token_burst=network.repeater_burst,
        swap_time_s=own_s,
    )


def _birth_s(fresh_pairs: FreshPairs, network: Network, link: int) -> float:
    """From the emission or the start of an attempt to the birth of its pair."""
    sender = int(network.graph.link_ends[link, 0]) if network.source_limited[link] else NO_SENDER
    return fresh_pairs.timing(link, sender).birth_s


def _emissions(network: Network, tiers: Tiers, *, seed: int, end_s: float) -> list[NDArray[np.float64]]:
    """Times of the emissions of every tier: those with u below its probability."""
    found = []
    for node, probability in zip(tiers.node.tolist(), tiers.probability.tolist(), strict=True):
        best = float(tiers.probability[tiers.node == node].max())
        drawn = Emissions(
            stream(seed, f"source/{network.graph.node_names[node]}"),
            rate_hz=float(network.source_rate_hz[node]),
            best=best,
            end_s=end_s,
        )
        times, index = [], drawn.next_success(0, probability)
        while index is not None and drawn.time_s(index) <= end_s:
            times.append(drawn.time_s(index))
            index = drawn.next_success(index + 1, probability)
        found.append(np.array(times, dtype=np.float64))
    return found


def _successes(network: Network, link: int, *, seed: int, last_s: float) -> list[Ints]:
    """For every mode of a link that attempts the numbers of the attempts that succeed, up to `last_s`."""
    compiled, names = network.links[link], network.graph.node_names
    if compiled.source_limited:
        return []
    first, second = network.graph.link_ends[link].tolist()
    key, period_s = pair_key(names[first], names[second]), compiled.attempt_period_s
    found = []
    for number in range(compiled.modes):
        mode = AttemptSequence(
            name=f"link/{key}/{number}",
            seed=seed,
            probability=compiled.success_probability,
            period_s=period_s,
        )
        made = list[int]()
        while mode.success_s <= last_s + _OF_A_PERIOD * period_s:
            made.append(round(mode.success_s / period_s) + 1)
            mode.succeed()
        found.append(np.array(made, dtype=np.int64))
    return found


def _swaps(
    network: Network,
    tiers: Tiers,
    emission_s: Sequence[NDArray[np.float64]],
    successes: Sequence[Sequence[Ints]],
    end_s: float,
) -> list[int]:
    """Most swaps each node can make: a token each, and two of the pairs that its links can have made."""
    found = []
    for node, around in enumerate(network.neighbours):
        rate_hz = float(network.repeater_rate_hz[node])
        links = [link for _, link in around]
        fed = {int(tier) for link in links for tier in tiers.of[link] if tier >= 0}
        pairs = sum(len(emission_s[tier]) for tier in fed)
        pairs += sum(len(made) for link in links for made in successes[link])
        tokens = whole(network.repeater_burst + rate_hz * end_s) if rate_hz > 0.0 else 0
        found.append(min(tokens, pairs // 2))
    return found


def _draws(
    network: Network, physics: PhysicsModel, swaps: Sequence[int], *, seed: int
) -> list[NDArray[np.bool_]]:
    """Whether the k-th swap of each node can succeed, for as many `swaps` as it can make.

    A swap of pairs with unbiased inner qubits, as all are in the "pauli" case of `FidelityReach`, succeeds when its
    uniform is below the node's mean probability; of others any outcome may be a heralded one.
    """
    unbiased = FidelityReach(network, physics).case == "pauli"
    found = []
    for draws, hardware, maximum in zip(
        swap_draws(network.graph, seed=seed), network.hardware, swaps, strict=True
    ):
        limit = hardware.mean_swap_success_probability if unbiased else hardware.swap_success_probability
        limit *= 1.0 + _ROUNDING
        found.append(np.array([draws.next() < limit for _ in range(maximum)], dtype=np.bool_))
    return found


def counted_in(requests: Requests) -> str:
    """What bounds count: whole "requests", or "pairs" that meet their target, where some ask without end.

    A request for k pairs is delivered with all k of them. A standing one takes pairs without end; where there
    is any, pairs are counted, those of the other requests too, also of sets that stay partial.
    """
    return "pairs" if (requests.persistence > 0).any() else "requests"


def wanted(
    requests: Requests, reach: FidelityReach, *, spans: Ints | None = None, kept: bool = False
) -> Groups:
    """The requests of a run, grouped by ends, reach, what a pair of them is worth, and span.

    `spans` int64 [R, 2] says within which bins each takes what it needs; without it time plays no part.
    `kept`: ways with double hops may take all that was made since t = 0, for what is distilled may be older.
    """
    if spans is None:
        spans = np.zeros((len(requests), 2), dtype=np.int64)
    persistence = requests.persistence > 0
    hops = {target: reach.hops(target) for target in np.unique(requests.target_fidelity).tolist()}
    maximum = np.array([hops[target] for target in requests.target_fidelity.tolist()], dtype=np.float64)
    gain = np.ones(len(requests)) if counted_in(requests) == "pairs" else 1.0 / requests.pairs
    ends = np.sort(np.stack([requests.source, requests.destination]), axis=0)
    rows = np.stack([*ends, maximum, gain, persistence, *spans.T], axis=1)
    kinds, group = np.unique(rows, axis=0, return_inverse=True)
    pairs = np.zeros(len(kinds))
    np.add.at(pairs, group.reshape(-1), np.where(persistence, np.inf, requests.pairs.astype(np.float64)))
    span = [(int(first), int(last)) for first, last in kinds[:, 5:7].tolist()]
    source, destination, max_single = kinds[:, :3].astype(np.int64).T
    return Groups(
        source=source,
        destination=destination,
        max_single=max_single,
        pairs=pairs,
        gain=kinds[:, 3],
        span=span,
        loose=[(0, last) for _, last in span] if kept else span,
    )


def spans(
    requests: Requests,
    reach: FidelityReach,
    network: Network,
    *,
    bin_s: float,
    end_s: float,
    lead_s: float,
    stock: bool,
) -> Ints:
    """The bins, rounded outwards, in which all that a delivery takes is made: int64 [R, 2].

    Without stock that is from arrival to deadline. With stock it begins earlier: by the longest that any
    part of a pair can have been kept which meets the target over the fewest hops there are between its ends
    (`FidelityReach.life_s`), and by `lead_s`, which a fresh pair is on its way.
    """
    hops = network.hop_distance[requests.source, requests.destination].tolist()
    kinds = list(zip(requests.target_fidelity.tolist(), hops, strict=True))
    life_s = {kind: reach.life_s(*kind) + lead_s if stock else 0.0 for kind in set(kinds)}
    before_s = np.array([life_s[kind] for kind in kinds], dtype=np.float64)
    first_s = np.maximum(requests.time_s - before_s - _SLACK_S, 0.0)
    last_s = np.minimum(requests.deadline_s, end_s) + _SLACK_S
    bins = bins_in(end_s, bin_s)
    edges = np.floor(first_s / bin_s), np.minimum(np.ceil(last_s / bin_s), bins)
    return np.stack(edges, axis=1).astype(np.int64)
