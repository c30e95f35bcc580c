"""The recurrent forecaster: its cell, its likelihood, and what it keeps from run to run."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from scipy import stats

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import PeerTable
from qdpem.demand.requests import Requests, joined
from qdpem.errors import QdpemError
from qdpem.forecasting.checks.evaluation import score_forecaster
from qdpem.forecasting.checks.reference_demand import by_step
from qdpem.forecasting.features.harmonics import Calendar
from qdpem.forecasting.features.peer_features import PeerFeatures
from qdpem.forecasting.gru import GruForecast
from qdpem.forecasting.pretrained import load_pretrained
from qdpem.forecasting.recurrent.cell import TRUSTS, CellStack, read_heads, run_cells
from qdpem.forecasting.recurrent.fitting import copy_to_groups, fit_groups
from qdpem.forecasting.recurrent.likelihood import negative_log_likelihood, trusted_starts
from qdpem.forecasting.recurrent.series import RecordedSteps
from qdpem.forecasting.simple import ConstantForecast, EwmaForecast
from tests.helpers.forecasting import bursting, context_of, requests_at, same, walk

torch = pytest.importorskip("torch")
NODES, PLACES, HISTORY, STEPS = 3, 2, 260, 60
NONE = np.zeros(0)


def timetables(seed: int, *, nodes: int = NODES, start: int = -HISTORY, end: int = STEPS) -> Requests:
    """Each node asks node n + 1 on a timetable, and node n + 2 at random."""
    generator, parts = np.random.default_rng(seed), []
    for node in range(nodes):
        period = generator.uniform(9.0, 25.0)
        regular = np.arange(start, end, period) + generator.uniform(0.0, period)
        regular = regular + 0.4 * generator.standard_normal(len(regular))
        random = generator.uniform(start, end, generator.poisson(0.3 * (end - start)))
        for ahead, time_s in ((1, regular), (2, random)):
            parts.append(requests_at(time_s, np.full(len(time_s), node), np.full(len(time_s), node + ahead)))
    asked = joined(*parts)
    order = np.argsort(asked.time_s, kind="stable")
    return Requests(**{item.name: getattr(asked, item.name)[order] for item in fields(Requests)})


def fitted(history: Requests, *, nodes: int = NODES, horizon: int = 8, history_s: float = HISTORY, **given):
    """A forecaster after its fit, and the table of its peers."""
    gru = GruForecast(GruForecast.Parameters(**({"epochs": 2} | given)))
    gru.reset(context_of(nodes, PLACES, history_s=float(history_s), horizon=horizon))
    table = PeerTable(nodes=nodes, max_peers=PLACES)
    table.begin(history)
    gru.fit(history, table.peers)
    return gru, table


def parts_of(asked: Requests, *, end: int = STEPS) -> tuple[Requests, list[Requests]]:
    return asked.between(-HISTORY, 0.0), by_step(asked, step_s=1.0, steps=end)


@pytest.fixture(scope="module")
def one():
    """Demand, a fitted forecaster's forecasts along it, and its state after 20 steps and at the end."""
    history, steps = parts_of(timetables(1))
    gru, table = fitted(history)
    first = walk(gru, steps[:20], table)
    saved = gru.state()
    rest = walk(gru, steps[20:], table)
    return history, steps, first, saved, rest, gru.state()


def random_weights(*, groups, features, units, ahead, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "input": (groups, features, 3 * units),
        "recurrent": (groups, units, 3 * units),
        "input_bias": (groups, 1, 3 * units),
        "recurrent_bias": (groups, 1, 3 * units),
        "head": (groups, units, TRUSTS + ahead),
        "head_bias": (groups, 1, TRUSTS + ahead),
    }
    return {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}


