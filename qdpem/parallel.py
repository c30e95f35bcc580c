"""Many tasks on an engine chosen by name; the only module that uses joblib."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from qdpem.errors import UnknownNameError

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("serial", "loky")

_WATCH_PERIOD_S = 0.2


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
    slower than one. No worker outlives this process. Raises UnknownNameError for an unknown engine.

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

    with joblib.parallel_config(
        backend=engine,
        n_jobs=count,
        inner_max_num_threads=1,
        initializer=_end_with,
        initargs=(os.getpid(),),
    ):
        # Tasks are long: a batch of several would leave other workers idle at the end.
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_one_thread)(function, task) for task in tasks)


def _end_with(parent: int) -> None:
    """Let this worker end when its parent has ended, also if that was killed and could not end it.

    The worker's parent is asked for over and over, because no signal tells of its end on every system, and
    Linux's own would come at the end of the parent's thread that started the worker.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_PERIOD_S)
        # At once: nobody is left to take results, and records survive a kill at any moment.
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def _one_thread(function: Callable[[Any], Any], task: Any) -> Any:
    import sys

    # torch has its own number of threads. It is limited where it is loaded, and not loaded for that.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return function(task)
