"""`cairn events`: the log, as it lies there."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(no_args_is_help=True, help="Look at events.")
    example = "Example: cairn events tail --follow --type 'model.*' --subject model/risk.loans"
    group.command(epilog=example)(tail)
    app.add_typer(group, name="events")


def tail(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what arrives, until Ctrl-C.")] = False,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type, e.g. model.promoted or 'rollout.*'; repeatable.")
    ] = None,
    subject: Annotated[str, typer.Option(help="Only about this, e.g. model/risk.loans; * stands for anything.")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the last events.")] = 10,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="All events, from the first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, payloads included.")] = False,
) -> None:
    """Show the last events, oldest first; what does not count as an event is shown as malformed."""
    import asyncio

    from cairn.cli import asking
    from cairn.cli.tail import Wanted, show

    wanted = Wanted.parse(types or [], subject)
    count = None if from_beginning else lines
    asyncio.run(show(asking.context_of(ctx), wanted, count=count, follow=follow, as_json=as_json))
