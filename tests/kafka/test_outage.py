"""Kafka dies: a service says that it is not ready, a rebuild ends with a message, and both go on when it is back."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from tests.kafka.registry_process import (
    COMMAND,
    committed_by_group,
    environment_of,
    make_context,
    replica,
    request,
    until_answered,
    until_says,
)

from cairn.context import Context
from cairn.local import LocalKafka, processes
from cairn.local.ports import kept_ports
from cairn.publisher import Publisher
from cairn.topics import create_topics


@contextmanager
def held_up(url: str) -> Iterator[psycopg.Connection]:
    """Let nobody delete a table meanwhile: a rebuild has then asked Kafka how much there is, and read nothing."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE chassis_meta IN ACCESS SHARE MODE")
        yield connection


async def until_somebody_waits(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(60):
            while not connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
                await asyncio.sleep(0.1)


async def run_registry(context: Context, url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, *arguments],
        env=environment_of(context, url),
        capture_output=True,
        text=True,
        timeout=120,
    )


async def until_committed(context: Context) -> None:
    async with asyncio.timeout(60):
        while not any((await committed_by_group(context)).values()):
            await asyncio.sleep(0.2)


async def test_a_rebuild_that_loses_kafka_ends_and_its_store_is_refused_until_a_rebuild_is_finished(
    postgres_url: str, tmp_path: Path
):
    async with LocalKafka(tmp_path / "kafka", fast_start=True) as kafka:
        context = make_context(kafka.bootstrap_servers, tmp_path)
        await create_topics(kafka.bootstrap_servers, context.installation)
        (port,) = kept_ports(tmp_path / "ports.json", 0)
        async with Publisher(context) as publisher, replica(context, postgres_url, port):
            for number in range(3):
                await publisher.publish(request(number))
            await until_answered(context, 3, 60)
            await until_committed(context)

        log = tmp_path / "rebuild.log"
        with held_up(postgres_url):
            rebuild = await processes.start(
                "rebuild", *COMMAND, "rebuild", environment=environment_of(context, postgres_url), log=log
            )
            await until_somebody_waits(postgres_url)
            await kafka.kill()
        async with asyncio.timeout(120):
            assert await rebuild.wait() == 3, log.read_text()
        assert f"Kafka at {kafka.bootstrap_servers}" in log.read_text().splitlines()[-1]
        assert "Traceback" not in log.read_text()

        refused = await run_registry(context, postgres_url)
        assert refused.returncode == 2
        assert "was not finished: stop all replicas of registry and run `python -P -m" in refused.stderr

        await kafka.start()
        finished = await run_registry(context, postgres_url, "rebuild")
        assert finished.returncode == 0, finished.stderr
        async with replica(context, postgres_url, port):
            await until_says(port, '"ready":true')


async def test_a_service_whose_kafka_is_away_is_not_ready_until_it_is_back(postgres_url: str, tmp_path: Path):
    async with LocalKafka(tmp_path / "kafka", fast_start=True) as kafka:
        context = make_context(kafka.bootstrap_servers, tmp_path)
        await create_topics(kafka.bootstrap_servers, context.installation)
        (port,) = kept_ports(tmp_path / "ports.json", 0)
        async with replica(context, postgres_url, port) as running:
            await until_says(port, '"ready":true')
            await kafka.kill()
            await until_says(port, f"hears nothing: Kafka at {kafka.bootstrap_servers} ")
            await kafka.start()
            await until_says(port, '"ready":true')
            async with Publisher(context) as publisher:
                await publisher.publish(request(0))
            await until_answered(context, 1, 60)
            assert running.exit_code is None
