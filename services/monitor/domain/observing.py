"""What counts of what upstream systems say became of predictions."""

from dataclasses import dataclass

from cairn.events.labels import Label, Outcome
from cairn.events.values import format_instant

Name = tuple[str, str, str, str]
"""What an observation is about: a prediction's id, or an entity and the start and end of a period; the rest empty."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was said under one name."""

    revision: int
    partition: int
    """Where it was heard."""
    value: str | None
    """As JSON; none where it was taken back or is not known."""
    disputed: bool = False
    """Whether another value was said in the same revision."""


def name_of(item: Label | Outcome) -> Name:
    """What an observation is about."""
    if item.prediction_id is not None:
        return item.prediction_id, "", "", ""
    assert item.entity is not None  # an observation has one of the two names
    assert item.period is not None
    return "", item.entity, format_instant(item.period.start_at), format_instant(item.period.end_at)


def replaces(heard: Said, known: Said) -> bool:
    """Whether an observation replaces the known one: the highest revision counts, of the same revision the first.

    What is first can be known within one partition only; of two partitions the lower one counts as first.
    """
    return (heard.revision, -heard.partition) > (known.revision, -known.partition)


def is_disputed(heard: Said, known: Said) -> bool:
    """Whether what stands of the two was said with another value in the same revision."""
    if heard.revision == known.revision:
        return known.disputed or heard.value != known.value
    return known.disputed and known.revision > heard.revision
