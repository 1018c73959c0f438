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
import typer
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.kafka.raw import in_transactions
from tests.libs.cairn.installations import as_service, new_installation, write_raw
from tests.services.governance_auditor.samples import approval, declared

from cairn.audit.note import Checkpoint, sign_checkpoint
from cairn.audit.walk import key_name, origin_of
from cairn.cli import audit
from cairn.cli.funnel import guarded
from cairn.context import Context
from cairn.events import TOPICS, CheckpointSigned, Installation, Signer, Trust, TrustedKey
from cairn.publisher import Publisher
from cairn.subscriber import read_log
from cairn.topics import create_topics

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
    monkeypatch.delenv("CAIRN_KEY_FILE")  # nothing is said, so nobody need be known
    app = typer.Typer()
    app.callback()(lambda: None)
    audit.register(app)
    capsys.readouterr()
    command = typer.main.get_command(app)
    code = await asyncio.to_thread(guarded, lambda: command(["audit", *arguments], prog_name="cairn"))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


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

    verified = await command(context, "verify", "--store", str(tmp_path / "auditor.db"), "--bootstrap", kafka)
    assert verified[0] == 0, verified
    before = await command(context, "digest")
    assert (await command(context, "rebuild"))[0] == 0
    assert await command(context, "digest") == before

    await forge_checkpoint(context, log)
    code, out = await cairn(context, monkeypatch, capsys, "verify")
    assert code == 1
    assert "to 58 are not what was signed at size 59" in out
    assert out.splitlines()[-1].startswith("audit: TAMPERED, ")

    wrong = [key.model_copy(update={"public_key": Signer.generate("x").public_text}) for key in context.trust.keys]
    Trust(keys=tuple(wrong)).save(tmp_path / "wrong.json")
    code, out = await cairn(context, monkeypatch, capsys, "verify", "--keys", str(tmp_path / "wrong.json"))
    assert (code, out.splitlines()[-1].split(",")[0]) == (5, "audit: WRONG KEY")


async def test_transactions_are_appended_signed_and_verified_with_what_was_aborted(
    kafka, tmp_path, monkeypatch, capsys
):
    context = await make_context(kafka, tmp_path)
    topic = context.installation.topic("labels")
    async with running(context) as url:
        async with in_transactions(kafka) as producer:
            for value, end in ((b"1", "commit"), (b"2", "abort"), (b"3", "commit")):
                await producer.begin_transaction()
                await producer.send_and_wait(topic, value, b"k", 0)
                await getattr(producer, f"{end}_transaction")()
        await until_signed(url, {"labels/0": 5})
    assert (await cairn(context, monkeypatch, capsys, "verify"))[0] == 0
    verified = await command(context, "verify", "--store", str(tmp_path / "auditor.db"), "--bootstrap", kafka)
    assert verified[0] == 0, verified
    before = await command(context, "digest")
    assert (await command(context, "rebuild"))[0] == 0
    assert await command(context, "digest") == before
    async with running(context) as url:
        await until_signed(url, {"labels/0": 5})
    heard = [entry.record.value async for entry in read_log(context, ["labels"])]
    assert heard == [b"1", b"3"]


async def forge_checkpoint(context: Context, log: str) -> None:
    """Sign another root at a size that was signed: what a stolen key, or a log that was made anew, would do."""
    auditor = replace(context, signer=Signer.load(context.home / f"{AUDITOR}.key"))
    name, origin = key_name(context.installation), origin_of(context.installation, log)
    note = sign_checkpoint(Checkpoint(origin, 59, bytes(32)), name, auditor.signer.private_key)
    facts = CheckpointSigned(log=log, origin=origin, tree_size=59, root_hash="", note=note)
    async with Publisher(auditor) as publisher:
        await publisher.publish(facts)


async def test_a_log_whose_beginning_is_gone_is_truncated(kafka, tmp_path, monkeypatch, capsys):
    context = await make_context(kafka, tmp_path)
    registry = replace(context, signer=Signer.load(tmp_path / "registry.key"))
    async with Publisher(registry) as publisher:
        place = [await publisher.publish(declared(revision=n)) for n in range(1, 4)][-1]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    where = TopicPartition(context.installation.topic("registry"), place.partition)
    await admin.delete_records({where: RecordsToDelete(before_offset=2)})
    await admin.close()
    code, out = await cairn(context, monkeypatch, capsys, "verify")
    assert code == 4
    assert f"registry/{place.partition}: Kafka has nothing before offset 2" in out


async def test_without_kafka_nothing_can_be_said(tmp_path, monkeypatch, capsys):
    trust = Trust(
        keys=(TrustedKey(keyid="a", public_key="A" * 43, principal="x", sources=(), topics=("checkpoints",)),)
    )
    trust.save(tmp_path / "trust.json")
    context = Context(tmp_path, Installation("nowhere"), "127.0.0.1:9")
    code, _ = await cairn(context, monkeypatch, capsys, "verify")
    assert code == 3


async def test_without_a_key_of_the_auditor_nothing_is_believed(tmp_path, monkeypatch, capsys):
    Trust().save(tmp_path / "trust.json")
    code, out = await cairn(Context(tmp_path, Installation("x"), "127.0.0.1:9"), monkeypatch, capsys, "verify")
    assert (code, "no key of the auditor is known" in out) == (2, True)


def logs_of(topics) -> list[str]:
    return [f"{topic.name}/{number}" for topic in topics.values() for number in range(topic.partitions)]
