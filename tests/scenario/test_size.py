"""The size of a run is foreseen: every key that can make it too large is named with the number."""

from __future__ import annotations

import time

import pytest

from qdpem.errors import SizeError
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.size import estimate_size, require_size
from qdpem.scenario.size_counts import WARN_COUNT
from tests.helpers.small_scenario import SMALL

MACHINE = 16 * 2.0**30
BURSTS = ("demand.bursts.regions=2",)
DIRECT = (
    'links.hardware={kind="direct", success_probability=0.5, attempt_period_s=1e-3,'
    " fresh_weights=[0.97, 0.01, 0.01, 0.01]}"
)

CLASSES = "classes=[{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0}]"
JOBS = f"demand.processes.x={{kind='timetable',fraction=0.5,{CLASSES}}}"
CALLS = f"demand.processes.x={{kind='session',fraction=0.5,{CLASSES}}}"


@pytest.mark.parametrize(
    ("key", "overrides"),
    [
        ("nodes.source_rate_hz", ("nodes.source_rate_hz=1e12",)),
        ("demand.rate_hz", ("demand.rate_hz=1e9",)),
        ("window.measured_s", ("window.measured_s=1e9",)),
        ("window.warm_up_s", ("window.warm_up_s=1e9",)),
        ("forecasting.history_s", ("forecasting.history_s=1e9",)),
        ("forecasting.horizon_steps", ("forecasting.horizon_steps=2000000000",)),
        ("forecasting.step_s", ("forecasting.step_s=1e-12",)),
        ("control.decision_epoch_s", ("control.decision_epoch_s=1e-12",)),
        ("control.retries", ("control.retries=2000000000", "control.back_off_s=1e-12")),
        ("demand.classes.pairs", ("demand.classes.0.pairs=1000000",)),
        ("demand.bursts.regions", (*BURSTS, "demand.bursts.regions=2000000000")),
        ("demand.bursts.jitter_s", (*BURSTS, "demand.bursts.jitter_s=1e9")),
        ("demand.processes.x.classes.pairs", (JOBS, "demand.processes.x.classes.0.pairs=1000000")),
        ("demand.processes.x.skipped_fraction", (JOBS, "demand.processes.x.skipped_fraction=0.9999999999")),
        ("demand.processes.x.jitter_s", (JOBS, "demand.processes.x.jitter_s=1e12")),
        (
            "demand.processes.x.jitter_s",
            (JOBS, "demand.processes.x.jitter_accumulates=true", "demand.processes.x.jitter_s=1e7"),
        ),
        (
            "demand.processes.x.off_s",
            (CALLS, "demand.processes.x.on_s=1e-12", "demand.processes.x.off_s=1e-9"),
        ),
        ("demand.processes.x.on_s", (CALLS, "demand.processes.x.on_s=1e-9")),
        ("topology.parameters.nodes", ("topology.parameters.nodes=100000",)),
        ("outages.nodes.mean_up_s", ("outages.nodes={mean_up_s=1e-12, mean_down_s=1e-12}",)),
        ("links.hardware.modes", (DIRECT, "links.hardware.modes=2000000000")),
        ("links.processing_delay_s", ("links.processing_delay_s=1e9",)),
    ],
)
def test_a_run_beyond_the_machine_is_refused_with_its_number_and_its_key(key, overrides) -> None:
    scenario = parse_scenario(SMALL, overrides=overrides)
    with pytest.raises(SizeError, match=r"GiB|weeks") as caught:
        require_size(estimate_size(scenario), memory_bytes=MACHINE)
    assert f"because {key} is" in str(caught.value)
    assert "--oversize" in str(caught.value)
    # An explicit option begins all the same, and the refusal is a warning.
    (warning,) = require_size(estimate_size(scenario), memory_bytes=MACHINE, oversize=True)
    assert key in warning


def test_an_ordinary_run_is_no_matter() -> None:
    estimate = estimate_size(parse_scenario(SMALL))
    assert require_size(estimate, memory_bytes=MACHINE) == ()
    assert 100e6 < estimate.memory_bytes < 400e6


def test_a_large_run_is_warned_of_with_its_number_and_its_key() -> None:
    scenario = parse_scenario(SMALL, overrides=("demand.rate_hz=2000",))
    (memory,) = require_size(estimate_size(scenario), memory_bytes=MACHINE)
    assert "GiB" in memory
    assert "demand.rate_hz is 2000" in memory
    scenario = parse_scenario(SMALL, overrides=("nodes.source_rate_hz=2e6",))
    estimate = estimate_size(scenario)
    assert estimate.most.count > WARN_COUNT
    assert any("emissions" in sentence for sentence in estimate.warnings())


def test_runs_at_a_time_share_the_machine() -> None:
    estimate = estimate_size(parse_scenario(SMALL, overrides=("demand.rate_hz=6000",)))
    needed = estimate.memory_bytes
    assert require_size(estimate, memory_bytes=2.5 * needed, runs=2)
    with pytest.raises(SizeError, match="for 3 runs at a time"):
        require_size(estimate, memory_bytes=2.5 * needed, runs=3)


def test_many_pairs_of_nodes_make_a_long_set_up() -> None:
    scenario = parse_scenario(SMALL, overrides=("topology.parameters.nodes=2000",))
    (sentence,) = estimate_size(scenario).warnings()
    assert "before it begins" in sentence
    assert "topology.parameters.nodes" in sentence


def test_an_estimate_costs_no_time_however_large_the_numbers() -> None:
    scenario = parse_scenario(SMALL, overrides=("window.measured_s=1e9", "demand.rate_hz=1e12"))
    began_s = time.process_time()
    for _ in range(20):
        estimate_size(scenario)
    assert time.process_time() - began_s < 1.0
