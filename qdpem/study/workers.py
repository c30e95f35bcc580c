"""The one loop over worker processes: tasks in, results and progress out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from qdpem.errors import StudyError
from qdpem.parallel import run_tasks
from qdpem.study.progress import ProgressReporter, StudyProgress, Work, progress_reporters

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The message to a worker: the function, one task and the reporter of its progress."""

    function: Callable[[Any, ProgressReporter], Any]
    task: Any
    report: ProgressReporter
    length_s: float


def run_watched(
    function: Callable[[Task, ProgressReporter], Result],
    tasks: Sequence[Task],
    *,
    labels: Sequence[str],
    length_s: float,
    engine: str,
    workers: int | None,
    progress: Callable[[StudyProgress], None] | None = None,
    work: Work = "runs",
    on_death: Callable[[Task, str], Result] | None = None,
    on_retry: Callable[[int, str], None] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield the index of each task and `function(task, report)`, as tasks finish (order not kept).

    A task whose worker process dies is tried again. Raises StudyError when its worker dies every time and
    there is no `on_death`.

    Args:
        function: a module-level function, so that it reaches other processes.
        tasks: its first arguments, one for each call.
        labels: names of the tasks in the progress.
        length_s: the seconds that a finished task has reported.
        engine: "serial" or "loky".
        workers: tasks at a time; one per core when None.
        progress: receives the progress of all tasks.
        work: the kind of the tasks.
        on_death: the result of a task whose worker died every time, from the task and a sentence.
        on_retry: receives the index of a task that is tried again, and a sentence.
    """
    if not tasks:
        return
    with progress_reporters(labels, length_s=length_s, progress=progress, work=work) as reporters:
        jobs = [
            _Job(function=function, task=task, report=report, length_s=length_s)
            for task, report in zip(tasks, reporters, strict=True)
        ]

        def lost(job: _Job, sentence: str) -> tuple[int, Any]:
            label = labels[job.report.index]
            if on_death is None:
                raise StudyError(
                    f"{label}: {sentence}; the same command continues from here, and --workers 1 needs the"
                    " least memory"
                )
            job.report(job.length_s)
            return job.report.index, on_death(job.task, f"{label}: {sentence}")

        def again(job: _Job, sentence: str) -> None:
            # Its progress begins anew.
            job.report(0.0)
            if on_retry is not None:
                on_retry(job.report.index, sentence)

        yield from run_tasks(_run_job, jobs, engine=engine, workers=workers, on_death=lost, on_retry=again)


def _run_job(job: _Job) -> tuple[int, Any]:
    try:
        return job.report.index, job.function(job.task, job.report)
    finally:
        # A task that failed is finished too; otherwise its bar would stay.
        job.report(job.length_s)
