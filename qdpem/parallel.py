"""Many tasks on an engine chosen by name; the only module that uses joblib."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from qdpem.errors import QdpemError, StudyError, UnknownNameError
from qdpem.registry import plugin_fault

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("serial", "loky")
_TRIES_ALONE = 2
_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")} | {
    "VECLIB_MAXIMUM_THREADS": "1"
}
"""The environment of workers: libraries read it when they are loaded."""

_WATCH_PERIOD_S = 0.2


def cores() -> int:
    """The number of cores that this process may use."""
    # The affinity respects the CPU sets of batch systems; the CPU count does not.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> float:
    """The memory that this process may use: the machine's, or less in a container or under a limit."""
    import resource

    limits = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits += [float(soft)] if soft != resource.RLIM_INFINITY else []
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(float(Path(file).read_text()))
    return min(limits)


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    engine: str = "loky",
    workers: int | None = None,
    on_death: Callable[[Task, str], Result] | None = None,
    on_retry: Callable[[Task, str], None] | None = None,
) -> Iterator[Result]:
    """Yield `function(task)` for every task as each finishes (order not kept).

    Each worker computes with one thread: two torch threads on shared cores were measured to be 28 times
    slower than one. No worker outlives this process. When a worker process dies, all finished results are
    kept, the tasks that had not begun go on in new workers, and those that had begun follow one at a time,
    each in a worker of its own, so that it is known whose worker dies. A task gets three tries in all. Raises
    UnknownNameError for an unknown engine, and StudyError for a task whose worker dies every time if there is
    no `on_death`.

    Args:
        function: a module-level function, so that it reaches other processes.
        tasks: its arguments, one for each call.
        engine: "loky" for worker processes, "serial" for this process, in order.
        workers: tasks at a time; one per core when None.
        on_death: the result of a task whose worker died every time, from the task and a sentence.
        on_retry: receives a task that is tried again because its worker died, and a sentence.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    count = min(workers or cores(), max(len(tasks), 1))
    if engine == "serial" or count == 1:
        for task in tasks:
            yield function(task)
        return
    with tempfile.TemporaryDirectory(prefix="qdpem-") as directory:
        pending, suspects = dict(enumerate(tasks)), list[int]()
        while pending:
            death = yield from _from_pool(function, pending, count=count, marks=Path(directory))
            if death:
                # Without a mark nobody knows whose worker it was.
                begun = [index for index in pending if (Path(directory) / str(index)).exists()]
                suspects += begun or list(pending)
                for index in begun or list(pending):
                    if on_retry is not None:
                        on_retry(pending[index], f"it was begun again, because a worker process died{death}")
                    del pending[index]
        for index in suspects:
            yield from _alone(function, tasks[index], marks=Path(directory), on_death=on_death)


def _from_pool(
    function: Callable[[Any], Any], pending: dict[int, Any], *, count: int, marks: Path
) -> Generator[Any, None, str]:
    """Yield results, and take their tasks out of `pending`; how a worker died, "" if all went well."""
    from joblib.externals.loky import get_reusable_executor

    executor = get_reusable_executor(
        max_workers=count, env=_ONE_THREAD, initializer=_end_with, initargs=(os.getpid(),)
    )
    death = ""
    try:
        futures = {
            executor.submit(_one_thread, function, task, marks / str(index)): index
            for index, task in pending.items()
        }
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, BrokenExecutor):
                death = _exit_codes(error) or " (exit code unknown)"
                continue
            del pending[futures[future]]
            yield future.result()
    except BrokenExecutor as error:  # while tasks were handed over
        death = _exit_codes(error) or " (exit code unknown)"
    except BaseException:
        # An interruption, or an error of a task: nothing else is wanted any more.
        executor.shutdown(wait=False, kill_workers=True)
        raise
    return death


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


def _alone(
    function: Callable[[Task], Result],
    task: Task,
    *,
    marks: Path,
    on_death: Callable[[Task, str], Result] | None,
) -> Iterator[Result]:
    """The result of a task that had begun when a worker died, in a worker of its own."""
    death = ""
    for _ in range(_TRIES_ALONE):
        death = yield from _from_pool(function, {0: task}, count=1, marks=marks)
        if not death:
            return
    sentence = (
        f"its worker process died {_TRIES_ALONE + 1} times{death}; SIGKILL often means that memory ran out."
        " All other results are kept"
    )
    if on_death is None:
        raise StudyError(f"a task was given up: {sentence}")
    yield on_death(task, sentence)


def _exit_codes(error: BaseException) -> str:
    """The exit codes or signals of dead workers as loky reports them, in brackets."""
    found = re.search(r"exit codes of the workers are \{(.*?)\}", str(error))
    return f" ({found.group(1)})" if found else ""


def _one_thread(function: Callable[[Any], Any], task: Any, mark: Path) -> Any:
    import sys

    # If this process dies, the mark shows which task it was at. Its reader may have gone already.
    with contextlib.suppress(OSError):
        mark.touch()
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


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Restrict torch to one thread inside: with shared cores, two were measured to be many times slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
