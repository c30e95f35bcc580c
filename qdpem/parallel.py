"""The one wrapper of joblib: many tasks on an engine chosen by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from qdpem.errors import UnknownNameError

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("serial", "loky")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    engine: str = "loky",
    workers: int | None = None,
) -> Iterator[Result]:
    """Yield `function(task)` for every task as each finishes (order not kept).

    Workers compute with one thread each: two torch threads on shared cores were seen to be 28 times
    slower than one. `serial` runs here, in order, for debugging. Raises UnknownNameError for an
    unknown engine.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    count = min(workers or cores(), max(len(tasks), 1))
    if engine == "serial" or count == 1:
        for task in tasks:
            yield function(task)
        return
    import joblib

    with joblib.parallel_config(backend=engine, n_jobs=count, inner_max_num_threads=_inner(engine)):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_one_thread)(function, task) for task in tasks)


def _inner(engine: str) -> int | None:
    return 1 if engine == "loky" else None


def _one_thread(function: Callable[[Any], Any], task: Any) -> Any:
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return function(task)
