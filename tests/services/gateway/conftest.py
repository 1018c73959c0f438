"""A door at a real port, before a real Kafka."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from tests.services.gateway.samples import SECRET, STRUCTURED

from cairn.events import Heard, Installation, Record, Signer, Trust
from cairn.local.keys import ensure_keys
from cairn.subscriber import hear
from cairn.topics import create_topics
from chassis.database import Database
from chassis.kafka import Log, new_producer, partitions_of
from gateway.api import make_routes
from gateway.api.receiving import Door
from gateway.api.sending import Sender
from gateway.api.webhooks import Overview
from gateway.domain import Configuration, Rate, Token
from gateway.store import GatewayTable


def token(secret: str = SECRET, **changes: Any) -> Token:
    digest = "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
    given = {"principal": "system/warehouse", "sources": ("/warehouse/*",), "rate": Rate(), **changes}
    return Token(sha256=digest, **given)


@dataclass
class Entrance:
    """A door, and what lies behind it."""

    url: str
    servers: str
    installation: Installation
    trust: Trust
    client: httpx2.AsyncClient

    async def post(
        self, content: Any, media: str = STRUCTURED, secret: str = SECRET, **headers: str
    ) -> httpx2.Response:
        """Post JSON (or bytes as they are)."""
        given = {"content-type": media, "authorization": f"Bearer {secret}", **headers}
        body = {"content": content} if isinstance(content, bytes | str) else {"json": content}
        return await self.client.post(f"{self.url}/events", headers=given, **body)

    async def taken(self) -> list[Record]:
        """All that lies on the topics of outsiders."""
        partitions = partitions_of(("datasets", "labels"))
        async with Log.open(self.servers, self.installation) as log:
            ends = await log.ends(partitions)
            return [record async for record in log.read(dict.fromkeys(partitions, 0), ends)]

    async def heard(self) -> list[Heard]:
        """The same as its readers understand it."""
        found = [hear(record, self.installation, self.trust) for record in await self.taken()]
        assert all(isinstance(one, Heard) for one in found), found
        return found


@asynccontextmanager
async def standing(servers: str, folder: Path, configuration: Configuration) -> AsyncIterator[Entrance]:
    """A door with this configuration, in an installation of its own."""
    installation = Installation(f"test-{secrets.token_hex(6)}")
    await create_topics(servers, installation)
    trust = ensure_keys(folder / "keys", folder / "trust.json", installation, "ada", gateway=True)
    signer = Signer.load(folder / "keys/gateway.key")
    sender = Sender(servers, installation, lambda: new_producer(servers, "tests"))
    door = Door(configuration, installation, signer, sender, lambda: datetime.now(UTC), asyncio.get_running_loop().time)
    overview = Overview(Database(f"sqlite:///{folder / 'gateway.db'}", GatewayTable), (), door.now)
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=make_routes(door, overview)), port=0, log_level="error"))

    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx2.AsyncClient(timeout=60) as client:
            yield Entrance(f"http://127.0.0.1:{port}", servers, installation, trust, client)
    finally:
        server.should_exit = True
        await serving
        await sender.close()


@pytest_asyncio.fixture
async def entrance(kafka: str, tmp_path: Path) -> AsyncIterator[Entrance]:
    """A door for the warehouse."""
    async with standing(kafka, tmp_path, Configuration(tokens=(token(),))) as found:
        yield found
