"""The examples do what they say, each as a process of its own on real Kafka."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.libs.cairn.installations import as_service, new_installation
from tests.libs.cairn.subscriber.promotions import ROOT, send, told

from cairn.context import Context
from cairn.events import Heard, LabelsObserved
from cairn.subscriber import read_log

EXAMPLES = ROOT / "examples"
LIVE = "{} version 2 is live: http://localhost:8080/v2/models/risk.loans"


@pytest.fixture
async def registry(kafka: str, tmp_path: Path) -> Context:
    """The registry's view of an installation of the test's own."""
    context = as_service(await new_installation(kafka, tmp_path, "registry", "labels"), "registry")
    assert context.trust
    context.trust.save(tmp_path / "trust.json")
    return context


@asynccontextmanager
async def running(script: str, *arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """An example, ended as a terminal does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(EXAMPLES / script),
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """The next line that it prints itself; FastStream's own log goes to the same place."""
    assert process.stdout
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if b"INFO" not in line:
                return line.decode().strip()
    raise AssertionError("it ended without another line")


async def test_subscribe_acts_on_each_promotion_once_and_on_no_forged_one(registry: Context, tmp_path: Path) -> None:
    forged = replace(told(registry, "toy.a", 7, "forged"), key=b"model/toy.b")
    one = told(registry, "toy.a", 1, "one")
    await send(registry, [forged, one, one])
    store, name = tmp_path / "store", registry.installation.name
    arguments = (registry.bootstrap_servers, "--installation", name, "--store", str(store))

    async with running("subscribe.py", *arguments, "--keys", str(tmp_path / "trust.json")) as process:
        assert await line_of(process) == LIVE.format("toy.a")
    assert process.returncode == 0

    await send(registry, [told(registry, "toy.b", 1, "two")])
    async with running("subscribe.py", *arguments, "--keys", str(tmp_path / "trust.json")) as process:
        assert await line_of(process) == LIVE.format("toy.b")

    database = sqlite3.connect(store)
    assert database.execute("SELECT model, version FROM live ORDER BY model").fetchall() == [("toy.a", 2), ("toy.b", 2)]
    database.close()


async def test_subscribe_says_when_kafka_is_not_there(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(EXAMPLES / "subscribe.py"),
        "127.0.0.1:9",
        "--store",
        str(tmp_path / "store"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()

    assert process.returncode == 3
    assert b"Kafka at 127.0.0.1:9 cannot be reached" in stderr
    assert b"Traceback" not in stderr


async def test_a_plain_faststream_application_needs_the_schema_alone(registry: Context) -> None:
    source = (EXAMPLES / "faststream_plain/app.py").read_text()
    assert "import cairn" not in source
    assert "from cairn" not in source
    one = told(registry, "toy.a", 2, "one")
    headers = dict(one.headers) | {"ce_type": b"cairn.model.praised.v1"}
    newer = told(registry, "toy.a", 3, "newer")
    await send(
        registry,
        [
            replace(one, headers=tuple(headers.items()), value=b'{"unknown":"type"}'),
            replace(one, headers=tuple(headers.items()), value=b"no JSON, of no interest"),
            replace(newer, value=b'{"no":'),
            replace(newer, value=b"\xff"),
            one,
            told(registry, "toy.a", 1, "stale"),
            replace(newer, value=b"{}"),
            replace(newer, value=b'{"shade":"blue",' + newer.value[1:]),
        ],
    )
    settings = {"KAFKA_BOOTSTRAP_SERVERS": registry.bootstrap_servers, "CAIRN_INSTALLATION": registry.installation.name}

    async with running("faststream_plain/app.py", **settings) as process:
        assert (await line_of(process)).startswith("skipped newer: it is no JSON: ")
        assert (await line_of(process)).startswith("skipped newer: it is no JSON: ")
        assert await line_of(process) == LIVE.format("toy.a")
        assert (await line_of(process)).startswith("skipped newer: $ 'model' is a required property")
        assert await line_of(process) == LIVE.format("toy.a")


async def test_publish_tells_a_label(kafka: str, tmp_path: Path) -> None:
    context = await new_installation(kafka, tmp_path, "labels")
    assert context.signer
    assert context.trust
    context.signer.save(tmp_path / "user.key")
    context.trust.save(tmp_path / "trust.json")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(EXAMPLES / "publish.py"),
        "toy.a",
        "y",
        "prediction-1",
        "1",
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "CAIRN_INSTALLATION": context.installation.name,
            "CAIRN_KEY_FILE": str(tmp_path / "user.key"),
            "CAIRN_TRUST_FILE": str(tmp_path / "trust.json"),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()

    [entry] = [entry async for entry in read_log(context, ["labels"])]
    assert isinstance(entry.heard, Heard)
    assert isinstance(entry.heard.facts, LabelsObserved)
    assert entry.heard.facts.items[0].prediction_id == "prediction-1"
    assert f"{entry.heard.message.envelope.id} is in labels[" in printed.decode()
