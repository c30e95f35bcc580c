"""From exceptions to sentences: what a user can mend is said on stderr, without a traceback."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer

from qdpem.errors import QdpemError

Given = ParamSpec("Given")

FAULT = 2
"""Exit code of anything a user can mend."""
INTERRUPTED = 130
UNEXPECTED = 1


def guarded(*, interrupted: str) -> Callable[[Callable[Given, None]], Callable[Given, None]]:
    """Wrap a command: a QdpemError exits 2 with its sentence, Ctrl-C exits 130 with `interrupted`.

    A full disk and a file that cannot be opened are sentences too. Anything else is a fault of qdpem:
    the traceback is shown with a line asking to report it.
    """

    def wrap(command: Callable[Given, None]) -> Callable[Given, None]:
        @functools.wraps(command)
        def call(*arguments: Given.args, **options: Given.kwargs) -> None:
            signal.signal(signal.SIGTERM, _interrupt)
            try:
                command(*arguments, **options)
            except typer.Exit:
                raise
            except QdpemError as error:
                _leave(str(error), FAULT)
            except KeyboardInterrupt:
                _leave(f"\nStopped. {interrupted}", INTERRUPTED)
            except BrokenPipeError:
                _close_output()
                raise typer.Exit(0) from None
            except OSError as error:
                _leave(_file_sentence(error), FAULT)
            except Exception:
                _report()
                raise typer.Exit(UNEXPECTED) from None

        return call

    return wrap


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """A batch system's order to end is taken like Ctrl-C: workers stop and the way to go on is told."""
    raise KeyboardInterrupt


def _leave(sentence: str, code: int) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(code) from None


def _file_sentence(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            "the disk is full; free some space and give the same command again:"
            " what was written before is kept and readable"
        )
    where = f" {error.filename}" if error.filename else ""
    return f"cannot use the file{where}: {error.strerror or error}"


def _close_output() -> None:
    """The reader of our output went away: send the rest nowhere, so that Python's exit stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report() -> None:
    import traceback

    traceback.print_exc()
    typer.echo(
        "This is a fault in qdpem, or in a plugin if the lines above end in one; not in what you asked."
        " Please report it with those lines and your command.",
        err=True,
    )
