"""What the tests' children do, and a parent that can be killed."""

import asyncio
import gc
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


def forge(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    """Write bytes past `send`, as code would that took the child over; then end, or `stay` as one that says no more."""
    os.write(_own_connection().fileno(), spec["bytes"])
    time.sleep(600 if spec["stay"] else 0)
    os._exit(0)


def forge_pickle(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    """Send an object that does something where it is unpickled: it makes a file."""
    _own_connection().send(("result", Trap(spec["path"])))
    os._exit(0)


class Trap:
    """An object that touches a path when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def _own_connection() -> Connection:
    gc.unfreeze()  # it was there when the child began
    (connection,) = (one for one in gc.get_objects() if isinstance(one, Connection) and not one.closed)
    return connection


def flood(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    """Write one message without an end."""
    while True:
        os.write(_own_connection().fileno(), b"x" * 2**16)


def give(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    """A result of so many bytes, or one that JSON does not know."""
    return {"text": "x" * spec["bytes"], "number": float(spec["number"])}


def loaded(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    return {"loaded": [name for name in spec["names"] if name in sys.modules]}


def answer(spec: dict[str, Any], connection: Connection) -> None:
    connection.send_bytes(b"ready")
    while True:
        message = connection.recv_bytes()
        if message == b"die":
            os.kill(os.getpid(), 9)
        if message == b"flood":
            message = bytes(spec["flood"])
        connection.send_bytes(spec["prefix"] + message)


def sleep_long(spec: dict[str, Any], send: Send) -> dict[str, Any]:
    send("pid", {"mine": os.getpid()})
    time.sleep(600)
    return {}


async def wait_for_a_child() -> None:
    """What a parent does that can be killed: it prints the ids of its child and of that one's, and waits for it."""
    await Children(()).run(
        "tests.libs.chassis.childwork:burn", {}, lambda _kind, pids: print(*pids.values(), flush=True)
    )


if __name__ == "__main__":
    asyncio.run(wait_for_a_child())
