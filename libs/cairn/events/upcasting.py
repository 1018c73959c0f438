"""Former major versions of types: what was written under them is read as the current one, for ever.

A breaking change makes a new class, and keeps the old one here with an upcaster to the next major version. Chains are
walked step by step, so that a new version needs one upcaster and no other is touched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cairn.events.catalogue import CATALOGUE, EventType
from cairn.events.event import Event


@dataclass(frozen=True, slots=True)
class Former:
    """A former major version of a type."""

    facts: type[Event]
    """Its class, as it was: its schema and its recorded messages stay."""
    upcast: Callable[[Any], Event]
    """Its facts as those of the next major version: pure, total, and nothing invented."""


FORMER: Mapping[str, Former] = {}
"""Every former version by its type's name."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The types that can be read, current and former."""

    current: Mapping[str, EventType]
    former: Mapping[str, Former]

    def find(self, name: str) -> EventType | None:
        """The current version of a type, whichever version is named; None if it cannot be read."""
        return self.current.get(self._last(name))

    def knows_another(self, name: str) -> bool:
        """Whether the type can be read in other versions than this."""
        stem = name.rpartition(".v")[0]
        return any(known.rpartition(".v")[0] == stem for known in (*self.current, *self.former))

    def parse(self, name: str, payload: bytes) -> Event:
        """The facts in a payload of this version, as the current version tells them.

        Raises pydantic's ValidationError for a payload that does not fit the version that it was written in.
        """
        written = self.former[name].facts if name in self.former else self.current[name].facts
        facts: Event = written.model_validate_json(payload, strict=True, extra="ignore")
        while name in self.former:
            facts, name = self.former[name].upcast(facts), next_major(name)
        return facts

    def entries(self) -> dict[str, EventType]:
        """Every version as a type of its own: for schemas and documents."""
        latest = {name: self.current[self._last(name)] for name in self.former}
        return {
            **self.current,
            **{name: replace(latest[name], name=name, facts=self.former[name].facts) for name in latest},
        }

    def _last(self, name: str) -> str:
        while name in self.former:
            name = next_major(name)
        return name


VERSIONS = Versions(CATALOGUE, FORMER)


def next_major(name: str) -> str:
    """The name of the next major version: `cairn.model.promoted.v2` after `.v1`."""
    stem, _, major = name.rpartition(".v")
    return f"{stem}.v{int(major) + 1}"
