"""Who works on what, until when: the right to a task, fenced by a fresh token."""

import time
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import delete, insert, select, update
from sqlmodel import Session

from chassis import ledger
from chassis.definition import Task, Work


class LeaseLost(Exception):
    """Somebody else took the task over: what this worker did does not count."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a task, until it expires."""

    work: str
    task: str
    token: str
    attempt: int


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


def postpone(session: Session, lease: Lease, until: float) -> None:
    """Give the task back until then: this attempt is over, another may follow. Raises LeaseLost."""
    table = ledger.LEASE
    mine = update(table).where(table.c.token == lease.token)
    if not session.execute(mine.values(token=None, expires_at=until)).rowcount:  # type: ignore[attr-defined]  # as above
        raise LeaseLost(lease.task)


def give_back(session: Session, lease: Lease) -> None:
    """Give the task back, undone: a stop in order is no failed attempt, the next start takes it up as this same one."""
    mine = update(ledger.LEASE).where(ledger.LEASE.c.token == lease.token)
    session.execute(mine.values(token=None, expires_at=0.0, attempt=lease.attempt - 1))
