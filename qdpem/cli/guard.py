"""From exceptions to sentences: errors that a user can correct appear on stderr without a traceback."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer

from qdpem.errors import QdpemError

Arguments = ParamSpec("Arguments")

FAULT = 2
"""The exit code of errors that a user can correct."""
INTERRUPTED = 130
UNEXPECTED = 1
_MEMORY = (
    "memory ran out. Fewer or smaller nodes, links, rates, horizons or a shorter window need less;"
    " record.level=requests keeps a smaller record. Files written before are kept and readable"
)


def guarded(*, interrupted: str) -> Callable[[Callable[Arguments, None]], Callable[Arguments, None]]:
    """Wrap a command: a QdpemError exits 2 with its sentence, Ctrl-C exits 130 with `interrupted`.

    A full disk, a file that cannot be opened, full memory and an error of a plugin exit 2 as well. Any other
    exception is a bug: it exits 1 with its traceback and a request to report it. With QDPEM_TRACEBACK=1 in
    the environment every sentence comes with its traceback.
    """

    def wrap(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
        @functools.wraps(command)
        def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
            signal.signal(signal.SIGTERM, _interrupt)
            try:
                command(*arguments, **options)
            # A deliberate exit is an exception too, and no bug.
            except typer.Exit:
                raise
            except QdpemError as error:
                _leave_fault(error, str(error))
            except KeyboardInterrupt as stop:
                # Whoever was interrupted knows best what it has kept, and where.
                kept = getattr(stop, "__notes__", ())
                _leave("\n".join([f"\nStopped. {interrupted}", *kept]), INTERRUPTED)
            # Before OSError, of which it is a kind.
            except BrokenPipeError:
                _close_output()
                raise typer.Exit(0) from None
            except OSError as error:
                _leave(_file_sentence(error), FAULT)
            except MemoryError as error:
                _leave_fault(error, f"{_MEMORY}{f' ({error})' if str(error) else ''}")
            except Exception as error:
                from qdpem.registry import plugin_fault

                if (fault := plugin_fault(error)) is not None:
                    _leave_fault(error, str(fault))
                _report()
                raise typer.Exit(UNEXPECTED) from None

        return call

    return wrap


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """SIGTERM, which batch systems send, acts like Ctrl-C: workers stop, and `interrupted` is printed."""
    raise KeyboardInterrupt


def _leave_fault(error: BaseException, sentence: str) -> NoReturn:
    """Exit 2 with a sentence, under the traceback if the environment asks for it."""
    if os.environ.get("QDPEM_TRACEBACK"):
        traceback.print_exception(error)
    _leave(sentence, FAULT)


def _leave(sentence: str, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code) from None


def _file_sentence(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            "the disk is full; free some space and repeat the command."
            " Files written before are kept and readable"
        )
    name = f" {error.filename}" if error.filename else ""
    return f"cannot use the file{name}: {error.strerror or error}"


def _close_output() -> None:
    """Discard further output: its reader has closed the pipe, and Python would report that on exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report() -> None:
    traceback.print_exc()
    typer.echo(
        "This is a bug in qdpem, or in a plugin if the traceback ends in one. Your command is not at fault."
        " Please report it with the traceback and the command.",
        err=True,
    )
