"""A small world around the trainer: real data, and what others tell of them."""

import random
from collections import deque
from typing import Any
from uuid import uuid4

from tests.libs.modelkit.samples import cancer, written

from cairn.declaration import declaration_digest
from cairn.events import DatasetAccepted, Declaration, ModelDeclared, RetrainingAdvised
from cairn.events.catalogue import topics_owned_by
from cairn.events.identity import dataset_digest
from cairn.events.values import DatasetRef, DeclarationRef, EventRef, ObjectRef
from cairn.objects import ObjectStore
from chassis.digest import combine, digest_tables
from chassis.ledger import Origin
from chassis.processor import sequence_of
from chassis.testing import Actor, World
from chassis.transaction import Place

MODEL = "demo.cancer"
NOWHERE = ObjectRef(uri="file:///nowhere", digest="sha256:" + "0" * 64, bytes=1, media_type="text/csv")


def declared(revision: int = 1, **changes: Any) -> ModelDeclared:
    """A declaration for the breast-cancer data."""
    facts = {"owner": "team", "dataset": "cancer", "target": "diagnosis", "search": {"max_trials": 2}, **changes}
    declaration = Declaration.model_validate({"model": MODEL, **facts})
    digest = declaration_digest(declaration)
    return ModelDeclared(model=MODEL, revision=revision, declaration=declaration, digest=digest)


def event(kind: str) -> EventRef:
    """An event that somebody told somewhere."""
    return EventRef(source="/elsewhere", id=str(uuid4()), type=kind, digest="sha256:" + "e" * 64)


def put_data(objects: ObjectStore, directory: Any, rows: slice = slice(0, 250)) -> ObjectRef:
    """Some rows of the breast-cancer data, in the object store."""
    table = cancer().slice(rows.start, rows.stop - rows.start)
    return objects.put_file(written(table, directory / f"{rows.start}-{rows.stop}.csv"), "text/csv")


def accepted(declaration: ModelDeclared, file: ObjectRef = NOWHERE, name: str = "cancer") -> DatasetAccepted:
    """A verdict in favour of a dataset of one file."""
    ref = DeclarationRef(name=declaration.model, revision=declaration.revision, digest=declaration.digest)
    return DatasetAccepted(
        dataset=DatasetRef(name=name, version="1", digest=dataset_digest([file.digest])),
        files=(file,),
        format="csv",
        columns=(),
        row_count=250,
        declaration=ref,
        published=event("cairn.dataset.published.v1"),
        checks=(),
    )


def advised(verdict: DatasetAccepted, drift: EventRef) -> RetrainingAdvised:
    """Advice to retrain on an accepted dataset."""
    return RetrainingAdvised.model_validate(
        {
            "model": verdict.declaration.name,
            "trigger": drift,
            "dataset": verdict.dataset,
            "evidence": (drift,),
            "cooldown_until_at": "2026-01-02T00:00:00Z",
        }
    )


def digest_of(actor: Actor) -> str:
    """What the tables of a service hold."""
    return combine(digest_tables(actor.database, actor.definition.tables.metadata))


def digest_replayed(actor: Actor, seed: int) -> str:
    """The same after its log was projected into a fresh store, each partition in order, all else by chance."""
    chance, world = random.Random(seed), World(actor.world.directory)
    world.signers, world.trust = actor.world.signers, actor.world.trust
    fresh = world.add(actor.definition)
    own = {topic.name for topic in topics_owned_by(actor.definition.name)}
    waiting = [
        deque(records)
        for (topic, _), records in sorted(actor.world.log.items())
        if topic in own or topic in actor.definition.hears
    ]
    with fresh.database.begin() as session:
        while waiting := [records for records in waiting if records]:
            record = chance.choice(waiting).popleft()
            heard = fresh.processor.heard(record)
            if heard:
                place = None if record.topic in own else Place(record.topic, record.partition, record.offset)
                origin, sequence = Origin.of(heard.message), sequence_of(heard.message)
                fresh.processor.project(session, heard.facts, origin, sequence, place)
    return digest_of(fresh)
