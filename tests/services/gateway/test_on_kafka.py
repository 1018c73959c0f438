"""The gateway as it runs: a process of its own, a real Kafka, a real receiver."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from standardwebhooks import Webhook as Official
from tests.services.gateway.conftest import token
from tests.services.gateway.samples import BATCH, SECRET, event, observed

from cairn.cli import run as cairn
from cairn.context import Context
from cairn.events import Installation, Signer
from cairn.local.keys import ensure_keys
from cairn.local.stack import Options, Stack
from cairn.topics import create_topics
from gateway.domain import Answer
from gateway.work.reaching import Poster

WEBHOOK_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SECONDS = 60


@dataclass
class Receiver:
    """A receiver at a real port."""

    url: str = ""
    status: int = 200
    head: str = ""
    """Further lines of its answer's head."""
    body: bytes = b""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                assert line.startswith(b"POST ")
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = (one.split(": ", 1) for one in head.strip().split("\r\n"))
                headers = {name.lower(): text for name, text in lines}
                body = await reader.readexactly(int(headers["content-length"]))
                self.got.append((headers, body))
                answer = f"HTTP/1.1 {self.status} x\r\n{self.head}Content-Length: {len(self.body)}\r\n\r\n"
                writer.write(answer.encode() + self.body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def ids(self) -> list[str]:
        return [json.loads(body)["id"] for _, body in self.got]


@asynccontextmanager
async def receiving(**given: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**given)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()


@dataclass
class Process:
    """The gateway's process and its surroundings."""

    home: Path
    servers: str
    installation: Installation
    environment: dict[str, str]
    url: str
    child: subprocess.Popen[bytes] | None = None

    async def start(self, **more: str) -> None:
        with (self.home / "gateway.log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "gateway"]
            self.child = subprocess.Popen(command, env=self.environment | more, stderr=log)

    async def ended(self) -> int:
        assert self.child
        return await asyncio.to_thread(self.child.wait, SECONDS)

    async def stop(self) -> None:
        if self.child and self.child.poll() is None:
            self.child.terminate()
            assert await self.ended() == 0

    async def run(self, command: str) -> str:
        arguments = [sys.executable, "-P", "-m", "gateway", command]
        done = await asyncio.to_thread(subprocess.run, arguments, env=self.environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    async def post(self, content: Any, media: str = "application/cloudevents+json") -> httpx2.Response:
        headers = {"authorization": f"Bearer {SECRET}", "content-type": media}
        async with httpx2.AsyncClient(timeout=30) as client:
            return await client.post(f"{self.url}/events", content=json.dumps(content), headers=headers)

    async def get(self, path: str) -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=30) as client:
            return await client.get(f"{self.url}{path}")

    async def is_ready(self) -> bool:
        try:
            return (await self.get("/readyz")).status_code == 200
        except httpx2.HTTPError:
            return False


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.05)


def configuration(url: str, retries: str = "[1, 1]") -> str:
    return f"""\
tokens:
  - principal: system/warehouse
    sha256: {token().sha256}
    sources: [/warehouse/*]
webhooks:
  - name: billing
    url: {url}
    types: [cairn.labels.observed.v1]
    start: beginning
retry_seconds: {retries}
"""


@asynccontextmanager
async def prepared(servers: str, home: Path, text: str) -> AsyncIterator[Process]:
    """An installation with its topics and keys, and a gateway that is not started yet."""
    installation = Installation(f"test-{uuid4().hex[:8]}")
    await create_topics(servers, installation)
    ensure_keys(home / "keys", home / "trust.json", installation, "ada", gateway=True)
    (home / "gateway.yaml").write_text(text)
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "CAIRN_INSTALLATION": installation.name,
        "CAIRN_OBJECTS": str(home / "objects"),
        "CAIRN_KEY_FILE": str(home / "keys/gateway.key"),
        "CAIRN_TRUST_FILE": str(home / "trust.json"),
        "CAIRN_GATEWAY_FILE": str(home / "gateway.yaml"),
        "CAIRN_WEBHOOK_BILLING_SECRET": WEBHOOK_SECRET,
        "CAIRN_LEASE_SECONDS": "3",
        "DATABASE_URL": f"sqlite:///{home / 'gateway.db'}",
        "CAIRN_PORT": str(port),
    }
    process = Process(home, servers, installation, environment, f"http://127.0.0.1:{port}")
    try:
        yield process
    finally:
        if process.child and process.child.poll() is None:
            process.child.kill()
            await process.ended()


async def test_what_is_posted_at_one_end_is_told_at_the_other(kafka: str, tmp_path: Path):
    async with receiving() as receiver, prepared(kafka, tmp_path, configuration(receiver.url)) as gateway:
        await gateway.start()
        await until(gateway.is_ready)
        batch = [event(str(n), observed(f"model-{n}")) for n in range(20)]
        assert (await gateway.post(batch, BATCH)).status_code == 202
        await until(lambda: len(set(receiver.ids())) == 20)
        assert set(receiver.ids()) == {str(n) for n in range(20)}
        for headers, body in receiver.got:
            whole = Official(WEBHOOK_SECRET).verify(body, headers)
            assert (whole["source"], whole["authid"], whole["keyid"]) == ("/warehouse/loans", "warehouse", "gateway")

        async def all_told() -> bool:
            return (await gateway.get("/webhooks")).json()["webhooks"][0]["delivered"] == 20

        await until(all_told)
        metrics = (await gateway.get("/metrics")).text
        assert 'cairn_webhook_waiting{webhook="billing"} 0.0' in metrics
        await gateway.stop()


