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

from cairn.children import ChildFailed, Children, Limits

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


def sleep_long(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    Path(spec["started"]).write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def loaded(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    return {"loaded": [name for name in spec["names"] if name in sys.modules]}


def answer(spec: dict[str, Any], connection: Connection) -> None:
    connection.send_bytes(b"ready")
    while True:
        message = connection.recv_bytes()
        if message == b"die":
            os.kill(os.getpid(), 9)
        connection.send_bytes(spec["prefix"] + message)


async def work_for_ever() -> None:
    """What the helper process of the orphan's test does: print the ids of its processes, and wait to be killed."""

    def show(_kind: str, pids: dict[str, Any]) -> None:
        print(pids["mine"], flush=True)

    await Children(()).run("tests.libs.chassis.childwork:tell_pid_and_sleep", {}, show)


def tell_pid_and_sleep(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    send("pids", {"mine": os.getpid()})
    time.sleep(600)
    return {}


__all__ = ["ChildFailed", "Children", "Limits"]

if __name__ == "__main__":
    asyncio.run(work_for_ever())
