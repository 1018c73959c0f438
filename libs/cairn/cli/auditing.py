"""Reads the whole log from Kafka and compares its trees with what the auditor signed."""

import base64
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from cairn.audit.leaf import encode_leaf
from cairn.audit.merkle import leaf_hash
from cairn.audit.note import NoteError, WrongKeyError
from cairn.audit.walk import Walk, key_name, open_by_any, origin_of
from cairn.broker import BrokerUnreachable, TopicRefused, reached, see_topics, stopped
from cairn.cli.faults import CHECK_FAILED, OutOfReach
from cairn.context import Context
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Malformed, Record, read
from cairn.events.governance import CheckpointSigned

TAMPERED, TRUNCATED, WRONG_KEY = CHECK_FAILED, 4, 5

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 20.0
_MOST_RECORDS = 5000
_FETCH_BYTES = 4 * 1024 * 1024
_VERDICTS = {0: "ok", TAMPERED: "TAMPERED", TRUNCATED: "TRUNCATED", WRONG_KEY: "WRONG KEY"}

Progress = Callable[[int, int], None]
"""Told how many records of how many are read."""


@dataclass(slots=True)
class AuditedLog:
    """What was found of one partition."""

    log: str
    """topic/partition, without the installation's prefix."""
    records: int = 0
    signed: int = 0
    """The size of its latest checkpoint."""
    unsigned: int = 0
    """Records after that."""
    root: str = ""
    """Of all its records, base64."""
    verdict: str = "ok"
    problems: list[str] = field(default_factory=list)
    code: int = 0

    def add(self, code: int, text: str) -> None:
        """Note something that is wrong. What was changed weighs more than what is gone, that more than a wrong key."""
        self.problems.append(text)
        self.code = min(self.code or code, code)
        self.verdict = _VERDICTS[self.code]


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of all."""

    logs: Sequence[AuditedLog]

    @property
    def code(self) -> int:
        """The exit code."""
        return min((log.code for log in self.logs if log.code), default=0)

    @property
    def verdict(self) -> str:
        """The exit code in words."""
        return _VERDICTS[self.code]

    @property
    def records(self) -> int:
        """All records."""
        return sum(log.records for log in self.logs)

    @property
    def unsigned(self) -> int:
        """All records that no checkpoint covers yet."""
        return sum(log.unsigned for log in self.logs)


async def audit(context: Context, keys: Collection[Ed25519PublicKey], progress: Progress) -> Audit:
    """Verify every log of an installation. Raises BrokerUnreachable, TopicRefused and OutOfReach."""
    async with _consumer(context) as consumer:
        kafka = _Kafka(consumer, context)
        partitions = await kafka.partitions()
        audited = {kafka.log_of(tp): AuditedLog(kafka.log_of(tp)) for tp in partitions}
        walks = {log: Walk() for log in audited}
        # Checkpoints first: what they cover lay in the log before them, so the ends asked for later must reach it.
        signed = [tp for tp in partitions if tp.topic == context.installation.topic("checkpoints")]
        async for _, batch in kafka.read(signed, lambda _done, _total: None):
            for record in batch:
                _take_checkpoint(record, context, keys, audited, walks)
        begins, _ = await kafka.bounds(partitions)
        for tp in [tp for tp in partitions if begins[tp]]:
            audited[kafka.log_of(tp)].add(TRUNCATED, f"Kafka has nothing before offset {begins[tp]}")
        async for tp, batch in kafka.read([tp for tp in partitions if not begins[tp]], progress):
            _walk_on(audited[kafka.log_of(tp)], walks[kafka.log_of(tp)], batch)
        for log, found in audited.items():
            _end(found, walks[log])
    return Audit(tuple(audited[log] for log in sorted(audited)))


def _take_checkpoint(
    raw: Any,
    context: Context,
    keys: Collection[Ed25519PublicKey],
    audited: Mapping[str, AuditedLog],
    walks: Mapping[str, Walk],
) -> None:
    """Have a checkpoint compared. What is none, a stranger wrote: that is the auditor's finding, not ours."""
    topic = context.installation.bare_topic(raw.topic)
    message = read(Record(topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.headers, raw.value))
    if isinstance(message, Malformed) or message.entry.facts is not CheckpointSigned:
        return
    try:
        facts = CheckpointSigned.model_validate_json(message.data, extra="ignore")
    except ValidationError:
        return
    lies, where = audited[f"{topic}/{raw.partition}"], f"the checkpoint of {facts.log} at offset {raw.offset}"
    try:
        checkpoint = open_by_any(facts.note, key_name(context.installation), keys)
    except WrongKeyError as error:
        lies.add(WRONG_KEY, f"{where}: {error}")
    except NoteError as error:
        lies.add(TAMPERED, f"{where}: {error}")
    else:
        if facts.log in walks and checkpoint.origin == origin_of(context.installation, facts.log):
            walks[facts.log].sign(checkpoint)
        else:
            lies.add(TAMPERED, f"{where} is one of {checkpoint.origin}")


