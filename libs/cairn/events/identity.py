"""How events are named, and what an installation is called on the wire."""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from secrets import randbits
from uuid import NAMESPACE_URL, UUID, uuid5


@dataclass(frozen=True, slots=True)
class Installation:
    """One running Cairn: its name is the prefix of its topics, the root of its sources and its logs' origin."""

    name: str = "cairn"

    @property
    def namespace(self) -> UUID:
        """The namespace of all ids told here."""
        return uuid5(NAMESPACE_URL, self.name)

    def topic(self, name: str) -> str:
        """A topic as Kafka knows it."""
        return f"{self.name}.{name}"

    def bare_topic(self, topic: str) -> str:
        """A Kafka topic without the prefix; unchanged where it has another one."""
        return topic.removeprefix(f"{self.name}.")

    def source(self, service: str, start: str | None = None) -> str:
        """The source of what a service tells; of a process without a store: of this start of it."""
        return f"/{self.name}/{service}" + (f"/{start}" if start else "")


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that led to another: the topic it lay on, and its identity."""

    topic: str
    """Without the installation's prefix."""
    source: str
    id: str

    @classmethod
    def unreadable(cls, topic: str, partition: int, offset: int) -> "Cause":
        """A record that could not be read is named by its place."""
        return cls(topic, "", f"{topic}/{partition}/{offset}")


def told_id(namespace: UUID, source: str, cause: Cause, type_name: str, subject: str, n: int | str) -> str:
    """The id of what a service tells: the same cause always gives the same id.

    `n` counts this type and subject within the cause; for work that is tried again, the attempt is part of it.
    """
    parts = [source, cause.topic, cause.source, cause.id, type_name, subject, str(n)]
    return str(uuid5(namespace, json.dumps(parts, ensure_ascii=False, separators=(",", ":"))))


def fresh_id() -> str:
    """An id for an event without a cause: a uuid7 (RFC 9562 §5.7), so that ids sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | randbits(12) << 64 | 0b10 << 62 | randbits(62)
    return str(UUID(int=value))


def dataset_digest(file_digests: Iterable[str]) -> str:
    """The digest that names a dataset: SHA-256 of the JSON array (no blanks) of its files' digests, sorted."""
    text = json.dumps(sorted(file_digests), separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
