"""The validator's slow work: looking into datasets, and measuring models. The looking is done in children."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from cairn.children import ChildFailed
from cairn.events import DatasetAccepted, DatasetAssembled, DatasetPublished, ModelDeclared, ModelPromoted
from cairn.events.codec import EventTooLarge
from cairn.events.registry import Forms, ModelRegistered
from cairn.events.values import Check, Column, ObjectRef
from cairn.objects import ObjectCorrupt, ObjectError, ObjectMissing, ObjectStore
from chassis import Origin, Task, Transaction, Work
from chassis.work import Job, WorkFailed
from modelkit.preload import MODULES
from validator.domain import (
    Findings,
    Measured,
    Offer,
    find_objection,
    judge_dataset,
    judge_model,
    metrics_on,
    offer_assembled,
    offer_published,
    reject_unread,
    tell_errored,
)
from validator.store import Assembled, Declared, Offered, Published, Store, Version

PRELOAD = tuple(MODULES)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A dataset version, and the declaration that it is to be judged for."""

    offer: Offer
    declared: ModelDeclared

    @property
    def n(self) -> str:
        """Sets it apart from what else its cause leads to: one declaration may wait for several versions."""
        published = self.offer.published
        return f"{self.declared.model}/{self.declared.revision}/{published.source}#{published.id}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A version, and all that it is to be measured with; None for what is not known here."""

    registered: ModelRegistered
    declared: ModelDeclared | None
    dataset: DatasetAccepted | None
    champion: ModelPromoted | None


def pending_inspections(session: Session) -> list[Task]:
    """Dataset versions that want a verdict."""
    store = Store(session)
    return [
        _inspection(table, offered, declared)
        for table in (Published, Assembled)
        for offered, declared in store.unjudged(table)
    ]


def _inspection(table: type[Offered], offered: Offered, declared: Declared) -> Task:
    published, declaring = Origin.parse(offered.origin), Origin.parse(declared.origin)
    offer = (
        offer_published(DatasetPublished.model_validate_json(offered.facts), published.ref)
        if table is Published
        else offer_assembled(DatasetAssembled.model_validate_json(offered.facts), published.ref)
    )
    return Task(
        id=f"{table.topic}/{offered.partition}/{offered.offset}/{declared.model}/{declared.revision}",
        origin=_later(published, declaring),
        detail=Inspection(offer, ModelDeclared.model_validate_json(declared.facts)),
    )


def _later(one: Origin, other: Origin) -> Origin:
    """The cause of what takes two events: the one that came last, by their own times."""
    return max(one, other, key=lambda origin: (datetime.fromisoformat(origin.time), origin.id))


async def inspect(task: Task, job: Job) -> Findings:
    """Look into a dataset."""
    inspection: Inspection = task.detail
    offer = inspection.offer
    objection = find_objection(offer)
    if objection:
        raise WorkFailed(*objection)
    spec = {
        "files": await _fetch(job.objects, offer.files),
        "format": offer.format,
        "declaration": inspection.declared.declaration.model_dump(mode="json"),
    }
    job.progress()
    found = await job.children.run("modelkit.children:inspect_dataset", spec)
    return Findings(
        columns=tuple(Column.model_validate(column) for column in found["columns"]),
        row_count=found["row_count"],
        checks=_checks(found),
        accepted=found["accepted"],
        profile=await _keep(job.objects, found["profile"]) if found["profile"] else None,
    )


def tell_findings(task: Task, findings: Findings, tx: Transaction) -> None:
    """Accepted or rejected."""
    inspection: Inspection = task.detail
    tx.tell(judge_dataset(inspection.offer, inspection.declared, findings), inspection.n)


def tell_unread(task: Task, code: str, text: str, tx: Transaction) -> None:
    """Rejected: it could not be read."""
    inspection: Inspection = task.detail
    rejected = reject_unread(inspection.offer, inspection.declared, code, text)
    try:
        tx.tell(rejected, inspection.n)
    except EventTooLarge:  # its files alone fill an event; a rejected dataset's need not all be told again
        tx.tell(rejected.model_copy(update={"files": rejected.files[:1]}), inspection.n)


def pending_measurements(session: Session) -> list[Task]:
    """Versions that want a verdict."""
    store = Store(session)
    return [_measurement(store, row) for row in store.unjudged_versions()]


