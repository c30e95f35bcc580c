"""The `qdpem` command. Each subcommand imports its modules when it is called, so that `--help` is quick."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from qdpem.cli.commands.audit import audit
from qdpem.cli.commands.bound import bound
from qdpem.cli.commands.check import check
from qdpem.cli.commands.demand import demand
from qdpem.cli.commands.export import export
from qdpem.cli.commands.forecast import forecast
from qdpem.cli.commands.names import list_command
from qdpem.cli.commands.replay import replay
from qdpem.cli.commands.run import run
from qdpem.cli.commands.schema import schema
from qdpem.cli.commands.study import study
from qdpem.cli.commands.train import train
from qdpem.cli.commands.tune import tune
from qdpem.cli.guard import guarded
from qdpem.cli.plain_text import degrade_output

app = typer.Typer(
    name="qdpem",
    help="A physics-grounded laboratory for entanglement allocation in quantum networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run")(guarded(interrupted="No finished record was touched.")(run))
app.command("train")(guarded(interrupted="The same command continues from the last checkpoint.")(train))
app.command("tune")(
    guarded(interrupted="The same command continues from here: finished runs are reused.")(tune)
)
app.command("study")(
    guarded(interrupted="The same command continues from here: finished records are reused.")(study)
)
app.command("bound")(guarded(interrupted="Nothing was written.")(bound))
app.command("demand")(guarded(interrupted="Nothing was written.")(demand))
app.command("forecast")(guarded(interrupted="Nothing was written.")(forecast))
app.command("list")(guarded(interrupted="Nothing was changed.")(list_command))
app.command("schema")(guarded(interrupted="Nothing was changed.")(schema))
app.command("export")(guarded(interrupted="Files written so far are kept.")(export))
app.command("audit")(guarded(interrupted="Nothing was changed.")(audit))
app.command("replay")(guarded(interrupted="Nothing was changed.")(replay))
app.command("check")(guarded(interrupted="Nothing was changed.")(check))


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(version("qdpem"))
        raise typer.Exit(0)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A physics-grounded laboratory for entanglement allocation in quantum networks."""


def main() -> None:
    """The entry point of the `qdpem` command."""
    degrade_output()
    # QuTiP warns on import; qdpem does not draw with QuTiP.
    warnings.filterwarnings("ignore", message="matplotlib not found", category=UserWarning)
    app()
