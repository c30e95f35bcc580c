"""The arm `dpem`: laws every policy keeps, its policy files, and what its options become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdpem.errors import PolicyError
from qdpem.policies.dpem.agent import Dpem, DpemParameters
from qdpem.policies.dpem.chooser import Choices, Chooser, Chosen
from qdpem.policies.dpem.networks import ACTOR, FEATURES, Kind, initial, stacked
from qdpem.policies.dpem.policy_file import RELEASED, load_actor, save_actor
from qdpem.policies.dpem.serving import COMBINED, FIRST_ROUTE, STOCK, WAIT
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import Allocation, Context, Observation
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.policy.validation import validate
from qdpem.rng import stream
from qdpem.scenario.words import Pregeneration
from tests.helpers.dpem import opinionated, random_experience
from tests.helpers.observations import idle_observation, put_in_stock

NODES = 9
CONTEXT = small_context(pregeneration="end-to-end")


def policy(*, log: list[Chosen] | None = None, **parameters: Any) -> Dpem:
    """A policy with strong opinions, unlike a fresh one, which is uniform; sources never count as busy."""
    chosen = DpemParameters(max_source_backlog=99.0, max_link_backlog=99.0, **parameters)
    return Dpem(chosen, weights=opinionated(NODES), log=log)


@pytest.mark.mostly_slow
@pytest.mark.parametrize(
    ("pregeneration", "greedy"),
    [*((word, False) for word in Pregeneration), (Pregeneration.END_TO_END, True)],
)
def test_dpem_keeps_the_laws_of_every_policy(pregeneration: str, greedy: bool) -> None:
    log: list[Chosen] = []
    checks = check_policy(
        lambda: policy(greedy=greedy, log=log), small_context(pregeneration=pregeneration), calls=8
    )
    rules = ["legal", "determinism", "locality", "one by one", "explanation", "state"]
    assert [check.rule for check in checks] == rules
    assert [check.detail for check in checks if not check.passed] == []
    stocking = {"none": set(), "link": {Kind.LINK}}.get(pregeneration, {Kind.LINK, Kind.PEER})
    assert {item.choices.kind for item in log} == {Kind.SERVE} | stocking


def test_features_stay_within_their_scale_whatever_is_observed() -> None:
    log: list[Chosen] = []
    acting = policy(log=log)
    acting.reset(CONTEXT)
    for call in range(12):
        observations = synthetic_observation(
            CONTEXT, stream(call, "test/scale"), time_s=10.0 + 4.0 * call, stock=2 + call
        )
        # Extremes: nothing left, far behind, or about to expire.
        observations.status[:, call % 3] = (0.0, -3.0, 1e6)[call % 3]
        observations.request_deadline_s[:, 0] = observations.time_s + 1e-9
        acting.act(observations)
    for kind in Kind:
        table = np.concatenate(
            [
                item.choices.features.reshape(-1, len(FEATURES[kind]))
                for item in log
                if item.choices.kind == kind
            ]
        )
        assert np.isfinite(table).all()
        assert table.min() >= -1.0
        assert table.max() <= 2.0
        # A column that never changes tells nothing. These are set once a run, alike for all links, or rare.
        constant = {"contention_weight"} | {
            Kind.LINK: {"life"},
            Kind.SERVE: {"reserved_lack"},
        }.get(kind, set())
        still = [
            name
            for name, low, high in zip(FEATURES[kind], table.min(0), table.max(0), strict=True)
            if low == high
        ]
        assert set(still) <= constant, (kind, still)


def test_a_site_decides_about_peers_once_a_forecast_step_and_about_links_every_four() -> None:
    log: list[Chosen] = []
    acting = policy(log=log)
    acting.reset(CONTEXT)
    for call in range(60):
        acting.act(synthetic_observation(CONTEXT, stream(call % 3, "test/rest"), time_s=10.0 + 0.25 * call))
    for kind, period_s in ((Kind.PEER, 1.0), (Kind.LINK, 4.0)):
        times = sorted(
            {item.choices.time_s for item in log if item.choices.kind == kind and 4 in item.choices.site}
        )
        assert len(times) > 3
        assert np.diff(times).min() >= period_s * CONTEXT.forecasting.step_s - 1e-9


class Fixed(Chooser):
    """Takes the option that a test wants where it is allowed, and else the first."""

    wanted: int = 0

    def choose(self, choices: Choices, teacher: np.ndarray) -> np.ndarray:
        return np.where(choices.mask[:, self.wanted], self.wanted, 0)


def choosing(option: int, observations: Observation, *, context: Context = CONTEXT) -> tuple[Allocation, ...]:
    """The allocations that serve, where every decision takes this option."""
    acting = policy()
    acting.reset(context)
    fixed = Fixed(opinionated(NODES), (), temperature=1.0, greedy=True)
    fixed.wanted = option
    acting._chooser = fixed
    decisions = acting.act(observations)
    validate(decisions, observations, context, policy_name="dpem")
    return tuple(item for item in decisions.allocations if item.purpose == "serve")


def job(destination: int, *stocked: float, pairs: int = 2, patience_s: float = 2.0) -> Observation:
    """Node 0 waits for a request of several pairs and has pairs of these fidelities with its destination."""
    observations = idle_observation(CONTEXT, (0, destination, 0.7, patience_s), stock=max(len(stocked), 1))
    observations.request_pairs[0, 0] = pairs
    put_in_stock(observations, *((0, destination, fidelity) for fidelity in stocked))
    return observations


def test_options_become_their_allocations() -> None:
    assert choosing(WAIT, job(8, 0.9)) == ()
    (whole,) = choosing(STOCK, job(8, 0.9, 0.9))
    assert (whole.path, whole.pairs) == ((0, 8), 2)
    # A pair below the target is none.
    assert choosing(STOCK, job(8, 0.9, 0.6)) == ()
    stocked, rest = choosing(COMBINED, job(8, 0.9))
    assert (stocked.path, stocked.pairs, rest.pairs) == ((0, 8), 1, 1)
    assert len(rest.path) == 5
    assert rest.request == stocked.request == 40
    assert choosing(COMBINED, job(8)) == ()
    routes = [choosing(FIRST_ROUTE + rank, job(8)) for rank in range(4)]
    assert all(len(route) == 1 and route[0].pairs == 2 for route in routes)
    assert len({(route[0].path, route[0].plan) for route in routes}) == 4


def test_between_neighbours_the_stocked_pair_is_taken_once() -> None:
    """The route of the rest could rely on the pair that the first part takes."""
    log: list[Chosen] = []
    for stocked, fresh in (((0.9,), 0), ((0.9, 0.9), 1)):
        observations = job(1, *stocked, pairs=len(stocked) + 1)
        part, rest = choosing(COMBINED, observations)
        assert (part.pairs, rest.pairs, part.path, rest.path) == (len(stocked), 1, (0, 1), (0, 1)), fresh
    acting = policy(log=log)
    acting.reset(CONTEXT)
    acting.act(job(1, 0.9))
    (chosen,) = [item for item in log if item.choices.kind == Kind.SERVE]
    stocked_hops = FEATURES[Kind.SERVE].index("stocked_hops")
    assert chosen.choices.mask[0, COMBINED]
    assert chosen.choices.features[0, COMBINED, stocked_hops] == 0.0


def test_the_log_holds_the_probabilities_of_the_softmax_and_each_site_its_own_stream() -> None:
    part = random_experience(Kind.PEER, sites=np.array([2, 0, 2, 1]))
    choices = Choices(
        kind=Kind.PEER,
        time_s=1.0,
        site=part.site,
        subject=part.subject,
        features=part.features,
        mask=part.mask,
    )
    log: list[Chosen] = []
    weights = opinionated(3)

    def chooser(first_seed: int) -> Chooser:
        streams = [stream(first_seed if site == 1 else 0, f"test/site/{site}") for site in range(3)]
        return Chooser(weights, streams, temperature=0.7, greedy=False, log=log)

    teacher = np.zeros(4, dtype=np.int64)
    first, other = (chooser(seed).choose(choices, teacher) for seed in (0, 1))
    # Only site 1 has other numbers: it alone may choose otherwise.
    assert np.array_equal(first[part.site != 1], other[part.site != 1])
    hidden, bias, output, skip = (
        weights[f"actor_peer_{name}"][0] for name in ("hidden", "bias", "output", "skip")
    )
    x = part.features.astype(np.float64)
    score = np.where(part.mask, (x @ skip + np.tanh(x @ hidden + bias) @ output) / 0.7, -np.inf)
    log_pi = (
        score
        - np.log(np.exp(score - score.max(1, keepdims=True)).sum(1, keepdims=True))
        - score.max(1, keepdims=True)
    )
    assert log[0].log_probability == pytest.approx(log_pi[np.arange(4), first])
    assert part.mask[np.arange(4), first].all()


def test_a_policy_file_comes_back_as_it_was(tmp_path: Path) -> None:
    actor = {name: value[0] for name, value in opinionated(1).items()}
    for name in ("one.npz", "two.npz"):
        save_actor(tmp_path / name, actor, scenario="test", statement="none")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    loaded = load_actor(str(tmp_path / "one.npz"))
    assert set(loaded) == set(ACTOR)
    for name, value in loaded.items():
        assert np.array_equal(value, actor[name].astype(np.float32))


def test_the_released_policy_is_whole_and_holds_no_critic() -> None:
    acting = Dpem()
    acting.reset(CONTEXT)
    assert all(np.isfinite(value).all() for value in load_actor("").values())
    with np.load(RELEASED) as file:
        assert str(file["statement"])
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
    save_actor(tmp_path / "short.npz", initial("actor", 0, "shared"), scenario="test", statement="none")
    with np.load(tmp_path / "short.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "features.npz", **{**arrays, "features_peer": np.array(["level"])})
    with pytest.raises(PolicyError, match="other features"):
        load_actor(str(tmp_path / "features.npz"))
    np.savez(tmp_path / "shape.npz", **{**arrays, "actor_link_bias": np.zeros(3)})
    with pytest.raises(PolicyError, match=r"actor_link_bias of shape \(3,\)"):
        load_actor(str(tmp_path / "shape.npz"))
    whole = (tmp_path / "short.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolicyError, match="is not a policy file"):
        load_actor(str(tmp_path / "short.npz"))


def test_weights_of_another_network_and_states_without_weights_are_refused() -> None:
    with pytest.raises(PolicyError, match="weights for 3 nodes; the network has 9"):
        Dpem(weights=opinionated(3)).reset(CONTEXT)
    acting = policy()
    acting.reset(CONTEXT)
    state = acting.state()
    del state["actor_link_skip"]
    with pytest.raises(PolicyError, match="actor_link_skip of shape None"):
        acting.load_state(state)


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("contention_weight", -0.1)])
def test_parameters_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        DpemParameters(**{name: value})


def test_central_control_is_refused() -> None:
    with pytest.raises(PolicyError, match="must be 'local'"):
        policy().reset(small_context(control="central"))


def test_a_fresh_policy_is_uniform_over_what_it_may_choose() -> None:
    log: list[Chosen] = []
    acting = Dpem(weights=stacked(initial("actor", 0, "shared"), nodes=NODES), log=log)
    acting.reset(CONTEXT)
    acting.act(synthetic_observation(CONTEXT, stream(0, "test/fresh")))
    assert len(log) > 5
    for item in log:
        assert item.log_probability == pytest.approx(-np.log(item.choices.mask.sum(axis=1)))
