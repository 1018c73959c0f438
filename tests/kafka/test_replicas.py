"""Two replicas of a service on one PostgreSQL database: failover, never a second decision."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from cairn.context import Context
from cairn.events import Declaration, DeclarationSubmitted, Installation, ModelDeclared
from cairn.events.codec import Heard
from cairn.events.signing import Signer
from cairn.local import processes
from cairn.local.keys import ensure_keys
from cairn.local.ports import kept_ports
from cairn.local.processes import Child
from cairn.publisher import Publisher
from cairn.subscriber import read_log
from cairn.topics import create_topics

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


async def test_a_killed_replica_is_taken_over_and_every_request_is_answered_once(
    kafka: str, postgres_url: str, tmp_path: Path
):
    installation = Installation(f"replicas-{uuid4().hex[:8]}")
    trust = ensure_keys(tmp_path / "keys", tmp_path / "trust.json", installation, "ada")
    await create_topics(kafka, installation)
    signer = Signer.load(tmp_path / "keys/user.key")
    context = Context(tmp_path, installation, kafka, signer=signer, trust=trust)
    ports = kept_ports(tmp_path / "ports.json", 0, 0)
    async with (
        Publisher(context) as publisher,
        replica(context, postgres_url, ports[0]) as first,
        replica(context, postgres_url, ports[1]) as second,
    ):
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
