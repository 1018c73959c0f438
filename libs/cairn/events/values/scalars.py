"""The plain values that events are made of: names, numbers, instants, cells."""

import json
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer

LARGEST_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""


PERSONAL = Field(json_schema_extra={"x-personal": True})
"""Marks a field that can hold personal data."""


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant lies outside the calendar, in UTC") from None


def _finite(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    json.dumps(value, allow_nan=False)
    return value


def format_instant(instant: datetime) -> str:
    """An instant as events write it: UTC, microseconds, `Z`."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,2}$", examples=["risk.loans-2026"])]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,1}$", examples=["risk.loans"])]
Service = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$", examples=["registry"])]
Handle = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._@-]{0,127}$", examples=["ada"])]
Principal = Annotated[str, Field(pattern=r"^[a-z]{1,32}/[a-z0-9][a-z0-9._@-]{0,127}$", examples=["system/warehouse"])]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+([/?#][^\s]*)?$", max_length=2000)]
Text = Annotated[str, Field(max_length=2000)]
Remark = Annotated[str, Field(max_length=2000), PERSONAL]
"""What a person wrote for other people."""
Word = Annotated[str, Field(min_length=1, max_length=128)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", examples=["sha256:" + "9f" * 32])]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Number = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
Integer = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Instant = Annotated[
    AwareDatetime, AfterValidator(_in_utc), PlainSerializer(format_instant, return_type=str, when_used="json")
]
Scalar = (
    Annotated[bool, Field(strict=True)]
    | Annotated[Integer, Field(strict=True)]
    | Real
    | Annotated[str, Field(max_length=1000)]
    | None
)
Parameters = Annotated[
    dict[str, JsonValue],
    Field(max_length=100, examples=[{"learning_rate": 0.05, "max_iter": 300, "early_stopping": True}]),
    AfterValidator(_finite),
]


class Value(BaseModel):
    """What all value objects share: frozen, exact, described by the docstring under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
