"""One-row inference with its prediction event in Kafka, beside bare uvicorn answering the same bytes and doing nothing.

The serving process is the real one, with a real package, its answers sent only after Kafka has the prediction. The load
comes from this process over kept connections, so both rates share the machine with it.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.e2e.toy import DECLARATION, Listener, promote_first_version, toy_parts

from benchmarks.printing import show, show_rate
from cairn.demo.data import Sample
from cairn.local import processes
from cairn.local.ports import kept_ports
from cairn.local.stack import Options, Stack

SECONDS = 4.0
RUNS = 3
CONNECTIONS = (1, 16)
FLOOR = """
import uvicorn
ANSWER = b'{"outputs": []}'
async def app(scope, receive, send):
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-length", b"%d" % len(ANSWER))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})
uvicorn.run(app, port=PORT, access_log=False, log_level="error", lifespan="off")
"""


@dataclass(frozen=True)
class Load:
    """What a run of requests came to."""

    rate: float
    p50_milliseconds: float
    p99_milliseconds: float
    bad: int


async def run(servers: str, directory: Path) -> None:
    """Print the floor and the serving process at each number of connections."""
    options = Options(home=directory, installation=f"bench-{uuid4().hex[:8]}", bootstrap_servers=servers)
    async with Stack(options, lambda _name, _line: None) as stack:
        await promote_first_version(stack, Listener())
        request = _request(f"/v2/models/{DECLARATION.model}/infer", toy_parts().quiet[0])
        port = int(stack.context.serving().rpartition(":")[2])
        (floor_port,) = kept_ports(directory / "floor-port.json", 0)
        command = (sys.executable, "-c", FLOOR.replace("PORT", str(floor_port)))
        floor = await processes.start("floor", *command, log=directory / "floor.log")
        try:
            await _until_open(floor_port)
            for connections in CONNECTIONS:
                bare = [await _load(floor_port, request, connections) for _ in range(RUNS)]
                real = [await _load(port, request, connections) for _ in range(RUNS)]
                _print(f"bare uvicorn, {connections} connections", bare)
                _print(f"serving with its prediction in Kafka, {connections} connections", real, bare)
        finally:
            await floor.kill()


def _print(what: str, loads: Sequence[Load], floor: Sequence[Load] | None = None) -> None:
    show_rate(what, [one.rate for one in loads], [one.rate for one in floor] if floor else None, "requests/s")
    p50 = statistics.median(one.p50_milliseconds for one in loads)
    p99 = statistics.median(one.p99_milliseconds for one in loads)
    show("", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {sum(one.bad for one in loads)} not answered with 200")


def _request(path: str, sample: Sample) -> bytes:
    inputs = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in sample.features.items()
    ]
    body = json.dumps({"inputs": inputs}).encode()
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def _load(port: int, request: bytes, connections: int) -> Load:
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS
    bad = sum(await asyncio.gather(*(_ask(port, request, end, latencies) for _ in range(connections))))
    ranked = sorted(latencies)
    return Load(
        len(ranked) / SECONDS, 1000 * ranked[len(ranked) // 2], 1000 * ranked[int(0.99 * (len(ranked) - 1))], bad
    )


async def _ask(port: int, request: bytes, end: float, latencies: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    bad = 0
    while (begin := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_content_length(head))
        bad += not head.startswith(b"HTTP/1.1 200")
        latencies.append(time.perf_counter() - begin)
    writer.close()
    return bad


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length"))


async def _until_open(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
