"""Requests against the law they are said to follow.

Every statistical test uses a fixed seed and a two-sided bound; 5 standard deviations of a Poisson count or
a p-value below 1e-5 on either side would each fail a sound generator for fewer than 1 seed in 10,000.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import stats

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.bursts import assign_regions, burst_time_fraction, draw_bursts, draw_phases, in_burst
from qdpem.demand.processes.poisson import PoissonDemand
from qdpem.demand.requests import Requests
from qdpem.demand.streams import generate_arrivals, pair_weights
from qdpem.errors import ScenarioError
from qdpem.rng import stream
from qdpem.scenario.schema import Bursts
from qdpem.scenario.words import Application
from tests.helpers.demand import QKD, all_peers, all_requests, asked_network, asking

ALPHA = 1e-5


def uneven(nodes: int) -> np.ndarray:
    weights = np.add.outer(np.arange(1.0, nodes + 1), np.arange(1.0, nodes + 1))
    np.fill_diagonal(weights, 0.0)
    weights[0, 1] = weights[1, 0] = 0.0
    return weights


SPIKES = Bursts(regions=2, period_s=20.0, duration_s=5.0, jitter_s=1.0, peak=3.0)


def poisson_of(arrivals: Arrivals) -> PoissonDemand:
    (process,) = arrivals.processes
    assert isinstance(process, PoissonDemand)
    return process


def mean_counts(arrivals: Arrivals, *, start_s: float, step_s: float, steps: int) -> np.ndarray:
    """Expected requests per step and node given the bursts, float64 [steps, N]."""
    edges_s = start_s + step_s * np.arange(steps + 1)
    demand = arrivals.realised(all_peers(asking(), 8), edges_s=edges_s)
    assert not demand.scheduled.any()
    return demand.mean.sum(axis=1).T


def assert_poisson(count: float, mean: float) -> None:
    assert abs(count - mean) < 5.0 * np.sqrt(mean)


def assert_goodness(observed: np.ndarray, expected: np.ndarray, *, lost: int) -> None:
    """Pearson's chi-square, both tails: too regular is as wrong as too rough."""
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert ALPHA < stats.chi2.cdf(statistic, observed.size - lost) < 1.0 - ALPHA


@pytest.mark.parametrize("bursts", [None, SPIKES])
def test_times_ids_and_values_are_what_the_contract_says(bursts):
    arrivals = generate_arrivals(asking(bursts=bursts), asked_network(), seed=3)
    history, run = arrivals.history, arrivals.requests
    assert history.id.tolist() == list(range(-len(history), 0))
    assert run.id.tolist() == list(range(len(run)))
    assert -200.0 <= history.time_s[0] < -190.0
    assert history.time_s[-1] < 0.0 <= run.time_s[0]
    assert 290.0 < run.time_s[-1] < 300.0
    for part in (history, run):
        assert (np.diff(part.time_s) >= 0.0).all()
        assert (part.source != part.destination).all()
        qkd = part.application == Application.QKD.code
        assert part.deadline_s == pytest.approx(part.time_s + np.where(qkd, 2.5, 1.0), abs=1e-12)
        assert (part.target_fidelity == np.where(qkd, 0.88, 0.7)).all()
        assert (part.pairs == np.where(qkd, 4, 1)).all()
        assert {str(getattr(part, item.name).dtype) for item in fields(part)} == {"int64", "float64"}


def test_stationary_demand_has_no_bursts_and_one_region():
    arrivals = generate_arrivals(asking(), asked_network(), seed=1)
    process = poisson_of(arrivals)
    assert (process.low, process.high, process.region.tolist()) == (1.0, 1.0, [0] * 8)
    assert process.bursts_s.shape == (0, 3)
    assert process.phase_s.shape == (0,)
    assert process.bursts is None
    assert_poisson(len(arrivals.requests), 40.0 * 300.0)
    assert_poisson(len(arrivals.history), 40.0 * 200.0)


def test_stationary_gaps_are_exponential():
    times = generate_arrivals(asking(), asked_network(), seed=2).requests.time_s
    assert stats.kstest(np.diff(times), stats.expon(scale=1.0 / 40.0).cdf).pvalue > ALPHA


