"""What a record of level "full" adds: forecasts of peers, explained decisions, rewards, privacy spent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdpem.demand.streams import generate_arrivals
from qdpem.errors import PolicyError
from qdpem.metrics.realised_demand import realised_requests
from qdpem.metrics.reward import rewards
from qdpem.network.build import build_network, build_physics
from qdpem.policies.minimum_hop import LocalMinimumHop, MinimumHopParameters
from qdpem.policy.interface import Decisions, Observation
from qdpem.records.reader import Record, open_record
from qdpem.records.replay.replay import replay
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import simulate
from tests.helpers.audited import make_scenario
from tests.helpers.recorded import record_run

OPTIONS, FEATURES = 3, 2


class Explained(LocalMinimumHop):
    """Routing by fewest hops that tells of made-up options; `rows` is a fault to be found."""

    output_labels = {"features": ("hops", "age")}  # noqa: RUF012

    def __init__(self, *, rows: int = 0) -> None:
        super().__init__(MinimumHopParameters())
        self.explanations = 0
        self._extra_rows = rows

    def act(self, observations: Observation) -> Decisions:
        self._sites = observations.site
        return super().act(observations)

    def explain(self) -> dict[str, np.ndarray]:
        self.explanations += 1
        count = len(self._sites) + self._extra_rows
        site = np.resize(self._sites, count).astype(np.float64)
        return {
            "features": site[:, None, None] * np.ones((OPTIONS, FEATURES)),
            "probability": np.full((count, OPTIONS), 1.0 / OPTIONS),
        }

    def privacy_spent(self) -> tuple[float, float]:
        return 7.5, 1e-3


def explained_run(path: Path, level: str, policy: Explained) -> Record:
    scenario, arm = make_scenario(level=level, measured_s=1.0), resolve_arm(Arm(name="local-minhop"))
    with RecordWriter(path, scenario=scenario, arm=arm.arm, seed=11) as writer:
        simulate(scenario, arm, seed=11, recorder=writer, policy=policy)
        writer.close_complete({}, {})
    return open_record(path)


@pytest.fixture(scope="module")
def full_record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    path = tmp_path_factory.mktemp("full") / "run.h5"
    return record_run(path, Arm(name="local-stock", forecaster="ewma"), level="full", measured_s=5.0)


def test_a_policy_that_explains_itself_fills_the_record_of_level_full(tmp_path: Path) -> None:
    policy = Explained()
    record = explained_run(tmp_path / "run.h5", "full", policy)
    asked = record.tables["decisions"]["deciding_node"]
    assert record.policy_outputs["features"].shape == (len(asked), OPTIONS, FEATURES)
    assert (record.policy_outputs["features"][:, 0, 0] == asked).all()
    assert np.allclose(record.policy_outputs["probability"].sum(axis=1), 1.0)
    labels = record.tables["output_labels"]
    assert labels["output"].tolist() == ["features", "features"]
    assert labels["label"].tolist() == ["hops", "age"]
    assert record.tables["policy"]["epsilon"].tolist() == [7.5]
    assert record.tables["policy"]["delta"].tolist() == [1e-3]
    # Without the policy there is nobody to explain, and its privacy comes from the record.
    found = replay(record, decisions=True)
    assert {each.table for each in found.differences} == {"metrics"}


@pytest.mark.parametrize("level", ["requests", "events"])
def test_lower_levels_never_ask_for_explanations(level: str, tmp_path: Path) -> None:
    policy = Explained()
    record = explained_run(tmp_path / "run.h5", level, policy)
    assert policy.explanations == 0
    assert not record.policy_outputs
    assert not {"policy", "output_labels", "expected_demand", "rewards"} & set(record.tables)


def test_an_explanation_has_one_row_for_each_site(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="first axis of an info array must be S"):
        explained_run(tmp_path / "run.h5", "full", Explained(rows=1))


def test_dpem_shows_its_options_and_its_choice(tmp_path: Path) -> None:
    record = record_run(
        tmp_path / "run.h5", Arm(name="dpem", forecaster="ewma"), level="full", measured_s=1.0
    )
    rows = len(record.tables["decisions"]["time_s"])
    for kind in ("serve", "peer", "link"):
        features, probability = (
            record.policy_outputs[f"{kind}_{name}"] for name in ("features", "probability")
        )
        option = record.policy_outputs[f"{kind}_option"]
        assert len(features) == len(probability) == len(option) == rows
        made = np.isfinite(option)
        assert made.any()
        # Probabilities of the options of a decision sum to 1, and one that is taken is possible.
        assert probability[made].sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        taken = option[made].astype(np.int64)
        assert (probability[made][np.arange(len(taken)), taken] > 0.0).all()


def test_forecasts_of_peers_sum_to_those_of_nodes(full_record: Record) -> None:
    expected, forecasts = full_record.tables["expected_demand"], full_record.tables["forecasts"]
    assert set(expected["time_s"].tolist()) == {0.0, *forecasts["time_s"].tolist()}
    mean = expected["scheduled"] + expected["unscheduled"]
    for row in range(0, len(forecasts["mean"]), 7):
        time_s, node, step = (forecasts[name][row] for name in ("time_s", "node", "step"))
        mine = (expected["time_s"] == time_s) & (expected["node"] == node) & (expected["step"] == step)
        # A line of five nodes has fewer peers than may be listed, so no request is to another.
        assert mean[mine].sum() == pytest.approx(forecasts["mean"][row], rel=1e-12)


def test_realised_requests_are_those_that_arrived_in_each_step(full_record: Record) -> None:
    scenario = full_record.scenario
    step_s, end_s = scenario.forecasting.step_s, scenario.window.end_s
    realised = realised_requests(full_record.tables, step_s=step_s, end_s=end_s)
    network = build_network(scenario, build_physics(scenario), seed=11)
    requests = generate_arrivals(scenario, network, seed=11).requests
    expected = full_record.tables["expected_demand"]
    finished = expected["time_s"] + expected["step"] * step_s <= end_s
    assert np.isfinite(realised).tolist() == finished.tolist()
    assert np.nansum(realised) > 20
    for row in np.flatnonzero(finished)[::11].tolist():
        start_s = expected["time_s"][row] + (expected["step"][row] - 1) * step_s
        came = (
            (requests.source == expected["node"][row])
            & (requests.destination == expected["destination"][row])
            & (requests.target_fidelity == expected["target_fidelity"][row])
            & (requests.time_s >= start_s)
            & (requests.time_s < start_s + step_s)
        )
        assert realised[row] == came.sum()


def test_rewards_are_those_of_the_tables(full_record: Record) -> None:
    earned = rewards(full_record.tables, weights=full_record.scenario.reward)
    stored = full_record.tables["rewards"]
    assert len(earned) > 0
    assert stored["amount"].tobytes() == earned.amount.tobytes()
    assert stored["node"].tolist() == earned.site.tolist()


@pytest.mark.parametrize("policy", ["local-price-based", "central-maxweight"])
def test_the_level_changes_no_bit_of_the_tables_below_it(policy: str, tmp_path: Path) -> None:
    full, events = (
        record_run(tmp_path / f"{level}.h5", Arm(name=policy), level=level, measured_s=1.0)
        for level in ("full", "events")
    )
    for name, columns in events.tables.items():
        for column, values in columns.items():
            assert values.tobytes() == full.tables[name][column].tobytes(), (name, column)


@pytest.mark.parametrize("draws", [False, True])
def test_conformance_finds_an_explanation_that_changes_decisions(draws: bool) -> None:
    from qdpem.policy.conformance import check_policy
    from qdpem.policy.synthetic import small_context

    class Drawing(Explained):
        def act(self, observations: Observation) -> Decisions:
            decisions = super().act(observations)
            return Decisions(allocations=() if draws and self.explanations else decisions.allocations)

    checks = {check.rule: check for check in check_policy(Drawing, small_context(), calls=5)}
    assert checks["explanation"].passed is not draws
    assert "explanation" not in {
        check.rule
        for check in check_policy(lambda: LocalMinimumHop(MinimumHopParameters()), small_context(), calls=2)
    }
