"""Events posted to the gateway in batches, each answered only after Kafka has it, beside a door that checks nothing.

The gateway is its own process. The floor is what one would write by hand: bare uvicorn, `json.loads`, and aiokafka's
`send` for each event, answered after all are confirmed; nothing is validated, rated or named. The load comes from this
process over kept connections, so that every rate shares the machine with it and with Kafka.
"""

import asyncio
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from uuid import uuid4

from benchmarks.inference import _content_length, _until_open
from benchmarks.printing import show, show_rate
from cairn.events import Installation, Trust, UnsignedSource
from cairn.local import processes
from cairn.local.keys import ensure_keys
from cairn.local.ports import kept_ports
from cairn.topics import create_topics

SECONDS = 5.0
RUNS = 3
BATCHES = (100, 500)
CONNECTIONS = 8
TOKEN = "only for benchmarks"
FLOOR = """
import asyncio, json, uvicorn
from aiokafka import AIOKafkaProducer
producer = None
async def app(scope, receive, send):
    global producer
    if producer is None:
        made = AIOKafkaProducer(bootstrap_servers="SERVERS", acks="all", enable_idempotence=True)
        producer = made
        await made.start()
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    sent = [await producer.send("TOPIC", json.dumps(one["data"]).encode(), key=one["subject"].encode())
            for one in json.loads(body)]
    await asyncio.gather(*sent)
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})
uvicorn.run(app, port=PORT, access_log=False, log_level="error", lifespan="off")
"""
CONFIGURATION = """
tokens:
  - principal: system/bench
    sha256: sha256:{digest}
    sources: [/bench]
    rate: {{events_per_second: 1000000, burst: 1000000}}
signed: {signed}
"""


async def run(servers: str, directory: Path) -> None:
    """Print the floor, then the gateway without signatures and with them."""
    directory.mkdir(parents=True)
    installation = Installation(f"bench-{uuid4().hex[:8]}")
    await create_topics(servers, installation)
    trust = ensure_keys(directory / "keys", directory / "trust.json", installation, "bench", gateway=True)
    admitted = UnsignedSource(source="/bench", topics=("datasets", "labels"))
    Trust(keys=trust.keys, unsigned=(admitted,)).save(directory / "trust.json")
    kinds = (("dataset.published", dataset), ("labels.observed", labels))
    for (what, make), batch in product(kinds, BATCHES):
        requests = [_request([make(f"{n}-{m}") for m in range(batch)]) for n in range(20)]
        size = len(requests[0]) // batch
        show(f"{what}, batches of {batch}, {CONNECTIONS} connections", f"{size} bytes an event as posted")
        topic = installation.topic("datasets" if make is dataset else "labels")
        async with _floor(servers, directory, topic) as (port, child):
            floor = [await _load(port, child, requests, batch) for _ in range(RUNS)]
        _print("  by hand: json.loads + aiokafka send, nothing checked", floor)
        for says, signed in (("without signatures", "false"), ("signed", "true")):
            async with _gateway(servers, directory, installation, signed) as (port, child):
                _print(
                    f"  the gateway, {says}", [await _load(port, child, requests, batch) for _ in range(RUNS)], floor
                )


def dataset(name: str) -> dict[str, object]:
    """A published dataset of about 1 KB."""
    file = {"digest": "sha256:" + "a" * 64, "bytes": 1_000_000, "media_type": "text/csv"}
    files = [{"uri": f"s3://warehouse/{'part/' * 12}{name}-{n}.csv", **file} for n in range(3)]
    data = {"dataset": "risk.loans", "version": name, "files": files, "format": "csv", "row_count": 10_000}
    return _event(name, "cairn.dataset.published.v1", f"dataset/{_spread(name)}", data | {"dataset": _spread(name)})


def labels(name: str) -> dict[str, object]:
    """Observed labels of about 1 KB: seven of them."""
    items = [
        {"prediction_id": f"{n:032d}", "observed_at": "2026-01-01T00:00:00Z", "value": 0.5, "revision": 1}
        for n in range(6)
    ]
    data = {"model": _spread(name), "target": "defaulted", "items": items}
    return _event(name, "cairn.labels.observed.v1", f"model/{_spread(name)}", data)