def test_counts_given_the_bursts_are_poisson_cell_by_cell():
    arrivals = generate_arrivals(asking(bursts=SPIKES, rate_hz=200.0), asked_network(), seed=4)
    for requests, start_s, steps in ((arrivals.requests, 0.0, 300), (arrivals.history, -200.0, 200)):
        counts = requests.counts(nodes=8, start_s=start_s, step_s=1.0, steps=steps)
        expected = mean_counts(arrivals, start_s=start_s, step_s=1.0, steps=steps)
        assert counts.sum() == len(requests)
        assert_goodness(counts, expected, lost=0)


def test_rescaled_by_the_true_rate_gaps_are_exponential():
    """The time-rescaling theorem: between arrivals the integrated rate grows by exponentials of mean 1."""
    arrivals = generate_arrivals(asking(bursts=SPIKES, rate_hz=100.0), asked_network(), seed=5)
    process = poisson_of(arrivals)
    step_s, steps = 0.01, 30_000
    for region in (0, 1):
        nodes = process.region == region
        expected = mean_counts(arrivals, start_s=0.0, step_s=step_s, steps=steps)[:, nodes].sum(axis=1)
        summed = np.concatenate([[0.0], np.cumsum(expected)])
        times = arrivals.requests.time_s[nodes[arrivals.requests.source]]
        gaps = np.diff(np.interp(times, step_s * np.arange(steps + 1), summed))
        assert stats.kstest(gaps, "expon").pvalue > ALPHA


def test_counts_inside_and_outside_bursts_keep_the_ratio_peak_to_low():
    scenario = asking(bursts=SPIKES, rate_hz=100.0, measured_s=1000.0)
    arrivals = generate_arrivals(scenario, asked_network(), seed=6)
    process = poisson_of(arrivals)
    assert (process.high, process.low) == (3.0, pytest.approx(1.0 / 3.0))
    for region in (0, 1):
        nodes = process.region == region
        base_hz = process.base_rate_hz[nodes].sum()
        own = process.bursts_s[process.bursts_s[:, 0] == region, 1:]
        burst_s = float(np.diff(np.clip(own, 0.0, 1000.0)).sum())
        times = arrivals.requests.time_s[nodes[arrivals.requests.source]]
        bursting = in_burst(process.bursts_s, region, times)
        assert_poisson(bursting.sum(), 3.0 * base_hz * burst_s)
        assert_poisson((~bursting).sum(), base_hz / 3.0 * (1000.0 - burst_s))


@pytest.mark.parametrize(
    ("jitter_s", "duration_s", "peak"),
    [(0.0, 5.0, 4.0), (2.0, 5.0, 3.0), (15.0, 8.0, 2.0), (60.0, 12.0, 1.5)],
)
def test_the_long_run_mean_rate_is_what_the_demand_says(jitter_s, duration_s, peak):
    """Mean over 400 seeds of the share of 10 periods spent in bursts; 5 standard errors either way."""
    bursts = Bursts(regions=1, period_s=20.0, duration_s=duration_s, jitter_s=jitter_s, peak=peak)
    fractions = []
    for seed in range(400):
        drawn = draw_bursts(bursts, draw_phases(bursts, seed=seed), start_s=0.0, end_s=200.0, seed=seed)
        fractions.append(np.diff(np.clip(drawn[:, 1:], 0.0, 200.0)).sum() / 200.0)
    error = np.std(fractions) / np.sqrt(len(fractions)) + 1e-12
    assert abs(np.mean(fractions) - burst_time_fraction(bursts)) < 5.0 * error
    scenario = asking(bursts=bursts)
    arrivals = generate_arrivals(scenario, asked_network(), seed=1)
    process = poisson_of(arrivals)
    fraction = burst_time_fraction(bursts)
    assert process.low * (1.0 - fraction) + process.high * fraction == pytest.approx(1.0)
    assert process.low >= 0.0


