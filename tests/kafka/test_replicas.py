"""Replicas of a service on one PostgreSQL database: failover, never a second decision, nothing beside a rebuild."""

import asyncio
import os
import signal
from pathlib import Path

import psycopg
from aiokafka import AIOKafkaConsumer
from tests.kafka.registry_process import (
    answers,
    committed_by_group,
    group_of,
    make_context,
    replica,
    request,
    until_answered,
    until_says,
)

from cairn.events import ModelDeclared
from cairn.local.ports import kept_ports
from cairn.publisher import Publisher
from cairn.topics import create_topics
from chassis.database import Database, StoreError
from registry.store import RegistryTable

MODELS = 40


async def begin_rebuild_beside(url: str) -> Database:
    """End the connection by which a service holds its store, and take the store alone as a rebuild does."""
    rebuild = Database(url, RegistryTable)
    holders = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM ({holders}) AS holder")
    for _ in range(20):
        try:
            rebuild.take_ownership(exclusive=True)
        except StoreError:  # a transaction was under way
            await asyncio.sleep(0.1)
        else:
            return rebuild
    raise AssertionError("the service held its store all the while")


async def test_a_replica_that_lost_its_hold_on_the_store_waits_for_a_rebuild_and_ends_after_it(
    kafka: str, postgres_url: str, tmp_path: Path
):
    context = make_context(kafka, tmp_path)
    await create_topics(kafka, context.installation)
    (port,) = kept_ports(tmp_path / "ports.json", 0)
    async with Publisher(context) as publisher, replica(context, postgres_url, port) as running:
        await publisher.publish(request(0))
        await until_answered(context, 1, 60)

        rebuild = await begin_rebuild_beside(postgres_url)
        await publisher.publish(request(1))
        await until_says(port, "a rebuild of this store is running")
        assert len(await answers(context)) == 1
        rebuild.close()
        await until_answered(context, 2, 60)

        rebuild = await begin_rebuild_beside(postgres_url)
        rebuild.make_anew()
        rebuild.close()
        async with asyncio.timeout(60):
            assert await running.wait() == 3
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
