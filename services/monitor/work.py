"""The monitor's slow work: what was served since a drift becomes a file."""

import asyncio
import csv
from pathlib import Path

from sqlmodel import Session

from cairn.events.values import ObjectRef
from chassis import Task, Transaction, Work
from chassis.work import Job
from monitor.domain import Assembly, advise, as_table, find_rest, tell_assembled, tell_unassembled
from monitor.store import Store


def pending_assemblies(session: Session) -> list[Task]:
    """Drifts that wait for their dataset, and since which enough rows have labels."""
    store = Store(session)
    return [Task(wanted.drift.id, origin, store.assembly(wanted)) for wanted, origin in store.pending_assemblies()]


async def assemble(task: Task, job: Job) -> ObjectRef:
    """Write the rows, and keep the file."""
    path = job.directory / "served.csv"
    await asyncio.to_thread(write_table, task.detail, path)
    job.progress()
    return await asyncio.to_thread(job.objects.put_file, path, "text/csv")


def write_table(assembly: Assembly, path: Path) -> None:
    """The dataset as CSV (RFC 4180)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(as_table(assembly))


def finish(task: Task, file: ObjectRef, tx: Transaction) -> None:
    """There is a dataset: retraining is advised, unless the model rests by now."""
    assembly: Assembly = task.detail
    wanted = assembly.wanted
    resting = find_rest(tx.now, Store(tx.session).last_advised(wanted.registered.model.name))

    assembled = tell_assembled(assembly, file, resting)
    told = tx.tell(assembled)

    if not resting:
        tx.tell(advise(wanted, assembled, told, tx.now))


def fail(task: Task, code: str, text: str, tx: Transaction) -> None:
    """There is none, and for this drift there will be none."""
    tx.tell(tell_unassembled(task.detail.wanted, code, text))


ASSEMBLE = Work("assemble", pending_assemblies, assemble, finish, fail)
