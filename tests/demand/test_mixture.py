"""A mixture of processes: each has its share and its own streams, which no other process touches.

Statistical tests use fixed seeds and two-sided bounds; 5 standard errors fail a sound generator for fewer
than 1 seed in a million.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.processes.session import SessionDemand
from qdpem.demand.requests import Requests
from qdpem.demand.streams import build_processes, generate_arrivals, pair_weights
from qdpem.errors import ScenarioError
from qdpem.scenario.schema import Bursts, Session, Timetable
from tests.helpers.demand import JOB, QKD, all_peers, all_requests, asked_network, asking, requests_equal

NETWORK = asked_network()
PAIRS = 28
JOBS = Timetable(fraction=0.3, classes=(JOB,), jitter_s=2.0, skipped_fraction=0.1, unannounced_fraction=0.1)
CALLS = Session(fraction=0.2, classes=(QKD,), on_s=5.0, off_s=15.0)
ALPHA = 1e-5


def mixed(processes, *, seed: int = 1, rate_hz: float = 20.0, **keys) -> Arrivals:
    return generate_arrivals(asking(rate_hz=rate_hz, processes=processes, **keys), NETWORK, seed=seed)


def of_process(arrivals: Arrivals, name: str) -> Requests:
    """The requests of one process, but for ids and its number, which depend on the others."""
    asked = all_requests(arrivals)
    (index,) = [number for number, each in enumerate(arrivals.processes) if each.name == name]
    own = asked.at(np.flatnonzero(asked.process == index))
    return replace(own, id=0 * own.id, process=0 * own.process)


def test_each_process_has_its_share_of_the_mean_rate() -> None:
    """Sessions are overdispersed: 28 pairs with an on and off correlation time of 3.75 s."""
    arrivals = mixed({"jobs": JOBS, "talks": CALLS}, measured_s=2_800.0)
    assert [process.name for process in arrivals.processes] == ["poisson", "jobs", "talks"]
    asked = all_requests(arrivals)
    for index, fraction in enumerate((0.5, 0.3, 0.2)):
        mean = fraction * 20.0 * 3_000.0
        assert arrivals.processes[index].rate_hz == pytest.approx(fraction * 20.0)
        # Variance of a switched rate: 2 r^2 c (1 - c) T / k over a long T, c = 1/4, k = 1/5 + 1/15, and r is
        # 4 times the mean rate of a pair, 1/28 of the whole.
        switched = PAIRS * 2.0 * (4.0 * 4.0 / PAIRS) ** 2 * (0.25 * 0.75) / (4.0 / 15.0) * 3_000.0
        variance = mean + (switched if index == 2 else 0.0)
        assert abs((asked.process == index).sum() - mean) < 5.0 * np.sqrt(variance)


def test_requests_have_the_classes_of_their_process() -> None:
    asked = all_requests(mixed({"jobs": JOBS, "talks": CALLS}, classes=(replace(JOB, pairs=7),)))
    assert set(asked.pairs[asked.process == 0].tolist()) == {7}
    assert set(asked.pairs[asked.process == 1].tolist()) == {JOB.pairs}
    assert set(asked.target_fidelity[asked.process == 2].tolist()) == {QKD.target_fidelity}
    assert (np.diff(asked.time_s) >= 0.0).all()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 89),
    jitter_s=st.floats(0.0, 20.0),
    on_s=st.floats(0.5, 50.0),
    bursty=st.booleans(),
)
def test_a_process_more_changes_no_request_of_another(seed, jitter_s, on_s, bursty) -> None:
    """The rate of each is held: its fraction of a larger whole."""
    keys = {"measured_s": 40.0, "history_s": 30.0, "seed": seed}
    bursts = Bursts(regions=2, period_s=10.0, duration_s=3.0, peak=2.0) if bursty else None
    jobs, calls = replace(JOBS, jitter_s=jitter_s), replace(CALLS, on_s=on_s)
    both = mixed({"jobs": jobs, "talks": calls}, rate_hz=20.0, bursts=bursts, **keys)
    one = mixed({"jobs": replace(jobs, fraction=0.375)}, rate_hz=16.0, bursts=bursts, **keys)
    for name in ("poisson", "jobs"):
        ours, theirs = of_process(both, name), of_process(one, name)
        assert ours.time_s == pytest.approx(theirs.time_s, abs=1e-9)
        for column in ("source", "destination", "pairs", "target_fidelity"):
            assert np.array_equal(getattr(ours, column), getattr(theirs, column))


def test_two_processes_of_one_kind_are_independent() -> None:
    arrivals = mixed({"a": JOBS, "b": JOBS})
    one, other = of_process(arrivals, "a"), of_process(arrivals, "b")
    assert len(np.intersect1d(one.time_s, other.time_s)) == 0
    first, second = arrivals.processes[1:]
    assert abs(np.corrcoef(first.period_s, second.period_s)[0, 1]) < 5.0 / np.sqrt(PAIRS)


@pytest.mark.parametrize("settings", [replace(JOBS, fraction=1.0), replace(CALLS, fraction=1.0)])
def test_another_pair_of_nodes_does_not_change_my_draws(settings) -> None:
    """Without the pairs of the last node the others ask at the same moments, if their rates are the same."""
    weights = np.ones((8, 8)) - np.eye(8)
    fewer = weights.copy()
    fewer[7] = fewer[:, 7] = 0.0
    lasting = replace(settings, period_spread=0.0) if isinstance(settings, Timetable) else settings

    def requests(matrix: np.ndarray, rate_hz: float) -> Requests:
        scenario = asking(classes=(), processes={"x": lasting}, weights="matrix", rate_hz=rate_hz)
        asked = all_requests(generate_arrivals(scenario, asked_network(weights=matrix), seed=2))
        return asked.at(np.flatnonzero((asked.source != 7) & (asked.destination != 7)))

    ours, theirs = requests(weights, 28.0), requests(fewer, 21.0)
    assert len(ours) > 5_000
    assert ours.time_s == pytest.approx(theirs.time_s, abs=1e-9)
    assert np.array_equal(ours.source, theirs.source)


def test_the_order_of_processes_in_a_file_changes_nothing() -> None:
    """A record keeps keys in the order of their names, and gives the run again."""
    one, other = mixed({"jobs": JOBS, "talks": CALLS}), mixed({"talks": CALLS, "jobs": JOBS})
    assert requests_equal(one.requests, other.requests)
    assert [process.name for process in other.processes] == ["poisson", "jobs", "talks"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (
        all_requests(mixed({"jobs": JOBS, "talks": CALLS}, seed=seed)) for seed in (1, 1, 2)
    )
    assert requests_equal(first, again)
    assert not requests_equal(first, other)


@pytest.mark.parametrize(
    ("process", "key"),
    [
        (replace(JOBS, skipped_fraction=1.0 - 1e-12), "skipped_fraction"),
        (replace(CALLS, on_s=1e-12), "on_s"),
    ],
)
def test_a_process_that_draws_far_more_than_it_keeps_is_refused_before_it_draws(process, key) -> None:
    with pytest.raises(ScenarioError, match=rf"demand\.processes\.x\.{key}: .* should be at most 1e\+08"):
        mixed({"x": process})


def sessions(*, seed: int = 1, span_s: float = 2_000.0) -> SessionDemand:
    scenario = asking(
        classes=(), processes={"x": replace(CALLS, fraction=1.0)}, rate_hz=28.0, measured_s=span_s
    )
    (process,) = build_processes(scenario, NETWORK, pair_weights(scenario, NETWORK, seed=1), seed=seed)
    assert isinstance(process, SessionDemand)
    return process


def test_a_session_asks_while_it_is_on_and_as_a_poisson_process() -> None:
    process = sessions()
    for spans_s, part, rate_on_hz in zip(
        process._spans_s, process.draw()[1], process._rate_on_hz.tolist(), strict=True
    ):
        assert rate_on_hz == pytest.approx(4.0)
        on_s = np.clip(spans_s, 0.0, 2_000.0)
        inside = (part.time_s[:, None] >= on_s[:, 0]) & (part.time_s[:, None] < on_s[:, 1])
        assert (inside.sum(axis=1) == 1).all()
        # Time-rescaling: in time on alone, the gaps are exponential.
        elapsed_s = np.clip(part.time_s[:, None] - on_s[:, 0], 0.0, on_s[:, 1] - on_s[:, 0]).sum(axis=1)
        assert stats.kstest(np.diff(elapsed_s) * 4.0, "expon").pvalue > ALPHA
        mean = 4.0 * np.diff(on_s).sum()
        assert abs(len(part.time_s) - mean) < 5.0 * np.sqrt(mean)


def test_one_end_asks_in_a_session_and_only_that_end_is_expected_to() -> None:
    process, peers = sessions(), all_peers(asking(classes=(QKD,)), 8)
    edges_s = np.arange(11.0)
    mean = process.expected(peers, now_s=0.0, edges_s=edges_s).mean.sum(axis=(1, 2))
    for node in range(8):
        asks = (process.demanded.source == node).any()
        assert (mean[node] > 0.0) == asks
    for pair, part in enumerate(process.draw()[1]):
        assert set(part.source.tolist()) == {int(process.demanded.source[pair])}
