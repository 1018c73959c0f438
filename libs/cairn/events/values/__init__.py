"""The value objects that events are made of, the same in every event.

All are frozen: two with the same content are equal. A class made in code refuses unknown fields (a writer may
not send them); reading from the wire ignores them (a newer writer may have added some).
"""

from cairn.events.values.judgements import Check, Checks, Metric, Metrics, Reason
from cairn.events.values.objects import Arm, Code, Column, Columns, Environment, IoSchema, Money, Period, Route, Usage
from cairn.events.values.references import (
    DatasetRef,
    DeclarationRef,
    EventRef,
    Evidence,
    LogRange,
    ModelRef,
    ObjectRef,
    Objects,
    PolicyRef,
    RunRef,
)
from cairn.events.values.scalars import (
    LARGEST_INTEGER,
    PERSONAL,
    Count,
    Digest,
    Handle,
    HttpUrl,
    Instant,
    Integer,
    ModelName,
    Name,
    Number,
    Parameters,
    Principal,
    Ratio,
    Real,
    Remark,
    Scalar,
    Seconds,
    Service,
    Text,
    Value,
    Word,
    format_instant,
)
