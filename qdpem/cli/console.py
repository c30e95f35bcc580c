"""The consoles and progress bars of all commands; rich is imported on first use."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

LINE_PERIOD_S = 30.0
"""Wall time between two lines of progress where there is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr; files and pipes get no colours and, without COLUMNS, 110 columns.

    It prints text as it is: brackets and colons in the names of a user are neither styles nor emoji.
    """
    from rich.console import Console

    terminal = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if terminal.is_terminal or "COLUMNS" in os.environ:
        return terminal
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=110)


def rich_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: int) -> Table:
    """A table whose first `words` columns are words, to the left, and the others numbers, to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD)
    for place, head in enumerate(heads):
        shown.add_column(head, justify="left" if place < words else "right")
    for row in rows:
        shown.add_row(*row)
    return shown


def progress_bars() -> AbstractContextManager[Progress]:
    """Progress on stderr, so that stdout has only results: bars in a terminal, else a line every 30 s."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    terminal = console(stderr=True)
    if not terminal.is_terminal:
        return _progress_lines()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=terminal,
    )


@contextmanager
def _progress_lines() -> Iterator[Progress]:
    """Bars that are not drawn; a thread prints the state of the last whole one every `LINE_PERIOD_S`.

    The bars of single runs are indented; all others are whole.
    """
    from rich.progress import Progress

    began_s, ended = time.monotonic(), threading.Event()
    # Without its own redrawing, it only keeps what was done.
    bars = Progress(disable=True)

    def print_lines() -> None:
        while not ended.wait(LINE_PERIOD_S):
            # A sweep adds a whole bar for each of its studies; the last is at work.
            whole = [task for task in bars.tasks if not task.description.startswith(" ")]
            for task in whole[-1:]:
                fraction = task.completed / task.total if task.total else 0.0
                line = _progress_line(
                    f"{task.description}: {task.fields['detail']}".rstrip(": "),
                    fraction=min(fraction, 1.0),
                    elapsed_s=time.monotonic() - began_s,
                )
                print(line, file=sys.stderr, flush=True)

    printer = threading.Thread(target=print_lines, daemon=True)
    printer.start()
    try:
        yield bars
    finally:
        ended.set()
        printer.join()


def _progress_line(work: str, *, fraction: float, elapsed_s: float) -> str:
    """One line: what is done, how long it took, and about how long the rest takes if it goes on like that.

    >>> _progress_line("row: 3 of 12 runs", fraction=0.25, elapsed_s=90.0)
    'row: 3 of 12 runs, 25 %, 0:01:30 elapsed, about 0:04:30 left'
    >>> _progress_line("preparing row", fraction=0.0, elapsed_s=30.2)
    'preparing row, 0:00:30 elapsed'
    """
    elapsed = f"{timedelta(seconds=round(elapsed_s))} elapsed"
    if not fraction > 0.0:
        return f"{work}, {elapsed}"
    left = timedelta(seconds=round(elapsed_s * (1.0 - fraction) / fraction))
    return f"{work}, {fraction:.0%}".replace("%", " %") + f", {elapsed}, about {left} left"
