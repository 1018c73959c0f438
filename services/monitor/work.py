"""The monitor's slow work: what was served since a drift becomes a file."""

import asyncio
import csv
from pathlib import Path

from sqlmodel import Session

from cairn.events import DatasetAssembled
from chassis import Task, Transaction, Work
from chassis.work import Job, WorkFailed
from monitor.domain import Assembly, Wanted, advise, as_table, find_rest, tell_assembled, tell_unassembled
from monitor.store import Store


def pending_assemblies(session: Session) -> list[Task]:
    """Drifts that wait for their dataset, and since which enough rows have labels."""
    return [Task(wanted.drift.id, origin, wanted) for wanted, origin in Store(session).pending_assemblies()]


async def assemble(task: Task, job: Job) -> DatasetAssembled:
    """Read the rows, write them, and keep the file."""
    wanted: Wanted = task.detail
    path = job.directory / "served.csv"
    assembly: Assembly | None = await job.read(lambda session: Store(session).assembly(wanted))
    if assembly is None:
        raise WorkFailed("labels-taken-back", f"fewer than {wanted.row_count} rows have labels by now")
    await asyncio.to_thread(write_table, assembly, path)
    job.progress()
    return tell_assembled(assembly, await asyncio.to_thread(job.objects.put_file, path, "text/csv"))


def write_table(assembly: Assembly, path: Path) -> None:
    """The dataset as CSV (RFC 4180)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(as_table(assembly))


def finish(task: Task, assembled: DatasetAssembled, tx: Transaction) -> None:
    """There is a dataset: retraining is advised, unless the model rests by now."""
    resting = find_rest(tx.now, Store(tx.session).last_advised(assembled.model))

    told = tx.tell(assembled.model_copy(update={"not_advised": resting}))

    if not resting:
        tx.tell(advise(task.detail, assembled, told, tx.now))


def fail(task: Task, code: str, text: str, tx: Transaction) -> None:
    """There is none, and for this drift there will be none."""
    tx.tell(tell_unassembled(task.detail, code, text))


ASSEMBLE = Work("assemble", pending_assemblies, assemble, finish, fail)
