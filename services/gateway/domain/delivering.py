"""How an event is told to a webhook: as Standard Webhooks has it (standardwebhooks.com, version 1), and when again."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import UUID, uuid5

from cairn.events.codec import Message

GONE = 410
_PREFIX = "whsec_"
_FEWEST_SECRET_BYTES, _MOST_SECRET_BYTES = 24, 64
_JITTER_RATIO = 0.1
_LONGEST_WAIT_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How a receiver answered."""

    status: int
    retry_after: str = ""
    """The header."""

    @property
    def took(self) -> bool:
        """Whether it took the event."""
        return 200 <= self.status < 300


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """The keys in a secret: one, or while it is being changed several, with blanks between. Raises ValueError."""
    keys = tuple(base64.b64decode(one.removeprefix(_PREFIX), validate=True) for one in text.split())
    if not keys or not all(_FEWEST_SECRET_BYTES <= len(key) <= _MOST_SECRET_BYTES for key in keys):
        raise ValueError(f"expected {_PREFIX} and the base64 of {_FEWEST_SECRET_BYTES} to {_MOST_SECRET_BYTES} bytes")
    return keys


def webhook_id(namespace: UUID, source: str, event_id: str) -> str:
    """The same for one event, however often it is sent."""
    return str(uuid5(namespace, json.dumps([source, event_id], ensure_ascii=False, separators=(",", ":"))))


def sign(secrets: Sequence[bytes], message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The headers that let a receiver know an event, its age, and that it is genuine."""
    seconds = str(int(now.timestamp()))
    signed = b".".join((message_id.encode(), seconds.encode(), body))
    digests = [hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def compose_body(message: Message) -> bytes:
    """The event as structured CloudEvents JSON; its data are the very bytes that lie in the log."""
    envelope = message.envelope
    filled = {"specversion": "1.0", "subject": envelope.subject, "time": envelope.time}
    given = {name: text for name, text in message.attributes if name not in ("data", "data_base64")}
    attributes = {**filled, **given, "datacontenttype": "application/json"}
    head = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return head[:-1] + b',"data":' + message.data + b"}"


def wait_seconds(schedule: Sequence[int], attempt: int, chance: float, retry_after: str, now: datetime) -> float | None:
    """How long to wait after this attempt, from 1, that failed; None when it was the last.

    `chance` (from 0 to 1) spreads what failed together. A receiver may ask for a longer wait, of up to a day.
    """
    if attempt > len(schedule):
        return None
    planned = schedule[attempt - 1] * (1 + _JITTER_RATIO * (2 * chance - 1))
    return max(planned, min(_asked_seconds(retry_after, now), _LONGEST_WAIT_SECONDS))


def _asked_seconds(retry_after: str, now: datetime) -> float:
    """The wait in a Retry-After header (RFC 9110, 10.2.3): seconds, or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:12])
    try:
        asked = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return (asked.replace(tzinfo=asked.tzinfo or UTC) - now).total_seconds()
