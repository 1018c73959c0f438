"""A small world around the monitor: a model of two features, and what others tell of it."""

import csv
import io
import random
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cairn.broker import partition_of
from cairn.declaration import declaration_digest
from cairn.events import (
    DatasetAssembled,
    Declaration,
    Event,
    LabelsObserved,
    ModelDeclared,
    ModelRegistered,
    PredictionsServed,
)
from cairn.events.catalogue import topics_owned_by
from cairn.events.labels import Label
from cairn.events.predictions import Output, PredictionRow, ServedModel
from cairn.events.registry import Form
from cairn.events.values import Column, DatasetRef, DeclarationRef, IoSchema, ModelRef, ObjectRef, Period, RunRef
from cairn.objects import ObjectStore
from chassis import ServiceSettings
from chassis.digest import combine, digest_tables
from chassis.ledger import Origin
from chassis.processor import sequence_of
from chassis.testing import Actor, World
from chassis.transaction import Place
from modelkit.grid import CategoryGrid, NumberGrid, Profile
from monitor.app import build

MODEL = "demo.toy"
START = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "d" * 64
NOWHERE = ObjectRef(uri="file:///nowhere", digest=DIGEST, bytes=1, media_type="application/json")
PROFILE = Profile(
    rows=100,
    columns=(
        NumberGrid(name="x", edges=(1.0, 2.0, 3.0), counts=(25, 25, 25, 25, 0)),
        CategoryGrid(name="colour", categories=("blue", "red"), counts=(50, 50, 0, 0)),
        NumberGrid(name="score", edges=(0.5,), counts=(50, 50, 0)),
    ),
)
INPUTS = (Column(name="x", type="number"), Column(name="colour", type="string"))


def declared(revision: int = 1, **changes: Any) -> ModelDeclared:
    """Windows of 20 rows, datasets of 30."""
    facts = {"owner": "team", "dataset": "toy", "target": "y", "retraining": {"rows": 30}, **changes}
    facts.setdefault("monitoring", {"window_rows": 20, "drift": {"bins": 4}})
    declaration = Declaration.model_validate({"model": MODEL, **facts})
    return ModelDeclared(
        model=MODEL, revision=revision, declaration=declaration, digest=declaration_digest(declaration)
    )


def keep_profile(objects: ObjectStore, profile: Profile = PROFILE) -> ObjectRef:
    """The profile in the object store."""
    return objects.put_bytes(profile.model_dump_json().encode(), "application/json")


def model_of(version: int) -> ModelRef:
    return ModelRef(name=MODEL, version=version, digest=DIGEST)


def registered(profile: ObjectRef, version: int = 1, declaration: ModelDeclared | None = None) -> ModelRegistered:
    """A version made to a declaration."""
    made_to = declaration or declared()
    return ModelRegistered(
        model=model_of(version),
        package=NOWHERE,
        profile=profile,
        forms=(Form(name="skops", file="model.skops", digest=DIGEST),),
        io_schema=IoSchema(inputs=INPUTS, outputs=(Column(name="score", type="number"),)),
        run=RunRef(run_id=f"run-{version}"),
        dataset=DatasetRef(name="toy", version="1", digest=DIGEST),
        declaration=DeclarationRef(name=MODEL, revision=made_to.revision, digest=made_to.digest),
        card=NOWHERE,
    )


def at(number: int) -> datetime:
    """When the row of this number was served."""
    return START + timedelta(seconds=number)


