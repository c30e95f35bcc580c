"""Many tasks on an engine chosen by name; the only module that uses joblib."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from qdpem.errors import QdpemError, UnknownNameError
from qdpem.registry import plugin_fault

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("serial", "loky")


def cores() -> int:
    """The number of cores that this process may use."""
    # The affinity respects the CPU sets of batch systems; the CPU count does not.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    engine: str = "loky",
    workers: int | None = None,
) -> Iterator[Result]:
    """Yield `function(task)` for every task as each finishes (order not kept).

    Each worker computes with one thread: two torch threads on shared cores were measured to be 28 times
    slower than one. Raises UnknownNameError for an unknown engine.

    Args:
        function: a module-level function, so that it reaches other processes.
        tasks: its arguments, one for each call.
        engine: "loky" for worker processes, "serial" for this process, in order.
        workers: tasks at a time; one per core when None.
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
        # Tasks are long: a batch of several would leave other workers idle at the end.
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_one_thread)(function, task) for task in tasks)


def _inner(engine: str) -> int | None:
    return 1 if engine == "loky" else None


def _one_thread(function: Callable[[Any], Any], task: Any) -> Any:
    import sys

    # torch has its own number of threads. It is limited where it is loaded, and not loaded for that.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        return function(task)
    except QdpemError:
        raise
    except Exception as error:
        # Only here: an error that crosses to another process leaves its frames behind.
        if (fault := plugin_fault(error)) is None:
            raise
        raise fault from error
