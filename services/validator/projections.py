"""What the validator remembers of each event: event in, rows out."""

from cairn.events import (
    DatasetAccepted,
    DatasetAssembled,
    DatasetPublished,
    DatasetRejected,
    Event,
    ModelDeclared,
    ModelPromoted,
    ModelRegistered,
    ValidationErrored,
    ValidationFailed,
    ValidationPassed,
)
from chassis import Projections, Rows
from validator.store import Assembled, Champion, DatasetVerdict, Declared, ModelVerdict, Offered, Published, Version

projections = Projections()


@projections.of(DatasetPublished)
def remember_published(event: DatasetPublished, rows: Rows) -> None:
    """Keep every published version."""
    rows.put(_offered(Published, event.dataset, event, rows))


@projections.of(DatasetAssembled)
def remember_assembled(event: DatasetAssembled, rows: Rows) -> None:
    """Keep every assembled version."""
    rows.put(_offered(Assembled, event.dataset.name, event, rows))


def _offered(table: type[Offered], dataset: str, event: Event, rows: Rows) -> Offered:
    assert rows.partition is not None  # it was heard
    assert rows.offset is not None  # as above
    return table(
        source=rows.origin.source,
        event_id=rows.origin.id,
        dataset=dataset,
        partition=rows.partition,
        offset=rows.offset,
        facts=event.model_dump_json(),
        origin=rows.origin.dump(),
    )


@projections.of(ModelDeclared)
def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(
        Declared(
            model=event.model,
            revision=event.revision,
            dataset=event.declaration.dataset,
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(ModelRegistered)
def remember_version(event: ModelRegistered, rows: Rows) -> None:
    """Keep every version."""
    rows.put(
        Version(
            model=event.model.name,
            version=event.model.version,
            registered_at=rows.origin.time,
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(ModelPromoted)
def remember_champion(event: ModelPromoted, rows: Rows) -> None:
    """Keep every change of a champion."""
    rows.put(Champion(model=event.model.name, generation=event.generation, facts=event.model_dump_json()))


@projections.of(DatasetAccepted, DatasetRejected)
def remember_dataset_verdict(event: DatasetAccepted | DatasetRejected, rows: Rows) -> None:
    """Keep the verdict on a dataset for a declaration."""
    rows.put(
        DatasetVerdict(
            source=event.published.source,
            event_id=event.published.id,
            model=event.declaration.name,
            revision=event.declaration.revision,
            dataset=event.dataset.name,
            digest=event.dataset.digest,
            accepted=isinstance(event, DatasetAccepted),
            judged_at=rows.origin.time,
            facts=event.model_dump_json(),
        )
    )


@projections.of(ValidationPassed, ValidationFailed, ValidationErrored)
def remember_model_verdict(event: ValidationPassed | ValidationFailed | ValidationErrored, rows: Rows) -> None:
    """Keep how the judging of a version ended."""
    words = {ValidationPassed: "passed", ValidationFailed: "failed", ValidationErrored: "errored"}
    rows.put(
        ModelVerdict(
            model=event.model.name,
            version=event.model.version,
            verdict=words[type(event)],
            judged_at=rows.origin.time,
            facts=event.model_dump_json(),
        )
    )
