"""Which events a person wants to see."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from cairn.cli.faults import WrongUsage
from cairn.events.catalogue import CATALOGUE, TOPICS, carries
from cairn.events.codec import Heard, Record, appended_at
from cairn.events.envelope import Envelope
from cairn.events.instants import parse_instant
from cairn.subscriber import Entry

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def short(type_name: str) -> str:
    """A type as people say it: `cairn.model.promoted.v1` is `model.promoted`."""
    return type_name.removeprefix("cairn.").rpartition(".v")[0] or type_name


@dataclass(frozen=True)
class Wanted:
    """Which events are to be seen; what is empty leaves nothing out."""

    types: frozenset[str] = frozenset()
    """Full names."""
    subject: str = ""
    who: str = ""
    """A source or a principal; `*` stands for anything, as in the subject."""
    story: str = ""
    """A correlation id."""
    since: datetime | None = None
    """Kafka's time, as `until`."""
    until: datetime | None = None

    @classmethod
    def parse(
        cls, types: Sequence[str], subject: str, who: str, story: str, since: str, until: str, now: datetime
    ) -> "Wanted":
        """What a person asked for. Raises WrongUsage for a type that the catalogue does not have, or no time."""
        names = frozenset(name for pattern in types for name in _types_like(pattern))
        return cls(names, subject, who, story, _instant(since, now), _instant(until, now))

    @property
    def all(self) -> bool:
        """Whether nothing is left out, what is malformed included."""
        return self == Wanted()

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics on which such events are."""
        entries = [CATALOGUE[name] for name in self.types]
        return tuple(topic for topic in TOPICS if not entries or any(carries(topic, entry) for entry in entries))

    def is_past(self, record: Record) -> bool:
        """Whether the log has come to an end of what is wanted: it is read in the order of Kafka's time."""
        return self.until is not None and appended_at(record) >= self.until

    def admits(self, entry: Entry) -> bool:
        """Whether this one is to be seen."""
        if self.is_past(entry.record) or (self.since and appended_at(entry.record) < self.since):
            return False
        if not isinstance(entry.heard, Heard):
            return not (self.types or self.subject or self.who or self.story)
        return self._fits(entry.heard.message.envelope)

    def _fits(self, envelope: Envelope) -> bool:
        return (
            (not self.types or envelope.type in self.types)
            and (not self.subject or fnmatchcase(envelope.subject, self.subject))
            and (not self.who or any(fnmatchcase(one, self.who) for one in (envelope.source, envelope.principal)))
            and (not self.story or envelope.story == self.story)
        )


def _types_like(pattern: str) -> list[str]:
    found = [name for name in CATALOGUE if fnmatchcase(name, pattern) or fnmatchcase(short(name), pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, map(short, CATALOGUE), n=1)
        raise WrongUsage(f"there is no type {pattern!r}" + (f": did you mean {near[0]}?" if near else ""))
    return found


def _instant(text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    ago = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    try:
        instant = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else parse_instant(text)
    except OverflowError:  # no calendar goes back so far
        instant = None
    if instant is None:
        raise WrongUsage(f"{text!r} is no time: write 15m (s, m, h or d ago) or an instant, 2026-11-21T09:30:00Z")
    return instant
