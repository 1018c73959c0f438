"""The command line: `cairn`. One file a noun; what is heavy is imported by the command that needs it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cairn.cli import (
    apply,
    audit,
    demo,
    doctor,
    env,
    events,
    models,
    parked,
    predict,
    publish,
    schemas,
    status,
    store,
    up,
)
from cairn.cli.funnel import guarded
from cairn.cli.output import emit


def main() -> None:
    """Run `cairn` and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run `cairn` with these arguments.

    Answers with the exit code: 0 done, 1 a check failed, 2 wrong usage, 3 something needed is out of reach, 130 Ctrl-C.
    """
    return guarded(lambda: typer.main.get_command(build())(list(arguments), prog_name="cairn"))


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback(epilog="Example: cairn apply model.yaml && cairn events tail --follow")(_cairn)
    up.register(app)
    demo.register(app)
    apply.register(app)
    publish.register(app)
    predict.register(app)
    models.register(app)
    events.register(app)
    parked.register(app)
    status.register(app)
    env.register(app)
    store.register(app)
    audit.register(app)
    schemas.register(app)
    doctor.register(app)
    return app


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        emit(f"cairn {version('cairn-sdk')}")
        raise typer.Exit


def _cairn(
    ctx: typer.Context,
    home: Annotated[
        Path | None, typer.Option(envvar="CAIRN_HOME", help="Where `cairn up` keeps all it has. Default: ./.cairn")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run the life of machine-learning models as events on Kafka."""
    ctx.obj = home
