"""The value objects that events describe things with."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cairn.events.values.references import ModelRef, ObjectRef
from cairn.events.values.scalars import (
    Count,
    Digest,
    Instant,
    Number,
    Ratio,
    Scalar,
    Seconds,
    Value,
    Word,
    format_instant,
)


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


class Period(Value):
    """A half-open span of time: it ends after it starts."""

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
