"""From the caller into the spool, many in one write; and from the spool to Kafka, each lane in its order."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from cairn.broker import BrokerUnreachable, TopicRefused, partition_of
from cairn.publisher.sealing import Sealed
from cairn.publisher.sending import Sender, answers_of
from cairn.publisher.spool import Kept, Lane, Refused, Spool, SpoolError, SpoolFull, bytes_of

_AT_ONCE = 500
_PAUSE_SECONDS = 1.0

log = logging.getLogger(__name__)
_Placed = tuple[int, Sealed]
"""An event with its position in the spool."""
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class EventsRefused(Exception):
    """Kafka refused events for good. They are kept apart in the spool, and stand in nobody's way."""

    def __init__(self, path: Path, refused: Sequence[Refused]) -> None:
        shown = "; ".join(str(one) for one in refused[:5])
        more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
        super().__init__(
            f"{len(refused)} of the events in the spool {path} cannot go: {shown}{more}. They are kept apart: mend the "
            "cause and call retry_refused(), or let go of them with discard_refused()"
        )
        self.refused = tuple(refused)


@dataclass(slots=True)
class _Way:
    """How far a lane is."""

    kept: int = 0
    """Position of the last event that was kept."""
    settled: int = 0
    """Up to this position nothing waits."""
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Asked:
    events: Sequence[Sealed]
    size_bytes: int
    kept: asyncio.Future[None]


