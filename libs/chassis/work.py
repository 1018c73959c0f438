"""Slow work: claimed under a lease, done with no transaction open, ended in a second, fenced transaction."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlmodel import Session

from cairn.children import ChildDied, ChildFailed, Children
from cairn.events.event import Event
from cairn.objects import ObjectStore, StoreUnreachable
from chassis.backoff import backoff_seconds
from chassis.database import Database, is_infrastructure
from chassis.definition import Task, Work
from chassis.failpoints import Failpoints
from chassis.kafka import KafkaUnreachable
from chassis.leases import Lease, LeaseLost, claim, give_back, postpone, release, renew
from chassis.processor import Processor
from chassis.transaction import Transaction

MOST_FAILURES = 3
"""Of children and of this machine, within one attempt."""
log = structlog.get_logger()


class WorkFailed(Exception):
    """The work can never succeed; carries a code and a sentence for the event that tells it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class WorkPostponed(Exception):
    """The work did not succeed now, but may; carries the seconds until it is attempted again, at the earliest."""

    def __init__(self, seconds: float, text: str) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass(slots=True)
class Job:
    """What running work is given."""

    objects: ObjectStore
    children: Children
    directory: Path
    """An empty folder of its own, deleted when the work ends."""
    code: str
    tell: Callable[[Event], Awaitable[None]]
    """Tells something on the way, in a short fenced transaction."""
    progress: Callable[[], None]
    """Says that the work is under way."""
    attempt: int
    """Which attempt at its task this is, from 1."""
    read: Callable[[Callable[[Session], Any]], Awaitable[Any]]
    """Asks the store something, in a transaction that only reads and ends with the answer."""


