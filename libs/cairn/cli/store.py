"""`cairn store`: the stores of the services that `cairn up` runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cairn.local.stack import Stack

Service = Annotated[str, typer.Argument(help="The service, e.g. registry.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Make stores anew, and compare them.", epilog="Example: cairn store digest registry"
    )
    group.command(epilog="Example: cairn store rebuild registry")(rebuild)
    group.command(epilog="Example: cairn store digest registry --tables")(digest)
    app.add_typer(group, name="store")


def rebuild(ctx: typer.Context, service: Service) -> None:
    """Delete a service's store and make it anew from the log alone; `cairn down` first.

    Starts Kafka for it, or uses the one that KAFKA_BOOTSTRAP_SERVERS names. Ends as the service's own command does.
    """
    stack = _stack(ctx)
    _exit_as(stack, stack.run_alone(_known(service), "rebuild"))


def digest(
    ctx: typer.Context,
    service: Service,
    tables: Annotated[bool, typer.Option("--tables", help="A line for each table, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all tables.")] = False,
) -> None:
    """Print one line about a service's store: equal lines, equal rows."""
    flags = [*(["--tables"] if tables else []), *(["--json"] if as_json else [])]
    stack = _stack(ctx)
    _exit_as(stack, stack.look_at_store(_known(service), "digest", *flags))


def _exit_as(stack: "Stack", command: "Coroutine[Any, Any, int]") -> None:
    """Run a service's command, which ends with this process at the latest, and exit with its code."""
    import asyncio

    from cairn.cli.faults import INTERRUPTED
    from cairn.cli.interrupting import cancel_on_signals

    async def run() -> int:
        cancel_on_signals(stack)
        return await command

    try:
        code = asyncio.run(run())
    except asyncio.CancelledError:
        code = INTERRUPTED
    raise typer.Exit(code)


def _stack(ctx: typer.Context) -> "Stack":
    import os

    from cairn.cli.output import say
    from cairn.context import check_servers, read_installation
    from cairn.local.stack import Options, Stack

    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    options = Options(
        home=ctx.obj or Path(".cairn"),
        installation=read_installation(os.environ.get("CAIRN_INSTALLATION") or "cairn").name,
        bootstrap_servers=check_servers(servers) if servers else "",
        objects=os.environ.get("CAIRN_OBJECTS", ""),
    )
    return Stack(options, lambda name, line: say(f"{name:<18} | {line}"))


def _known(service: str) -> str:
    from cairn.cli.faults import WrongUsage
    from cairn.events.catalogue import ALL_SERVICES

    if service not in ALL_SERVICES:
        raise WrongUsage(f"there is no service {service!r}: it is one of {', '.join(ALL_SERVICES)}")
    return service