class Forwarder:
    """Owns a spool: keeps events in it, and sends them on until Kafka has them."""

    def __init__(self, path: Path, most_bytes: int, sender: Sender) -> None:
        """Opens nothing yet."""
        self._path, self._most_bytes, self._sender = path, most_bytes, sender
        self._thread = ThreadPoolExecutor(1, "cairn-spool")
        self._opened: Spool | None = None
        self._opening = asyncio.Lock()
        self._held_bytes = 0
        self._ways: dict[Lane, _Way] = {}
        self._asked: list[_Asked] = []
        self._writing: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()

    async def open(self) -> Spool:
        """Open the spool, if it is not, and begin to send what is in it. Raises SpoolError."""
        async with self._opening:
            if self._opened is None:
                self._opened = spool = await self._blocking(Spool, self._path)
                if spool.cut_bytes:
                    log.warning(
                        "the spool %s ended in a write that never became whole; its %d bytes were cut off. Nobody had "
                        "been told that what was in it was published",
                        self._path,
                        spool.cut_bytes,
                    )
                self._held_bytes = await self._blocking(spool.bytes_held)
                await self._send_on(spool)
            return self._opened

    async def keep(self, events: Sequence[Sealed]) -> None:
        """Return once the events are on the disk; many callers share a write. Raises SpoolFull, SpoolError."""
        spool = await self.open()
        size = sum(map(bytes_of, events))
        if self._held_bytes + size > self._most_bytes:
            trouble = self._sender.trouble or "wait until Kafka has taken some, or allow more"
            raise SpoolFull(
                f"the spool {self._path} holds {self._held_bytes} of {self._most_bytes} bytes, and there "
                f"is no room for {size} more. Nothing was kept: {trouble}"
            )
        self._held_bytes += size
        asked = _Asked(events, size, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(spool))
        await asked.kept

    async def flush(self) -> None:
        """Return once nothing waits of what was kept before. Raises EventsRefused."""
        spool = await self.open()
        ends = [(way, way.kept) for way in self._ways.values()]
        async with self._moved:
            await self._moved.wait_for(lambda: all(way.settled >= end for way, end in ends))
        if refused := await self._blocking(spool.refused):
            raise EventsRefused(self._path, refused)

    async def retry_refused(self) -> None:
        """Send what was refused once more, behind what waits."""
        spool = await self.open()
        await self._blocking(spool.retry_refused)
        await self._send_on(spool)

    async def discard_refused(self) -> None:
        """Let go of what was refused."""
        spool = await self.open()
        self._held_bytes -= await self._blocking(spool.discard_refused)

    async def close(self, seconds: float) -> None:
        """Give what waits so many seconds to go, and close the spool; what is left stays in it."""
        async with self._opening:
            spool, self._opened = self._opened, None
        if spool is not None:
            if self._writing:
                await self._writing
            tasks = [way.task for way in self._ways.values() if way.task]
            if tasks:
                await asyncio.wait(tasks, timeout=seconds)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            left = await self._blocking(spool.count)
            await self._blocking(spool.close)
            if left:
                log.warning("%d events wait in the spool %s for the next publisher that opens it", left, self._path)
        self._thread.shutdown(wait=False)

    async def _write(self, spool: Spool) -> None:
        """Write what was asked for, all that waits at once, until nothing does."""
        while self._asked:
            asked, self._asked = self._asked, []
            events = [sealed for one in asked for sealed in one.events]
            try:
                positions = await self._blocking(spool.keep, events)
            except Exception as error:  # noqa: BLE001 # whatever it is, those who wait must hear of it
                for one in asked:
                    self._held_bytes -= one.size_bytes
                    if not one.kept.done():
                        one.kept.set_exception(error)
                continue
            for sealed, position in zip(events, positions, strict=True):
                self._go(spool, (sealed.topic, partition_of(sealed.topic, sealed.outgoing.key)), position)
            for one in asked:
                if not one.kept.done():
                    one.kept.set_result(None)
        self._writing = None

    async def _send_on(self, spool: Spool) -> None:
        for lane, last in (await self._blocking(spool.lanes)).items():
            self._go(spool, lane, last)

    def _go(self, spool: Spool, lane: Lane, last: int) -> None:
        way = self._ways.setdefault(lane, _Way())
        way.kept = last
        if way.task is None:
            way.task = asyncio.create_task(self._forward(spool, lane, way))

    async def _forward(self, spool: Spool, lane: Lane, way: _Way) -> None:
        """Send what waits in a lane, until nothing does."""
        try:
            while way.settled < way.kept:
                kept = await self._at_last(spool.load, lane, way.settled, _AT_ONCE)
                sound = [(one.position, one.sealed) for one in kept if one.sealed]
                damaged = [(one.position, self._damage(one)) for one in kept if not one.sealed]
                confirmed, refused = await self._send(sound)
                await self._at_last(spool.settle, [position for position, _ in confirmed], damaged + refused)
                self._held_bytes -= sum(bytes_of(sealed) for _, sealed in confirmed)
                way.settled = kept[-1].position
                async with self._moved:
                    self._moved.notify_all()
        except BrokerUnreachable:  # the sender was closed; what waits stays
            pass
        finally:
            way.task = None

    def _damage(self, kept: Kept) -> str:
        said = f"row {kept.position} of {self._path} is damaged: its bytes are not those that were kept"
        log.error("%s. It is not sent but kept apart", said)
        return said

    async def _send(self, placed: Sequence[_Placed]) -> tuple[list[_Placed], list[tuple[int, str]]]:
        """Have events sent: those that Kafka has, and the positions of those that it refused, with the reasons.

        Raises BrokerUnreachable where the sender was closed meanwhile.
        """
        answers = await answers_of([self._sender.send(sealed) for _, sealed in placed])
        confirmed, refused = [], []
        for (position, sealed), answer in zip(placed, answers, strict=True):
            if isinstance(answer, TopicRefused):
                refused.append((position, str(answer)))
            elif isinstance(answer, Exception):
                raise answer
            else:
                confirmed.append((position, sealed))
        return confirmed, refused

    async def _at_last(self, call: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """What a call of the spool gives, tried until the disk lets it."""
        while True:
            try:
                return await self._blocking(call, *arguments)
            except SpoolError as error:
                log.error("%s; trying again", error)  # noqa: TRY400 # the message says all
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _blocking(self, call: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Run a call of the spool in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
