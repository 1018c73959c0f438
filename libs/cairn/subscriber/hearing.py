"""What a record says and whether it counts, with a trust file and without."""

from dataclasses import replace

from cairn.events.catalogue import TOPICS
from cairn.events.codec import Heard, Malformed, Message, Record, check, read
from cairn.events.identity import Installation
from cairn.events.signing import Trust, UnsignedSource

_ANYONE = Trust(unsigned=(UnsignedSource(source="*", topics=tuple(TOPICS)),))


def hear(record: Record, installation: Installation, trust: Trust | None) -> Heard | Malformed:
    """What a record says and whether it counts. Never raises.

    Without a trust file no signature can be checked: then `signed` is always False.
    """
    message = read(record)
    if isinstance(message, Malformed):
        return message
    if trust is not None:
        return check(message, installation, trust)
    heard = check(_without_signature(message), installation, _ANYONE)
    return heard if isinstance(heard, Malformed) else Heard(message, heard.facts, signed=False)


def _without_signature(message: Message) -> Message:
    return replace(message, envelope=replace(message.envelope, signature="", keyid=""))