def test_expected_counts_are_the_integral_of_the_rate():
    wild = Bursts(regions=2, period_s=10.0, duration_s=4.0, jitter_s=6.0, peak=2.0)
    arrivals = generate_arrivals(asking(bursts=wild), asked_network(), seed=8)
    process = poisson_of(arrivals)
    expected = mean_counts(arrivals, start_s=-7.3, step_s=0.7, steps=60)
    fine = 2000
    time_s = -7.3 + 0.7 * (np.arange(60 * fine) + 0.5) / fine
    for node in (0, 1, 5):
        bursting = in_burst(process.bursts_s, int(process.region[node]), time_s)
        rate_hz = process.base_rate_hz[node] * np.where(bursting, process.high, process.low)
        integral = rate_hz.reshape(60, fine).mean(axis=1) * 0.7
        assert expected[:, node] == pytest.approx(integral, rel=5e-3)


def test_the_truth_reaches_a_horizon_past_both_ends():
    scenario = asking(bursts=SPIKES)
    arrivals = generate_arrivals(scenario, asked_network(), seed=9)
    process = poisson_of(arrivals)
    for region in (0, 1):
        own = process.bursts_s[process.bursts_s[:, 0] == region]
        assert own[0, 1] < -200.0 - scenario.forecasting.horizon_steps
        assert own[-1, 2] > 300.0 + scenario.forecasting.horizon_steps


@pytest.mark.parametrize("jitter_s", [0.0, 1.0, 30.0])
def test_bursts_are_disjoint_and_near_their_nominal_starts(jitter_s):
    bursts = replace(SPIKES, jitter_s=jitter_s)
    phase_s = draw_phases(bursts, seed=1)
    assert ((phase_s >= 0.0) & (phase_s < 20.0)).all()
    drawn = draw_bursts(bursts, phase_s, start_s=-500.0, end_s=500.0, seed=1)
    for region in (0, 1):
        own = drawn[drawn[:, 0] == region, 1:]
        assert (own[1:, 0] > own[:-1, 1]).all()
        assert (np.diff(own) >= 5.0 - 1e-9).all()
        if jitter_s <= 1.0:
            off_s = (own[:, 0] - phase_s[region] + 10.0) % 20.0 - 10.0
            assert len(own) in (50, 51)
            assert np.abs(off_s).max() <= 5.0 * jitter_s + 1e-9
            assert np.std(off_s) == pytest.approx(jitter_s, rel=0.5, abs=1e-9)


def test_source_and_destination_follow_the_weights():
    network = asked_network(weights=uneven(8))
    arrivals = generate_arrivals(asking(weights="matrix", rate_hz=100.0), network, seed=10)
    asked = all_requests(arrivals)
    counts = np.zeros((8, 8))
    np.add.at(counts, (asked.source, asked.destination), 1)
    weights = pair_weights(asking(weights="matrix"), network, seed=1)
    assert (counts[weights == 0.0] == 0).all()
    likely = weights > 0.0
    assert_goodness(counts[likely], len(asked) * weights[likely], lost=1)


def test_classes_follow_their_shares():
    asked = all_requests(generate_arrivals(asking(rate_hz=100.0), asked_network(), seed=11))
    qkd = int((asked.pairs == 4).sum())
    assert stats.binomtest(qkd, len(asked), 0.25).pvalue > ALPHA


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    scenario, network = asking(bursts=SPIKES), asked_network()
    first, again, other = (
        all_requests(generate_arrivals(scenario, network, seed=seed)) for seed in (1, 1, 2)
    )
    for item in fields(Requests):
        assert getattr(first, item.name).tobytes() == getattr(again, item.name).tobytes()
    assert first.time_s.tobytes() != other.time_s.tobytes()


def test_other_classes_leave_times_and_pairs_as_they_are():
    network = asked_network()
    one = generate_arrivals(asking(bursts=SPIKES), network, seed=1)
    two = generate_arrivals(asking(bursts=SPIKES, classes=(replace(QKD, patience_s=9.0),)), network, seed=1)
    for part in ("history", "requests"):
        for name in ("id", "time_s", "source", "destination"):
            assert np.array_equal(getattr(getattr(one, part), name), getattr(getattr(two, part), name))
    assert not np.array_equal(one.requests.pairs, two.requests.pairs)


