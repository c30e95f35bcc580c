"""The worker loop gives each result with its task, reports progress, and makes a dead worker an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from qdpem.errors import StudyError
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.plan import Task
from qdpem.study.progress import ProgressReporter, StudyProgress
from qdpem.study.run import run_study
from qdpem.study.tasks import run_task
from qdpem.study.workers import run_watched
from tests.helpers.worker_tasks import square, square_or_die


def run_task_killed_once(task: Task, report: ProgressReporter) -> Outcome:
    """A real run; the first of all to get to its second simulated second is killed there."""
    killed = Path(os.environ["QDPEM_TEST_KILLED"])

    class Killing:
        def __call__(self, time_s: float) -> None:
            report(time_s)
            if time_s >= 2.0 and not killed.exists():
                killed.write_text(task.label)
                os.kill(os.getpid(), signal.SIGKILL)

    return run_task(task, Killing())


@pytest.mark.parametrize("engine", ["serial", "loky"])
def test_results_come_with_the_index_of_their_task(engine: str) -> None:
    updates: list[StudyProgress] = []
    tasks = [3.0, 1.0, 2.0]
    results = run_watched(
        square,
        tasks,
        labels=["a", "b", "c"],
        length_s=2.0,
        engine=engine,
        workers=2,
        progress=updates.append,
        work="bounds",
    )
    assert dict(results) == {0: 9.0, 1: 1.0, 2: 4.0}
    # A task counts as finished whatever it has reported itself.
    last = updates[-1]
    assert (last.finished, last.tasks, last.done_s, last.running) == (3, 3, 6.0, ())
    assert last.work == "bounds"


def test_without_tasks_nothing_is_run_or_reported() -> None:
    updates: list[StudyProgress] = []
    results = run_watched(
        square, [], labels=[], length_s=1.0, engine="loky", workers=2, progress=updates.append
    )
    assert list(results) == updates == []


def test_a_worker_that_always_dies_costs_its_own_task_only() -> None:
    lost: dict[float, str] = {}

    def on_death(task: float, sentence: str) -> float:
        lost[task] = sentence
        return -1.0

    results = run_watched(
        square_or_die,
        [1.0, 2.0, -3.0, 4.0],
        labels=["a", "b", "near 1002", "d"],
        length_s=1.0,
        engine="loky",
        workers=2,
        on_death=on_death,
    )
    assert dict(results) == {0: 1.0, 1: 4.0, 2: -1.0, 3: 16.0}
    assert list(lost) == [-3.0]
    assert "near 1002" in lost[-3.0]
    assert "SIGKILL(-9)" in lost[-3.0]


def test_without_a_result_for_it_a_task_that_always_dies_is_a_sentence() -> None:
    results = run_watched(
        square_or_die, [-1.0, 2.0], labels=["a", "b"], length_s=1.0, engine="loky", workers=2
    )
    with pytest.raises(StudyError, match=r"a: its worker process died 3 times \(SIGKILL"):
        list(results)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_worker_of_a_study_that_is_killed_once_is_told_and_costs_no_result(
    small_scenario, tmp_path, monkeypatch
) -> None:
    """The worker that reaches the second simulated second first is killed, as the kernel would do it."""
    killed = tmp_path / "killed"
    monkeypatch.setenv("QDPEM_TEST_KILLED", str(killed))
    monkeypatch.setattr("qdpem.study.run.run_task", run_task_killed_once)
    result = run_study(small_scenario, directory=tmp_path / "study", engine="loky", workers=2)
    assert killed.exists()
    assert not result.faults
    assert len([outcome for outcome in result.outcomes if outcome.metrics]) == len(result.outcomes)
    label = killed.read_text()
    (note,) = [note for note in result.notes if label in note]
    assert "SIGKILL" in note


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_study_builds_a_policy_once_to_check_it_and_once_for_each_run(
    small_scenario, tmp_path, monkeypatch
) -> None:
    from qdpem.policies.minimum_hop import LocalMinimumHop

    built = []
    build = LocalMinimumHop.__init__

    def count(self, *arguments: object, **options: object) -> None:
        built.append(self)
        build(self, *arguments, **options)

    monkeypatch.setattr(LocalMinimumHop, "__init__", count)
    # The policy of the other arm is built from the same class.
    seeds, arms = small_scenario.study.seeds, len(small_scenario.study.arms)
    run_study(small_scenario, directory=tmp_path, engine="serial")
    assert len(built) == arms * (1 + len(seeds))
    built.clear()
    again = run_study(replace(small_scenario), directory=tmp_path, engine="serial")
    assert all(outcome.reused for outcome in again.outcomes)
    assert len(built) == arms


PARENT = """
import os, sys, time
from qdpem.parallel import run_tasks
def say(task):
    with open(os.environ["WORKERS"], "a") as file:
        print(os.getpid(), file=file)
    time.sleep(300)
list(run_tasks(say, [1, 2], workers=2))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "workers"
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env={**os.environ, "WORKERS": str(said)})
    deadline_s = time.monotonic() + 120.0
    while not said.exists() or len(said.read_text().split()) < 2:
        assert time.monotonic() < deadline_s
        assert parent.poll() is None
        time.sleep(0.1)
    workers = [int(word) for word in said.read_text().split()]
    parent.kill()
    parent.wait()
    deadline_s = time.monotonic() + 60.0
    while any(map(_alive, workers)):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
