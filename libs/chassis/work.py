"""Slow work: claimed under a lease, done with no transaction open, ended in a second, fenced transaction."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy import delete, insert, select, update
from sqlmodel import Session

from cairn.children import ChildDied, ChildFailed, Children
from cairn.events.event import Event
from cairn.objects import ObjectStore, StoreUnreachable
from chassis import ledger
from chassis.backoff import backoff_seconds
from chassis.database import Database, is_infrastructure
from chassis.definition import Task, Work
from chassis.failpoints import Failpoints
from chassis.processor import Processor
from chassis.transaction import Transaction

MOST_ATTEMPTS = 3
log = structlog.get_logger()


class WorkFailed(Exception):
    """The work can never succeed; carries a code and a sentence for the event that tells it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class LeaseLost(Exception):
    """Somebody else took the task over: what this worker did does not count."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a task, until it expires."""

    work: str
    task: str
    token: str
    attempt: int


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


def claim(session: Session, work: Work, lease_seconds: float) -> tuple[Task, Lease] | None:
    """The first pending task that nobody works on, leased to the caller; None if there is none."""
    tasks = work.pending(session)
    if not tasks:
        return None
    table = ledger.LEASE.c
    leases = {
        row.task: row
        for row in session.execute(select(table.task, table.attempt, table.expires_at).where(table.work == work.name))
    }
    now = time.time()
    for task in tasks:
        row = leases.get(task.id)
        if row is None or row.expires_at <= now:
            attempt = row.attempt + 1 if row else 1
            lease = Lease(work.name, task.id, str(uuid4()), attempt)
            _store_lease(session, lease, now + lease_seconds, known=row is not None)
            return task, lease
    return None


def _store_lease(session: Session, lease: Lease, expires_at: float, *, known: bool) -> None:
    values = {"token": lease.token, "attempt": lease.attempt, "expires_at": expires_at}
    table = ledger.LEASE
    if known:
        mine = (table.c.work == lease.work) & (table.c.task == lease.task)
        session.execute(update(table).where(mine).values(**values))
    else:
        session.execute(insert(table).values(work=lease.work, task=lease.task, **values))


def renew(session: Session, lease: Lease, expires_at: float) -> None:
    """Hold the lease longer. Raises LeaseLost."""
    table = ledger.LEASE
    if not session.execute(update(table).where(table.c.token == lease.token).values(expires_at=expires_at)).rowcount:  # type: ignore[attr-defined]  # a cursor result has it
        raise LeaseLost(lease.task)


def release(session: Session, lease: Lease) -> None:
    """Give the task back, done. Raises LeaseLost."""
    table = ledger.LEASE
    if not session.execute(delete(table).where(table.c.token == lease.token)).rowcount:  # type: ignore[attr-defined]  # as above
        raise LeaseLost(lease.task)


def void_leases(session: Session) -> None:
    """At the start of the only process on this store: nobody else can be working."""
    session.execute(update(ledger.LEASE).values(token=None, expires_at=0.0))


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
            if claimed and self.work.begin and claimed[1].attempt <= MOST_ATTEMPTS:
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
        failures = 0
        while True:
            try:
                if lease.attempt > MOST_ATTEMPTS:
                    raise WorkFailed("too-many-attempts", f"it was begun {MOST_ATTEMPTS} times and never ended")
                with tempfile.TemporaryDirectory(prefix="cairn-") as directory:
                    result = await self.work.run(task, self._job(task, lease, Path(directory)))
                await self.run_blocking(self._finish, task, lease, result)
                return
            except (WorkFailed, ChildFailed) as error:
                await self.run_blocking(self._fail, task, lease, error.code, str(error))
                return
            except (StoreUnreachable, ChildDied, OSError) as error:
                failures += 1
                log.warning("work.retry", work=self.work.name, task=task.id, error=repr(error), failures=failures)
                if not isinstance(error, StoreUnreachable) and failures >= MOST_ATTEMPTS:
                    code = "child-died" if isinstance(error, ChildDied) else "no-resources"
                    await self.run_blocking(self._fail, task, lease, code, str(error))
                    return
            except LeaseLost:
                raise
            except Exception as error:
                if not is_infrastructure(error):
                    log.exception("work.error", work=self.work.name, task=task.id)
                    text = f"{type(error).__name__}: {error}"[:1000]
                    await self.run_blocking(self._fail, task, lease, "error", text)
                    return
                failures += 1
            await asyncio.sleep(backoff_seconds(failures, 0.2, 30.0))

    def _job(self, task: Task, lease: Lease, directory: Path) -> Job:
        told = 0

        async def tell(facts: Event) -> None:
            nonlocal told
            told += 1
            await self.run_blocking(self._tell, task, lease, facts, told)

        return Job(
            self.objects,
            self.children,
            directory,
            self.processor.voice.code,
            tell,
            lambda: self.failpoints.reach("during-work"),
            lease.attempt,
        )

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

    def _give_back(self, lease: Lease) -> None:
        """A stop in order is no failed attempt: the next start takes the task up as this same one."""
        table = ledger.LEASE
        with self.database.begin(deciding=False) as session:
            free = update(table).where(table.c.token == lease.token)
            session.execute(free.values(token=None, expires_at=0.0, attempt=lease.attempt - 1))

    def _renew(self, lease: Lease) -> None:
        with self.database.begin(deciding=False) as session:
            renew(session, lease, time.time() + self.lease_seconds)


def _tell(step: Transaction, facts: Event, n: int) -> None:
    step.tell(facts, n)