def test_a_longer_run_and_history_only_add_requests():
    network = asked_network()
    short = all_requests(generate_arrivals(asking(bursts=SPIKES), network, seed=1))
    longer = asking(bursts=SPIKES, measured_s=700.0, history_s=500.0)
    long = all_requests(generate_arrivals(longer, network, seed=1)).between(-200.0, 300.0)
    for item in fields(Requests):
        assert np.array_equal(getattr(short, item.name), getattr(long, item.name)), item.name


def test_a_node_that_asks_for_nothing_changes_no_other_stream():
    weights = uneven(8)
    more = np.zeros((9, 9))
    more[:8, :8] = weights
    scenario = asking(weights="matrix")
    without = generate_arrivals(scenario, asked_network(weights=weights), seed=1).requests
    joined = generate_arrivals(scenario, asked_network(9, weights=more), seed=1).requests
    for item in fields(Requests):
        assert np.array_equal(getattr(without, item.name), getattr(joined, item.name)), item.name


def test_regions_belong_to_the_topology_seed_and_bursts_to_the_traffic_seed():
    scenario, network = asking(bursts=replace(SPIKES, regions=4), topology_seed=5), asked_network(40)
    one, two = (poisson_of(generate_arrivals(scenario, network, seed=seed)) for seed in (1, 2))
    assert np.array_equal(one.region, two.region)
    assert not np.array_equal(one.phase_s, two.phase_s)


def test_two_clusters_make_two_regions():
    for seed in range(10):
        assert assign_regions(asked_network(), 2, stream(seed, "any")).tolist() == [0, 1] * 4


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_region_has_a_node_even_where_all_stand_on_one_spot(count):
    network = asked_network()
    spot = replace(network, graph=replace(network.graph, x_km=np.zeros(8), y_km=np.zeros(8)))
    for where in (network, spot):
        region = assign_regions(where, count, stream(1, "any"))
        assert sorted(set(region.tolist())) == list(range(count))


def test_regions_are_a_fixed_point_of_lloyds_rule():
    network = asked_network(60)
    points = np.column_stack([network.graph.x_km, network.graph.y_km])
    region = assign_regions(network, 5, stream(3, "any"))
    centres = np.array([points[region == one].mean(axis=0) for one in range(5)])
    nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(region, nearest)


@pytest.mark.parametrize("weights", ["uniform", "matrix"])
def test_pair_weights_are_shares(weights):
    lopsided = uneven(8)
    lopsided[2, 3] += 7.0
    found = pair_weights(asking(weights=weights), asked_network(weights=lopsided), seed=1)
    assert found.sum() == pytest.approx(1.0)
    assert np.array_equal(found, found.T)
    assert not found.diagonal().any()
    expected = (lopsided + lopsided.T) / (2.0 * lopsided.sum()) if weights == "matrix" else 1.0 / 56.0
    assert found == pytest.approx(np.where(np.eye(8), 0.0, expected))


def test_faults_name_their_path():
    with pytest.raises(ScenarioError, match=r"demand\.weights: .*'ring' has not"):
        generate_arrivals(asking(weights="matrix"), asked_network(), seed=1)
    with pytest.raises(ScenarioError, match=r"demand\.weights: .*sum to 0"):
        generate_arrivals(asking(weights="matrix"), asked_network(weights=np.zeros((8, 8))), seed=1)
    with pytest.raises(ScenarioError, match=r"demand\.bursts\.regions: 9 regions .* 8 nodes"):
        generate_arrivals(asking(bursts=replace(SPIKES, regions=9)), asked_network(), seed=1)


def test_between_and_counts():
    asked = generate_arrivals(asking(), asked_network(), seed=1).requests
    part = asked.between(10.0, 20.0)
    assert len(part) == ((asked.time_s >= 10.0) & (asked.time_s < 20.0)).sum()
    counts = asked.counts(nodes=8, start_s=10.0, step_s=2.0, steps=5)
    assert counts.shape == (5, 8)
    assert counts.sum() == len(part)
    assert counts[:, 3].sum() == (part.source == 3).sum()
