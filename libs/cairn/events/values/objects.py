"""The value objects that events name things by, and describe them with."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from cairn.events.values.scalars import (
    Count,
    Digest,
    Instant,
    ModelName,
    Name,
    Number,
    Ratio,
    Real,
    Scalar,
    Seconds,
    Text,
    Value,
    Word,
    format_instant,
)


def _shown(example: dict[str, JsonValue]) -> ConfigDict:
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

    model_config = _shown({"version": "2026-11-21"})

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


class Column(Value):
    """One column of a table."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """The column's name."""
    type: Literal["number", "integer", "boolean", "string"]
    """What its cells hold."""
    unit: Annotated[str, Field(max_length=64)] | None = None
    """The unit of measure, in UCUM."""
    required: bool = True
    """Whether a cell may not be empty."""
    categories: Annotated[tuple[Scalar, ...], Field(max_length=1000)] = ()
    """The values it may take; none listed means any."""
    personal: bool = False
    """Whether it holds personal data."""
    sensitive: bool = False
    """Whether it describes a protected group."""


Columns = Annotated[tuple[Column, ...], Field(max_length=500)]


class IoSchema(Value):
    """What a model takes and gives."""

    inputs: Columns
    """The columns it reads, in order."""
    outputs: Columns
    """The columns it answers with, in order."""


class Metric(Value):
    """One measured figure, with all that is needed to read it rightly."""

    model_config = _shown(
        {
            "name": "roc_auc",
            "value": 0.993,
            "lower": 0.981,
            "upper": 0.999,
            "confidence": 0.95,
            "n": 114,
            "split": "held_out",
            "slice": "region=north",
            "higher_is_better": True,
        }
    )

    name: Word
    """Which figure, e.g. `roc_auc`."""
    value: Real
    """What was measured."""
    lower: Real | None = None
    """Lower end of the confidence interval."""
    upper: Real | None = None
    """Upper end of the confidence interval."""
    confidence: Ratio | None = None
    """Coverage of that interval."""
    n: Count
    """How many rows it was measured on."""
    dataset: DatasetRef | None = None
    """On which data."""
    split: Word | None = None
    """On which part of it, e.g. `held_out`."""
    slice: Word | None = None
    """On which group of rows, when not all."""
    higher_is_better: bool = True
    """Which way is better."""


class Check(Value):
    """One question that was asked and its answer: gates, expectations and policy rules alike."""

    model_config = _shown(
        {"name": "roc_auc", "asked": "at least 0.9", "measured": "0.993", "passed": True, "reason": "n = 114"}
    )

    name: Word
    """Which check."""
    asked: Text
    """What was demanded, for a person to read."""
    measured: Text
    """What was found, for a person to read."""
    passed: bool
    """Whether the demand was met."""
    severity: Literal["error", "warning"] = "error"
    """Whether a failure decides (`error`) or only warns."""
    reason: Text = ""
    """Why, where that is not plain."""


class Period(Value):
    """A half-open span of time."""

    start_at: Instant
    """The first instant inside."""
    end_at: Instant
    """The first instant after: later than the first inside."""

    @model_validator(mode="after")
    def _holds_an_instant(self) -> Self:
        if self.end_at <= self.start_at:
            raise ValueError(
                f"the period holds no instant: from {format_instant(self.start_at)} to {format_instant(self.end_at)}"
            )
        return self


class EventRef(Value):
    """An event, named so that nobody can swap it."""

    model_config = _shown(
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

    model_config = _shown({"topic": "predictions", "partition": 3, "first_offset": 1200, "last_offset": 1699})

    topic: Annotated[str, Field(max_length=249)]
    """The topic, without the installation's prefix."""
    partition: Count
    """The partition."""
    first_offset: Count
    """The first record."""
    last_offset: Count
    """The last record."""


class Reason(Value):
    """Why something was decided so."""

    model_config = _shown({"code": "gate-failed", "text": "roc_auc is 0.87, at least 0.9 was asked for"})

    code: Word
    """For programs: a word in kebab case."""
    text: Text
    """For people: a sentence."""
    evidence: Annotated[tuple[EventRef, ...], Field(max_length=100)] = ()
    """The events it rests on."""


class Arm(Value):
    """One version that takes a part of a model's traffic."""

    name: Word
    """The arm's name, e.g. `v2`."""
    role: Literal["champion", "challenger", "shadow"]
    """What it is in this route."""
    model: ModelRef
    """The version that answers."""
    package: ObjectRef
    """The manifest of its package."""
    profile: ObjectRef
    """The reference profile that its inputs are watched against."""
    weight_ratio: Ratio
    """Its share of the traffic."""


class Route(Value):
    """How a model's traffic is divided, whole; numbered by the deployer."""

    revision: Number
    """One higher with every change; serving processes drop a lower one."""
    arms: Annotated[tuple[Arm, ...], Field(min_length=1, max_length=8)]
    """The arms; the weights of those that are not shadows add up to 1."""


class Usage(Value):
    """What a piece of work consumed."""

    wall_seconds: Seconds
    """Time that passed."""
    cpu_seconds: Seconds
    """Time on processors."""
    peak_rss_bytes: Count
    """Largest resident memory."""


class Money(Value):
    """An amount of money."""

    amount: Annotated[str, Field(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$", examples=["12.50"])]
    """The amount, as a decimal string."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])]
    """The currency, ISO 4217."""


class Code(Value):
    """Which code ran."""

    repository: Annotated[str, Field(max_length=500)]
    """The repository or distribution it came from."""
    commit: Annotated[str, Field(max_length=100)]
    """The commit or version."""


class Environment(Value):
    """What it ran on."""

    python: Word
    """Version of Python."""
    platform: Annotated[str, Field(max_length=200)]
    """Operating system and processor."""
    lock: Digest
    """Digest of the list of installed distributions and versions."""


Checks = Annotated[tuple[Check, ...], Field(max_length=500)]
Metrics = Annotated[tuple[Metric, ...], Field(max_length=200)]
Objects = Annotated[tuple[ObjectRef, ...], Field(max_length=200)]
Evidence = Annotated[tuple[EventRef, ...], Field(max_length=100)]
