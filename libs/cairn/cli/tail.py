"""Which events are shown by `cairn events tail`, and how."""

import difflib
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from cairn.cli.asking import place_of
from cairn.cli.faults import WrongUsage
from cairn.cli.output import cell, emit, emit_line
from cairn.context import Context
from cairn.events.catalogue import CATALOGUE, TOPICS, carries
from cairn.events.codec import Heard, Malformed, Message, Record, read
from cairn.events.values import format_instant
from cairn.subscriber import Entry, Offsets, Start, read_log


def short(type_name: str) -> str:
    """A type as people say it: `cairn.model.promoted.v1` is `model.promoted`."""
    return type_name.removeprefix("cairn.").rpartition(".v")[0] or type_name


@dataclass(frozen=True)
class Wanted:
    """Which events are to be seen."""

    types: frozenset[str] = frozenset()
    """Full names; none means all types, and what is malformed too."""
    subject: str = ""

    @classmethod
    def parse(cls, types: Sequence[str], subject: str) -> "Wanted":
        """What a person asked for. Raises WrongUsage for a type that the catalogue does not have."""
        return cls(frozenset(name for pattern in types for name in _types_like(pattern)), subject)

    @property
    def all(self) -> bool:
        """Whether nothing is left out."""
        return not self.types and not self.subject

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics on which such events are."""
        entries = [CATALOGUE[name] for name in self.types]
        return tuple(topic for topic in TOPICS if not entries or any(carries(topic, entry) for entry in entries))

    def admits(self, entry: Entry) -> bool:
        """Whether this one is to be seen."""
        if not isinstance(entry.heard, Heard):
            return self.all
        envelope = entry.heard.message.envelope
        fits = not self.types or envelope.type in self.types
        return fits and (not self.subject or fnmatchcase(envelope.subject, self.subject))


def _types_like(pattern: str) -> list[str]:
    found = [name for name in CATALOGUE if fnmatchcase(name, pattern) or fnmatchcase(short(name), pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, map(short, CATALOGUE), n=1)
        raise WrongUsage(f"there is no type {pattern!r}" + (f": did you mean {near[0]}?" if near else ""))
    return found


async def show(context: Context, wanted: Wanted, *, count: int | None, follow: bool, as_json: bool) -> None:
    """Show the last `count` events, or with None all; with `follow`, then what arrives. Raises as `read_log`."""
    if count is None:
        await _write(read_log(context, wanted.topics, follow=follow), wanted, as_json)
        return
    start: Start = await _write_last(context, wanted, count, as_json) if count else "end"
    if follow:
        await _write(read_log(context, wanted.topics, start, follow=True), wanted, as_json)


async def _write(log: AsyncGenerator[Entry, None], wanted: Wanted, as_json: bool) -> None:
    async with aclosing(log):
        async for entry in log:
            if wanted.admits(entry):
                _write_one(entry, as_json)


async def _write_last(context: Context, wanted: Wanted, count: int, as_json: bool) -> Offsets:
    """Show the last events and answer with where to go on."""
    # What is seldom may lie far back.
    start: Start = count if wanted.all else "beginning"
    next_offsets: dict[tuple[str, int], int] = {}
    last: deque[Entry] = deque(maxlen=count)
    async with aclosing(read_log(context, wanted.topics, start)) as log:
        async for entry in log:
            next_offsets[entry.record.topic, entry.record.partition] = entry.record.offset + 1
            if wanted.admits(entry):
                last.append(entry)
    for entry in last:
        _write_one(entry, as_json)
    return next_offsets


def _write_one(entry: Entry, as_json: bool) -> None:
    if as_json:
        emit_line(as_object(entry))
    else:
        emit(as_line(entry))


def as_line(entry: Entry) -> str:
    """An event in one line for people: when Kafka got it, what happened, to what, where it lies, who told it."""
    record, heard = entry
    when, place = _appended(record).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], place_of(record)
    if isinstance(heard, Malformed):
        return f"{when}  {'malformed':20} {place:22} {cell(f'{heard.code}: {heard.text}')}"
    envelope = heard.message.envelope
    told = f"{cell(envelope.subject):30} {place:22} {cell(envelope.source)}"
    return f"{when}  {short(envelope.type):20} {told}"


def as_object(entry: Entry) -> dict[str, Any]:
    """An event for programs: where it lies, its attributes, its payload; and what is wrong with it, if so."""
    record, heard = entry
    found: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appended_at": format_instant(_appended(record)),
    }
    message = heard.message if isinstance(heard, Heard) else read(record)
    if isinstance(message, Message):
        found |= {"attributes": dict(message.attributes), "data": json.loads(message.data)}
    if isinstance(heard, Heard):
        return {**found, "signed": heard.signed}
    return {**found, "malformed": {"code": heard.code, "text": heard.text}}


def _appended(record: Record) -> datetime:
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)
