"""An application's subscription: `@app.on(ModelPromoted)`, or a plain asynchronous loop."""

import asyncio
import inspect
import logging
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

from cairn import loop as event_loop
from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.context import Context
from cairn.events.catalogue import type_of
from cairn.events.event import Event
from cairn.events.identity import Installation
from cairn.events.signing import Trust
from cairn.subscriber.decoding import Decoder
from cairn.subscriber.intake import Handler, HandlerFailed, Intake, OnError
from cairn.subscriber.log import Offsets, open_log
from cairn.subscriber.received import Received
from cairn.subscriber.store import Store, StoreError

StartAt = Literal["latest", "beginning"] | datetime | Offsets

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Callable[..., Awaitable[object]])

log = logging.getLogger("cairn.subscriber")


class Subscriber:
    """Hears events and hands each one over effectively once, one at a time, in the order of its partition.

    What is promised. Where a handler keeps its effect in `received.transaction`, the effect is there exactly once,
    whatever is killed. An effect elsewhere is there at least once: a crash between it and our mark hands the same
    event over again, with `received.redelivered`. An event that was published twice is handed over once, by its source
    and id. A `model.promoted` whose generation is not higher than the last one handled never is.

    Without a group every process hears all: partitions are assigned by hand, and no group's offsets are touched.
    Members of a group share the partitions. Give them one store (one file on one machine), and all of the above holds
    for them together, also when partitions move; they then handle one event at a time between them. With a store
    each, an event may be handed to two of them when partitions move, and neither knows what the other has handled.

    A type or handler added later hears what comes from then on: for what lies before, use another store.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        installation: str = "cairn",
        store: str | PathLike[str] | None = None,
        start: StartAt = "latest",
        group: str | None = None,
        verify: bool = False,
        keys: str | PathLike[str] | None = None,
        on_error: OnError = "stop",
        tries: int = 5,
        stop_seconds: float = 15.0,
    ) -> None:
        """Connects to nothing yet.

        `store`: the SQLite file that keeps position and marks; without one nothing outlives the process.
        `start`: where partitions begin that the store (or the group) does not know: at what comes from now on, at the
        beginning, at what Kafka got from a time on, or at offsets by (topic without prefix, partition).
        `verify`: believe only what the trust file `keys` says, and only promotions whose receipt holds; else
        signatures are not looked at, and whoever can write to the topic is believed.
        `on_error`: when a handler has raised `tries` times, `stop` raises HandlerFailed and keeps the event for the
        next start; `park` puts it into the store's table `cairn_parked` and goes on.
        Raises ValueError for settings that cannot be meant, TrustError for a trust file that cannot be used.
        """
        _refuse_start(start)
        if verify != (keys is not None):
            raise ValueError("verify=True and keys=FILE (the trust file) belong together: give both or neither")
        if tries < 1:
            raise ValueError(f"tries is {tries}: a handler must be tried at least once")
        trust = Trust.load(Path(keys)) if keys is not None else None
        self._context = Context(Path(), Installation(installation), bootstrap_servers, trust=trust)
        self._store = Path(store) if store is not None else None
        self._start = start
        self._group = group
        self._on_error: OnError = on_error
        self._tries = tries
        self._stop_seconds = stop_seconds
        self._handlers: dict[type[Event], Handler] = {}
        self._counts: Counter[str] = Counter()
        self._intake: Intake | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of the records heard since the start of this process.

        `handled`, `duplicate`, `stale` (a generation that is not higher), `behind` (done before), `parked`,
        `other-type` (nobody asked), `unknown-type`, `unsupported-version`; and the reasons for which a record does
        not count: `schema`, `signature`, `unsigned`, `receipt`, `key-mismatch`, …
        """
        return self._counts

    def on(self, *types: type[Event]) -> Callable[[F], F]:
        """Register a coroutine function for events of these classes: `async def f(event)` or `f(event, received)`.

        Raises TypeError for what cannot be one, ValueError where a class has its handler already.
        """
        for facts in types:
            _refuse_unknown(facts)
            if facts in self._handlers:
                raise ValueError(f"{facts.__name__} has a handler already: call both from one")

        def register(function: F) -> F:
            handler = _as_handler(function)
            self._handlers.update(dict.fromkeys(types, handler))
            return function

        return register

    async def run(self) -> None:
        """Hear and handle, until `stop` is called.

        Raises HandlerFailed, StoreError (PositionLost where Kafka has not what comes next), BrokerUnreachable,
        TopicRefused. While it runs, a broker that goes away is
        waited for. Needs FastStream (`pip install 'cairn-sdk[app]'`).
        """
        if not self._handlers:
            raise ValueError("nothing to run: register a handler with @app.on(…) first")
        try:
            from cairn.subscriber.stream import Stream  # FastStream is an extra, and heavy
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"handlers run on FastStream, which is not here ({error}): pip install 'cairn-sdk[app]', or loop over "
                "events() without it"
            ) from None
        with self._opened(self._handlers) as intake:
            async with open_log(self._context, self._group) as kafka:
                starts = await intake.settle(kafka, _log_start(self._start))
            await Stream(self._context, intake, self._handlers, self._stop_seconds).run(starts)

    def stop(self) -> None:
        """End `run` after the event that is being handled. Does nothing where none runs."""
        if self._intake:
            self._intake.stopping.set()

    def run_forever(self) -> None:
        """Run a script's subscriber until SIGINT or SIGTERM; ends the process where it cannot go on.

        The exit code is then 1, or 3 where Kafka is out of reach, and the reason is on standard error.
        """
        try:
            event_loop.run(self._run_until_signal())
        except (HandlerFailed, StoreError) as error:
            log.debug("stopped", exc_info=error)
            sys.exit(str(error))
        except (BrokerUnreachable, TopicRefused) as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(3)

    async def _run_until_signal(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # not everywhere has an event loop signals; KeyboardInterrupt is left
                loop.add_signal_handler(number, self.stop)
        await self.run()

    async def events(self, *types: type[E]) -> AsyncGenerator[Received[E], None]:
        """The wanted events, one after another, without end; each is handled when the next one is asked for.

        An event in whose loop body something raised, or that the loop was left with, comes again at the next start:
        leave through `contextlib.aclosing`. Raises StoreError, BrokerUnreachable, TopicRefused, TypeError.
        """
        for facts in types:
            _refuse_unknown(facts)
        if not types:
            raise TypeError("events() needs the classes of the events that are wanted, e.g. events(ModelPromoted)")
        with self._opened(types) as intake:
            async with open_log(self._context, self._group) as kafka:
                starts = await intake.settle(kafka, _log_start(self._start))
                if self._group:
                    kafka.join(intake.decoder.topics)
                else:
                    kafka.go_to(starts)
                async with aclosing(intake.walk(kafka)) as walk:
                    async for arrived in walk:
                        async with intake.handing(arrived) as received:
                            if received is not None:
                                yield received

    @contextmanager
    def _opened(self, types: Iterable[type[Event]]) -> Iterator[Intake]:
        if self._intake:
            raise RuntimeError("this subscriber runs already: run it once at a time, or make a second one")
        # A group goes on where its offsets are: the store must not forget what they have passed.
        store = Store(self._store, self._context.installation, durable=self._group is not None)
        decoder = Decoder.for_types(types, self._context.installation, self._context.trust)
        self._intake = Intake(decoder, store, self._counts, self._group, self._tries, self._on_error)
        try:
            yield self._intake
        finally:
            self._intake = None
            store.close()


def _log_start(start: StartAt) -> Any:
    return "end" if start == "latest" else start


def _refuse_start(start: StartAt) -> None:
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ValueError(f"start={start.isoformat()} has no time zone: say which time is meant")
    elif not isinstance(start, Mapping) and start not in ("latest", "beginning"):
        raise ValueError(
            f"start={start!r}: expected 'latest', 'beginning', a datetime with its time zone, or offsets like "
            "{('registry', 0): 17}"
        )


def _refuse_unknown(facts: type[Event]) -> None:
    try:
        type_of(facts)
    except (KeyError, TypeError):
        raise TypeError(f"{facts!r} is no class of events in the catalogue (cairn.events)") from None


def _as_handler(function: Callable[..., Awaitable[object]]) -> Handler:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function!r} is no coroutine function: write `async def`, and slow work into a thread")
    wanted = len(inspect.signature(function).parameters)
    if wanted == 1:
        return lambda received: function(received.event)
    if wanted == 2:
        return lambda received: function(received.event, received)
    raise TypeError(f"{function.__name__} takes {wanted} arguments: expected (event) or (event, received)")