async def test_killed_between_the_post_and_the_word_it_is_told_again_under_the_same_id(kafka: str, tmp_path: Path):
    async with receiving() as receiver, prepared(kafka, tmp_path, configuration(receiver.url)) as gateway:
        await gateway.start(CAIRN_FAILPOINTS="during-work@1")
        await until(gateway.is_ready)
        assert (await gateway.post(event("only", observed()))).status_code == 202
        assert await gateway.ended() == -9
        assert receiver.ids() == ["only"]
        await gateway.start()
        await until(lambda: len(receiver.got) == 2)
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1

        async def is_told() -> bool:
            return (await gateway.get("/webhooks")).json()["webhooks"][0]["delivered"] == 1

        await until(is_told)
        await gateway.stop()


async def test_parked_listed_driven_again_and_rebuilt_without_a_word(kafka: str, tmp_path: Path, monkeypatch, capsys):
    async with receiving(status=503) as receiver, prepared(kafka, tmp_path, configuration(receiver.url)) as gateway:
        await gateway.start()
        await until(gateway.is_ready)
        assert (await gateway.post(event("hard", observed()))).status_code == 202

        async def is_parked() -> bool:
            return bool((await gateway.get("/parked")).json()["records"])

        await until(is_parked)
        assert len(receiver.got) == 3
        (record,) = (await gateway.get("/parked")).json()["records"]
        assert (record["topic"], record["code"], record["state"]) == ("labels", "undelivered", "parked")

        receiver.status = 200
        for name in ("KAFKA_BOOTSTRAP_SERVERS", "CAIRN_INSTALLATION", "CAIRN_TRUST_FILE"):
            monkeypatch.setenv(name, gateway.environment[name])
        monkeypatch.setenv("CAIRN_KEY_FILE", str(tmp_path / "keys/user.key"))
        monkeypatch.setenv("CAIRN_GATEWAY_URL", gateway.url)
        assert await asyncio.to_thread(cairn, ["parked", "list", "--service", "gateway"]) == 0
        assert "undelivered" in capsys.readouterr().out
        place = ["labels", str(record["partition"]), str(record["offset"])]
        assert await asyncio.to_thread(cairn, ["parked", "redrive", "gateway", *place]) == 0, capsys.readouterr().err
        await until(lambda: len(receiver.got) == 4)

        async def is_told() -> bool:
            return (await gateway.get("/webhooks")).json()["webhooks"][0]["delivered"] == 1

        await until(is_told)
        await gateway.stop()
        before = await gateway.run("digest")
        await gateway.run("rebuild")
        assert await gateway.run("digest") == before
        await gateway.start()
        await until(gateway.is_ready)
        assert (await gateway.post(event("easy", observed()))).status_code == 202
        await until(lambda: len(receiver.got) >= 5)
        assert receiver.ids() == ["hard"] * 4 + ["easy"]
        await gateway.stop()


async def test_a_gateway_whose_key_may_not_speak_for_others_does_not_start(kafka: str, tmp_path: Path):
    async with prepared(kafka, tmp_path, "tokens: []\n") as gateway:
        Signer.generate("registry").save(tmp_path / "keys/gateway.key")
        await gateway.start()
        assert await gateway.ended() == 2
        assert "may not speak for others" in (tmp_path / "gateway.log").read_text()


async def test_a_faulty_file_stops_the_start_with_its_line(kafka: str, tmp_path: Path):
    async with prepared(kafka, tmp_path, "tokens:\n  - principal: me\n") as gateway:
        await gateway.start()
        assert await gateway.ended() == 2
        assert "gateway.yaml:2:16: tokens[0].principal: found the text 'me'" in (tmp_path / "gateway.log").read_text()


async def test_a_redirect_is_not_followed_and_a_long_answer_not_read(tmp_path: Path):
    poster = Poster()
    async with receiving() as elsewhere, receiving(status=302, head=f"Location: {elsewhere.url}\r\n") as receiver:
        assert await poster.post(receiver.url, b"{}", {}) == Answer(302)
        assert elsewhere.got == []
    async with receiving(status=429, head="Retry-After: 7\r\n", body=b"x" * 10_000_000) as receiver:
        assert await poster.post(receiver.url, b"{}", {}) == Answer(429, "7")
    await poster.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://nowhere.invalid/", "https://127.0.0.1:9/x"])
async def test_a_receiver_that_cannot_be_reached_is_described(url: str):
    poster = Poster()
    said = await poster.post(url, b"{}", {})
    assert isinstance(said, str)
    assert "could not be reached" in said
    await poster.close()


async def test_the_whole_stack_comes_up_with_a_gateway(kafka: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CAIRN_WEBHOOK_BILLING_SECRET", WEBHOOK_SECRET)
    async with receiving() as receiver:
        file = tmp_path / "gateway.yaml"
        file.write_text(configuration(receiver.url))
        options = Options(tmp_path / "home", f"up-{uuid4().hex[:8]}", bootstrap_servers=kafka, gateway=file)
        async with Stack(options, lambda _name, _line: None) as stack:
            context: Context = stack.context
            headers = {"authorization": f"Bearer {SECRET}", "content-type": "application/cloudevents+json"}
            async with httpx2.AsyncClient(timeout=30) as client:
                url = f"{context.service_url('gateway')}/events"
                response = await client.post(url, content=json.dumps(event("1", observed())), headers=headers)
            assert response.status_code == 202, response.text
            await until(lambda: receiver.ids() == ["1"])
