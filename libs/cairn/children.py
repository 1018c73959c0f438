"""Child processes for heavy work: forked from a preloaded server, limited, and never orphaned."""

import asyncio
import contextlib
import ctypes
import importlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

_PR_SET_PDEATHSIG = 1


class ChildFailed(Exception):
    """The work raised in the child; `code` and the text say what."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ChildDied(Exception):
    """The child ended without a result: it was killed, or ran into a limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may consume."""

    memory_bytes: int = 4 * 1024**3
    cpu_seconds: int = 3600
    file_bytes: int = 8 * 1024**3


class Children:
    """Runs functions in children of one fork server, which has loaded the heavy modules once."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))

    def start(self) -> None:
        """Start the fork server, so that the first work need not wait for it."""
        forkserver.ensure_running()

    async def run(
        self,
        function: str,
        spec: dict[str, Any],
        heard: Callable[[str, dict[str, Any]], None] = lambda _kind, _payload: None,
        limits: Limits = Limits(),  # frozen
    ) -> dict[str, Any]:
        """Call `module:function(spec, send)` in a child; `heard` gets what it sends on the way.

        Raises ChildFailed with the error of the work, and ChildDied when the child ended without one. Cancelling
        kills the child and all that it started.
        """
        ours, theirs = self._context.Pipe(duplex=False)
        child = self._context.Process(target=_main, args=(theirs, function, spec, limits), daemon=True)
        starting = asyncio.create_task(asyncio.to_thread(child.start))
        try:
            await asyncio.shield(starting)
            theirs.close()
            return await _receive(ours, heard)
        finally:
            await asyncio.shield(_end_started(starting, child))
            ours.close()

    def open(self, function: str, spec: dict[str, Any], limits: Limits = Limits()) -> "Child":  # frozen
        """Start a child that stays: it runs `module:function(spec, connection)` until it is closed. Blocks."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_main_open, args=(theirs, function, spec, limits), daemon=True)
        process.start()
        theirs.close()
        return Child(process, ours)


class Child:
    """A child process that stays and answers. Its calls block; one thread at a time may ask."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self._process = process
        self._connection = connection

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self._process.pid)

    def receive(self) -> bytes:
        """Its next message. Raises ChildDied."""
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise ChildDied("the child process ended: it was killed or ran into a limit") from None

    def ask(self, message: bytes) -> bytes:
        """Its answer to a message. Raises ChildDied."""
        try:
            self._connection.send_bytes(message)
        except OSError:
            raise ChildDied("the child process is gone") from None
        return self.receive()

    def kill(self) -> None:
        """Kill it and all that it started, whatever it does; who waits for its answer gets ChildDied."""
        _kill(self._process)

    def close(self) -> None:
        """Let it end, or kill it, and wait for it. Nobody may be asking."""
        self._connection.close()
        _end(self._process)


async def _receive(connection: Connection, heard: Callable[[str, dict[str, Any]], None]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection.fileno(), readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            while connection.poll():
                kind, payload = _take(connection)
                if kind == "result":
                    return payload
                if kind == "error":
                    raise ChildFailed(payload["code"], payload["text"])
                heard(kind, payload)
    finally:
        loop.remove_reader(connection.fileno())


def _take(connection: Connection) -> tuple[str, dict[str, Any]]:
    try:
        kind, payload = connection.recv()
    except (EOFError, OSError):
        raise ChildDied("the child process ended without a result: it was killed or ran into a limit") from None
    return kind, payload


async def _end_started(starting: asyncio.Task[None], child: Any) -> None:
    """End a child whose start may still be under way, or have failed."""
    await asyncio.wait({starting})
    if child.pid is not None:
        await asyncio.to_thread(_end, child)


def _end(child: Any) -> None:
    """Kill what is left of the child's session, and wait for it."""
    child.join(0.2)
    _kill(child)
    child.join()
    child.close()


def _kill(child: Any) -> None:
    if child.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()  # it may not have a session of its own yet


def _main(connection: Connection, function: str, spec: dict[str, Any], limits: Limits) -> None:
    _contain(limits)
    try:
        work = _load(function)
        connection.send(("result", work(spec, lambda kind, payload: connection.send((kind, payload)))))
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # noqa: BLE001 # whatever went wrong is told to the parent
        code = getattr(error, "code", "error")
        connection.send(("error", {"code": str(code), "text": f"{error}" or type(error).__name__}))


def _main_open(connection: Connection, function: str, spec: dict[str, Any], limits: Limits) -> None:
    _contain(limits)
    with contextlib.suppress(EOFError, OSError):  # whoever asked has closed, or is gone
        _load(function)(spec, connection)


def _contain(limits: Limits) -> None:
    os.setsid()
    _let_go_of_fork_server()
    _die_with_parent()
    _apply_limits(limits)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _load(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def _let_go_of_fork_server() -> None:
    """Close what keeps the fork server running: it ends when nobody has this open, and shall end with the service."""
    server: Any = forkserver._forkserver  # noqa: SLF001 # there is no public way to it
    if server._forkserver_alive_fd is not None:  # noqa: SLF001 # as above
        os.close(server._forkserver_alive_fd)  # noqa: SLF001 # as above
        server._forkserver_alive_fd = None  # noqa: SLF001 # as above


def _die_with_parent() -> None:
    """Linux kills this process when its parent, the fork server, ends; that one ends with the service."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _apply_limits(limits: Limits) -> None:
    for kind, amount in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _soft, hard = resource.getrlimit(kind)
        ceiling = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (ceiling, hard))
