"""Rounds of a training: what moves between nodes, the server's optimiser, and what is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdpem.errors import StudyError
from qdpem.policies.dpem.networks import ACTOR, CRITIC, HEAD, Kind, flatten, names, shape_of, stacked
from qdpem.policies.dpem.policy_file import load_actor
from qdpem.policies.dpem.training import ppo
from qdpem.policies.dpem.training import round as rounds
from qdpem.policies.dpem.training.course.checkpoint import load, save
from qdpem.policies.dpem.training.course.release import release
from qdpem.policies.dpem.training.course.state import ServerOptimiser, TrainingState
from qdpem.policies.dpem.training.episode import FIRST_SEED, episode_seed, held_out_seed, public_seed
from qdpem.policies.dpem.training.experience import Experience
from qdpem.policies.dpem.training.federation.aggregate import aggregate_privately
from qdpem.policies.dpem.training.federation.participation import attendance
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget
from qdpem.policies.dpem.training.player import Played, Player
from qdpem.policies.dpem.training.round import next_round
from qdpem.policies.dpem.training.start import initial_state
from qdpem.policies.dpem.training.train import RoundProgress, train
from qdpem.rng import stream
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import resolve_arm
from tests.helpers.dpem import random_experience, random_weights, tiny_scenario

EWMA = Arm(name="dpem", forecaster="ewma")
NODES = 4
HEADS = names("actor", Kind, HEAD)
HEAD_SIZE = sum(int(np.prod(shape_of(name))) for name in HEADS)


def player(scenario: Scenario | None = None) -> Player:
    chosen = scenario or tiny_scenario()
    return Player(scenario=chosen, arm=resolve_arm(EWMA).arm, seed=0, engine="serial", workers=1)


def state(*, epsilon: float = math.inf) -> TrainingState:
    weights = {name: value[0] for name, value in random_weights(1).items()}
    size = flatten(stacked(weights, nodes=1), HEADS).shape[1]
    return TrainingState(
        actor={name: weights[name] for name in ACTOR},
        critics={name: np.array(random_weights(NODES)[name]) for name in CRITIC},
        optimiser=ServerOptimiser(first=np.zeros(size), second=np.zeros(size)),
        counts=dict.fromkeys(Kind, 4.0),
        advantage_scales=dict.fromkeys(Kind, 1.0),
        agreement=dict.fromkeys(Kind, math.nan),
        budget=PrivacyBudget(epsilon=epsilon, delta=1e-3, rounds=3),
    )


class Replayed(Player):
    """Plays nothing: every episode has the experience that a test made."""

    def of(self, experience: dict[Kind, Experience]) -> Replayed:
        object.__setattr__(self, "made", experience)
        return self

    def play(self, weights: Any, seeds: Any, *, follows_teacher: bool = False) -> Played:
        episode = _Episode(self.made)  # type: ignore[attr-defined]
        return Played(episodes=(episode,))  # type: ignore[arg-type]


class _Episode:
    """The figures of an episode that nobody played."""

    def __init__(self, experience: dict[Kind, Experience]) -> None:
        self.experience = experience
        self.reward = self.delivery_ratio = self.contention = 0.0
        self.decisions = 1


def replayed(experience: dict[Kind, Experience]) -> Replayed:
    arm = resolve_arm(EWMA).arm
    chosen = Replayed(scenario=tiny_scenario(), arm=arm, seed=0, engine="serial", workers=1)
    return chosen.of(experience)


def experience(*, changed: int | None = None) -> dict[Kind, Experience]:
    """Three decisions of each kind at every node, those of one node changed."""
    made = {}
    for kind in Kind:
        part = random_experience(kind, sites=np.tile(np.arange(NODES), 3))
        mine = part.site == changed
        features = np.where(mine[:, None, None], -0.5 * part.features, part.features)
        made[kind] = replace(part, features=features, gain=part.gain - 5.0 * mine)
    return made


def test_nothing_moves_between_nodes_but_through_the_aggregator(monkeypatch: pytest.MonkeyPatch) -> None:
    """One node's experience is changed, and the aggregator's answer is held: only its own critics differ."""
    before = state()
    plain = next_round(replayed(experience()), before)
    other = next_round(replayed(experience(changed=2)), before)
    # Through the aggregator it moves: the test would see it.
    assert not np.array_equal(plain.actor["actor_serve_skip"], other.actor["actor_serve_skip"])

    def held(updates: np.ndarray, **settings: Any) -> Any:
        answer = aggregate_privately(updates, **settings)
        fixed = stream(0, "test/average").normal(size=updates.shape[1])
        return replace(answer, average=fixed, norms=np.ones(NODES), clipped_fraction=0.0)

    monkeypatch.setattr(rounds, "aggregate_privately", held)
    one, two = (next_round(replayed(made), before) for made in (experience(), experience(changed=2)))
    for name in ACTOR:
        assert np.array_equal(one.actor[name], two.actor[name]), name
    for name in CRITIC:
        others = np.arange(NODES) != 2
        assert np.array_equal(one.critics[name][others], two.critics[name][others]), name
        assert not np.array_equal(one.critics[name][2], two.critics[name][2]), name
    for name in ("first", "second", "steps"):
        assert np.array_equal(getattr(one.optimiser, name), getattr(two.optimiser, name))
    assert (one.counts, one.advantage_scales, one.budget) == (two.counts, two.advantage_scales, two.budget)
    # Of the curve, the experimenter's own figures of the update may differ, and nothing else.
    same = [
        replace(item.curve[-1], entropy=0.0, divergence=0.0, value_loss=0.0, ratio_clipped=0.0)
        for item in (one, two)
    ]
    assert repr(same[0]) == repr(same[1])


def one_door(monkeypatch: pytest.MonkeyPatch, made: list[dict[Kind, Experience]]) -> list[Any]:
    """Rounds with an aggregator that answers nothing: what each round gave it, and the last state."""
    given: list[Any] = []

    def closed(updates: np.ndarray, **settings: Any) -> Any:
        given.append(updates)
        return replace(aggregate_privately(updates, **settings), average=np.zeros(updates.shape[1]))

    monkeypatch.setattr(rounds, "aggregate_privately", closed)
    now = state()
    for experience_of_round in made:
        now = next_round(replayed(experience_of_round), now)
    return [*given, now]


def test_behind_a_closed_door_a_node_is_a_function_of_its_own_experience_to_the_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rounds with an aggregator that answers nothing; of node 2, other experience in the first."""
    first, second, end = one_door(monkeypatch, [experience(), experience()])
    other_first, other_second, other_end = one_door(monkeypatch, [experience(changed=2), experience()])
    others = np.arange(NODES) != 2
    for mine, theirs in ((first, other_first), (second, other_second)):
        assert np.array_equal(mine[others], theirs[others])
        # In the second round through its critics alone.
        assert not np.array_equal(mine[2], theirs[2])
    for name in CRITIC:
        assert np.array_equal(end.critics[name][others], other_end.critics[name][others]), name
    # The shared actor stays as it began: nothing reaches it by another door.
    for name in ACTOR:
        assert np.array_equal(end.actor[name], state().actor[name].astype(np.float64)), name


