"""Folds a finished log into a fresh store, its partitions interleaved by chance: projections only."""

import random
from pathlib import Path

from cairn.events.catalogue import topics_owned_by
from cairn.events.codec import Heard, Message, check, read
from chassis.appending import take_raw
from chassis.database import Database
from chassis.digest import combine, digest_tables
from chassis.ledger import Origin
from chassis.processor import Processor, sequence_of
from chassis.testing import Actor, World
from chassis.transaction import Place


def refold(world: World, actor: Actor, directory: Path, seed: int) -> str:
    """The digest of the store that this order of the history gives."""
    database = Database(f"sqlite:///{directory}/{actor.definition.name}-{seed}.db", actor.definition.tables)
    database.create_tables()
    processor = Processor(actor.definition, database, actor.processor.voice, world.trust, world.objects, world.clock)
    own = {topic.name for topic in topics_owned_by(actor.definition.name)}
    with database.begin() as session:
        for partition, offset in _interleave(world, {*own, *actor.definition.hears}, seed):
            message = read(world.log[partition][offset])
            assert isinstance(message, Message)
            heard = check(message, world.installation, world.trust)
            assert isinstance(heard, Heard), heard
            place = None if partition[0] in own else Place(*partition, offset)
            processor.project(session, heard.facts, Origin.of(message), sequence_of(message), place)
    for appender in actor.definition.appenders:
        for _topic_partition, records in sorted(world.log.items(), key=lambda _: random.Random(seed).random()):
            take_raw(database, appender, records, {})
    digest = combine(digest_tables(database, actor.definition.tables.metadata))
    database.close()
    return digest


def _interleave(world: World, topics: set[str], seed: int) -> list[tuple[tuple[str, int], int]]:
    """Every record's place, in a random order that keeps the order inside each partition."""
    chance = random.Random(seed)
    partitions = [partition for partition in world.log if partition[0] in topics]
    slots = [partition for partition in partitions for _ in world.log[partition]]
    chance.shuffle(slots)
    following = dict.fromkeys(partitions, 0)
    order = []
    for partition in slots:
        order.append((partition, following[partition]))
        following[partition] += 1
    return order
