"""Brings records from Kafka to a service's processing, one batch after another, and commits offsets that trail."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, TopicPartition

from cairn.broker import ANSWER_SECONDS, BrokerUnreachable, TopicRefused, reached
from cairn.events.codec import Record
from cairn.events.identity import Installation
from cairn.records import as_record
from cairn.streaming import PAUSE_MILLISECONDS, decode_batch, parse_batch
from chassis.backoff import backoff_seconds
from chassis.kafka import Partition, partitions_of
from chassis.standing import records_lost

_COMMIT_SECONDS = 0.5
_LOOK_SECONDS = 5.0
"""How often Kafka is asked whether there is more."""
_LONGEST_BACKOFF_SECONDS = 10.0

log = structlog.get_logger()


@dataclass(slots=True)
class Consumer:
    """One subscriber of a service: FastStream in batch mode, acknowledged by nobody but `commit`."""

    name: str
    group: str
    topics: tuple[str, ...]
    installation: Installation
    servers: str
    """Kafka's address, for messages."""
    take: Callable[[Sequence[Record], Mapping[Partition, int]], Any]
    """Stores a batch; blocking; is given where partitions begin in which it leaves offsets out.

    Raises what `retries` judges.
    """
    trailing: Callable[[], dict[Partition, int]]
    """The offsets that may be committed; blocking."""
    run_blocking: Callable[..., Awaitable[Any]]
    retries: Callable[[BaseException], bool]
    """Whether an error goes away by trying again."""
    observe: Callable[[Any, int], None]
    """Told what became of a batch of so many records."""
    isolation_level: str
    """Kafka's: `read_committed` leaves out what transactions wrote that were aborted."""
    session_milliseconds: int = 30_000
    stalled_seconds: float = 60.0
    """One that is behind and has taken nothing for so long is not ready."""
    healthy: bool = False
    """Whether it can store what it takes."""
    stopped: str = ""
    """Why it stopped for good, if it did."""
    trouble: str = ""
    """Why nothing comes from Kafka, if that is so."""
    _subscriber: Any = None
    _committed: dict[Partition, int] = field(default_factory=dict)
    _taken: dict[Partition, int] = field(default_factory=dict)
    _taking: bool = False
    """Whether something is at hand that is not stored yet."""
    _moved_at: dict[Partition, float] = field(default_factory=dict)
    """When something was last taken of each partition, or nothing could be, by the loop's clock."""

    def subscribe(self, broker: KafkaBroker, *, replicas: bool) -> None:
        """Declare the subscription: by group for replicas, else by hand, so that a restart goes on at once."""
        common: dict[str, Any] = {
            "group_id": self.group,
            "batch": True,
            "batch_timeout_ms": PAUSE_MILLISECONDS,
            "ack_policy": AckPolicy.MANUAL,
            "auto_offset_reset": "earliest",
            "isolation_level": self.isolation_level,
            "no_reply": True,
            "max_poll_interval_ms": 86_400_000,
            "max_partition_fetch_bytes": 4 * 1024 * 1024,
            "parser": parse_batch,
            "decoder": decode_batch,
        }
        if replicas:
            common |= {
                "session_timeout_ms": self.session_milliseconds,
                "heartbeat_interval_ms": min(3000, self.session_milliseconds // 3),
                "rebalance_timeout_ms": 2 * self.session_milliseconds,
            }
            names = [self.installation.topic(topic) for topic in self.topics]
            self._subscriber = broker.subscriber(*names, **common)
        else:
            partitions = [TopicPartition(self.installation.topic(t), p) for t, p in partitions_of(self.topics)]
            self._subscriber = broker.subscriber(partitions=partitions, **common)
        self._subscriber(self._consume)

    @property
    def unready(self) -> str:
        """Why it is not ready; empty if it is."""
        if self.stopped:
            return self.stopped
        return self.trouble if self.healthy else f"the consumer {self.name} waits for its store"

    async def _consume(self, raw: Any) -> None:
        records = [as_record(one, self.installation) for one in raw]
        failures, self._taking = 0, True
        while not self.stopped:
            try:
                outcome = await self.run_blocking(self.take, records, await self._beginnings(records))
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 # judged right here: waited out, or the end of this consumer
                if not self.retries(error):
                    self._stop(error)
                    break
                failures += 1
                self.healthy = False
                log.warning("consumer.retry", consumer=self.name, error=repr(error)[:500], failures=failures)
                await asyncio.sleep(backoff_seconds(failures, 0.1, _LONGEST_BACKOFF_SECONDS))
            else:
                self.healthy, self._taking = True, False
                self._note_taken(records)
                self.observe(outcome, len(records))
                return
        # Nothing behind this record may be taken, so this loop never asks for more.
        await asyncio.Event().wait()

    async def _beginnings(self, records: Sequence[Record]) -> dict[Partition, int]:
        """Where the partitions begin of which these leave offsets out. Raises BrokerUnreachable and TopicRefused."""
        following = dict(self._taken)
        holed: set[Partition] = set()
        for record in records:
            where = record.topic, record.partition
            if record.offset > following.get(where, 0):
                holed.add(where)
            following[where] = record.offset + 1
        if not holed:
            return {}
        wanted = {self._kafka(one): one for one in holed}
        asking = self._subscriber.consumer.beginning_offsets(list(wanted))
        found = await reached(asking, self.servers, ANSWER_SECONDS, "asking where the log begins")
        return {wanted[tp]: offset for tp, offset in found.items()}

    def _kafka(self, partition: Partition) -> KafkaPartition:
        return KafkaPartition(self.installation.topic(partition[0]), partition[1])

    def _note_taken(self, records: Sequence[Record]) -> None:
        for record in records:
            where = record.topic, record.partition
            self._taken[where] = max(self._taken.get(where, 0), record.offset + 1)
            self._moved_at[where] = asyncio.get_running_loop().time()

    def _stop(self, error: BaseException) -> None:
        self.healthy = False
        self.stopped = str(error) or repr(error)
        log.error("consumer.stopped", consumer=self.name, error=self.stopped)

    async def keep_going(self) -> None:
        """Commit what may be committed, and look after Kafka, again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            try:
                await self.commit()
                if loop.time() - looked_at >= _LOOK_SECONDS:
                    await self.look()
                    looked_at = loop.time()
            except Exception as error:
                # The store in trouble is waited out where it is needed; a commit is made good by the next one.
                if not self.retries(error):
                    raise
                log.debug("consumer.commit", consumer=self.name, error=repr(error))

    async def look(self) -> None:
        """See whether Kafka answers, has all that was taken, and hands out what there is to take.

        Raises what the store raises.
        """
        consumer = self._subscriber.consumer if self._subscriber else None
        if consumer is None or self.stopped:
            return
        # Before the ends: a replica beside this one may be moving both.
        stored = await self.run_blocking(self.trailing)
        taken = {one: max(stored.get(one, 0), self._taken.get(one, 0)) for one in partitions_of(self.topics)}
        wanted = {self._kafka(one): one for one in taken}
        try:
            asking = consumer.end_offsets(list(wanted))
            found = await reached(asking, self.servers, ANSWER_SECONDS, "asking where the log ends")
        except (BrokerUnreachable, TopicRefused) as error:
            self._moved_at.clear()
            self._say(f"the consumer {self.name} hears nothing: {error}")
            return
        ends = {wanted[tp]: end for tp, end in found.items()}
        for one, end in ends.items():
            if end < taken[one]:
                self._stop(records_lost(one, end, f"{self.group} took it to {taken[one]}"))
                return
        mine = {wanted[tp] for tp in consumer.assignment() if tp in wanted}
        behind = {one for one in mine if ends[one] > taken[one]}
        if not self._taking:  # behind the last record may lie the end of its transaction, which nobody takes
            passed = consumer.known_positions()
            behind = {one for one in behind if passed.get(self._kafka(one), 0) < ends[one]}
        self._judge(behind)

    def _judge(self, behind: set[Partition]) -> None:
        now = asyncio.get_running_loop().time()
        waiting = behind if self.healthy else set()  # one that waits for its store says so itself
        self._moved_at = {one: self._moved_at.get(one, now) for one in waiting}
        stalled = [one for one in sorted(waiting) if now - self._moved_at[one] >= self.stalled_seconds]
        if stalled:
            (topic, partition), seconds = stalled[0], now - self._moved_at[stalled[0]]
            self._say(f"the consumer {self.name} is behind in {topic}/{partition}: it took nothing for {seconds:.0f} s")
        else:
            self._say("")

    def _say(self, trouble: str) -> None:
        if bool(trouble) != bool(self.trouble):
            log.warning("consumer.kafka", consumer=self.name, trouble=trouble or "over")
        self.trouble = trouble

    async def commit(self) -> None:
        """Commit offsets that never pass a record whose outbox rows Kafka has not confirmed."""
        consumer = self._subscriber.consumer if self._subscriber else None
        if consumer is None:
            return
        offsets = await self.run_blocking(self.trailing)
        mine = {(self.installation.bare_topic(tp.topic), tp.partition) for tp in consumer.assignment()}
        moved = {
            one: offset for one, offset in offsets.items() if one in mine and offset > self._committed.get(one, -1)
        }
        if not moved:
            return
        wanted = {self._kafka(one): offset for one, offset in moved.items()}
        try:
            async with asyncio.timeout(10):
                await consumer.commit(wanted)
        except (KafkaError, TimeoutError) as error:
            # A commit that is lost is made good by the next one: positions are in the store.
            log.debug("consumer.commit", consumer=self.name, error=repr(error))
            return
        self._committed.update(moved)
