"""The value objects that events are made of, the same in every event.

All are frozen: two with the same content are equal. A class made in code refuses unknown fields (a writer may
not send them); reading from the wire ignores them (a newer writer may have added some).
"""

from cairn.events.values.objects import (
    Arm,
    Check,
    Checks,
    Code,
    Column,
    Columns,
    DatasetRef,
    DeclarationRef,
    Environment,
    EventRef,
    Evidence,
    IoSchema,
    LogRange,
    Metric,
    Metrics,
    ModelRef,
    Money,
    ObjectRef,
    Objects,
    Period,
    PolicyRef,
    Reason,
    Route,
    RunRef,
    Usage,
)
from cairn.events.values.scalars import (
    LARGEST_INTEGER,
    Count,
    Digest,
    Handle,
    Instant,
    Integer,
    ModelName,
    Name,
    Number,
    Parameters,
    Ratio,
    Real,
    Scalar,
    Seconds,
    Service,
    Text,
    Value,
    Word,
    format_instant,
)
