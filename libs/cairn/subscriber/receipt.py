"""Whether a promotion is the receipt that it says it is: all that can be checked without asking anyone."""

from collections.abc import Iterator

from cairn.events.catalogue import TOPICS, type_of
from cairn.events.deployment import RolloutCompleted
from cairn.events.event import Event
from cairn.events.governance import PromotionApproved
from cairn.events.identity import Installation
from cairn.events.registry import ModelPromoted, SchemaChange
from cairn.events.requests import ApprovalGiven
from cairn.events.validation import ValidationPassed
from cairn.events.values import EventRef, IoSchema


def receipt_faults(facts: ModelPromoted, installation: Installation) -> list[str]:
    """What in a promotion contradicts itself or points to nothing that could justify it; empty for a sound one.

    That the registry signed it is checked with every event's signature, before.
    """
    return [*_identity(facts), *_use(facts), *_grounds(facts, installation), *_log(facts, installation)]


def _identity(facts: ModelPromoted) -> Iterator[str]:
    model, previous = facts.model, facts.previous
    if facts.package.digest != model.digest:
        yield f"package.digest is {facts.package.digest}, but the model's digest is {model.digest}"
    if previous and previous.name != model.name:
        yield f"previous is {previous.name}, another model than {model.name}"
    if facts.kind == "rollback" and previous is None:
        yield "it is a rollback, but no previous champion is named"
    if facts.declaration.name != model.name:
        yield f"declaration is that of {facts.declaration.name}, not of {model.name}"


def _use(facts: ModelPromoted) -> Iterator[str]:
    if len(set(facts.classes)) != len(facts.classes) or len(facts.classes) < 2:
        yield f"classes are {list(facts.classes)}: at least two different ones are needed to tell an answer"
    if not facts.endpoint:
        yield "endpoint is empty: nothing says where the model answers"
    yield from _change(facts.io_change, facts.io_schema)


def _change(change: SchemaChange, schema: IoSchema) -> Iterator[str]:
    inputs = {column.name: column for column in schema.inputs}
    for column in (*change.added, *change.changed):
        if inputs.get(column.name) != column:
            yield f"io_change names the input {column.name}, which io_schema does not have like that"
    for column in change.removed:
        if column.name in inputs:
            yield f"io_change says that the input {column.name} is gone, but io_schema has it"


def _grounds(facts: ModelPromoted, installation: Installation) -> Iterator[str]:
    if not facts.metrics:
        yield "metrics are empty: nothing was measured"
    yield from _told("validation", facts.validation, ValidationPassed, installation)
    yield from _told("approval", facts.approval, PromotionApproved, installation)
    yield from _told("rollout", facts.rollout, RolloutCompleted, installation)
    for approval in facts.approvals:
        if approval.type != type_of(ApprovalGiven).name:
            yield f"approvals names a {approval.type}, which is no approval"


def _told(field: str, ref: EventRef, expected: type[Event], installation: Installation) -> Iterator[str]:
    """Faults of a reference to what a service of the same installation must have told."""
    entry = type_of(expected)
    if ref.type != entry.name:
        yield f"{field} names a {ref.type}, expected {entry.name}"
    source = installation.source(TOPICS[entry.topic].owner)
    if ref.source != source:
        yield f"{field} was told by {ref.source}, expected {source}"


def _log(facts: ModelPromoted, installation: Installation) -> Iterator[str]:
    if not facts.log_origin.startswith(f"{installation.name}/"):
        yield f"log_origin is {facts.log_origin}, expected a log of {installation.name}"