def test_the_stacked_cell_equals_one_torch_gru_per_node() -> None:
    groups, features, units, steps, batch = 5, 4, 6, 30, 3
    weights = random_weights(groups=groups, features=features, units=units, ahead=2)
    given = torch.randn(steps, groups, batch, features, dtype=torch.float64)
    start = torch.randn(groups, batch, units, dtype=torch.float64)
    states, last = run_cells(weights, given, start)
    for group in range(groups):
        reference = torch.nn.GRU(features, units, dtype=torch.float64)
        with torch.no_grad():
            reference.weight_ih_l0.copy_(weights["input"][group].T)
            reference.weight_hh_l0.copy_(weights["recurrent"][group].T)
            reference.bias_ih_l0.copy_(weights["input_bias"][group, 0])
            reference.bias_hh_l0.copy_(weights["recurrent_bias"][group, 0])
            expected, final = reference(given[:, group], start[group][None])
        assert torch.allclose(states[:, group], expected, rtol=0.0, atol=1e-6)
        assert torch.allclose(last[group], final[0], rtol=0.0, atol=1e-6)


def test_the_numpy_step_equals_the_torch_step() -> None:
    weights = random_weights(groups=7, features=4, units=6, ahead=3, dtype=torch.float32)
    given = torch.randn(20, 7, 2, 4, generator=torch.Generator().manual_seed(2))
    states, _ = run_cells(weights, given, torch.zeros(7, 2, 6))
    trust, multiples = read_heads(weights, states)
    cells = CellStack({name: value.numpy() for name, value in weights.items()})
    hidden = np.zeros((7, 2, 6), dtype=np.float32)
    for step in range(20):
        hidden = cells.step(hidden, given[step].numpy())
        assert hidden == pytest.approx(states[step].numpy(), abs=5e-6)
        said = cells.read(hidden)
        assert said[0] == pytest.approx(trust[step].numpy(), abs=1e-5)
        assert said[1] == pytest.approx(multiples[step].numpy(), rel=1e-4, abs=1e-5)
    assert (said[0].sum(axis=-1) < 1.0).all()


