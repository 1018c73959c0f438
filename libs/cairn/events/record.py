"""What lies in the log, before anything is believed of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record, as it lay in the log."""

    topic: str
    """Without the installation's prefix."""
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970, as Kafka appended it."""
    key: bytes | None
    headers: Headers
    value: bytes | None
    timestamp_type: int = 1
    """Who set the timestamp: 0 the producer, 1 the broker."""

    @property
    def digest(self) -> str:
        """SHA-256 of the value bytes."""
        return "sha256:" + hashlib.sha256(self.value or b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why a record is not an event that counts."""

    code: str
    """For programs: kebab case."""
    text: str
    """For people."""
