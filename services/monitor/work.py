"""Slow work: what was served since a drift, joined with its labels, becomes a dataset."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from cairn.events import DatasetAssembled, ModelRegistered, RetrainingAdvised
from cairn.events.declaration import Declaration
from cairn.events.identity import dataset_digest
from cairn.events.values import DatasetRef, LogRange, ObjectRef
from chassis import Task, Transaction, Work
from chassis.work import Job
from monitor.domain import TOPIC, cooldown_end, coverage, describe_target, write_csv
from monitor.store import OpenDrift, Store


@dataclass(frozen=True, slots=True)
class Assembly:
    """What becomes one dataset."""

    drift: OpenDrift
    declaration: Declaration
    registered: ModelRegistered
    rows: tuple[tuple[dict[str, Any], Any], ...]
    """Features and label, in the order served."""
    inputs: tuple[LogRange, ...]
    coverage_ratio: float


def find_ready(session: Session) -> Sequence[Task]:
    """The drifts since which enough rows have labels, and which no advice has followed."""
    store = Store(session)
    tasks = []
    for drift in store.open_drifts():
        declaration, registered = (
            store.declaration_of(drift.model, drift.version),
            store.version(drift.model, drift.version),
        )
        if declaration and registered and store.count_labelled_since(drift) >= declaration.retraining.rows:
            assembly = _select(store, drift, declaration, registered)
            tasks.append(Task(f"{drift.model}/{drift.version}/{drift.window}", drift.origin, assembly))
    return tasks


def _select(store: Store, drift: OpenDrift, declaration: Declaration, registered: ModelRegistered) -> Assembly:
    rows = store.labelled_since(drift, declaration.retraining.rows)
    last = rows[-1][0]
    inputs = tuple(
        LogRange(topic=TOPIC, partition=partition, first_offset=first, last_offset=final)
        for partition, first, final in store.places_between(drift, last)
    )
    return Assembly(
        drift,
        declaration,
        registered,
        tuple((features, label) for _, features, label in rows),
        inputs,
        coverage(len(rows), store.served_since(drift, last)),
    )


async def write_dataset(task: Task, job: Job) -> ObjectRef:
    """Write the rows as a file and keep it."""
    assembly: Assembly = task.detail
    names = [column.name for column in assembly.registered.io_schema.inputs]
    content = write_csv(names, assembly.declaration.target, assembly.rows)
    job.progress()
    return await asyncio.to_thread(job.objects.put_bytes, content, "text/csv")


def tell_dataset(task: Task, file: ObjectRef, tx: Transaction) -> None:
    """Tell the dataset, and advise to retrain on it."""
    assembly: Assembly = task.detail
    drift, declaration = assembly.drift, assembly.declaration
    dataset = DatasetRef(
        name=f"served.{drift.model}", version=f"v{drift.version}-w{drift.window}", digest=dataset_digest([file.digest])
    )
    target = describe_target(declaration.target, (label for _, label in assembly.rows))
    assembled = tx.tell(
        DatasetAssembled(
            model=drift.model,
            dataset=dataset,
            files=(file,),
            format="csv",
            columns=(*assembly.registered.io_schema.inputs, target),
            row_count=len(assembly.rows),
            inputs=assembly.inputs,
            label_coverage_ratio=assembly.coverage_ratio,
            trigger=drift.origin.ref,
        )
    )
    tx.tell(
        RetrainingAdvised(
            model=drift.model,
            trigger=drift.origin.ref,
            dataset=dataset,
            evidence=(drift.origin.ref, assembled),
            cooldown_until_at=cooldown_end(tx.now, declaration.retraining.cooldown_seconds),
        )
    )


def tell_failure(task: Task, code: str, text: str, _tx: Transaction) -> None:
    """There is no event for a dataset that could not be written: the drift stays open, and the fault is in the log."""
    raise RuntimeError(f"{task.id} could not be assembled: {text} ({code})")


ASSEMBLE = Work("assemble", pending=find_ready, run=write_dataset, finish=tell_dataset, fail=tell_failure)
