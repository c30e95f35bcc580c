"""The arm `dpem`: laws every policy keeps, and what its candidates may offer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import PolicyError
from qdpem.policies.dpem.actor_critic import (
    initial_actor,
    initial_critics,
    probabilities,
    sample,
    scores,
    stacked,
)
from qdpem.policies.dpem.agent import RELEASED, Dpem, load_actor, save_actor
from qdpem.policies.dpem.candidates import CandidateBuilder
from qdpem.policies.dpem.features import FEATURES, OPTIONS, PoissonQuantile
from qdpem.policies.dpem.slots import REQUEST_SLOTS, SLOTS
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import FREE_MEMORIES, Context, Observation
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.rng import stream
from qdpem.scenario.words import Pregeneration

NODES = 9


def opinionated(*, seed: int = 0, greedy: bool = False) -> Dpem:
    """A policy with strong random opinions, unlike a fresh one, which is close to uniform."""
    actor = {name: 3.0 * value for name, value in initial_actor(seed).items()}
    actor["actor_output"] = stream(seed, "test/head").normal(size=16)
    weights = {**stacked(actor, nodes=NODES), **initial_critics(seed, nodes=NODES)}
    return Dpem(Dpem.Parameters(greedy=greedy), weights=weights)


def observation_of(context: Context, key: str, **choices: int) -> Observation:
    return synthetic_observation(context, stream(3, f"test/{key}"), **choices)


@pytest.mark.mostly_slow
@pytest.mark.parametrize("pregeneration", Pregeneration)
def test_dpem_keeps_the_laws_of_every_policy(pregeneration: str) -> None:
    checks = check_policy(opinionated, small_context(pregeneration=pregeneration), calls=12)
    assert [check.rule for check in checks] == ["legal", "determinism", "locality", "one by one", "state"]
    assert [check.detail for check in checks if not check.passed] == []


@pytest.mark.slow
def test_greedy_dpem_keeps_the_laws_too() -> None:
    checks = check_policy(
        lambda: opinionated(greedy=True), small_context(pregeneration="end-to-end"), calls=6
    )
    assert all(check.passed for check in checks)


def test_a_fresh_policy_is_close_to_uniform_over_what_the_mask_leaves() -> None:
    context = small_context(pregeneration="end-to-end")
    candidates = CandidateBuilder(context).build(observation_of(context, "fresh"))
    rows, places = np.nonzero(candidates.mask.any(axis=2))
    weights = stacked(initial_actor(0), nodes=NODES)
    mask = candidates.mask[rows, places]
    probability = probabilities(scores(weights, rows, candidates.features[rows, places]), mask)
    assert len(rows) > 10
    assert np.abs(probability - mask / mask.sum(axis=1, keepdims=True)).max() < 0.02


def test_scores_of_a_row_do_not_depend_on_its_company() -> None:
    generator = stream(0, "test/company")
    features = generator.normal(size=(97, OPTIONS, len(FEATURES))).astype(np.float32)
    weights = stacked(initial_actor(1), nodes=97)
    together = probabilities(scores(weights, np.arange(97), features), np.ones((97, OPTIONS), dtype=bool))
    for size in (1, 2, 3, 5, 8, 17):
        for start in range(0, 97 - size, 7):
            rows = np.arange(start, start + size)
            alone = probabilities(scores(weights, rows, features[rows]), np.ones((size, OPTIONS), dtype=bool))
            assert np.array_equal(alone, together[rows])


def test_sampling_follows_its_probabilities() -> None:
    """20,000 draws, each share within 4.5 standard errors: false alarms below 1e-4 in all."""
    probability = np.array([0.1, 0.0, 0.6, 0.3])
    drawn = sample(np.tile(probability, (20_000, 1)), stream(0, "test/sample").random(20_000))
    fractions = np.bincount(drawn, minlength=4) / 20_000
    assert fractions[1] == 0.0
    assert np.all(np.abs(fractions - probability) <= 4.5 * np.sqrt(probability * (1 - probability) / 20_000))


def test_masks_follow_rights_memory_and_stock() -> None:
    for pregeneration in Pregeneration:
        context = small_context(pregeneration=pregeneration)
        observations = observation_of(context, "masks")
        observations.reason[:] = 3
        candidates = CandidateBuilder(context).build(observations)
        top_pairs = candidates.mask[:, REQUEST_SLOTS:, 1:]
        assert top_pairs.any() == (pregeneration != "none")
        stocked = candidates.mask[:, :REQUEST_SLOTS, 1]
        assert pregeneration in ("end-to-end", "virtual-link") or not stocked.any()
        observations.status[:, 0, FREE_MEMORIES] = 0.0
        assert not CandidateBuilder(context).build(observations).mask[:, :, 2:].any()


def test_nothing_to_decide_is_an_empty_mask_of_fixed_shape() -> None:
    context = small_context(pregeneration="none")
    policy = opinionated()
    policy.reset(context)
    observations = observation_of(context, "idle")
    observations.request_id[:] = -1
    decisions = policy.act(observations)
    assert decisions.allocations == ()
    assert decisions.info["mask"].shape == (NODES, SLOTS, OPTIONS)
    assert not decisions.info["mask"].any()
    assert np.array_equal(decisions.info["log_probability"], np.zeros(NODES))
    assert decisions.info["features"].shape == (NODES, SLOTS, OPTIONS, len(FEATURES))


def test_a_site_orders_each_top_pair_once_per_forecast_step() -> None:
    context = small_context(pregeneration="end-to-end")
    actor = initial_actor(0)
    actor["actor_output"] = np.zeros(16)
    policy = Dpem(Dpem.Parameters(), weights=stacked(actor, nodes=NODES))
    policy.reset(context)
    orders: dict[tuple[int, int], list[float]] = {}
    for call in range(60):
        observations = synthetic_observation(context, stream(call % 3, "test/rest"), time_s=10.0 + 0.1 * call)
        for allocation in policy.act(observations).allocations:
            if allocation.purpose == "stock":
                orders.setdefault((allocation.source, allocation.destination), []).append(observations.time_s)
    gaps = [gap for times in orders.values() for gap in np.diff(times)]
    assert len(gaps) > 10
    assert min(gaps) >= context.forecasting.step_s - 1e-9


def test_poisson_quantile_equals_scipy() -> None:
    from scipy.stats import poisson

    means = np.concatenate([[0.0], np.geomspace(1e-3, 40.0, 300)])
    assert np.array_equal(PoissonQuantile(0.9)(means), poisson.ppf(0.9, means).clip(min=0.0))


def test_a_policy_file_comes_back_as_it_was(tmp_path: Path) -> None:
    actor = initial_actor(5)
    for name in ("one.npz", "two.npz"):
        save_actor(tmp_path / name, actor, scenario="test", statement="none")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    loaded = load_actor(str(tmp_path / "one.npz"))
    for name, value in loaded.items():
        assert np.allclose(value, actor[name], atol=1e-7)


def test_the_released_policy_is_whole_and_says_what_it_promises() -> None:
    policy = Dpem()
    policy.reset(small_context(pregeneration="end-to-end"))
    assert all(np.isfinite(value).all() for value in load_actor("").values())
    with np.load(RELEASED) as file:
        assert "differential privacy at client level" in str(file["statement"])
        assert not any(name.startswith("critic") for name in file.files)


def test_wrong_policy_files_are_answered_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="finds no policy file"):
        load_actor(str(tmp_path / "absent.npz"))
    (tmp_path / "text.npz").write_text("not a policy")
    with pytest.raises(PolicyError, match="is not a policy file"):
        load_actor(str(tmp_path / "text.npz"))
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(PolicyError, match="has format 'none'"):
        load_actor(str(tmp_path / "other.npz"))
    save_actor(tmp_path / "short.npz", initial_actor(0), scenario="test", statement="none")
    whole = (tmp_path / "short.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolicyError, match="is not a policy file"):
        load_actor(str(tmp_path / "short.npz"))


def test_central_control_is_refused() -> None:
    with pytest.raises(PolicyError, match="must be 'local'"):
        opinionated().reset(small_context(control="central"))
