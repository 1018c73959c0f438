"""Starting children, hearing what they say, and ending them."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

from pydantic_core import from_json

from cairn.children.inside import MOST_MESSAGE_BYTES, Limits, run_once, run_until_closed

_FIRST, _LAST = "cairn.children.loading", "cairn.children.loaded"
_NOTHING = "cairn.children.inside:do_nothing"
_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.05
_SHOWN_BYTES = 80
_USUAL = Limits()
log = logging.getLogger("cairn.children")


class ChildFailed(Exception):
    """The work raised in the child; `code` and the text say what."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ChildDied(Exception):
    """The child ended without a result: it was killed, or ran into a limit."""


class Children:
    """Runs functions in children of one fork server, which has loaded the heavy modules once."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_FIRST, *preload, _LAST])

    def start(self) -> None:
        """Start the fork server, so that the first work need not wait for it."""
        forkserver.ensure_running()

    async def load(self) -> None:
        """Wait until the fork server has loaded all it shall, however often that takes: then work starts at once.

        Cancelling ends the fork server, and with it every child.
        """
        while True:
            loading = asyncio.create_task(self.run(_NOTHING, {}))
            try:
                await asyncio.shield(loading)
            except ChildDied as error:
                log.warning("what children need cannot be loaded: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            except asyncio.CancelledError:
                while not loading.done():  # it may be about to start another
                    _kill_fork_server()
                    await asyncio.wait({loading}, timeout=_LOOK_SECONDS)
                await asyncio.gather(loading, return_exceptions=True)
                raise
            else:
                return

    async def run(
        self,
        function: str,
        spec: dict[str, Any],
        heard: Callable[[str, dict[str, Any]], None] = lambda _kind, _payload: None,
        limits: Limits = _USUAL,
    ) -> dict[str, Any]:
        """Call `module:function(spec, send)` in a child; `heard` gets what it sends on the way, the caller its result.

        Both are objects of JSON, and nothing else is taken from a child. Raises ChildFailed with the error of the
        work or for a message of another form, and ChildDied when the child ended without a result, or was not done in
        time. Cancelling kills the child and all that it started.
        """
        ours, theirs = self._context.Pipe(duplex=False)
        child = self._context.Process(target=run_once, args=(theirs, function, spec, limits), daemon=True)
        starting = asyncio.create_task(asyncio.to_thread(child.start))
        with ours:
            try:
                async with asyncio.timeout(limits.seconds) as deadline:
                    with _missing_what_starts():
                        await asyncio.shield(starting)
                    theirs.close()  # so that the end of the child is the end of what can be read
                    return await _receive(ours, heard)
            except TimeoutError:
                if not deadline.expired():
                    raise
                raise ChildDied(
                    f"the child process was not done within {limits.seconds:g} s, whether it worked or waited: it was "
                    "ended"
                ) from None
            finally:
                await asyncio.shield(_end_started(starting, child, theirs))

    def open(self, function: str, spec: dict[str, Any], limits: Limits = _USUAL) -> "Child":
        """Start a child that stays: it runs `module:function(spec, connection)` until it is closed. Blocks.

        Raises ChildDied.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=run_until_closed, args=(theirs, function, spec, limits), daemon=True)
        with _missing_what_starts():
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
        """The process that guards it: the first of its session, and the parent of the one that works."""
        return int(self._process.pid)

    def receive(self) -> bytes:
        """Its next message. Raises ChildDied, also for one that is too long."""
        try:
            return self._connection.recv_bytes(MOST_MESSAGE_BYTES)
        except (EOFError, OSError):
            raise ChildDied(
                f"the child process ended, or its message is longer than {MOST_MESSAGE_BYTES} bytes"
            ) from None

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
    """The result of a child. Each of its messages is a line of JSON: a list of the kind and the payload."""
    reader = asyncio.StreamReader(limit=MOST_MESSAGE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), connection
    )
    try:
        while True:
            line = await _next_line(reader)
            match await asyncio.to_thread(_parse, line):  # long ones would hold up the loop
                case ["result", dict(result)]:
                    return result
                case ["error", {"code": str(code), "text": str(text)}]:
                    raise ChildFailed(code, text)
                case [str(kind), dict(payload)] if kind != "error":
                    heard(kind, payload)
                case _:
                    start = line[:_SHOWN_BYTES]
                    raise ChildFailed("unreadable-message", f"the child's message is not of the form agreed: {start!r}")
    finally:
        transport.close()


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        raise ChildDied("the child process ended without a result: it was killed or ran into a limit") from None
    except asyncio.LimitOverrunError:
        raise ChildFailed(
            "unreadable-message", f"the child's message is longer than {MOST_MESSAGE_BYTES} bytes"
        ) from None


def _parse(line: bytes) -> Any:
    try:
        return from_json(line, allow_inf_nan=False)
    except ValueError:
        return None


@contextlib.contextmanager
def _missing_what_starts() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise ChildDied(
            f"the child process did not start: it was killed, or its fork server was ({error!r})"
        ) from error


def _kill_fork_server() -> None:
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001 # there is no public way
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _end_started(starting: asyncio.Task[None], child: Any, theirs: Connection) -> None:
    """End a child whose start may still be under way, or have failed."""
    await asyncio.wait({starting})
    theirs.close()
    if child.pid is not None:
        await asyncio.to_thread(_end, child)


def _end(child: Any) -> None:
    """Let a child end, or kill it, and wait for it."""
    child.join(0.2)
    _kill(child)
    child.join()
    child.close()


def _kill(child: Any) -> None:
    """Kill a child's whole session. One that has ended left nothing of it, and its number may be another's by now."""
    if child.is_alive():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()  # it may not have a session of its own yet
