"""What a child does with itself: it goes into a session, under limits and a guard, works, and says how that ended."""

import contextlib
import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import IO, Any

MOST_MESSAGE_BYTES = 64 * 2**20
"""Longest message of a child: it sends no longer one, and none is taken from it."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may consume."""

    memory_bytes: int = 4 * 1024**3
    cpu_seconds: int = 3600
    file_bytes: int = 8 * 1024**3
    seconds: float = 2 * 3600
    """By the clock on the wall: one that waits takes no time on a processor. One that stays and answers has no such."""


def run_once(connection: Connection, function: str, spec: dict[str, Any], limits: Limits) -> None:
    """Call `module:function(spec, send)` and send its result, or its error; each message is a line of JSON."""
    _contain(limits)
    with contextlib.suppress(BrokenPipeError), os.fdopen(connection.fileno(), "wb", closefd=False) as pipe:
        send = partial(_send, pipe)
        try:
            send("result", _load(function)(spec, send))
        except BrokenPipeError:  # nobody listens any more
            raise
        except Exception as error:  # noqa: BLE001 # whatever went wrong is told to the parent
            send("error", {"code": str(getattr(error, "code", "error")), "text": f"{error}" or type(error).__name__})


def _send(pipe: IO[bytes], kind: str, payload: dict[str, Any]) -> None:
    line = json.dumps([kind, payload], allow_nan=False).encode() + b"\n"
    if len(line) > MOST_MESSAGE_BYTES:
        raise ValueError(f"the {kind} is {len(line)} bytes long, but {MOST_MESSAGE_BYTES} is the most that can be sent")
    pipe.write(line)
    pipe.flush()


def run_until_closed(connection: Connection, function: str, spec: dict[str, Any], limits: Limits) -> None:
    """Call `module:function(spec, connection)`, which answers what it is asked."""
    _contain(limits)
    with contextlib.suppress(EOFError, OSError):  # whoever asked has closed, or is gone
        _load(function)(spec, connection)


def do_nothing(_spec: dict[str, Any], _send: Callable[[str, dict[str, Any]], None]) -> dict[str, Any]:
    """Work that is done at once: a child that has done it was forked from a server that has loaded what it shall."""
    return {}


def _load(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def _contain(limits: Limits) -> None:
    """Give the work a session and limits of its own."""
    gc.freeze()  # what it was forked with stays: nothing in there is garbage, and to look would copy it
    gc.enable()
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _let_go_of_fork_server()
    _fork_from_guard()
    _apply_limits(limits)


def _let_go_of_fork_server() -> None:
    """Close what keeps the fork server running: it ends when nobody has this open, and shall end with the service."""
    server: Any = forkserver._forkserver  # noqa: SLF001 # there is no public way to it
    if server._forkserver_alive_fd is not None:  # noqa: SLF001 # as above
        os.close(server._forkserver_alive_fd)  # noqa: SLF001 # as above
        server._forkserver_alive_fd = None  # noqa: SLF001 # as above


def _fork_from_guard() -> None:
    """Go on as the child of a guard: a process that does nothing but end the session, itself included, in time.

    It does so when the work ends, however that ends, and when the fork server does, which ends with the service. So
    what the work has started never outlives it, unless it made a session of its own.
    """
    server, guard = os.getppid(), os.getpid()
    worker = os.fork()
    if worker == 0:
        signal_when_parent_ends(signal.SIGKILL)
        if os.getppid() != guard:  # too late for the signal
            _end_session()
        return
    signal.signal(signal.SIGTERM, lambda _number, _frame: _end_session())
    signal_when_parent_ends(signal.SIGTERM)
    if os.getppid() != server or not _is_service_alive():  # too late for the signal
        _end_session()
    os.waitpid(worker, 0)
    _end_session()


def signal_when_parent_ends(number: int) -> None:
    """Have Linux send this process a signal when the thread that started it ends, from now on; 0 for none."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def _is_service_alive() -> bool:
    """Whether the process is there that asked the fork server for this one."""
    service = multiprocessing.parent_process()
    return service is not None and service.is_alive()


def _end_session() -> None:
    os.killpg(0, signal.SIGKILL)


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