def _spread(name: str) -> str:
    """One of some entities, so that all partitions are used."""
    return f"risk.loans-{sum(name.encode()) % 32}"


def _event(name: str, kind: str, subject: str, data: Mapping[str, object]) -> dict[str, object]:
    attributes = {"specversion": "1.0", "id": name, "source": "/bench", "type": kind, "subject": subject}
    return {**attributes, "time": "2026-01-01T00:00:00Z", "data": data}


def _request(events: list[dict[str, object]]) -> bytes:
    body = json.dumps(events).encode()
    lines = (
        "POST /events HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {TOKEN}",
        "Content-Type: application/cloudevents-batch+json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


@dataclass(frozen=True)
class Load:
    """What a run of requests came to."""

    rate: float
    """Events a second that were answered with 202."""
    p99_milliseconds: float
    """Of a batch."""
    cpu_microseconds: float
    """Of the server's process, an event: what remains of the figure on a machine that is shared."""
    bad: int


async def _load(port: int, child: processes.Child, requests: list[bytes], batch: int) -> Load:
    latencies: list[float] = []
    begin, cpu = time.perf_counter(), _cpu_seconds(child.pid)
    bad = sum(await asyncio.gather(*(_ask(port, requests, begin + SECONDS, latencies) for _ in range(CONNECTIONS))))
    elapsed = time.perf_counter() - begin
    ranked = sorted(latencies)
    used = 1e6 * (_cpu_seconds(child.pid) - cpu) / (len(ranked) * batch)
    return Load((len(ranked) - bad) * batch / elapsed, 1000 * ranked[int(0.99 * (len(ranked) - 1))], used, bad)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _ask(port: int, requests: list[bytes], end: float, latencies: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    bad = number = 0
    while (begin := time.perf_counter()) < end:
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_content_length(head))
        bad += not head.startswith(b"HTTP/1.1 202")
        latencies.append(time.perf_counter() - begin)
        number += 1
    writer.close()
    return bad


def _print(what: str, loads: list[Load], floor: list[Load] | None = None) -> None:
    show_rate(what, [one.rate for one in loads], [one.rate for one in floor] if floor else None)
    p99, cpu = (
        statistics.median(values)
        for values in zip(*((one.p99_milliseconds, one.cpu_microseconds) for one in loads), strict=True)
    )
    bad = sum(one.bad for one in loads)
    show("", f"{cpu:.0f} us of its CPU an event; a batch p99 {p99:.0f} ms, {bad} not answered with 202")


@asynccontextmanager
async def _floor(servers: str, directory: Path, topic: str) -> AsyncIterator[tuple[int, processes.Child]]:
    (port,) = kept_ports(directory / "floor-port.json", 0)
    code = FLOOR.replace("SERVERS", servers).replace("TOPIC", topic).replace("PORT", str(port))
    child = await processes.start("floor", sys.executable, "-c", code, log=directory / "floor.log")
    try:
        await _until_open(port)
        yield port, child
    finally:
        await child.kill()


@asynccontextmanager
async def _gateway(
    servers: str, directory: Path, installation: Installation, signed: str
) -> AsyncIterator[tuple[int, processes.Child]]:
    (port,) = kept_ports(directory / "gateway-port.json", 0)
    file = directory / "gateway.yaml"
    file.write_text(CONFIGURATION.format(digest=hashlib.sha256(TOKEN.encode()).hexdigest(), signed=signed))
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "CAIRN_INSTALLATION": installation.name,
        "CAIRN_OBJECTS": str(directory / "objects"),
        "CAIRN_KEY_FILE": str(directory / "keys/gateway.key"),
        "CAIRN_TRUST_FILE": str(directory / "trust.json"),
        "CAIRN_GATEWAY_FILE": str(file),
        "DATABASE_URL": f"sqlite:///{directory / 'gateway.db'}",
        "CAIRN_PORT": str(port),
    }
    command = (sys.executable, "-P", "-m", "gateway")
    child = await processes.start("gateway", *command, environment=environment, log=directory / "gateway.log")
    try:
        await _until_open(port)
        yield port, child
    finally:
        await child.terminate(20)
