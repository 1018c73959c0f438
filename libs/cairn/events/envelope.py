"""What travels beside the facts: who told them, when, and why (CloudEvents 1.0.2)."""

from dataclasses import dataclass

ATTRIBUTES = (
    "authid",
    "authtype",
    "basis",
    "causationid",
    "correlationid",
    "dataschema",
    "hops",
    "id",
    "keyid",
    "recordedtime",
    "sequence",
    "signature",
    "source",
    "specversion",
    "subject",
    "time",
    "traceparent",
    "type",
)
"""The attributes that Cairn writes, in the order in which they are signed. Unknown ones are signed and kept too."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event's CloudEvents attributes. Empty strings stand for what was not sent."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    recordedtime: str = ""
    correlationid: str = ""
    causationid: str = ""
    authtype: str = ""
    authid: str = ""
    sequence: str = ""
    basis: str = ""
    hops: str = ""
    dataschema: str = ""
    traceparent: str = ""
    keyid: str = ""
    signature: str = ""
    extensions: tuple[tuple[str, str], ...] = ()
    """What an outsider sent beside these, carried on for him; name and value. Readers find it in the message."""

    @property
    def story(self) -> str:
        """The story that this event belongs to: its correlation, or itself."""
        return self.correlationid or self.id

    @property
    def principal(self) -> str:
        """Who is responsible, as the trust file names principals: `person/ada`; empty where nobody is named."""
        return f"{self.authtype}/{self.authid}" if self.authid else ""


def cause_name(source: str, event_id: str) -> str:
    """How `causationid` names an event: both parts of its identity."""
    return f"{source}#{event_id}"


def format_sequence(number: int) -> str:
    """A sequence number as it is sent: twenty digits, so that it sorts as text."""
    return f"{number:020d}"


def hops_of(envelope: Envelope) -> int:
    """How many services in turn led to an event since its story began; 0 where it does not say."""
    text = envelope.hops
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def schema_address(type_name: str) -> str:
    """The `dataschema` of a type: an absolute URI, as CloudEvents demands, that names no host (RFC 8141)."""
    return f"urn:cairn:schema:{type_name}"
