"""The sample of one seed, drawn before anything runs, and the requests that its bounds are about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physics.interface import PhysicsModel
from qdpem.arrays import Flags, Floats, Ints
from qdpem.bounds.fidelity_reach import FidelityReach
from qdpem.bounds.master import RequestGroups
from qdpem.bounds.seed_supply import EmissionLevels, SeedSample, whole_tokens
from qdpem.bounds.windows import bins_in
from qdpem.demand.requests import Requests
from qdpem.draws.attempts import AttemptSequence
from qdpem.draws.emissions import draw_emissions
from qdpem.draws.outcome_draws import swap_draws
from qdpem.network.graph import Network
from qdpem.network.herald_timing import NO_SENDER, FreshPairs
from qdpem.rng import pair_key

_OF_A_PERIOD = 1e-5
_ROUNDING = 1e-12
_SLACK_S = 1e-6


def draw_seed_sample(network: Network, physics: PhysicsModel, *, seed: int, end_s: float) -> SeedSample:
    """All random outcomes of `seed` over [0, end_s], from the same streams that a run draws from."""
    levels, fresh_pairs = EmissionLevels.of(network), FreshPairs(network, physics)
    birth_s = np.array([_birth_s(fresh_pairs, network, link) for link in range(network.link_count)])
    period_s = np.array([link.attempt_period_s for link in network.links])
    is_server = network.repeater_kind == "server"
    with np.errstate(divide="ignore"):
        swap_time_s = (
            1.0 / network.repeater_rate_hz if is_server else np.full(network.node_count, network.swap_time_s)
        )
    emission_s = _emissions(network, levels, seed=seed, end_s=end_s)
    successes = [
        _successes(network, link, seed=seed, last_s=end_s - float(birth_s[link]))
        for link in range(network.link_count)
    ]
    # Only as many swap outcomes are drawn as the seed's tokens and pairs can ever use.
    max_swaps = _max_swaps(network, levels, emission_s, successes, end_s)
    return SeedSample(
        end_s=end_s,
        levels=levels,
        emission_s=emission_s,
        successes=successes,
        period_s=period_s,
        birth_s=birth_s,
        draws=_swap_outcomes(network, physics, max_swaps, seed=seed),
        token_rate_hz=network.repeater_rate_hz,
        token_burst=network.repeater_burst,
        swap_time_s=swap_time_s,
    )


def _birth_s(fresh_pairs: FreshPairs, network: Network, link: int) -> float:
    """From the emission or the start of an attempt to the birth of its pair."""
    sender = int(network.graph.link_ends[link, 0]) if network.source_limited[link] else NO_SENDER
    return fresh_pairs.timing(link, sender).birth_s


def _emissions(network: Network, levels: EmissionLevels, *, seed: int, end_s: float) -> list[Floats]:
    """Times of the emissions of every level: those whose draw is below its probability."""
    emission_s = []
    for node, probability in zip(levels.node.tolist(), levels.probability.tolist(), strict=True):
        # A run thins its stream by the best probability of the node, so the same value must be used here.
        best = float(levels.probability[levels.node == node].max())
        emissions = draw_emissions(
            seed=seed,
            name=network.graph.node_names[node],
            rate_hz=float(network.source_rate_hz[node]),
            best=best,
            end_s=end_s,
        )
        times, index = [], emissions.next_success(0, probability)
        while index is not None and emissions.time_s(index) <= end_s:
            times.append(emissions.time_s(index))
            emissions.forget(index)
            index = emissions.next_success(emissions.after(index), probability)
        emission_s.append(np.array(times, dtype=np.float64))
    return emission_s


def _successes(network: Network, link: int, *, seed: int, last_s: float) -> list[Ints]:
    """For every mode of a link that attempts by itself, the numbers of its successes up to `last_s`."""
    compiled, names = network.links[link], network.graph.node_names
    if compiled.source_limited:
        return []
    first, second = network.graph.link_ends[link].tolist()
    key, period_s = pair_key(names[first], names[second]), compiled.attempt_period_s
    successes = []
    for number in range(compiled.modes):
        mode = AttemptSequence(
            name=f"link/{key}/{number}",
            seed=seed,
            probability=compiled.success_probability,
            period_s=period_s,
        )
        attempts = list[int]()
        # The margin keeps an attempt whose pair is born exactly at the end of the run.
        while mode.success_s <= last_s + _OF_A_PERIOD * period_s:
            attempts.append(round(mode.success_s / period_s) + 1)
            mode.succeed()
        successes.append(np.array(attempts, dtype=np.int64))
    return successes


def _max_swaps(
    network: Network,
    levels: EmissionLevels,
    emission_s: Sequence[Floats],
    successes: Sequence[Sequence[Ints]],
    end_s: float,
) -> list[int]:
    """Maximum number of swaps of each node: a swap takes a token and two of the pairs of its links."""
    max_swaps = []
    for node, around in enumerate(network.neighbours):
        rate_hz = float(network.repeater_rate_hz[node])
        links = [link for _, link in around]
        own_levels = {int(level) for link in links for level in levels.of_link[link] if level >= 0}
        pairs = sum(len(emission_s[level]) for level in own_levels)
        pairs += sum(len(attempts) for link in links for attempts in successes[link])
        tokens = whole_tokens(network.repeater_burst + rate_hz * end_s) if rate_hz > 0.0 else 0
        max_swaps.append(min(tokens, pairs // 2))
    return max_swaps


def _swap_outcomes(
    network: Network, physics: PhysicsModel, max_swaps: Sequence[int], *, seed: int
) -> list[Flags]:
    """Whether the k-th swap of each node can succeed, for the maximum number of swaps.

    A swap of pairs with unbiased inner qubits succeeds when its uniform draw is below the node's mean
    probability; all are unbiased under the "pauli" noise model of `FidelityReach`. For other pairs any
    outcome may be a heralded one.
    """
    unbiased = FidelityReach(network, physics).noise_model == "pauli"
    outcomes = []
    for draws, hardware, maximum in zip(
        swap_draws(network.graph, seed=seed), network.hardware, max_swaps, strict=True
    ):
        limit = hardware.mean_swap_success_probability if unbiased else hardware.swap_success_probability
        # Slightly generous: a draw at the limit must never count as a failure that a run sees as a success.
        limit *= 1.0 + _ROUNDING
        outcomes.append(np.array([draws.next() < limit for _ in range(maximum)], dtype=np.bool_))
    return outcomes


def counted_in(requests: Requests) -> str:
    """The unit of the bounds: whole "requests", or "pairs" that meet their target if some persist.

    A request for k pairs is delivered with all k of them. A repeating one takes pairs without end. Where
    there is any, bounds count pairs, also those of the other requests and of sets that stay partial.
    """
    return "pairs" if (requests.repeat_until_deadline > 0).any() else "requests"


def group_requests(
    requests: Requests, reach: FidelityReach, *, spans: Ints | None = None, stock: bool = False
) -> RequestGroups:
    """The requests of a run, grouped by ends, number of single hops, gain of a pair, and span.

    `spans` int64 [R, 2]: the bins within which each takes all it needs; without it time plays no part. With
    `stock`, paths with double hops may take all that was made since t = 0, because distilled pairs may be
    older.
    """
    if spans is None:
        spans = np.zeros((len(requests), 2), dtype=np.int64)
    repeating = requests.repeat_until_deadline > 0
    hops = {target: reach.hops(target) for target in np.unique(requests.target_fidelity).tolist()}
    max_hops = np.array([hops[target] for target in requests.target_fidelity.tolist()], dtype=np.float64)
    # A request of k pairs counts once, so each of its pairs is worth 1/k.
    gain = np.ones(len(requests)) if counted_in(requests) == "pairs" else 1.0 / requests.pairs
    # Pairs have no direction, so both directions share a group.
    ends = np.sort(np.stack([requests.source, requests.destination]), axis=0)
    keys = np.stack([*ends, max_hops, gain, repeating, *spans.T], axis=1)
    groups, group = np.unique(keys, axis=0, return_inverse=True)
    pairs = np.zeros(len(groups))
    # Some NumPy versions return a 2-D inverse for `axis=0`.
    np.add.at(pairs, group.reshape(-1), np.where(repeating, np.inf, requests.pairs.astype(np.float64)))
    span = [(int(first), int(last)) for first, last in groups[:, 5:7].tolist()]
    source, destination, max_single = groups[:, :3].astype(np.int64).T
    return RequestGroups(
        source=source,
        destination=destination,
        max_single=max_single,
        pairs=pairs,
        gain=groups[:, 3],
        span=span,
        distilled_span=[(0, last) for _, last in span] if stock else span,
    )


def request_spans(
    requests: Requests,
    reach: FidelityReach,
    network: Network,
    *,
    bin_s: float,
    end_s: float,
    lead_s: float,
    stock: bool,
) -> Ints:
    """The bins, rounded outwards, in which all parts of a delivery are made: int64 [R, 2].

    Without stock that is from arrival to deadline. With stock it begins earlier: by the largest age at which
    a part can still meet the target over the smallest number of hops between the ends
    (`FidelityReach.max_age_s`), and by `lead_s`.

    Args:
        requests: R requests of the run.
        reach: the limits on hops and ages.
        network: the network, for the hops between the ends.
        bin_s: length of a bin.
        end_s: end of the run.
        lead_s: longest time from an emission or the start of an attempt to the birth of its pair.
        stock: whether pairs may be made before their request arrives.
    """
    hops = network.hop_distance[requests.source, requests.destination].tolist()
    kinds = list(zip(requests.target_fidelity.tolist(), hops, strict=True))
    age_s = {kind: reach.max_age_s(*kind) + lead_s if stock else 0.0 for kind in set(kinds)}
    before_s = np.array([age_s[kind] for kind in kinds], dtype=np.float64)
    # A microsecond outwards at both ends: rounding of event times must not cut off a valid delivery.
    first_s = np.maximum(requests.time_s - before_s - _SLACK_S, 0.0)
    last_s = np.minimum(requests.deadline_s, end_s) + _SLACK_S
    bins = bins_in(end_s, bin_s)
    edges = np.floor(first_s / bin_s), np.minimum(np.ceil(last_s / bin_s), bins)
    return np.stack(edges, axis=1).astype(np.int64)