def _measurement(store: Store, row: Version) -> Task:
    registered = ModelRegistered.model_validate_json(row.facts)
    detail = Measurement(
        registered,
        store.declaration(row.model, registered.declaration.revision),
        store.accepted(registered.dataset.name, registered.dataset.digest),
        store.champion(row.model),
    )
    return Task(id=f"{row.model}/{row.version}", origin=Origin.parse(row.origin), detail=detail)


async def measure(task: Task, job: Job) -> Measured:
    """Measure a version on the held-out rows, beside the champion where there is one."""
    detail: Measurement = task.detail
    registered, champion = detail.registered, detail.champion
    spec = await _measuring_spec(detail, job.objects)
    job.progress()
    try:
        rival = await _package(job.objects, champion.package, champion.forms) if champion else None
        found = await job.children.run("modelkit.children:measure", {**spec, "champion": rival})
    except (WorkFailed, ChildFailed):
        if champion is None or spec["declaration"]["gates"]["beats_champion"]:
            raise
        # Nothing was asked of the comparison: a champion that cannot answer these data does not stand in the way.
        champion = None
        found = await job.children.run("modelkit.children:measure", spec)
    return Measured(
        metrics=metrics_on(registered.dataset, found["metrics"]),
        checks=_checks(found),
        passed=found["passed"],
        report=await _keep(job.objects, found["report"]),
        champion=champion.model if champion else None,
        champion_metrics=metrics_on(registered.dataset, found["champion_metrics"]),
    )


async def _measuring_spec(detail: Measurement, objects: ObjectStore) -> dict[str, Any]:
    registered = detail.registered
    if detail.dataset is None:
        raise WorkFailed("unknown-dataset", f"{registered.dataset.name} {registered.dataset.digest} was never accepted")
    if detail.declared is None:
        raise WorkFailed("unknown-declaration", f"revision {registered.declaration.revision} was never declared")
    return {
        "files": await _fetch(objects, detail.dataset.files),
        "format": detail.dataset.format,
        "digest": registered.dataset.digest,
        "declaration": detail.declared.declaration.model_dump(mode="json"),
        **await _package(objects, registered.package, registered.forms),
    }


async def _package(objects: ObjectStore, manifest: ObjectRef, forms: Forms) -> dict[str, Any]:
    """Local copies of a package's manifest and of the model's forms, which it names by digest."""
    (manifest_file,) = await _fetch(objects, [manifest])
    refs = [await asyncio.to_thread(objects.find, form.digest) for form in forms]
    for form, ref in zip(forms, refs, strict=True):
        if ref is None:
            raise WorkFailed("object-missing", f"the package's {form.file}, {form.digest}, is not in the object store")
    files = await _fetch(objects, [ref for ref in refs if ref])
    return {
        "manifest_file": manifest_file,
        "package_files": {form.file: file for form, file in zip(forms, files, strict=True)},
    }


def tell_verdict(task: Task, measured: Measured, tx: Transaction) -> None:
    """Passed or failed."""
    tx.tell(judge_model(task.detail.registered, measured))


def tell_unmeasured(task: Task, code: str, text: str, tx: Transaction) -> None:
    """It could not be judged."""
    tx.tell(tell_errored(task.detail.registered, code, text))


async def _fetch(objects: ObjectStore, refs: Iterable[ObjectRef]) -> list[str]:
    """Verified local copies."""
    try:
        return [str(await asyncio.to_thread(objects.get, ref)) for ref in refs]
    except ObjectError as error:
        codes = {ObjectMissing: "object-missing", ObjectCorrupt: "object-corrupt"}
        raise WorkFailed(codes.get(type(error), "object-refused"), str(error)) from error


async def _keep(objects: ObjectStore, content: Any) -> ObjectRef:
    """Put JSON into the store, always in the same bytes."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return await asyncio.to_thread(objects.put_bytes, text.encode(), "application/json")


def _checks(found: dict[str, Sequence[dict[str, Any]]]) -> tuple[Check, ...]:
    return tuple(Check.model_validate(check) for check in found["checks"])


INSPECT = Work("inspect", pending_inspections, inspect, tell_findings, tell_unread)
MEASURE = Work("measure", pending_measurements, measure, tell_verdict, tell_unmeasured)
