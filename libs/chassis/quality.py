"""Tells a bad deployment from bad data: when most records cannot be handled, it is the service that is ill."""

from collections import deque
from dataclasses import dataclass, field

from cairn.events.catalogue import TOPICS
from cairn.events.codec import Malformed, Record
from chassis.positions import Partition

_MOST_BAD_IN_A_ROW = 5
_MOST_BAD_OF_100 = 20
_HARMLESS = frozenset({"unknown-type", "unsupported-version", "causation"})
"""Reasons to park that say nothing about this deployment: a newer writer is at work, a loop of causes was ended."""


class TooManyBad(Exception):
    """Most records cannot be handled: that is a bad deployment, not bad data."""


@dataclass(slots=True)
class Quality:
    """Which of the last hundred records of each partition were bad."""

    recent: dict[Partition, deque[bool]] = field(default_factory=dict)

    def copy(self) -> "Quality":
        """The same, for what may be rolled back."""
        return Quality({where: records.copy() for where, records in self.recent.items()})

    def note(self, service: str, record: Record, unfit: Malformed | None) -> None:
        """Count a record in; `unfit` says why it was bad. Raises TooManyBad when most are."""
        recent = self.recent.setdefault((record.topic, record.partition), deque(maxlen=100))
        if unfit and not _tells_of_us(record, unfit):
            return
        recent.append(unfit is not None)
        if unfit is None:
            return
        in_a_row = list(recent)[-_MOST_BAD_IN_A_ROW - 1 :]
        if (len(in_a_row) > _MOST_BAD_IN_A_ROW and all(in_a_row)) or sum(recent) > _MOST_BAD_OF_100:
            raise TooManyBad(
                f"{service} stops at {record.topic}/{record.partition}/{record.offset}: most records there cannot be "
                f"handled ({unfit.text}). Mend or roll back this version, then start again"
            )


def _tells_of_us(record: Record, unfit: Malformed) -> bool:
    """Whether a bad record says anything about this deployment: what outsiders write wrongly does not."""
    by_outsiders = record.topic in TOPICS and TOPICS[record.topic].owner in ("upstream", "people")
    return unfit.code not in _HARMLESS and (unfit.code == "handler" or not by_outsiders)
