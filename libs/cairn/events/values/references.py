"""How events name things: each by its digest, so that nobody can swap it."""

from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from cairn.events.values.scalars import (
    Count,
    Digest,
    ModelName,
    Name,
    Number,
    Value,
    Word,
)


def shown(example: dict[str, JsonValue]) -> ConfigDict:
    """An example for the fields of a value object, which its schemas show."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class ObjectRef(Value):
    """A large thing kept in the object store, bound by its digest and verified whenever it is read."""

    uri: Annotated[str, Field(max_length=2000, examples=["s3://cairn/sha256/9f/9f…"])]
    """Where it was put. Only a hint: the digest decides whether what was found is the thing."""
    digest: Digest
    """SHA-256 of its bytes."""
    bytes: Count
    """Its size in bytes."""
    media_type: Annotated[str, Field(max_length=200, examples=["text/csv"])]
    """What it is, as an Internet media type."""


class ModelRef(Value):
    """A version of a model."""

    name: ModelName
    """The model's name."""
    version: Number
    """The version, numbered by the registry from 1."""
    digest: Digest
    """Digest of the package's manifest."""


class DatasetRef(Value):
    """A version of a dataset."""

    model_config = shown({"version": "2026-11-21"})

    name: Name
    """The dataset's name."""
    version: Word
    """The version, as its publisher calls it."""
    digest: Digest
    """SHA-256 of the JSON array of its files' digests, sorted: computed by Cairn, never believed."""


class RunRef(Value):
    """One training run."""

    run_id: Word
    """The run, named when it was queued."""
    attempt: Number = 1
    """Which attempt of the run, from 1."""


class DeclarationRef(Value):
    """A revision of a model's declaration."""

    name: ModelName
    """The model that is declared."""
    revision: Number
    """The revision, numbered by the registry from 1."""
    digest: Digest
    """SHA-256 of the declaration's JSON."""


class PolicyRef(Value):
    """A revision of a promotion policy."""

    name: Name
    """The policy's name; `default` is built in."""
    revision: Count
    """The revision; 0 is the built-in one."""
    digest: Digest
    """SHA-256 of the policy's JSON."""


class EventRef(Value):
    """An event, named so that nobody can swap it."""

    model_config = shown(
        {"source": "/cairn/registry", "id": "5f0c1f9e-8d5b-5c0e-9d55-6f2f6f0f3c11", "type": "cairn.model.promoted.v1"}
    )

    source: Annotated[str, Field(min_length=1, max_length=256)]
    """Its source."""
    id: Word
    """Its id; with the source its identity."""
    type: Annotated[str, Field(max_length=200)]
    """Its type."""
    digest: Digest
    """SHA-256 of its value bytes."""


class LogRange(Value):
    """A run of records in one partition, both ends included."""

    model_config = shown({"topic": "predictions", "partition": 3, "first_offset": 1200, "last_offset": 1699})

    topic: Annotated[str, Field(max_length=249)]
    """The topic, without the installation's prefix."""
    partition: Count
    """The partition."""
    first_offset: Count
    """The first record."""
    last_offset: Count
    """The last record."""


Objects = Annotated[tuple[ObjectRef, ...], Field(max_length=200)]
Evidence = Annotated[tuple[EventRef, ...], Field(max_length=100)]