@dataclass(slots=True)
class Worker:
    """Works off one kind of work, several tasks at once where it says so."""

    work: Work
    processor: Processor
    database: Database
    objects: ObjectStore
    children: Children
    run_blocking: Callable[..., Awaitable[Any]]
    failpoints: Failpoints
    lease_seconds: float
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Work until cancelled."""
        failures = 0
        try:
            while True:
                self.woken.clear()
                try:
                    started = await self._start_one()
                    failures = 0
                except Exception as error:  # noqa: BLE001 # the store is in trouble; the work is pending still
                    failures += 1
                    log.warning("work.claim", work=self.work.name, error=repr(error), failures=failures)
                    await asyncio.sleep(backoff_seconds(failures, 0.2, 30.0))
                    continue
                if not started:
                    await self._wait()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _start_one(self) -> bool:
        if len(self._running) >= self.work.at_once:
            return False
        claimed = await self.run_blocking(self._claim)
        if claimed is None:
            return False
        task = asyncio.create_task(self._work_off(*claimed))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # The lease runs out, and then it is tried again.
            log.error("work.unended", work=self.work.name, error=repr(error))
        self.woken.set()

    async def _wait(self) -> None:
        # Not by wait_for, which before Python 3.12 may lose a cancellation.
        with suppress(TimeoutError):
            async with asyncio.timeout(self.lease_seconds / 3):
                await self.woken.wait()

    def _claim(self) -> tuple[Task, Lease] | None:
        with self.database.read() as session:
            if not self.work.pending(session):
                return None
        with self.database.begin() as session:
            claimed = claim(session, self.work, self.lease_seconds)
            if claimed and self.work.begin and claimed[1].attempt <= self.work.most_attempts:
                task, lease = claimed
                begin = self.work.begin
                self.processor.step_within(
                    session, task.origin, lambda step: begin(task, lease.attempt, step), attempt=lease.attempt
                )
        if claimed:  # else this worker would wake itself, again and again, while another has the task
            self.processor.committed()
        return claimed

    async def _work_off(self, task: Task, lease: Lease) -> None:
        """One attempt; trouble with the infrastructure is waited out while the lease is held."""
        heartbeat = asyncio.create_task(self._hold(lease, asyncio.current_task()))
        try:
            await self._attempt(task, lease)
        except LeaseLost:
            log.warning("work.lease_lost", work=self.work.name, task=task.id)
        except asyncio.CancelledError:
            log.info("work.given_back", work=self.work.name, task=task.id)
            await self.run_blocking(self._give_back, lease)
            raise
        finally:
            heartbeat.cancel()

    async def _attempt(self, task: Task, lease: Lease) -> None:
        try:
            result = await self._patiently(task, partial(self._work_on, task, lease))
            await self._patiently(task, partial(self.run_blocking, self._finish, task, lease, result))
        except LeaseLost:
            raise
        except WorkPostponed as error:
            log.info("work.postponed", work=self.work.name, task=task.id, seconds=error.seconds, why=str(error))
            await self._patiently(task, partial(self.run_blocking, self._postpone, lease, error.seconds))
        except Exception as error:  # noqa: BLE001 # whatever went wrong is told
            code, text = self._explain(task, error)
            await self._patiently(task, partial(self.run_blocking, self._fail, task, lease, code, text))

    async def _work_on(self, task: Task, lease: Lease) -> Any:
        if lease.attempt > (most := self.work.most_attempts):
            raise WorkFailed("too-many-attempts", f"it was begun {most} times and never ended")
        with tempfile.TemporaryDirectory(prefix="cairn-") as directory:
            return await self.work.run(task, self._job(task, lease, Path(directory)))

    async def _patiently(self, task: Task, call: Callable[[], Awaitable[Any]]) -> Any:
        """What a call gives, tried again when that may help: as often as it takes, or a few times for a dead child."""
        failures = 0
        while True:
            try:
                return await call()
            except Exception as error:
                failures += 1
                if not _may_pass(error, failures):
                    raise
                log.warning("work.retry", work=self.work.name, task=task.id, error=repr(error), failures=failures)
            await asyncio.sleep(backoff_seconds(failures, 0.2, 30.0))

    def _explain(self, task: Task, error: Exception) -> tuple[str, str]:
        """The code and the text for the event that tells that work failed."""
        match error:
            case WorkFailed() | ChildFailed():
                return error.code, str(error)
            case ChildDied():
                return "child-died", str(error)
            case OSError():
                return "no-resources", str(error)
        log.error("work.error", work=self.work.name, task=task.id, exc_info=error)
        return "error", f"{type(error).__name__}: {error}"[:1000]

    def _job(self, task: Task, lease: Lease, directory: Path) -> Job:
        told = 0

        async def tell(facts: Event) -> None:
            nonlocal told
            told += 1
            await self._patiently(task, partial(self.run_blocking, self._tell, task, lease, facts, told))

        async def read(ask: Callable[[Session], Any]) -> Any:
            return await self._patiently(task, partial(self.run_blocking, self._read, ask))

        return Job(
            self.objects,
            self.children,
            directory,
            self.processor.voice.code,
            tell,
            lambda: self.failpoints.reach("during-work"),
            lease.attempt,
            read,
        )

    def _read(self, ask: Callable[[Session], Any]) -> Any:
        with self.database.read() as session:
            return ask(session)

    def _tell(self, task: Task, lease: Lease, facts: Event, n: int) -> None:
        with self.database.begin() as session:
            renew(session, lease, time.time() + self.lease_seconds)
            self.processor.step_within(session, task.origin, lambda step: _tell(step, facts, n), attempt=lease.attempt)
        self.processor.committed()

    def _finish(self, task: Task, lease: Lease, result: Any) -> None:
        self._end(task, lease, lambda step: self.work.finish(task, result, step))

    def _fail(self, task: Task, lease: Lease, code: str, text: str) -> None:
        self._end(task, lease, lambda step: self.work.fail(task, code, text, step))

    def _end(self, task: Task, lease: Lease, decide: Callable[[Transaction], None]) -> None:
        with self.database.begin() as session:
            release(session, lease)
            told = self.processor.step_within(session, task.origin, decide, attempt=lease.attempt)
            if not told:
                raise WorkFailed("silent", f"{self.work.name} must tell how {task.id} ended")
        self.processor.committed()

    async def _hold(self, lease: Lease, working: asyncio.Task[Any] | None) -> None:
        """Renew the lease while the work goes on; when it is lost, stop the work."""
        while True:
            await asyncio.sleep(self.lease_seconds / 3)
            try:
                await self.run_blocking(self._renew, lease)
            except LeaseLost:
                if working:
                    working.cancel()
                return
            except Exception as error:  # noqa: BLE001 # the store is in trouble; the lease may outlive it
                log.warning("work.heartbeat", error=repr(error))

    def _postpone(self, lease: Lease, seconds: float) -> None:
        with self.database.begin(deciding=False) as session:
            postpone(session, lease, time.time() + seconds)

    def _give_back(self, lease: Lease) -> None:
        with self.database.begin(deciding=False) as session:
            give_back(session, lease)

    def _renew(self, lease: Lease) -> None:
        with self.database.begin(deciding=False) as session:
            renew(session, lease, time.time() + self.lease_seconds)


def _may_pass(error: Exception, failures: int) -> bool:
    """Whether it may help to try again: the store or the objects may come back, a child may have had bad luck."""
    if isinstance(error, ChildDied | OSError):
        return failures < MOST_FAILURES
    return isinstance(error, StoreUnreachable | KafkaUnreachable) or is_infrastructure(error)


def _tell(step: Transaction, facts: Event, n: int) -> None:
    step.tell(facts, n)
