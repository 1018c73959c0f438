"""What only people, CI and outsiders may ask. Each request has one judge and exactly one answer."""

from typing import Annotated

from pydantic import Field

from cairn.events.declaration import Declaration
from cairn.events.event import Event
from cairn.events.policy import Policy
from cairn.events.values import (
    Count,
    DatasetRef,
    EventRef,
    ModelName,
    ModelRef,
    Name,
    Number,
    PolicyRef,
    Remark,
    Service,
)


class DeclarationSubmitted(Event):
    """Somebody wants a model to be as declared. Answered by `model.declared` or `request.refused`."""

    model: ModelName
    """The model."""
    declaration: Declaration
    """What is declared."""


class PolicySubmitted(Event):
    """Somebody wants promotions judged by this policy. Answered by `policy.adopted` or `request.refused`."""

    policy: Name
    """The policy's name."""
    document: Policy
    """What it demands."""


class TrainingRequested(Event):
    """Somebody wants a model trained now. Answered by `training.queued` or `training.declined`."""

    model: ModelName
    """The model."""
    dataset: DatasetRef | None = None
    """On which accepted dataset; none named means the latest."""
    reason: Remark = ""
    """Why, for people."""


class ApprovalGiven(Event):
    """A person agrees to a promotion. Answered by `promotion.approved`, `promotion.pending` or `request.refused`."""

    model: ModelRef
    """The version that is approved."""
    validation: EventRef | None = None
    """The verdict that the person read."""
    policy: PolicyRef | None = None
    """The policy that the person read."""
    comment: Remark = ""
    """What the person wants remembered."""


class ApprovalWithheld(Event):
    """A person objects to a promotion. Answered by `promotion.refused` or `request.refused`."""

    model: ModelRef
    """The version that is objected to."""
    validation: EventRef | None = None
    """The verdict that the person read."""
    policy: PolicyRef | None = None
    """The policy that the person read."""
    comment: Remark = ""
    """Why."""


class RollbackRequested(Event):
    """Somebody wants an earlier version back. Answered by `rollout.started` or `request.refused`."""

    model: ModelName
    """The model."""
    version: Number | None = None
    """The version to go back to; none named means the champion before this one."""
    reason: Remark = ""
    """Why, for people."""


class RedriveRequested(Event):
    """Somebody wants a parked record tried again. Answered by `record.redriven` or `request.refused`."""

    service: Service
    """The service that parked the record."""
    topic: Annotated[str, Field(max_length=249)]
    """The record's topic, without the installation's prefix."""
    partition: Count
    """Its partition."""
    offset: Count
    """Its offset."""
    reason: Remark = ""
    """Why it should work now, for people."""
