"""The auditor as it runs, on a real Kafka; and `cairn audit verify`, which believes only the auditor's key."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from cairn.cli import audit
from cairn.cli.funnel import guarded
from cairn.context import Context
from cairn.events import SERVICES, TOPICS, Signer, Trust
from cairn.publisher import Publisher
from cairn.topics import create_topics

from tests.libs.cairn.installations import as_service, new_installation, write_raw
from tests.services.governance_auditor.samples import approval, declared

AUDITOR = "governance-auditor"
SECONDS = 60


async def make_context(servers: str, home: Path) -> Context:
    """A fresh installation with all topics, its trust file on disk, and the auditor's key beside it."""
    context = await new_installation(servers, home)
    await create_topics(servers, context.installation)
    for service in (AUDITOR, "registry"):
        speaker = as_service(context, service)
        speaker.signer.save(home / f"{service}.key")
        context = replace(context, trust=speaker.trust)
    context.trust.save(home / "trust.json")
    return context


def environment(context: Context, port: int) -> dict[str, str]:
    home = context.home
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": context.bootstrap_servers,
        "CAIRN_INSTALLATION": context.installation.name,
        "CAIRN_OBJECTS": str(home / "objects"),
        "CAIRN_KEY_FILE": str(home / f"{AUDITOR}.key"),
        "CAIRN_TRUST_FILE": str(home / "trust.json"),
        "DATABASE_URL": f"sqlite:///{home / 'auditor.db'}",
        "CAIRN_PORT": str(port),
    }


@asynccontextmanager
async def running(context: Context) -> AsyncIterator[str]:
    """The auditor's process; gives the address of its read API."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with (context.home / "auditor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "governance_auditor"], env=environment(context, port), stderr=log
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert await asyncio.to_thread(process.wait, SECONDS) == 0


async def until_signed(url: str, logs: dict[str, int]) -> None:
    """Wait until each of these logs is signed at such a size."""
    async with httpx2.AsyncClient() as client:
        for _ in range(SECONDS * 4):
            try:
                found = {
                    one["log"]: one["signed_size"] for one in (await client.get(f"{url}/checkpoints")).json()["logs"]
                }
            except httpx2.HTTPError:
                found = {}
            if all(found.get(log, 0) >= size for log, size in logs.items()):
                return
            await asyncio.sleep(0.25)
    raise AssertionError(f"not signed: {found}")


async def ask(url: str) -> Any:
    async with httpx2.AsyncClient() as client:
        return (await client.get(url)).json()


async def cairn(context: Context, monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Run `cairn audit …`."""
    for name, value in environment(context, 0).items():
        if name.startswith(("CAIRN", "KAFKA")):
            monkeypatch.setenv(name, value)
    app = typer.Typer()
    app.callback()(lambda ctx: None)
    audit.register(app)
    capsys.readouterr()
    command = typer.main.get_command(app)
    code = await asyncio.to_thread(guarded, lambda: command(["audit", *arguments], prog_name="cairn"))
    return code, capsys.readouterr().out


async def command(context: Context, *arguments: str) -> tuple[int, str]:
    """Run a command of the auditor's own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "governance_auditor", *arguments),
        env=environment(context, 0),
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_what_is_said_is_appended_signed_and_verified(kafka, tmp_path, monkeypatch, capsys):
    context = await make_context(kafka, tmp_path)
    registry = replace(context, signer=Signer.load(tmp_path / "registry.key"))
    async with running(context) as url:
        async with Publisher(registry) as publisher:
            places = [await publisher.publish(declared(revision=n)) for n in range(1, 60)]
        log = f"registry/{places[0].partition}"
        await until_signed(url, {log: 59})
        async with Publisher(context) as publisher:
            refused = await publisher.publish(approval())
        await write_raw(context, "datasets", b"hello", partition=3)
        await until_signed(url, {f"requests/{refused.partition}": 1, "datasets/3": 1})
        findings = (await ask(f"{url}/findings"))["findings"]
    assert {(one["log"], one["code"]) for one in findings} >= {("datasets/3", "not-a-cloudevent")}

    code, out = await cairn(context, monkeypatch, capsys, "verify")
    assert (code, out.splitlines()[-1].split(",")[:2]) == (0, ["audit: ok", f" {len(logs_of(TOPICS))} logs"])
    code, out = await cairn(context, monkeypatch, capsys, "verify", "--json")
    assert {one["log"]: one["signed"] for one in json.loads(out)["logs"]}[log] == 59

    assert (await command(context, "verify", "--store", str(tmp_path / "auditor.db"), "--bootstrap", kafka))[0] == 0
    before = await command(context, "digest")
    assert (await command(context, "rebuild"))[0] == 0
    assert await command(context, "digest") == before

    wrong = [key.model_copy(update={"public_key": Signer.generate("x").public_text}) for key in context.trust.keys]
    Trust(keys=tuple(wrong)).save(tmp_path / "wrong.json")
    code, out = await cairn(context, monkeypatch, capsys, "verify", "--keys", str(tmp_path / "wrong.json"))
    assert (code, out.splitlines()[-1].split(",")[0]) == (5, "audit: WRONG KEY")


def logs_of(topics) -> list[str]:
    return [f"{topic.name}/{number}" for topic in topics.values() for number in range(topic.partitions)]
