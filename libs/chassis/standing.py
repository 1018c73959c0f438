"""Whether a store may go on from where it is: it must know all that it told, and all that its group has passed."""

from sqlalchemy import select

from cairn.events.catalogue import topics_owned_by
from cairn.events.codec import Heard, Malformed, check, read
from chassis import ledger
from chassis.database import Database, StoreError
from chassis.kafka import Log, Partition, partitions_of
from chassis.outbox import confirm, confirmed_ends, position_of
from chassis.positions import load_positions
from chassis.processor import Processor, module_of


class MustRebuild(StoreError):
    """The store is behind the log; rebuilding it is the cure."""

    def __init__(self, service: str, why: str) -> None:
        super().__init__(f"{why}. Stop all replicas of {service} and run: python -P -m {module_of(service)} rebuild")


async def check_standing(
    database: Database, processor: Processor, log: Log, consumers: dict[str, tuple[str, ...]]
) -> None:
    """Refuse to start on a store that is behind its own topics, its group, or the log's beginning.

    `consumers` maps each consumer's name to its topics; the log is opened with the group of `decider`. Raises
    MustRebuild and StoreError.
    """
    service = processor.voice.service
    with database.read() as session:
        if session.execute(select(ledger.META.c.value).where(ledger.META.c.name == "rebuilding")).scalar():
            raise MustRebuild(service, "a rebuild of this store was not finished")
    await _check_own_topics(database, processor, log, service)
    for consumer, topics in consumers.items():
        await _check_heard_topics(database, log, service, consumer, topics)


async def _check_own_topics(database: Database, processor: Processor, log: Log, service: str) -> None:
    partitions = partitions_of(topic.name for topic in topics_owned_by(service))
    beginnings, ends = await log.beginnings(partitions), await log.ends(partitions)
    with database.read() as session:
        known = confirmed_ends(session.connection())
    for one in partitions:
        if ends[one] < known.get(one, 0):
            raise _lost(one, ends[one], f"{service} told it to {known[one]}")
    start = {one: max(known.get(one, 0), beginnings[one]) for one in partitions}
    found: list[tuple[int, int, int]] = []
    async for record in log.read(start, ends):
        message = read(record)
        heard = (
            message if isinstance(message, Malformed) else check(message, processor.voice.installation, processor.trust)
        )
        if not isinstance(heard, Heard):
            continue  # what a stranger wrote there is the auditor's business
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
    committed = await log.committed(partitions) if consumer == "decider" else {}
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
            raise _lost(one, ends[one], f"{service} took it to {position}")


def _lost(partition: Partition, end: int, known: str) -> StoreError:
    # New records would get offsets that the store has passed, and be dropped as known.
    return StoreError(
        f"{partition[0]}/{partition[1]} ends at {end}, {known}: Kafka has lost records. Restore the topic from an "
        "archive, or begin a new installation"
    )
