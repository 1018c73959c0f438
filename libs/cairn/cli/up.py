"""`cairn up` and `cairn down`: all of Cairn on this machine."""

from collections.abc import Callable
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
    app.command(epilog="Example: cairn up --home .cairn")(up)
    app.command(epilog="Example: cairn down")(down)
    app.command(epilog="Example: cairn prepare --keys /keys --replicas 3")(prepare)


def up(
    ctx: typer.Context,
    installation: Annotated[str, typer.Option(help="Its name: the prefix of its topics.")] = "cairn",
    person: Annotated[str, typer.Option(help="Your handle: who you are in events.")] = "user",
    gateway: Annotated[
        Path | None, typer.Option(help="Also start the gateway, the HTTP door, with this configuration.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show only what is about the processes themselves.")] = False,
) -> None:
    """Start Kafka, the services and a serving process, and keep them running until Ctrl-C.

    With KAFKA_BOOTSTRAP_SERVERS set, that Kafka is used instead of one of its own.
    """
    import asyncio
    import os

    from cairn.cli.output import say
    from cairn.local.stack import Options

    options = Options(
        home=ctx.obj or Path(".cairn"),
        installation=installation,
        person=person,
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
        gateway=gateway,
    )

    def show(name: str, line: str) -> None:
        if not quiet:
            say(f"{name:<18} | {line}")

    asyncio.run(_keep_up(options, show))


async def _keep_up(options: "Options", show: Callable[[str, str], None]) -> None:
    import asyncio
    import signal

    from cairn.cli.output import emit
    from cairn.local.stack import Stack

    stop = asyncio.Event()
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: stop.set() or task.cancel())  # type: ignore[func-returns-value]  # both, in this order
    try:
        async with Stack(options, show) as stack:
            context = stack.context
            emit(f"Cairn is up: Kafka at {context.bootstrap_servers}, inference at {context.serving_url}")
            if "gateway" in context.services:
                emit(f"the gateway takes events at {context.services['gateway']}/events")
            emit("next: cairn apply model.yaml, cairn events tail --follow, cairn status. Ctrl-C stops it")
            await stop.wait()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


def down(ctx: typer.Context) -> None:
    """Stop the Cairn that runs from this home."""
    import os
    import signal
    import time

    from cairn.cli.faults import OutOfReach
    from cairn.cli.output import emit
    from cairn.context import Running

    home: Path = (ctx.obj or Path(".cairn")).absolute()
    running = Running.load(home)
    if running is None or not running.alive:
        emit(f"no Cairn runs from {home}")
        return
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while running.alive and time.monotonic() < deadline:
        time.sleep(0.1)
    if running.alive:
        raise OutOfReach(f"process {running.pid} does not end; kill it with `kill -9 {running.pid}`: nothing is lost")
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
