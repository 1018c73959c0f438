"""A serving process as it runs: its parts, made in one place, started in order and stopped in reverse."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from pydantic import ValidationError

from cairn import loop
from cairn.children import Child, Children, Limits
from cairn.context import Context
from cairn.events.identity import Installation, fresh_id
from cairn.events.signing import Signer, Trust, TrustError
from cairn.events.values import Arm
from cairn.objects import ObjectStore, open_store, read_s3_settings
from cairn.publisher import Publisher
from deployer.serving.activating import Activator, Loaded
from deployer.serving.api import Api
from deployer.serving.ending import end_tasks, end_within
from deployer.serving.following import Follower
from deployer.serving.journal import Journal
from deployer.serving.logs import configure_logs
from deployer.serving.packages import Package, fetch_package
from deployer.serving.reporting import REPORT_SECONDS, Reporter, Tally
from deployer.serving.routing import RouteTable
from deployer.serving.scorer import ChildScorer
from deployer.serving.settings import Settings
from deployer.serving.speaking import make_tell

USAGE = 2

_PRELOAD = ("deployer.serving.scoring", "sklearn.ensemble", "sklearn.pipeline")
_LIMITS = Limits(cpu_seconds=10**9)  # it stays: its time is not bounded
_SEND_SECONDS = 5.0
_GRACE_SECONDS = 6
_CUT_SECONDS = 2.0
_WATCH_SECONDS = 5.0
log = structlog.get_logger()


class CannotListen(Exception):
    """The port cannot be had."""


def main() -> None:
    """Run until SIGTERM or SIGINT, and exit."""
    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings)
        loop.run_program(run(settings))
    except ValidationError as error:
        faults = [f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors(include_input=False)]
        sys.exit(_say("the environment is not complete or not right: " + "; ".join(faults)))
    except (CannotListen, TrustError, ValueError) as error:
        sys.exit(_say(str(error)))


async def run(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT. Raises TrustError, and ValueError for an object store that cannot be meant."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    context, start = _make_context(settings), fresh_id()
    objects = open_store(settings.objects, s3=read_s3_settings(os.environ))
    children = Children(_PRELOAD)
    publisher = Publisher(context, send_seconds=_SEND_SECONDS)
    tell = make_tell(publisher, context.installation.source("serving", start))
    table, tally = RouteTable(), Tally()
    journal = Journal(settings.replica, tell, tally)
    reporter = Reporter(settings.replica, start, tell, tally, table.revisions)
    activator = Activator(settings.replica, start, table, partial(load_arm, objects, children), reporter)
    follower = Follower(context, activator.take)
    server = _make_server(Api(table, journal, tally), settings)

    async with AsyncExitStack() as ends:  # they run from the last to the first
        ends.push_async_callback(end_within, _CUT_SECONDS, partial(publisher.__aexit__, None, None, None), "publisher")
        ends.push_async_callback(activator.close)
        ends.push_async_callback(reporter.end)
        ends.push_async_callback(end_within, _CUT_SECONDS, journal.close, "journal")
        serving = asyncio.create_task(_serve(server))
        serving.add_done_callback(lambda _task: stop.set())
        ends.push_async_callback(_end_server, server, serving)
        log.info("serving.started", host=settings.host, port=settings.port, start=start)
        children.start()
        await _until(stop, _follow(follower, activator, table, children), reporter.run(), _flush(journal))
        table.current = False
        log.info("serving.stopping")


def _make_context(settings: Settings) -> Context:
    return Context(
        home=Path(),
        installation=Installation(settings.installation),
        bootstrap_servers=settings.bootstrap_servers,
        signer=Signer.load(settings.key_file),
        trust=Trust.load(settings.trust_file),
    )


async def load_arm(objects: ObjectStore, children: Children, arm: Arm) -> Loaded:
    """A model in a child of its own. Raises what the route's activation asks for."""
    package = await asyncio.to_thread(fetch_package, objects, arm)
    scorer = ChildScorer(partial(_start_child, children, package))
    await scorer.open()
    return Loaded(package.io_schema, scorer)


def _start_child(children: Children, package: Package) -> Child:
    files = {name: str(path) for name, path in package.files.items()}
    spec = {"manifest": str(package.manifest), "files": files}
    return children.open("deployer.serving.scoring:answer_batches", spec, _LIMITS)


async def _follow(follower: Follower, activator: Activator, table: RouteTable, children: Children) -> None:
    """Follow the routes: those that are there now, then each new one."""
    await follower.catch_up()
    table.current = True
    async with asyncio.TaskGroup() as parts:
        parts.create_task(follower.follow())
        parts.create_task(_watch(follower, table))
        await children.load()
        await activator.go()
        table.tried = True
        log.info("serving.ready", routes=table.revisions())


async def _watch(follower: Follower, table: RouteTable) -> None:
    """Look again and again whether all that was told was heard: Kafka may be away, or have lost something."""
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        table.current = await _is_current(follower)


async def _is_current(follower: Follower) -> bool:
    try:
        async with asyncio.timeout(_WATCH_SECONDS):
            return await follower.is_at_end()
    except TimeoutError:
        log.warning("routes.stale", seconds=_WATCH_SECONDS)
        return False


async def _flush(journal: Journal) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        journal.flush()


async def _until(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run these until it is time to stop, or one of them ends. Raises what ended it."""
    tasks = [asyncio.create_task(part) for part in parts]
    for task in tasks:
        task.add_done_callback(lambda _task: stop.set())
    await stop.wait()
    await end_tasks(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


def _make_server(app: Api, settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    # Signals are this process's own: it says goodbye after its port has closed.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # no setting for it
    return server


async def _serve(server: uvicorn.Server) -> None:
    try:
        await server.serve()
    except SystemExit:  # uvicorn has logged why
        place = f"{server.config.host}:{server.config.port}"
        raise CannotListen(f"cannot listen at {place}: does another program? Set CAIRN_PORT") from None


async def _end_server(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Accept nothing more, and end what is under way."""
    server.should_exit = True
    await serving


def _say(message: str) -> int:
    print(message, file=sys.stderr)  # noqa: T201 # a message to a person
    return USAGE
