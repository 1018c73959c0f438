"""`cairn events`: the log, as it lies there."""

from typing import Annotated

import typer

Types = Annotated[
    list[str] | None, typer.Option("--type", help="Only this type, e.g. model.promoted or 'rollout.*'; repeatable.")
]
Subject = Annotated[str, typer.Option(help="Only about this, e.g. model/risk.loans; * stands for anything.")]
Who = Annotated[str, typer.Option(help="Only from this source or principal, e.g. '/cairn/*' or person/ada.")]
Correlation = Annotated[str, typer.Option(help="Only of the story with this correlation id.")]
Since = Annotated[str, typer.Option(help="Only what Kafka got since then: 15m, 2h, 3d, or an instant.")]
Until = Annotated[str, typer.Option(help="Only what Kafka got before then.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, payloads included.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what arrives, until Ctrl-C.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Look at events.", epilog="Example: cairn events tail --follow")
    example = "Example: cairn events tail --follow --type 'model.*' --subject model/risk.loans"
    group.command(epilog=example)(tail)
    group.command(epilog="Example: cairn events search --since 2h --who person/ada --json")(search)
    group.command(epilog="Example: cairn events show 'registry[2]@17'")(show)
    group.command(epilog="Example: cairn events story 0199f6a2-5c1e-7d2b-9a53-2f6f0f3c1101")(story)
    app.add_typer(group, name="events")


def tail(
    ctx: typer.Context,
    follow: Follow = False,
    types: Types = None,
    subject: Subject = "",
    who: Who = "",
    correlation: Correlation = "",
    since: Since = "",
    until: Until = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the last events.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the last events, oldest first; what does not count as an event is shown as malformed."""
    import asyncio
    from datetime import UTC, datetime

    from cairn.cli import asking
    from cairn.cli.tail import show_last
    from cairn.cli.wanted import Wanted

    wanted = Wanted.parse(types or [], subject, who, correlation, since, until, datetime.now(UTC))
    asyncio.run(show_last(asking.context_of(ctx), wanted, lines, follow=follow, as_json=as_json))


def search(
    ctx: typer.Context,
    follow: Follow = False,
    types: Types = None,
    subject: Subject = "",
    who: Who = "",
    correlation: Correlation = "",
    since: Since = "",
    until: Until = "",
    as_json: AsJson = False,
) -> None:
    """Show all events that fit, from the first, oldest first."""
    import asyncio
    from datetime import UTC, datetime

    from cairn.cli import asking
    from cairn.cli.tail import show_all
    from cairn.cli.wanted import Wanted

    wanted = Wanted.parse(types or [], subject, who, correlation, since, until, datetime.now(UTC))
    asyncio.run(show_all(asking.context_of(ctx), wanted, follow=follow, as_json=as_json))


def show(
    ctx: typer.Context,
    event: Annotated[str, typer.Argument(help="Its id, its source#id, or its place: 'registry[2]@17'.")],
    as_json: AsJson = False,
) -> None:
    """Show one event whole: where it lies, its attributes and its payload."""
    import asyncio

    from cairn.cli import asking
    from cairn.cli.lines import as_object
    from cairn.cli.output import emit_json, emit_line
    from cairn.cli.tail import find_one

    for entry in asyncio.run(find_one(asking.context_of(ctx), event)):
        (emit_line if as_json else emit_json)(as_object(entry))


def story(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A correlation id, or the id of one of its events.")],
    as_json: AsJson = False,
) -> None:
    """Show what followed from what: each event below its cause, with times."""
    import asyncio

    from cairn.cli import asking
    from cairn.cli.output import emit, emit_line
    from cairn.cli.story import as_objects, read_story, tree_lines

    found = asyncio.run(read_story(asking.context_of(ctx), name))
    if as_json:
        for one in as_objects(found):
            emit_line(one)
        return
    for line in tree_lines(found):
        emit(line)