def _walk_on(found: AuditedLog, walk: Walk, batch: Sequence[Any]) -> None:
    for record in batch:
        if record.offset != found.records:
            found.add(TAMPERED, f"offset {found.records} is missing, {record.offset} comes in its place")
        found.records = record.offset + 1
    for start, end in walk.step([leaf_hash(encode_leaf(record)) for record in batch]):
        found.add(TAMPERED, f"offsets {start} to {end - 1} are not what was signed at size {end}")


def _end(found: AuditedLog, walk: Walk) -> None:
    found.records, found.signed = walk.frontier.size, walk.signed_size
    found.unsigned = max(0, found.records - found.signed)
    found.root = base64.b64encode(walk.frontier.root).decode()
    if found.signed > found.records and not found.code:
        found.add(TRUNCATED, f"{found.records} records are there, {found.signed} were signed")


@asynccontextmanager
async def _consumer(context: Context) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=context.bootstrap_servers,
        client_id="cairn-audit",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",  # a record that is gone must be told, not stepped over
        max_partition_fetch_bytes=_FETCH_BYTES,
        request_timeout_ms=int(_CONNECT_SECONDS * 1000),
    )
    try:
        await reached(consumer.start(), context.bootstrap_servers, _CONNECT_SECONDS, "connecting")
        yield consumer
    finally:
        await stopped(consumer.stop())


@dataclass(frozen=True, slots=True)
class _Kafka:
    consumer: AIOKafkaConsumer
    context: Context

    def log_of(self, tp: TopicPartition) -> str:
        return f"{self.context.installation.bare_topic(tp.topic)}/{tp.partition}"

    async def partitions(self) -> list[TopicPartition]:
        topics = [self.context.installation.topic(name) for name in TOPICS]
        try:
            # The public ways to a topic's partitions subscribe to it, or need a second connection.
            cluster = await see_topics(self.consumer._client, topics, self.context.bootstrap_servers)  # noqa: SLF001 # no public way
        except TopicRefused as error:
            raise OutOfReach(str(error)) from None
        return [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(cluster.partitions_for_topic(topic) or ())
        ]

    async def bounds(
        self, partitions: Sequence[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Where each partition begins, and where it ends now."""
        first = await self._reached(self.consumer.beginning_offsets(partitions), "asking where the log begins")
        ends = await self._reached(self.consumer.end_offsets(partitions), "asking where the log ends")
        return dict(first), dict(ends)

    async def read(
        self, partitions: Sequence[TopicPartition], progress: Progress
    ) -> AsyncIterator[tuple[TopicPartition, Sequence[Any]]]:
        """Every record from the beginnings to the present ends, in batches of one partition."""
        first, ends = await self.bounds(partitions)
        left = {tp for tp in partitions if first[tp] < ends[tp]}
        done, total = 0, sum(ends[tp] - first[tp] for tp in left)
        self.consumer.assign(list(left))
        for tp in left:
            self.consumer.seek(tp, first[tp])
        while left:
            call = self.consumer.getmany(*left, timeout_ms=int(_ANSWER_SECONDS * 1000), max_records=_MOST_RECORDS)
            batches = await call
            for tp, batch in batches.items():
                wanted = [record for record in batch if record.offset < ends[tp]]
                done += len(wanted)
                progress(done, total)
                yield tp, wanted
            ended = {tp for tp in left if await self.consumer.position(tp) >= ends[tp]}
            if not batches and not ended:
                servers = self.context.bootstrap_servers
                raise BrokerUnreachable(f"Kafka at {servers} sends nothing for {_ANSWER_SECONDS:g} s while reading")
            left -= ended
            self.consumer.pause(*ended)

    async def _reached(self, call: Any, doing: str) -> Any:
        return await reached(call, self.context.bootstrap_servers, _CONNECT_SECONDS, doing)