@pytest.mark.parametrize("p", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("rate", [0.02, 1.7])
def test_the_likelihood_is_that_of_a_start_and_a_poisson_number(p: float, rate: float) -> None:
    counts = np.arange(6)
    exact = (1.0 - p) * stats.poisson.pmf(counts, rate) + p * stats.poisson.pmf(counts - 1, rate)
    # Up to log y!, which no forecast changes.
    exact = -np.log(exact) - np.array([np.log(float(np.prod(np.arange(1, y + 1)))) for y in counts])
    full = [torch.full((6,), value, dtype=torch.float64) for value in (p, rate)]
    got = negative_log_likelihood(*full, torch.tensor(counts, dtype=torch.float64))
    assert got.numpy() == pytest.approx(exact, rel=1e-9)


def test_trusted_starts_are_the_schedules_weighted_by_trust() -> None:
    generator = np.random.default_rng(3)
    trust, schedules = generator.random((4, 2, 9)), generator.random((4, 2, 9, 5))
    made = trusted_starts(torch.tensor(trust), torch.tensor(schedules)).numpy()
    assert made == pytest.approx(np.einsum("tbs,tbsh->tbh", trust, schedules))


def test_two_fits_are_the_same_to_the_bit_and_leave_the_threads_alone(one) -> None:
    history, steps, first, *_ = one
    threads = torch.get_num_threads()
    again, table = fitted(history)
    assert torch.get_num_threads() == threads
    assert same(walk(again, steps[:20], table), first)


def test_a_node_sees_nothing_of_the_others_also_when_it_learns(one) -> None:
    """All requests of the other nodes change; 60 steps contain a step of online learning."""
    history, steps, first, _, rest, end = one
    other_history, other_steps = parts_of(timetables(2))

    def only(node: int, own: Requests, other: Requests) -> Requests:
        mixed = joined(
            own.at(np.flatnonzero(own.source == node)), other.at(np.flatnonzero(other.source != node))
        )
        return requests_at(mixed.time_s, mixed.source, mixed.destination)

    gru, table = fitted(only(1, history, other_history))
    fresh = [only(1, own, other) for own, other in zip(steps, other_steps, strict=True)]
    made = walk(gru, fresh, table)
    for part in ("scheduled", "unscheduled"):
        expected = np.concatenate([getattr(first, part), getattr(rest, part)])
        assert np.array_equal(getattr(made, part)[:, 1], expected[:, 1])
    assert not np.array_equal(made.mean[:, 0], np.concatenate([first.mean, rest.mean])[:, 0])
    assert np.array_equal(gru.state()["recurrent"][1], end["recurrent"][1])


def test_it_learns_during_the_run_and_a_rate_of_0_learns_nothing(one) -> None:
    history, steps, first, saved, _, end = one
    assert not np.array_equal(saved["recurrent"], end["recurrent"])
    still, table = fitted(history, online_learning_rate=0.0)
    before = still.state()["recurrent"]
    # Until the first step of learning nothing differs.
    assert same(walk(still, steps[:20], table), first)
    walk(still, steps[20:], table)
    assert np.array_equal(still.state()["recurrent"], before)


def test_a_saved_state_goes_on_as_the_first_would(one) -> None:
    _, steps, _, saved, rest, _ = one
    history, _ = parts_of(timetables(1))
    _, table = fitted(history, epochs=0)
    copy = GruForecast()
    copy.reset(context_of(NODES, PLACES, history_s=float(HISTORY)))
    copy.load_state(saved)
    assert same(walk(copy, steps[20:], table), rest)
    other = GruForecast()
    other.reset(context_of(NODES, PLACES, history_s=float(HISTORY), horizon=5))
    with pytest.raises(QdpemError, match="looks 8 steps ahead"):
        other.load_state(saved)


def test_a_fit_moves_weights_and_a_fit_that_does_not_help_keeps_the_start() -> None:
    history, _ = parts_of(timetables(4))
    start = copy_to_groups(load_pretrained(), groups=NODES, horizon=8)
    moved = fitted(history)[0].state()
    assert any(not np.array_equal(moved["head"][node], start["head"][node]) for node in range(NODES))
    # Steps so large ruin every unit, and the held-out part tells.
    ruined = fitted(history, learning_rate=50.0)[0].state()
    for name, value in start.items():
        assert np.array_equal(ruined[name], value)
    plain = fitted(history, epochs=0)[0].state()
    assert np.array_equal(plain["head"], start["head"])


def test_each_group_keeps_its_own_best_epoch() -> None:
    """Two groups fitted together end as each would alone."""
    generator = np.random.default_rng(6)
    recorded = RecordedSteps()
    features = PeerFeatures(NODES * PLACES, horizon=8, calendar=Calendar.none(NODES * PLACES))
    for step in range(HISTORY):
        rows = np.flatnonzero(generator.random(NODES * PLACES) < 0.1)
        inputs = features.advance(step, rows, np.full(len(rows), step + 0.5))
        recorded.add(inputs, np.bincount(rows, minlength=NODES * PLACES), features.known)
    series = recorded.series()
    start = copy_to_groups(load_pretrained(), groups=NODES, horizon=8)
    together = fit_groups(series, start, epochs=2, learning_rate=1e-3)
    first = {item.name: getattr(series, item.name)[:, :PLACES] for item in fields(series)}
    alone = fit_groups(
        type(series)(**first),
        {name: value[:1] for name, value in start.items()},
        epochs=2,
        learning_rate=1e-3,
    )
    for name, value in alone.items():
        assert value[0] == pytest.approx(together[name][0], abs=1e-6)


def test_a_peer_that_comes_late_is_forecast_from_the_public_start() -> None:
    """Without a history, the forecasts of a timetable's peer grow from 0 to its starts within a run."""
    nothing = requests_at(NONE, NONE, NONE)
    gru, table = fitted(nothing)
    start = copy_to_groups(load_pretrained(), groups=NODES, horizon=8)
    assert all(np.array_equal(gru.state()[name], value) for name, value in start.items())
    assert not gru.forecast().mean.any()
    time_s = np.arange(4.5, 160.0, 12.0)
    asked = requests_at(time_s, np.zeros(len(time_s)), np.ones(len(time_s)))
    made = walk(gru, by_step(asked, step_s=1.0, steps=160), table).mean
    assert not made[:4].any()
    assert not made[:, 1:].any()
    assert not made[:, 0, 1].any()
    # Starts come in the steps 4, 16, ...: 148 is one, and after step 142 it is the sixth step ahead.
    ahead = made[142, 0, 0]
    assert ahead.argmax() == 5
    assert ahead[5] > 0.6
    assert np.delete(ahead, [4, 5, 6]).max() < 0.1


def test_the_cache_gives_back_the_fit_and_survives_a_torn_file(tmp_path) -> None:
    history, _ = parts_of(timetables(8))
    cache = {"cache": str(tmp_path / "kept")}
    first = fitted(history, **cache)[0].forecast()
    (kept,) = (tmp_path / "kept").iterdir()
    with np.load(kept) as file:
        marked = dict(file) | {"head_bias": 0.0 * file["head_bias"]}
    assert same(fitted(history, **cache)[0].forecast(), first)
    whole = kept.read_bytes()
    np.savez(kept, **marked)
    assert not fitted(history, **cache)[0].state()["head_bias"].any()
    kept.write_bytes(whole[:100])
    assert same(fitted(history, **cache)[0].forecast(), first)
    fitted(parts_of(timetables(9))[0], **cache)
    fitted(history, epochs=1, **cache)
    assert len(list((tmp_path / "kept").iterdir())) == 3


@pytest.mark.parametrize("horizon", [1, 13])
def test_any_horizon(horizon: int) -> None:
    history, steps = parts_of(timetables(10))
    gru, table = fitted(history, horizon=horizon, epochs=0)
    made = walk(gru, steps[:10], table)
    assert made.mean.shape == (10, NODES, PLACES, horizon)
    assert (made.unscheduled > 0.0).all()
    assert (made.scheduled <= 1.0).all()


@pytest.mark.parametrize("history_s", [0, 1, 20, 120])
def test_short_and_empty_histories_and_busy_peers_give_finite_forecasts(history_s: int) -> None:
    asked = timetables(11)
    gru, table = fitted(asked.between(-history_s, 0.0), history_s=history_s)
    crowd = np.repeat(np.arange(5.0), 50) + 0.5
    steps = by_step(requests_at(crowd, 0.0 * crowd, 0.0 * crowd + 1.0), step_s=1.0, steps=5)
    made = walk(gru, steps, table)
    for part in (made.scheduled, made.unscheduled):
        assert np.isfinite(part).all()
        assert (part >= 0.0).all()


@pytest.mark.parametrize("bad", [{"epochs": -1}, {"learning_rate": 0.0}, {"online_learning_rate": -1.0}])
def test_parameters_out_of_range_are_refused(bad) -> None:
    with pytest.raises(QdpemError, match="must be 0 or more"):
        GruForecast(GruForecast.Parameters(**bad))


@pytest.mark.slow
def test_it_leads_timetables_and_bursts_where_others_follow() -> None:
    """Most requests of the timetables are the random ones beside them, which nothing can foresee; so the
    margins are small."""
    asked = timetables(21, end=150)
    regular = Arrivals(
        requests=asked.between(0.0, 150.0),
        history=asked.between(-HISTORY, 0.0),
        history_s=float(HISTORY),
        processes=(),
    )
    bursts = bursting(seed=21, rates_hz=np.linspace(0.5, 4.0, 6), history_s=400.0, end_s=150.0)
    for arrivals, nodes, part in ((regular, NODES, 0.93), (bursts, 6, 0.95)):
        context = context_of(nodes, PLACES, history_s=arrivals.history_s)
        scores = {
            factory.name: score_forecaster(factory(), arrivals, context=context, end_s=150.0).crps
            for factory in (ConstantForecast, EwmaForecast, GruForecast)
        }
        assert scores["gru"] < part * min(scores["constant"], scores["ewma"])
