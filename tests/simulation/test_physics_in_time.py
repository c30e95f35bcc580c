"""What a run does to pairs, against closed forms computed here from its own times."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from physics.models.pauli import PauliModel
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.network.build import build_network
from qdpem.scenario.schema import Arm
from qdpem.simulation.resources.pairs.ledger import Ledger
from qdpem.simulation.run import simulate

LOCAL = Arm(name="local-minhop")
CENTRAL = Arm(name="central-fcfs")


def test_waiting_for_a_pair_on_an_idle_link_is_exponential(line):
    """Two sources of rate g on a link of transmissivity eta: waiting is exponential with rate 2 g eta.

    Kolmogorov-Smirnov at p > 1e-4: a false alarm once in 10,000 seeds, and the seed is fixed.
    """
    scenario = line(nodes=2, rate_hz=0.5, patience_s=30.0, measured_s=2000.0)
    run = simulate(scenario, LOCAL, seed=3)
    claims = run.tables["claims"]
    lonely = (claims["kind"] == 0) & (claims["contended"] == 0) & (claims["outcome"] == 1)
    # A claim that overlapped no other one waits for the link's own clock alone.
    waited_s = (claims["end_s"] - claims["time_s"])[lonely & _alone(claims)]
    rate_hz = 2 * 60.0 * 10 ** (-(2.6 + 0.24 * 20.0) / 10)
    assert len(waited_s) > 500
    assert stats.kstest(waited_s, "expon", args=(0.0, 1.0 / rate_hz)).pvalue > 1e-4
    assert abs(np.mean(waited_s) * rate_hz - 1.0) < 4.0 / math.sqrt(len(waited_s))


def _alone(claims):
    start, end = claims["time_s"], claims["end_s"]
    overlaps = (start[:, None] < end[None, :]) & (start[None, :] < end[:, None])
    return overlaps.sum(axis=1) == 1


def test_delivered_fidelity_follows_the_werner_law_of_its_own_times(line):
    """Depolarising memories and perfect swaps: w = prod of w0 e^(-(stored seconds of both halves)/T).

    The seconds each half was stored are re-derived here from births, swaps and delays alone.
    """
    scenario = line(nodes=3, depolarising_s=2.0, rate_hz=3.0, target_fidelity=0.6)
    run = simulate(scenario, LOCAL, seed=5)
    pairs = run.tables["pairs"]
    by_id = {int(pair): row for row, pair in enumerate(pairs["pair"])}
    delay_s = 20.0 / 2e5 + 1e-5
    checked = 0
    for row in np.flatnonzero((pairs["outcome"] == PairOutcome.DELIVERED.code) & (pairs["link"] < 0)):
        swapped_s = pairs["born_s"][row]
        # Until the swap: both halves since birth, and the sender's for the light's way before it.
        stored_s = 0.0
        for parent in ("first_parent", "second_parent"):
            stored_s += 2.0 * (swapped_s - pairs["born_s"][by_id[int(pairs[parent][row])]]) + delay_s
        # After it: both halves until the correction reaches the destination, one hop away.
        stored_s += 2.0 * delay_s
        weight = ((4 * 0.98 - 1) / 3) ** 2 * math.exp(-stored_s / 2.0)
        # A sender at the path's end hears of its own pair last; then ageing ends with that.
        late_s = max(0.0, pairs["end_s"][row] - swapped_s - delay_s)
        if late_s < 1e-12:
            assert math.isclose(pairs["fidelity"][row], (3 * weight + 1) / 4, rel_tol=1e-12)
            checked += 1
    assert checked > 10


def test_outcome_is_decided_by_true_fidelity(line):
    """A planner that believes no pair ever waits delivers some in time but below their target."""
    blind = Arm(name="blind", policy="local-minhop", parameters={"storage_fraction": 0.0})
    run = simulate(line(depolarising_s=3.0, target_fidelity=0.85, rate_hz=8.0), blind, seed=1)
    requests = run.tables["requests"]
    ended = requests["outcome"]
    assert (requests["fidelity"][ended == RequestOutcome.DELIVERED.code] >= 0.85).all()
    low = requests["fidelity"][ended == RequestOutcome.LOW_FIDELITY.code]
    assert len(low) > 0
    assert (low < 0.85).all()


def test_tokens_bound_swaps(line):
    """A bucket of depth 1 refilled at c gives at most 1 + c t swaps in any t seconds from the start."""
    run = simulate(line(nodes=3, repeater_rate_hz=4.0, rate_hz=40.0, measured_s=30.0), LOCAL, seed=2)
    claims = run.tables["claims"]
    granted = np.sort(
        claims["end_s"][(claims["kind"] == 1) & (claims["outcome"] == 1) & (claims["node"] == 1)]
    )
    taken = np.arange(1, len(granted) + 1)
    assert (taken <= 1.0 + 4.0 * granted + 1e-6).all()
    # Saturated: nearly every token refilled is used.
    assert len(granted) > 0.95 * 4.0 * 30.0


def test_swap_success_has_its_probability(line):
    """Swaps succeed with probability 0.5: two-sided binomial bound at 1e-4."""
    run = simulate(line(nodes=3, swap_success_probability=0.5, measured_s=60.0), LOCAL, seed=4)
    pairs = run.tables["pairs"]
    swaps = (pairs["outcome"] == PairOutcome.SWAPPED.code).sum() // 2
    made = (pairs["link"] < 0).sum()
    assert swaps > 200
    assert stats.binomtest(int(made), int(swaps), 0.5).pvalue > 1e-4


def test_latency_of_a_served_request_counts_every_message(line):
    """On one idle link: reserve, grant, emission, herald, answer; never less than three link delays."""
    run = simulate(line(nodes=2, rate_hz=1.0), LOCAL, seed=6)
    requests = run.tables["requests"]
    delivered = requests["outcome"] == RequestOutcome.DELIVERED.code
    latency_s = (requests["end_s"] - requests["time_s"])[delivered]
    delay_s = 20.0 / 2e5 + 1e-5
    claims = run.tables["claims"]
    emission = claims["kind"] == 0
    # reserve + grant (2 delays) before the claim, herald + answer (2 delays) after its emission
    waited_s = (claims["end_s"] - claims["time_s"])[emission & (claims["outcome"] == 1)]
    assert np.allclose(np.sort(latency_s), np.sort(waited_s + 4 * delay_s), atol=1e-12)


def test_several_pairs_live_together_and_key_pairs_do_not_wait(line):
    """Three pairs: teleportation ends all at one moment, key distribution each when it comes."""
    together = simulate(line(pairs=3, patience_s=3.0, rate_hz=1.0), LOCAL, seed=7).tables
    apart = simulate(
        line(pairs=3, patience_s=3.0, rate_hz=1.0, application="qkd", target_fidelity=0.84), LOCAL, seed=7
    ).tables
    assert _distinct_ends(together) == {1}
    assert max(_distinct_ends(apart)) == 3


def _distinct_ends(tables):
    """How many different end times the delivered pairs of each delivered request have."""
    pairs, allocations, requests = tables["pairs"], tables["allocations"], tables["requests"]
    request_of = dict(zip(allocations["allocation"].tolist(), allocations["request"].tolist(), strict=True))
    good = set(requests["request"][requests["outcome"] == RequestOutcome.DELIVERED.code].tolist())
    ends: dict[int, set[float]] = {}
    for row in np.flatnonzero(pairs["outcome"] == PairOutcome.DELIVERED.code):
        request = request_of[int(pairs["allocation"][row])]
        if request in good:
            ends.setdefault(request, set()).add(float(pairs["end_s"][row]))
    return {len(times) for times in ends.values()}


class _FasterMemories(PauliModel):
    """A plugin with memories of its own; counts the batches it is asked for."""

    batches = 0

    def decay_of(self, memory):
        decay = super().decay_of(memory)
        return replace(decay, per_second=decay.per_second * [1.0, 1.5, 1.5, 0.5])

    def age_many(self, *arguments):
        self.batches += 1
        return super().age_many(*arguments)


class _Ageless(PauliModel):
    """A plugin whose single storage the inherited batches would ignore."""

    def age(self, state, *storage):
        return state

    def fidelity_many(self, states):
        raise AssertionError("batches do not apply to this model")


@pytest.mark.parametrize("model", [PauliModel, _FasterMemories, _Ageless])
@pytest.mark.parametrize("count", [3, 20])
def test_many_pairs_are_looked_at_as_one_by_one(line, model, count):
    """Pairs of several ages, some of this very moment; neither way touches them."""
    scenario = line(nodes=3, depolarising_s=2.0)
    physics = model()
    network = build_network(scenario, physics, seed=1)
    ledger = Ledger(network, physics, [].append)
    pairs = [
        ledger.birth(0, sender=0, ends=(0, 1), now_s=0.1 * number, allocation=0) for number in range(count)
    ]
    now_s = 0.1 * (count - 1)
    states = [pair.state for pair in pairs]
    assert ledger.fidelities(pairs, now_s) == [ledger.fidelity(pair, now_s) for pair in pairs]
    assert all(pair.state is state for pair, state in zip(pairs, states, strict=True))


def test_a_derived_model_keeps_its_batches(line):
    physics = _FasterMemories()
    network = build_network(line(nodes=3, depolarising_s=2.0), physics, seed=1)
    ledger = Ledger(network, physics, [].append)
    pairs = [ledger.birth(0, sender=0, ends=(0, 1), now_s=0.0, allocation=0) for _ in range(20)]
    ledger.fidelities(pairs, 0.5)
    assert physics.batches == 1
