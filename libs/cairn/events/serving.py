"""What the serving processes tell of themselves."""

from typing import Annotated

from pydantic import Field

from cairn.events.event import Event
from cairn.events.values import Count, Digest, ModelName, ModelRef, Number, Reason, Seconds, Value, Word

Replica = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$", examples=["serving-1"])]


class _ReplicaTold(Event):
    replica: Replica
    """The replica's name: configured, and kept over restarts."""
    start: Word
    """This start of it, a uuid."""


class ReplicaActivated(_ReplicaTold):
    """A replica answers by a route."""

    model: ModelRef
    """The version that the route brought."""
    route_revision: Number
    """The route."""
    digest: Digest
    """Digest of the package that was loaded."""
    load_seconds: Seconds
    """How long it took."""


class ReplicaFailed(_ReplicaTold):
    """A replica could not take over a route; it goes on with the one before."""

    model: ModelRef
    """The version that could not be loaded."""
    route_revision: Number
    """The route."""
    digest: Digest
    """Digest of the package."""
    load_seconds: Seconds
    """How long it tried."""
    reason: Reason
    """Why."""


class ReplicaStopped(_ReplicaTold):
    """A replica ended in order."""


class Revision(Value):
    """The route that a replica follows for one model."""

    model: ModelName
    """The model."""
    route_revision: Number
    """The route."""


class Answers(Value):
    """What one arm of one version answered since the replica's start."""

    model: ModelName
    """The model."""
    version: Number
    """The version."""
    arm: Word
    """The arm."""
    route_revision: Number
    """The route under which they were answered."""
    answered: Count
    """Rows answered."""
    failed: Count
    """Rows that could not be."""


class ReplicaReported(_ReplicaTold):
    """A replica is alive, and what it did since its start: every 2 s and on change."""

    revisions: Annotated[tuple[Revision, ...], Field(max_length=1000)]
    """The routes that it follows."""
    answers: Annotated[tuple[Answers, ...], Field(max_length=1000)]
    """What it answered."""
