"""`cairn up` and `cairn down`: all of Cairn on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cairn.events.identity import Installation
    from cairn.local.stack import Options

_STOP_SECONDS = 60.0
_TOPICS_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: cairn up --quiet")(up)
    app.command(epilog="Example: cairn down")(down)
    app.command(epilog="Example: cairn prepare --keys /keys --replicas 3")(prepare)


def up(
    ctx: typer.Context,
    installation: Annotated[
        str, typer.Option(envvar="CAIRN_INSTALLATION", help="Its name: the prefix of its topics.")
    ] = "cairn",
    person: Annotated[str, typer.Option(help="Your handle: who you are in events.")] = "user",
    admit: Annotated[
        list[str] | None,
        typer.Option(help="Let unsigned events of this upstream system count, e.g. /plant/mes; repeatable."),
    ] = None,
    gateway: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Also start the gateway, the HTTP door, with this configuration."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show only what is about the processes themselves.")] = False,
) -> None:
    """Start Kafka, the services and a serving process, and keep them running until Ctrl-C; a second one hurries.

    With KAFKA_BOOTSTRAP_SERVERS set, that Kafka is used instead of one of its own; with CAIRN_OBJECTS, such as
    s3://bucket/prefix, that object store (and the AWS_ settings for it) instead of a folder.

    What ends is started again. What ends again and again is given up while the others go on: `cairn status` shows it,
    and `cairn up`, once stopped, ends with 1. If something does not start at all, or Kafka cannot be kept running,
    everything is stopped, and it ends with 3.
    """
    import asyncio
    import os

    from cairn.context import check_servers, read_installation
    from cairn.local.stack import Options

    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    options = Options(
        home=ctx.obj or Path(".cairn"),
        installation=read_installation(installation).name,
        person=person,
        bootstrap_servers=check_servers(servers) if servers else "",
        objects=os.environ.get("CAIRN_OBJECTS", ""),
        admitted=tuple(admit or ()),
        gateway=gateway,
    )
    asyncio.run(_keep_up(options, quiet=quiet))


async def _keep_up(options: "Options", *, quiet: bool) -> None:
    import asyncio

    from cairn.cli.faults import INTERRUPTED, CheckFailed
    from cairn.cli.interrupting import cancel_on_signals
    from cairn.cli.output import emit, say
    from cairn.local.stack import Stack

    def show(name: str, line: str) -> None:
        say(f"{name:<18} | {line}")

    stack = Stack(options, show, (lambda _name, _line: None) if quiet else show)
    cancel_on_signals(stack)
    is_up = False
    try:
        async with stack:
            is_up = True
            context = stack.context
            emit(f"Cairn is up: Kafka at {context.bootstrap_servers}, inference at {context.serving_url}")
            if "gateway" in context.services:
                emit(f"the gateway takes events at {context.services['gateway']}/events")
            emit("next: cairn apply model.yaml, cairn events tail --follow, cairn status. Ctrl-C stops it")
            await stack.run()
    except asyncio.CancelledError:
        if not is_up:
            raise typer.Exit(INTERRUPTED) from None
    if stack.given_up:
        raise CheckFailed("\n".join(f"{name} was given up: {why}" for name, why in stack.given_up.items()))


def down(ctx: typer.Context) -> None:
    """Stop the Cairn that runs from this home."""
    import time

    from cairn.cli.faults import OutOfReach
    from cairn.cli.output import emit
    from cairn.holding import ask_to_end, is_held

    home: Path = (ctx.obj or Path(".cairn")).absolute()
    pid = ask_to_end(home)
    if pid is None:
        emit(f"no Cairn runs from {home}")
        return
    deadline = time.monotonic() + _STOP_SECONDS
    while is_held(home):
        if time.monotonic() > deadline:
            raise OutOfReach(f"process {pid} does not end; kill it with `kill -9 {pid}`: nothing is lost")
        time.sleep(0.1)
    emit("stopped")


def prepare(
    ctx: typer.Context,
    keys: Annotated[Path | None, typer.Option(help="Make keys and trust.json in this folder, where missing.")] = None,
    replicas: Annotated[int, typer.Option(min=1, help="How many brokers keep each record.")] = 1,
    person: Annotated[str, typer.Option(help="The handle of the person whose key is user.key.")] = "user",
    gateway: Annotated[bool, typer.Option("--gateway", help="Make the key of a gateway too.")] = False,
) -> None:
    """Make what an installation needs before its first start: topics, the bucket, and keys where asked."""
    import asyncio
    import os

    from cairn.cli import asking
    from cairn.cli.output import emit
    from cairn.events.identity import Installation
    from cairn.local.keys import ensure_keys
    from cairn.objects import open_store, read_s3_settings
    from cairn.objects.s3 import S3Store

    if keys:
        installation = Installation(os.environ.get("CAIRN_INSTALLATION") or "cairn")
        trust = ensure_keys(keys, keys / "trust.json", installation, person, gateway=gateway)
        emit(f"{len(trust.keys)} keys are in {keys}")
    context = asking.context_of(ctx)
    store = open_store(context.objects(), s3=read_s3_settings(os.environ))
    if isinstance(store, S3Store) and store.make_bucket():
        emit("made the bucket")
    servers = context.bootstrap_servers
    made = asyncio.run(_make_topics(servers, context.installation, replicas))
    emit(f"made {len(made)} topics")


async def _make_topics(servers: str, installation: "Installation", replicas: int) -> list[str]:
    from cairn.broker import reached
    from cairn.topics import create_topics

    return await reached(create_topics(servers, installation, replicas), servers, _TOPICS_SECONDS, "making topics")