def quiet(number: int) -> tuple[float, str]:
    """Features like those of the reference."""
    return (number % 4) + 0.5, ("blue", "red")[number // 4 % 2]


def shifted(number: int) -> tuple[float, str]:
    """Features as the reference has none."""
    return 40 + number / 7, ("blue", "red")[number // 4 % 2]


def row(
    number: int, features: tuple[Any, ...], version: int = 1, arm: str = "champion", entity: str | None = None
) -> PredictionRow:
    """One answer; numbers are in the order served, a second apart."""
    return PredictionRow(
        prediction_id=f"p{number:05}",
        entity=entity,
        served_at=at(number),
        arm=arm,
        version=version,
        features=features,
        output=Output(score=(number % 2) * 0.8 + 0.1, label=number % 2),
        latency_seconds=0.001,
    )


def served(profile: ObjectRef, rows: Sequence[PredictionRow], replica: str = "a", **changes: Any) -> PredictionsServed:
    """One event of a replica."""
    versions = sorted({one.version for one in rows})
    facts = {
        "model": MODEL,
        "replica": replica,
        "route_revision": 1,
        "models": tuple(ServedModel(model=model_of(version), profile=profile) for version in versions),
        "columns": ("x", "colour"),
        "rows": tuple(rows),
        "answered": len(rows),
    }
    return PredictionsServed(**{**facts, **changes})


def traffic(
    profile: ObjectRef, first: int, last: int, of: Any = quiet, size: int = 5, **more: Any
) -> list[PredictionsServed]:
    """Events of `size` rows each, numbered from `first` to `last`."""
    replica = more.pop("replica", "a")
    numbers = range(first, last + 1)
    rows = [row(number, of(number), **more) for number in numbers]
    return [served(profile, rows[start : start + size], replica) for start in range(0, len(rows), size)]


def label(number: int, value: Any = None, revision: int = 0, **more: Any) -> Label:
    """What became of a prediction."""
    truth = number % 3 % 2 if value is None else value
    return Label(prediction_id=f"p{number:05}", value=truth, observed_at=START, revision=revision, **more)


def entity_label(entity: str, first: int, last: int, value: Any, revision: int = 0, **more: Any) -> Label:
    """What became of all that was predicted of an entity, from the first row on to just before the last."""
    period = Period(start_at=at(first), end_at=at(last))
    return Label(entity=entity, period=period, value=value, observed_at=START, revision=revision, **more)


def labels(first: int, last: int, size: int = 10) -> list[LabelsObserved]:
    """Events with the labels of rows in the order served."""
    items = [label(number) for number in range(first, last + 1)]
    return [labelled(*items[start : start + size]) for start in range(0, len(items), size)]


def labelled(*items: Label, target: str = "y") -> LabelsObserved:
    return LabelsObserved(model=MODEL, target=target, items=items)


def replicas_apart(count: int) -> list[str]:
    """Replicas whose predictions lie in different partitions, by the number of the partition."""
    found: dict[int, str] = {}
    for number in range(100):
        name = f"replica-{number}"
        found.setdefault(partition_of("predictions", f"model/{MODEL}/{name}".encode()), name)
    return [found[partition] for partition in sorted(found)][:count]


def new_monitor(directory: Path, database_url: str | None = None) -> Actor:
    """A monitor in a world of its own, on SQLite unless a database is given."""
    directory.mkdir(exist_ok=True)
    return World(directory).add(build(ServiceSettings.model_construct()), database_url)


def ended(monitor: Actor, *classes: type[Event]) -> list[Any]:
    """What was told of these types, all work done."""
    while monitor.work():
        pass
    monitor.relay()
    return monitor.world.told(*classes)


def bytes_of(monitor: Actor, assembled: DatasetAssembled) -> bytes:
    """The file of a dataset."""
    (file,) = assembled.files
    return monitor.world.objects.read_bytes(file, file.bytes)


def rows_of(monitor: Actor, assembled: DatasetAssembled) -> list[list[str]]:
    """The data rows."""
    return list(csv.reader(io.StringIO(bytes_of(monitor, assembled).decode(), newline="")))[1:]


def digest_of(actor: Actor) -> str:
    """What the tables of a service hold."""
    return combine(digest_tables(actor.database, actor.definition.tables.metadata))


def digest_replayed(actor: Actor, seed: int) -> str:
    """The same after its log was projected into a fresh store, each partition in order, all else by chance."""
    chance, fresh = random.Random(seed), successor(actor)
    own = {topic.name for topic in topics_owned_by(actor.definition.name)}
    waiting = [
        deque(records)
        for (topic, _), records in sorted(actor.world.log.items())
        if topic in own or topic in actor.definition.hears
    ]
    with fresh.database.begin() as session:
        while waiting := [records for records in waiting if records]:
            project(fresh, session, chance.choice(waiting).popleft(), own)
    return digest_of(fresh)


def successor(actor: Actor) -> Actor:
    """The same service on the same log with an empty store."""
    world = World(actor.world.directory)
    world.signers, world.trust, world.log = actor.world.signers, actor.world.trust, actor.world.log
    return world.add(actor.definition)


def project(fresh: Actor, session: Any, record: Any, own: set[str]) -> None:
    heard = fresh.processor.heard(record)
    if heard:
        place = None if record.topic in own else Place(record.topic, record.partition, record.offset)
        origin, sequence = Origin.of(heard.message), sequence_of(heard.message)
        fresh.processor.project(session, heard.facts, origin, sequence, place)
