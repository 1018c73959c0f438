"""Whether a store may go on from where it is: it must know all that it told, and all that its group has passed."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

from cairn.events.catalogue import topics_owned_by
from cairn.events.codec import Heard, Malformed, Record, appended_at, check, read, signed_source
from chassis.database import Database, StoreError
from chassis.kafka import GroupInUse, Log, Partition, partitions_of
from chassis.outbox import confirm, confirmed_ends, position_of
from chassis.positions import DECIDER, load_positions, save_positions
from chassis.processor import Processor, rebuild_cure

_NOT_OURS = frozenset({"signature", "not-allowed", "unsigned", "wrong-topic"})
"""What is wrong with what others wrote."""


class MustRebuild(StoreError):
    """The store is behind the log; rebuilding it is the cure."""

    def __init__(self, service: str, why: str) -> None:
        super().__init__(f"{why}: {rebuild_cure(service)}")


def refuse_unfinished(database: Database, service: str) -> None:
    """Refuse to start on what a rebuild left behind. Raises MustRebuild."""
    if database.is_unfinished():
        raise MustRebuild(service, "a rebuild of this store was not finished")


async def check_standing(
    database: Database, processor: Processor, log: Log, consumers: dict[str, tuple[str, ...]]
) -> None:
    """Refuse to start on a store that is behind its own topics, its group, or the log's beginning.

    `consumers` maps each consumer's name to its topics; the log is opened with the group of `decider`. Raises
    MustRebuild, StoreError and KafkaUnreachable.
    """
    service = processor.voice.service
    refuse_unfinished(database, service)
    await _check_own_topics(database, processor, log, service)
    for consumer, topics in consumers.items():
        await _check_heard_topics(database, log, service, consumer, topics)


async def begin_group(
    database: Database, log: Log, topics: tuple[str, ...], run_blocking: Callable[..., Awaitable[Any]]
) -> None:
    """Commit 0 where the group never committed: from its first start on, a missing offset means something.

    Replicas may start at once. Nothing that another committed is lowered: while this one holds the deciders' turn,
    nobody can commit more than 0 for a partition of which the store has taken nothing. A group that has members
    already lets nobody else commit; they do it themselves, from the positions that are stored here.
    """
    partitions = partitions_of(topics)
    if None not in (await log.committed(partitions)).values():
        return
    async with AsyncExitStack() as stack:
        transaction = database.begin()
        session = await run_blocking(transaction.__enter__)
        stack.push_async_exit(partial(run_blocking, transaction.__exit__))
        positions = load_positions(session.connection(), DECIDER)
        committed = await log.committed(partitions)
        first = {one: 0 for one in partitions if committed[one] is None and not positions.get(one)}
        if first:
            save_positions(session.connection(), DECIDER, first)
            with suppress(GroupInUse):
                await log.commit(first)


async def _check_own_topics(database: Database, processor: Processor, log: Log, service: str) -> None:
    partitions = partitions_of(topic.name for topic in topics_owned_by(service))
    # Before the ends: a replica beside this one may be moving both.
    with database.read() as session:
        known = confirmed_ends(session.connection())
    beginnings, ends = await log.beginnings(partitions), await log.ends(partitions)
    for one in partitions:
        if ends[one] < known.get(one, 0):
            raise records_lost(one, ends[one], f"{service} told it to {known[one]}")
    start = {one: max(known.get(one, 0), beginnings[one]) for one in partitions}
    found: list[tuple[int, int, int]] = []
    async for record in log.read(start, ends):
        heard = own_event(processor, record)
        if heard is None:
            continue
        with database.read() as session:
            position = position_of(session.connection(), heard.message.envelope.id)
        if position is None:
            raise MustRebuild(
                service,
                f"the log holds an event of {service} at {record.topic}/{record.partition}/{record.offset} that its "
                "store does not know: the store was lost, or is an old copy",
            )
        found.append((position, record.partition, record.offset))
    if found:
        confirm(database, found)


async def _check_heard_topics(
    database: Database, log: Log, service: str, consumer: str, topics: tuple[str, ...]
) -> None:
    partitions = partitions_of(topics)
    committed = await log.committed(partitions) if consumer == DECIDER else {}
    beginnings = await log.beginnings(partitions)
    # After the group's offsets and before the ends: a replica beside this one may be moving all three.
    with database.read() as session:
        positions = load_positions(session.connection(), consumer)
    ends = await log.ends(partitions)
    for one in partitions:
        position, group = positions.get(one, 0), committed.get(one) or 0
        if group > position:
            raise MustRebuild(service, f"its group has passed {group} in {one[0]}/{one[1]}, the store only {position}")
        if beginnings[one] > position:
            raise StoreError(
                f"{one[0]}/{one[1]} begins at {beginnings[one]}, {service} took it only to {position}: records were "
                "deleted from the log before they were heard. Restore the topic from an archive: nothing is skipped"
            )
        if ends[one] < position:
            raise records_lost(one, ends[one], f"{service} took it to {position}")


def own_event(processor: Processor, record: Record) -> Heard | None:
    """The checked event in a record of one's own topic; None for what a stranger wrote: the auditor's business.

    Raises StoreError for one that the service itself told and that cannot be checked or read: to leave it out would be
    to forget it.
    """
    message = read(record)
    voice, trust = processor.voice, processor.trust
    heard = message if isinstance(message, Malformed) else check(message, voice.installation, trust)
    if isinstance(heard, Heard):
        return heard
    if heard.code not in _NOT_OURS and signed_source(record, voice.installation, trust) == voice.source:
        raise StoreError(
            f"{record.topic}/{record.partition}/{record.offset} holds an event of {voice.service} that this version "
            f"cannot read: {heard.text}. Run the version that told it, or a later one"
        )
    if isinstance(message, Malformed):
        return None
    envelope = message.envelope
    key = trust.key(envelope.keyid)
    admitted = key is not None and key.valid_at(appended_at(record))
    if heard.code == "signature" and envelope.source == voice.source and not admitted:
        raise StoreError(
            f"{record.topic}/{record.partition}/{record.offset} holds an event of {voice.service} that cannot be "
            f"checked: {heard.text}. Put the key by which it signed then into the trust file (CAIRN_TRUST_FILE), valid "
            "at the time of the event: a key that was replaced stays there"
        )
    return None


def records_lost(partition: Partition, end: int, known: str) -> StoreError:
    """What to say of a partition that ends before what is known of it."""
    # New records would get offsets that the store has passed, and be dropped as known.
    return StoreError(
        f"{partition[0]}/{partition[1]} ends at {end}, {known}: Kafka has lost records. Restore the topic from an "
        "archive, or begin a new installation"
    )
