"""The command line, from the commands themselves."""

from __future__ import annotations

import inspect

import click
import typer

from generator.markdown import code, table
from qdpem.cli.app import app


def command_reference() -> str:
    """A section for each subcommand."""
    group = typer.main.get_command(app)
    return "\n\n".join(_section(name, each) for name, each in group.commands.items())


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"qdpem {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    rows = [_row(each, context) for each in command.params if each.name != "help"]
    about = inspect.cleandoc(command.help or "")
    return "\n\n".join(
        (
            f"## `qdpem {name}`",
            about,
            f"```text\n{usage}\n```",
            table(("argument or option", "default", "meaning"), rows),
        )
    )


def _row(parameter: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    record = parameter.get_help_record(context)
    label, text = record if record else (parameter.make_metavar(context), "")
    return code(label), "", text
