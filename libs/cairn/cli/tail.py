"""Reads the log for `cairn events`: the last events, all that fit, or one."""

import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from cairn.cli.faults import CheckFailed, WrongUsage
from cairn.cli.lines import emit_entry
from cairn.cli.wanted import Wanted
from cairn.context import Context
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Message, read
from cairn.events.envelope import cause_name
from cairn.subscriber import Entry, Offsets, Start, end_offsets, read_log

_PLACE = re.compile(r"([a-z.-]+)\[(\d+)\]@(\d+)")


async def show_last(context: Context, wanted: Wanted, count: int, *, follow: bool, as_json: bool) -> None:
    """Show the last `count` events; with `follow`, then what arrives. Raises as `read_log`."""
    start: Start = await _show_last(context, wanted, count, as_json) if count else "end"
    if follow:
        await _show(read_log(context, wanted.topics, start, follow=True), wanted, as_json)


async def show_all(context: Context, wanted: Wanted, *, follow: bool, as_json: bool) -> None:
    """Show all events that fit; with `follow`, then what arrives. Raises as `read_log`."""
    await _show(read_log(context, wanted.topics, follow=follow), wanted, as_json)


async def find_one(context: Context, name: str) -> list[Entry]:
    """The events of this name: an id, `source#id`, or a place such as `registry[2]@17`.

    An id may be that of several sources. Raises WrongUsage for a topic that is none, CheckFailed when there is none.
    """
    place = _PLACE.fullmatch(name)
    found = await _at(context, place[1], int(place[2]), int(place[3])) if place else await _named(context, name)
    if not found:
        raise CheckFailed(f"the log holds no event {name!r}: `cairn events search` lists what it holds")
    return found


async def _at(context: Context, topic: str, partition: int, offset: int) -> list[Entry]:
    if topic not in TOPICS or partition >= TOPICS[topic].partitions:
        raise WrongUsage(f"there is no partition {topic}[{partition}]")
    async with aclosing(read_log(context, [topic])) as log:
        async for entry in log:
            if (entry.record.partition, entry.record.offset) == (partition, offset):
                return [entry]
    return []


async def _named(context: Context, name: str) -> list[Entry]:
    found = []
    async with aclosing(read_log(context, tuple(TOPICS))) as log:
        async for entry in log:
            message = read(entry.record)
            if isinstance(message, Message):
                envelope = message.envelope
                if name in (envelope.id, cause_name(envelope.source, envelope.id)):
                    found.append(entry)
    return found


async def _show(log: AsyncGenerator[Entry, None], wanted: Wanted, as_json: bool) -> None:
    async with aclosing(log):
        async for entry in log:
            if wanted.is_past(entry.record):
                return
            if wanted.admits(entry):
                emit_entry(entry, as_json=as_json)


async def _show_last(context: Context, wanted: Wanted, count: int, as_json: bool) -> Offsets:
    """Show the last events and answer with where to go on."""
    # What is seldom may lie far back.
    start: Start = count if wanted.all else "beginning"
    # Of a partition whose last offsets hold no event there is nothing to show, and it goes on at its end.
    next_offsets = dict(await end_offsets(context, wanted.topics))
    last: deque[Entry] = deque(maxlen=count)
    async with aclosing(read_log(context, wanted.topics, start)) as log:
        async for entry in log:
            next_offsets[entry.record.topic, entry.record.partition] = entry.record.offset + 1
            if wanted.admits(entry):
                last.append(entry)
    for entry in last:
        emit_entry(entry, as_json=as_json)
    return next_offsets
