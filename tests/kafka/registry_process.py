"""The registry as real processes on a real Kafka."""

import asyncio
import os
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from cairn.context import Context
from cairn.events import Declaration, DeclarationSubmitted, Installation
from cairn.events.codec import Heard
from cairn.events.hearing import HEARD
from cairn.events.signing import Signer
from cairn.local import processes
from cairn.local.keys import ensure_keys
from cairn.local.processes import Child
from cairn.subscriber import read_log
from chassis.kafka import Log, Partition, partitions_of

COMMAND = (sys.executable, "-P", "-m", "registry")


def request(number: int) -> DeclarationSubmitted:
    """A request that the registry answers."""
    declaration = Declaration(model=f"model-{number}", owner="tests", dataset="data", target="y")
    return DeclarationSubmitted(model=declaration.model, declaration=declaration)


def environment_of(context: Context, url: str, port: int = 0) -> dict[str, str]:
    """What a process of the registry is told."""
    home = context.home
    return {
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


@asynccontextmanager
async def replica(context: Context, url: str, port: int) -> AsyncIterator[Child]:
    """One process of the registry."""
    child = await processes.start(
        "registry",
        *COMMAND,
        environment=environment_of(context, url, port),
        log=context.home / f"registry-{port}.log",
    )
    try:
        yield child
    finally:
        await child.terminate(20)


async def answers(context: Context) -> list[Heard]:
    """All that the registry has told."""
    return [heard async for _record, heard in read_log(context, ("registry",)) if isinstance(heard, Heard)]


async def until_answered(context: Context, number: int, seconds: float) -> list[Heard]:
    """Wait for so many different answers; all that was told."""
    async with asyncio.timeout(seconds):
        found = await answers(context)
        while len({one.message.envelope.id for one in found}) < number:
            await asyncio.sleep(0.2)
            found = await answers(context)
    return found


def make_context(kafka: str, home: Path) -> Context:
    """A new installation, with keys for everybody."""
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
    """Wait until a service says this of its readiness."""
    async with asyncio.timeout(seconds):
        while text not in await asyncio.to_thread(readiness, port):
            await asyncio.sleep(0.2)


def group_of(context: Context) -> str:
    """The registry's consumer group."""
    return f"{context.installation.name}.registry"


async def committed_by_group(context: Context) -> dict[Partition, int | None]:
    """How far that group has come."""
    async with Log.open(context.bootstrap_servers, context.installation, group_of(context)) as log:
        return await log.committed(partitions_of(HEARD["registry"]))
