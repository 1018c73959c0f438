"""Makes facts into an event that can go: envelope, final bytes, signature, checked as every reader will."""

import time as clock
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict, Unpack

from pydantic import ValidationError

from cairn.context import Context
from cairn.events.catalogue import EventType, topic_for, type_of
from cairn.events.codec import Malformed, Outgoing, Record, write
from cairn.events.envelope import Envelope, cause_name, schema_address
from cairn.events.event import Event
from cairn.events.identity import Cause, Installation, fresh_id
from cairn.events.signing import TrustedKey, source_matches
from cairn.events.values import EventRef, format_instant
from cairn.subscriber import hear


class BadEvent(ValueError):
    """No reader would accept this event; nothing was sent."""


class Options(TypedDict, total=False):
    """What may be said about an event beside its facts."""

    event_id: str
    """Its id, where publishing must be repeatable: readers take a source and id once. Fresh by default."""
    source: str
    """Who says it. By default what the signing key stands for; a system without a key must name itself."""
    time: datetime
    """When it happened, with its time zone. By default now."""
    correlation: str
    """The id of the story that it belongs to. By default it begins one."""
    cause: Cause | EventRef
    """The event that led to it."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event ready to go: final bytes, and its identity."""

    topic: str
    """Without the installation's prefix."""
    source: str
    id: str
    outgoing: Outgoing


@dataclass(frozen=True, slots=True)
class _Speaker:
    source: str
    authtype: str = ""
    authid: str = ""


def seal(context: Context, facts: Event, **options: Unpack[Options]) -> Sealed:
    """The final bytes of an event, signed where the context has a key, and checked as every reader will.

    Sealed once, an event may be published any number of times: it counts once. Raises BadEvent, naming the field.
    """
    entry, topic = _catalogued(facts)
    speaker = _speaker(context, options.get("source", ""))
    try:
        envelope = _envelope(facts, entry, speaker, options)
        outgoing = write(facts, envelope, topic, context.installation, context.signer)
    except BadEvent:
        raise
    except (AttributeError, TypeError, ValueError) as error:  # a field is missing, is none of its type, or too large
        raise BadEvent(_fault_of(facts) or str(error)) from None
    _refuse_what_readers_would(context, topic, outgoing)
    return Sealed(topic, envelope.source, envelope.id, outgoing)


def _fault_of(facts: Event) -> str:
    """What is wrong with facts that were made past their class's own checks; empty where nothing is."""
    try:
        type(facts).model_validate(dict(facts))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the event'}: {fault['msg']}" for fault in faults)
    return ""


def _catalogued(facts: Event) -> tuple[EventType, str]:
    """The catalogue's entry for these facts, and their topic."""
    try:
        entry = type_of(facts)
        return entry, topic_for(entry, getattr(facts, "service", "")).name
    except KeyError:
        raise BadEvent(f"the catalogue (cairn.events) has no topic for this {type(facts).__name__}") from None


def _envelope(facts: Event, entry: EventType, speaker: _Speaker, options: Options) -> Envelope:
    now = datetime.now(UTC)
    happened, cause = options.get("time", now), options.get("cause")
    if happened.tzinfo is None:
        raise BadEvent(f"the time {happened.isoformat()} has no time zone: an event's time must be plain to everybody")
    event_id = options.get("event_id") or fresh_id()
    return Envelope(
        id=event_id,
        source=speaker.source,
        type=entry.name,
        subject=entry.subject_of(facts),
        time=format_instant(happened),
        recordedtime=format_instant(now),
        correlationid=options.get("correlation") or event_id,
        causationid=cause_name(cause.source, cause.id) if cause else "",
        authtype=speaker.authtype,
        authid=speaker.authid,
        dataschema=schema_address(entry.name),
    )


def _speaker(context: Context, source: str) -> _Speaker:
    """Who speaks: whom the signing key stands for, under the named source or the one that the key admits."""
    if context.signer is None:
        if not source:
            raise BadEvent("who speaks? There is no key: name a source, or set CAIRN_KEY_FILE (`cairn up` makes a key)")
        return _Speaker(source)
    key = context.trust.key(context.signer.keyid) if context.trust else None
    authtype, _, authid = (key.principal if key else f"person/{context.signer.keyid}").rpartition("/")
    return _Speaker(source or _usual_source(context.installation, authid, key), authtype or "person", authid)


def _usual_source(installation: Installation, authid: str, key: TrustedKey | None) -> str:
    usual = installation.source("person", authid)
    if key is None or not key.sources or any(source_matches(pattern, usual) for pattern in key.sources):
        return usual
    admitted = key.sources[0]
    return admitted[:-1] + authid if admitted.endswith("/*") else admitted


def _refuse_what_readers_would(context: Context, topic: str, outgoing: Outgoing) -> None:
    record = Record(topic, 0, 0, clock.time_ns() // 1_000_000, outgoing.key, outgoing.headers, outgoing.value)
    heard = hear(record, context.installation, context.trust)
    if isinstance(heard, Malformed):
        raise BadEvent(f"no reader would accept this event ({heard.code}): {heard.text}")
