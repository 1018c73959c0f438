"""The publisher for code without an event loop."""

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from cairn.context import Context
from cairn.events.event import Event
from cairn.publisher.publishing import SEND_SECONDS, SPOOL_BYTES, Publisher, Receipt
from cairn.publisher.sealing import Options, Sealed

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal


class SyncPublisher:
    """A Publisher whose methods block. Threads may share one; its event loop runs in a thread of its own.

    Use it as a context manager. Everything else is as Publisher says.
    """

    def __init__(
        self,
        context: Context,
        *,
        send_seconds: float = SEND_SECONDS,
        spool: Path | str | None = None,
        spool_bytes: int = SPOOL_BYTES,
    ) -> None:
        """Starts nothing yet. See Publisher."""
        self._publisher = Publisher(context, send_seconds=send_seconds, spool=spool, spool_bytes=spool_bytes)
        self._ends = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        """Start the thread and connect, or open the spool. Raises as Publisher does."""
        from anyio.from_thread import start_blocking_portal

        with ExitStack() as ends:
            self._portal = ends.enter_context(start_blocking_portal())
            ends.enter_context(self._portal.wrap_async_context_manager(self._publisher))
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal = None
        self._ends.__exit__(kind, error, trace)

    def publish(self, event: Event | Sealed, **options: Unpack[Options]) -> Receipt:
        """Publish one event. See Publisher.publish."""
        return self._running.call(partial(self._publisher.publish, event, **options))

    def publish_all(self, events: Iterable[Event | Sealed], **options: Unpack[Options]) -> list[Receipt]:
        """Publish many events. See Publisher.publish_all."""
        return self._running.call(partial(self._publisher.publish_all, events, **options))

    def flush(self, seconds: float | None = None) -> None:
        """Wait until Kafka has all. See Publisher.flush."""
        self._running.call(self._publisher.flush, seconds)

    def retry_refused(self) -> None:
        """Send once more what Kafka refused. See Publisher.retry_refused."""
        self._running.call(self._publisher.retry_refused)

    def discard_refused(self) -> None:
        """Let go for ever of what Kafka refused. See Publisher.discard_refused."""
        self._running.call(self._publisher.discard_refused)

    @property
    def _running(self) -> "BlockingPortal":
        if self._portal is None:
            raise RuntimeError("a SyncPublisher publishes inside its `with` block")
        return self._portal
