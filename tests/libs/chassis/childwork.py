"""What the tests' children do, and a parent that can be killed."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cairn.children import Children

Send = Callable[[str, dict[str, Any]], None]


class Unreadable(Exception):
    """An error that names itself."""

    code = "unreadable"


def double(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    return {"answer": 2 * spec["number"], "pid": os.getpid()}


def tell_on_the_way(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    for number in range(spec["count"]):
        send("step", {"number": number})
    return {}


def fail(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    raise Unreadable("this file is torn") if spec["named"] else KeyError("age")


def die(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    os.kill(os.getpid(), spec["signal"])
    return {}


def take_memory(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    return {"length": len(bytearray(spec["bytes"]))}


def write_file(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    Path(spec["path"]).write_bytes(bytes(spec["bytes"]))
    return {}


def burn(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    """Work for ever, and have another process that does; a stop signal does not help."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    send("pids", {"mine": os.getpid(), "other": other.pid})
    while True:
        time.sleep(0.01)


def loaded(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    return {"loaded": [name for name in spec["names"] if name in sys.modules]}


def answer(spec: dict[str, Any], connection: Connection) -> None:
    connection.send_bytes(b"ready")
    while True:
        message = connection.recv_bytes()
        if message == b"die":
            os.kill(os.getpid(), 9)
        connection.send_bytes(spec["prefix"] + message)


def sleep_long(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    send("pid", {"mine": os.getpid()})
    time.sleep(600)
    return {}


async def wait_for_a_child() -> None:
    """What a parent does that can be killed: it prints the id of its child, and waits for it."""
    await Children(()).run(
        "tests.libs.chassis.childwork:sleep_long", {}, lambda _kind, said: print(said["mine"], flush=True)
    )


if __name__ == "__main__":
    asyncio.run(wait_for_a_child())
