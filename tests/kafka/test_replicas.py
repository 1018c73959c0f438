"""Replicas of a service on one PostgreSQL database: failover, never a second decision, nothing beside a rebuild."""

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from aiokafka import AIOKafkaConsumer

from cairn.context import Context
from cairn.events import Declaration, DeclarationSubmitted, Installation, ModelDeclared
from cairn.events.codec import Heard
from cairn.events.hearing import HEARD
from cairn.events.signing import Signer
from cairn.local import processes
from cairn.local.keys import ensure_keys
from cairn.local.ports import kept_ports
from cairn.local.processes import Child
from cairn.publisher import Publisher
from cairn.subscriber import read_log
from cairn.topics import create_topics
from chassis.database import Database
from chassis.kafka import Log, Partition, partitions_of
from registry.store import RegistryTable

MODELS = 40


def request(number: int) -> DeclarationSubmitted:
    declaration = Declaration(model=f"model-{number}", owner="tests", dataset="data", target="y")
    return DeclarationSubmitted(model=declaration.model, declaration=declaration)


@asynccontextmanager
async def replica(context: Context, url: str, port: int) -> AsyncIterator[Child]:
    """One process of the registry."""
    home = context.home
    environment = {
        **os.environ,
        "CAIRN_INSTALLATION": context.installation.name,
        "KAFKA_BOOTSTRAP_SERVERS": context.bootstrap_servers,
        "DATABASE_URL": url,
        "CAIRN_OBJECTS": str(home / "objects"),
        "CAIRN_KEY_FILE": str(home / "keys/registry.key"),
        "CAIRN_TRUST_FILE": str(home / "trust.json"),
        "CAIRN_PORT": str(port),
        "CAIRN_SESSION_MILLISECONDS": "6000",
    }
    child = await processes.start(
        "registry", sys.executable, "-P", "-m", "registry", environment=environment, log=home / f"registry-{port}.log"
    )
    try:
        yield child
    finally:
        await child.terminate(20)


async def answers(context: Context) -> list[Heard]:
    return [heard async for _record, heard in read_log(context, ("registry",)) if isinstance(heard, Heard)]


async def until_answered(context: Context, number: int, seconds: float) -> list[Heard]:
    async with asyncio.timeout(seconds):
        found = await answers(context)
        while len({one.message.envelope.id for one in found}) < number:
            await asyncio.sleep(0.2)
            found = await answers(context)
    return found


def make_context(kafka: str, home: Path) -> Context:
    installation = Installation(f"replicas-{uuid4().hex[:8]}")
    trust = ensure_keys(home / "keys", home / "trust.json", installation, "ada")
    return Context(home, installation, kafka, signer=Signer.load(home / "keys/user.key"), trust=trust)


def readiness(port: int) -> str:
    """What a service says of its readiness."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)


async def until_says(port: int, text: str, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while text not in await asyncio.to_thread(readiness, port):
            await asyncio.sleep(0.2)


def group_of(context: Context) -> str:
    return f"{context.installation.name}.registry"


async def committed_by_group(context: Context) -> dict[Partition, int | None]:
    async with Log.open(context.bootstrap_servers, context.installation, group_of(context)) as log:
        return await log.committed(partitions_of(HEARD["registry"]))


def begin_rebuild_beside(url: str) -> Database:
    """End the connection by which a service holds its store, and take the store alone as a rebuild does."""
    rebuild = Database(url, RegistryTable)
    holders = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM ({holders}) AS holder")
    rebuild.take_ownership(exclusive=True)
    return rebuild


async def test_a_replica_that_lost_its_hold_on_the_store_waits_for_a_rebuild_and_ends_after_it(
    kafka: str, postgres_url: str, tmp_path: Path
):
    context = make_context(kafka, tmp_path)
    await create_topics(kafka, context.installation)
    (port,) = kept_ports(tmp_path / "ports.json", 0)
    async with Publisher(context) as publisher, replica(context, postgres_url, port) as running:
        await publisher.publish(request(0))
        await until_answered(context, 1, 60)

        rebuild = begin_rebuild_beside(postgres_url)
        await publisher.publish(request(1))
        await until_says(port, "a rebuild of this store is running")
        assert len(await answers(context)) == 1
        rebuild.close()
        await until_answered(context, 2, 60)

        rebuild = begin_rebuild_beside(postgres_url)
        rebuild.make_anew()
        rebuild.close()
        async with asyncio.timeout(60):
            assert await running.wait() == 2
    assert "the store was rebuilt since this process started" in (tmp_path / f"registry-{port}.log").read_text()


async def test_replicas_that_start_at_once_begin_their_group_together(kafka: str, postgres_url: str, tmp_path: Path):
    context = make_context(kafka, tmp_path)
    await create_topics(kafka, context.installation)
    ports = kept_ports(tmp_path / "ports.json", 0, 0)
    async with (
        Publisher(context) as publisher,
        replica(context, postgres_url, ports[0]),
        replica(context, postgres_url, ports[1]),
    ):
        for port in ports:
            await until_says(port, '"ready":true')
        await publisher.publish(request(0))
        heard = await until_answered(context, 1, 60)
        committed = await committed_by_group(context)
    assert len({one.message.envelope.id for one in heard}) == 1
    assert None not in committed.values()


async def test_a_replica_joins_a_group_whose_members_never_committed(kafka: str, postgres_url: str, tmp_path: Path):
    """As those of an earlier version, which did not hear all that this one hears."""
    context = make_context(kafka, tmp_path)
    await create_topics(kafka, context.installation)
    earlier = AIOKafkaConsumer(
        context.installation.topic("requests"), bootstrap_servers=kafka, group_id=group_of(context)
    )
    await earlier.start()
    (port,) = kept_ports(tmp_path / "ports.json", 0)
    async with replica(context, postgres_url, port):
        await until_says(port, '"ready":true')
        async with asyncio.timeout(60):
            while (await committed_by_group(context))["training", 0] is None:
                await asyncio.sleep(0.2)
    await earlier.stop()


async def test_a_killed_replica_is_taken_over_and_every_request_is_answered_once(
    kafka: str, postgres_url: str, tmp_path: Path
):
    context = make_context(kafka, tmp_path)
    await create_topics(kafka, context.installation)
    ports = kept_ports(tmp_path / "ports.json", 0, 0)
    async with (
        Publisher(context) as publisher,
        replica(context, postgres_url, ports[0]) as first,
        replica(context, postgres_url, ports[1]) as second,
    ):
        for port in ports:
            await until_says(port, '"ready":true')
        await publisher.publish(request(0))
        await until_answered(context, 1, 60)
        for number in range(1, MODELS):
            await publisher.publish(request(number))
            if number == MODELS // 2:
                os.kill(first.pid, signal.SIGKILL)
        heard = await until_answered(context, MODELS, 60)
        assert second.exit_code is None
    declared = [one.facts for one in heard if isinstance(one.facts, ModelDeclared)]
    identities = {one.message.envelope.id for one in heard}
    assert len(identities) == MODELS
    assert {one.model for one in declared} == {f"model-{number}" for number in range(MODELS)}
    assert {one.revision for one in declared} == {1}
