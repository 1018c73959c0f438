"""`cairn parked`: records that a service could not handle."""

from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Look at records that could not be handled, and try them again.",
        epilog="Example: cairn parked list",
    )
    group.command("list", epilog="Example: cairn parked list --service registry")(list_parked)
    group.command(epilog="Example: cairn parked redrive registry requests 2 17")(redrive)
    app.add_typer(group, name="parked")


def list_parked(
    ctx: typer.Context,
    service: Annotated[str, typer.Option(help="Only of this service.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """What each service has parked, and why."""
    from cairn.cli import asking
    from cairn.cli.faults import OutOfReach
    from cairn.cli.output import emit_json, emit_table, say
    from cairn.cli.reading import get_list

    context = asking.context_of(ctx)
    found: list[dict[str, Any]] = []
    silent = []
    asked = [service_named(service)] if service else list(context.services)
    if not asked:
        raise OutOfReach("no service's address is known: start Cairn with `cairn up`, or set CAIRN_REGISTRY_URL, …")
    for name in asked:
        try:
            records = get_list(f"{context.service_url(name)}/parked", f"the {name}", "records")
        except OutOfReach as error:
            silent.append(str(error))
            continue
        found += [{"service": name, **record} for record in records]
    if as_json:
        emit_json(found)
    elif found:
        emit_table(found)
    elif not silent:
        say("nothing is parked")
    if silent:
        raise OutOfReach("\n".join(silent))


def redrive(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(help="The service that parked the record.")],
    topic: Annotated[str, typer.Argument(help="The record's topic, without the installation's prefix.")],
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0)],
    reason: Annotated[str, typer.Option(help="Why it should work now.")] = "",
    timeout: Annotated[float, typer.Option(min=0.1, help="How long to wait for the answer, in seconds.")] = 30.0,
) -> None:
    """Have a parked record handled again, and wait for what comes of it."""
    import asyncio

    from cairn.cli import asking
    from cairn.cli.output import emit
    from cairn.events import RedriveRequested, RequestRefused

    fields = {"topic": topic, "partition": partition, "offset": offset, "reason": reason}
    request = asking.facts_of(RedriveRequested, service=service_named(service), **fields)
    context = asking.context_of(ctx)
    answer = asyncio.run(asking.ask(context, request, service, [], timeout)).facts
    if isinstance(answer, RequestRefused):
        raise asking.refusal(answer)
    emit(f"redriven: {topic}[{partition}]@{offset} by the {service}")


def service_named(name: str) -> str:
    """The name itself. Raises WrongUsage where it is no service."""
    from cairn.cli.faults import WrongUsage
    from cairn.events import ALL_SERVICES

    if name not in ALL_SERVICES:
        raise WrongUsage(f"there is no service {name!r}: expected one of {', '.join(ALL_SERVICES)}")
    return name