@pytest.mark.parametrize("leak", ["gradients", "values"])
def test_another_door_is_noticed(leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics over all nodes: advantages, or losses, in units of their mean size over the nodes."""
    plain = {"values": ppo._learn_values, "gradients": ppo.loss}

    def leaked_values(tensors: Any, batches: Any, settings: Any) -> float:
        error: float = plain["values"](tensors, batches, settings)
        for batch in batches.values():
            batch["advantage"] = batch["advantage"] / batch["advantage"].abs().mean()
        return error

    def leaked_loss(*arguments: Any) -> Any:
        total, parts = plain["gradients"](*arguments)
        return total / total.detach().abs().mean(), parts

    leaky = ("_learn_values", leaked_values) if leak == "values" else ("loss", leaked_loss)
    monkeypatch.setattr(ppo, *leaky)
    first, _ = one_door(monkeypatch, [experience()])
    other, _ = one_door(monkeypatch, [experience(changed=2)])
    others = np.arange(NODES) != 2
    assert not np.array_equal(first[others], other[others])


def test_the_aggregator_gets_the_changes_of_the_trainable_weights_and_no_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[np.ndarray] = []

    def watched(updates: np.ndarray, **settings: Any) -> Any:
        got.append(updates)
        return aggregate_privately(updates, **settings)

    monkeypatch.setattr(rounds, "aggregate_privately", watched)
    made = {kind: part.where(part.site != 1) for kind, part in experience().items()}
    made[Kind.LINK] = Experience.empty(Kind.LINK)
    before = state()
    after = next_round(replayed(made), before)
    (updates,) = got
    assert updates.shape == (NODES, len(before.optimiser.first))
    # A node without decisions reports nothing, to the bit: Adam would make a step of any rounding.
    assert not updates[1].any()
    assert (np.abs(updates[[0, 2, 3]]).sum(axis=1) > 0.0).all()
    for name in ACTOR:
        unmoved = np.array_equal(after.actor[name], before.actor[name])
        assert unmoved == (name not in HEADS or "link" in name), name


def test_a_node_outside_the_training_learns_nothing_and_a_round_without_an_aggregator_moves_nothing() -> None:
    outside = {"joiners": {"share": 0.25, "round": 1}, "outage_rounds": [1]}
    scenario = tiny_scenario("training.epsilon=inf")
    settings = replace(scenario.training, participation=outside)
    absent = replayed(experience())
    object.__setattr__(absent, "scenario", replace(scenario, training=settings))
    before = state()
    first = next_round(absent, before)
    present = attendance(settings.participation, nodes=NODES, seed=0, round_number=0)
    assert (~present.learns).sum() == 1
    for name in CRITIC:
        changed = [
            not np.array_equal(a, b) for a, b in zip(first.critics[name], before.critics[name], strict=True)
        ]
        assert changed == present.learns.tolist(), name
    assert first.curve[-1].reports == 3
    second = next_round(absent, first)
    assert second.curve[-1].reports == second.curve[-1].bytes_up == second.curve[-1].bytes_down == 0
    assert all(np.array_equal(second.actor[name], first.actor[name]) for name in ACTOR)
    assert second.optimiser is first.optimiser
    assert second.budget == first.budget
    assert not np.array_equal(second.critics["critic_serve_skip"], first.critics["critic_serve_skip"])


def test_a_round_moves_the_shared_weights_by_the_servers_step() -> None:
    before, made = state(epsilon=8.0), experience()
    training = tiny_scenario().training
    after = next_round(replayed(made), before)
    change = flatten(stacked(after.actor, nodes=1), HEADS) - flatten(stacked(before.actor, nodes=1), HEADS)
    # The first step of Adam is the learning rate in every coordinate that moved.
    assert np.abs(change) == pytest.approx(np.full(change.shape, training.server_learning_rate), rel=1e-4)
    assert after.budget.spent == 1
    assert after.curve[-1].epsilon == pytest.approx(after.budget.epsilon_spent)
    assert after.curve[-1].bytes_up == after.curve[-1].bytes_down == NODES * change.size * 4
    assert after.curve[-1].reports == NODES


def test_the_servers_optimiser_is_adam() -> None:
    import torch

    generator = stream(0, "test/adam")
    directions = generator.normal(size=(30, 5)) * np.array([1e-6, 1e-3, 1.0, 1e3, 0.0])
    weights = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    other = torch.optim.Adam([weights], lr=0.1, betas=(0.8, 0.95), eps=1e-8)
    ours, optimiser = np.zeros(5), ServerOptimiser(first=np.zeros(5), second=np.zeros(5))
    for direction in directions:
        # Ours goes along the direction, Adam against its gradient.
        weights.grad = -torch.tensor(direction)
        other.step()
        change, optimiser = optimiser.step(direction, learning_rate=0.1)
        ours = ours + change
        assert ours == pytest.approx(weights.detach().numpy(), rel=1e-9, abs=1e-15)
    assert optimiser.steps == len(directions)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = next_round(replayed(experience()), state(epsilon=8.0))
    save(tmp_path / "checkpoint.npz", saved, "mine")
    loaded = load(tmp_path / "checkpoint.npz", "mine")
    for name in (*ACTOR, *CRITIC):
        table = "actor" if name in ACTOR else "critics"
        assert np.array_equal(getattr(loaded, table)[name], getattr(saved, table)[name])
    assert np.array_equal(loaded.optimiser.second, saved.optimiser.second)
    assert loaded.optimiser.steps == saved.optimiser.steps == 1
    assert (loaded.counts, loaded.advantage_scales) == (saved.counts, saved.advantage_scales)
    assert loaded.budget == saved.budget
    assert repr(loaded.curve) == repr(saved.curve)
    with pytest.raises(StudyError, match="another scenario"):
        load(tmp_path / "checkpoint.npz", "other")
    (tmp_path / "checkpoint.npz").write_text("none")
    with pytest.raises(StudyError, match="is not a checkpoint"):
        load(tmp_path / "checkpoint.npz", "mine")


def test_seeds_of_trainings_never_meet_those_of_tuning_or_testing() -> None:
    draws: tuple[Callable[[int, int], int], ...] = (episode_seed, held_out_seed, public_seed)
    seeds = [draw(seed, number) for draw in draws for seed in (0, 1, FIRST_SEED) for number in range(200)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 10_000


def test_variants_take_turns_and_may_not_differ_in_their_number_of_nodes() -> None:
    both = tiny_scenario('training.variants=[{}, {set={"demand.rate_hz"=1.0}, stocking_probability=2.0}]')
    played = player(replace(both, training=replace(both.training, episode_s=6.0))).play(
        stacked({name: value[0] for name, value in random_weights(1).items()}, nodes=NODES),
        [episode_seed(0, number) for number in range(4)],
    )
    decisions = [len(episode.experience[Kind.SERVE]) for episode in played.episodes]
    assert min(decisions[0], decisions[2]) > 2 * max(decisions[1], decisions[3])
    with pytest.raises(StudyError, match=r"variants is \[\]"):
        player(tiny_scenario("training.variants=[]"))
    larger = tiny_scenario('training.variants=[{}, {set={"topology.parameters.nodes"=5}}]')
    with pytest.raises(StudyError, match=r"\[4, 5\] nodes"):
        player(larger)


def test_a_release_is_the_first_network_and_all_curves(tmp_path: Path) -> None:
    for seed in ("10000", "10001"):
        (tmp_path / seed).mkdir()
        (tmp_path / seed / "policy.npz").write_bytes(seed.encode())
        (tmp_path / seed / "curve.csv").write_text("round,delivery_ratio\n0,0.5\n")
    (tmp_path / "released").mkdir()
    target = tmp_path / "released" / "dpem.npz"
    joined = release([tmp_path / "10000", tmp_path / "10001"], target=target)
    assert target.read_bytes() == b"10000"
    assert joined.read_text() == "seed,round,delivery_ratio\n10000,0,0.5\n10001,0,0.5\n"
    with pytest.raises(StudyError, match="no finished training"):
        release([tmp_path / "released"], target=target)


class _KilledError(Exception):
    pass


@pytest.mark.slow
def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    tiny = tiny_scenario(
        "training.fit_steps=100", "training.evaluation_rounds=2", "training.discount_time_s=2"
    )
    whole = train(tiny, seed=0, directory=tmp_path / "whole", arm=EWMA)

    def kill(progress: RoundProgress) -> None:
        raise _KilledError

    for _ in range(2):
        with pytest.raises(_KilledError):
            train(tiny, seed=0, directory=tmp_path / "killed", arm=EWMA, progress=kill)
    resumed = train(tiny, seed=0, directory=tmp_path / "killed", arm=EWMA)
    assert resumed.policy_file.read_bytes() == whole.policy_file.read_bytes()
    assert resumed.curve_file.read_bytes() == whole.curve_file.read_bytes()
    assert [row.round for row in whole.curve] == [0, 1, 2]
    assert [math.isnan(row.held_out_delivery) for row in whole.curve] == [True, False, False]
    assert whole.curve[-1].epsilon == pytest.approx(8.0, rel=1e-6)
    assert "(8, 0.001)" in whole.statement
    load_actor(str(whole.policy_file))
    told = json.loads(str(np.load(whole.policy_file)["provenance"]))
    assert (told["seed"], told["rounds"], told["simulated_s"]) == (0, 3, 3 * 2 * 12.0)
    assert told["bytes_up"] == sum(row.bytes_up for row in whole.curve) == 3 * NODES * HEAD_SIZE * 4
    with pytest.raises(StudyError, match="another scenario"):
        train(replace(tiny, name="other"), seed=0, directory=tmp_path / "whole", arm=EWMA)


@pytest.mark.parametrize("clone_episodes", [0, 1])
def test_a_training_begins_with_a_clone_or_with_none(clone_episodes: int) -> None:
    scenario = tiny_scenario(
        f"training.clone_episodes={clone_episodes}", "training.fit_steps=20", "training.discount_time_s=2"
    )
    begun = initial_state(player(scenario), seed=0, trained=HEADS)
    fresh = not any(begun.actor[name].any() for name in HEADS)
    assert fresh == (clone_episodes == 0)
    assert math.isnan(begun.agreement[Kind.SERVE]) == (clone_episodes == 0)
    # Every node begins with the same critics, which have learned from public episodes.
    for name in CRITIC:
        assert np.array_equal(
            begun.critics[name], np.broadcast_to(begun.critics[name][0], begun.critics[name].shape)
        )
    assert begun.critics["critic_serve_skip"].any()
    assert begun.counts[Kind.SERVE] > 1.0
    assert begun.optimiser.first.shape == (flatten(stacked(begun.actor, nodes=1), HEADS).shape[1],)


@pytest.mark.slow
def test_rounds_from_random_weights_earn_more(tmp_path: Path) -> None:
    """The same held-out episodes with the weights of the last round, and with uniform ones."""
    scenario = tiny_scenario(
        "training.fit_steps=300",
        "training.clone_episodes=0",
        "training.rounds=6",
        "training.episode_s=12",
        "training.discount_time_s=2",
        "training.epsilon=inf",
        "training.server_learning_rate=0.1",
        "demand.rate_hz=12",
    )
    trained = train(scenario, seed=0, directory=tmp_path, arm=EWMA)
    seeds = [held_out_seed(0, number) for number in range(2)]
    before, after = (
        player(scenario).score(stacked(actor, nodes=NODES), seeds)
        for actor in (
            {name: np.zeros_like(value) for name, value in load_actor(str(trained.policy_file)).items()},
            load_actor(str(trained.policy_file)),
        )
    )
    assert after.mean("reward") > 1.05 * before.mean("reward")
