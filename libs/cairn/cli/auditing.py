"""Reads the whole log from Kafka and compares its trees with what the auditor signed."""

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from cairn.audit.leaf import encode_leaf, fill_holes
from cairn.audit.merkle import leaf_hash
from cairn.audit.note import NoteError, WrongKeyError
from cairn.audit.walk import Walk, key_name, open_by_any, origin_of
from cairn.cli.faults import CHECK_FAILED
from cairn.context import Context
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Malformed, read
from cairn.events.governance import CheckpointSigned
from cairn.records import as_record
from cairn.subscriber.log import open_log

TAMPERED, TRUNCATED, WRONG_KEY = CHECK_FAILED, 4, 5

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
    """Verify every log of an installation. Raises BrokerUnreachable and TopicRefused."""
    name_of = partial(_name_of, context)
    # The trees are those of all that lies in the log, also of what a transaction wrote and gave up.
    async with open_log(context, isolation="read_uncommitted") as log:
        partitions = await log.partitions(list(TOPICS))
        audited = {name_of(tp): AuditedLog(name_of(tp)) for tp in partitions}
        walks = {name: Walk() for name in audited}
        # Checkpoints first: what they cover lay in the log before them, so the ends asked for later must reach it.
        signed = [tp for tp in partitions if tp.topic == context.installation.topic("checkpoints")]
        async for _, run in log.runs(*await log.bounds(signed, "beginning")):
            for record in run:
                _take_checkpoint(record, context, keys, audited, walks)
        begins, ends = await log.bounds(partitions, "beginning")
        for tp in [tp for tp in partitions if begins[tp]]:
            audited[name_of(tp)].add(TRUNCATED, f"Kafka has nothing before offset {begins[tp]}")
        whole = {tp: end for tp, end in ends.items() if not begins[tp]}
        done = 0
        async for tp, run in log.runs(begins, whole):
            done += len(run)
            progress(done, sum(whole.values()))
            _walk_on(audited[name_of(tp)], walks[name_of(tp)], run)
        for name, found in audited.items():
            _end(found, walks[name])
    return Audit(tuple(audited[name] for name in sorted(audited)))


def _name_of(context: Context, tp: TopicPartition) -> str:
    return f"{context.installation.bare_topic(tp.topic)}/{tp.partition}"


def _take_checkpoint(
    raw: Any,
    context: Context,
    keys: Collection[Ed25519PublicKey],
    audited: Mapping[str, AuditedLog],
    walks: Mapping[str, Walk],
) -> None:
    """Have a checkpoint compared. What is none, a stranger wrote: that is the auditor's finding, not ours."""
    record = as_record(raw, context.installation)
    message = read(record)
    if isinstance(message, Malformed) or message.entry.facts is not CheckpointSigned:
        return
    try:
        facts = CheckpointSigned.model_validate_json(message.data, extra="ignore")
    except ValidationError:
        return
    lies = audited[f"{record.topic}/{record.partition}"]
    where = f"the checkpoint of {facts.log} at offset {record.offset}"
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
    leaves = [leaf_hash(encode_leaf(record)) for record in fill_holes(batch, walk.size)]
    for start, end in walk.step(leaves):
        found.add(TAMPERED, f"offsets {start} to {end - 1} are not what was signed at size {end}")


def _end(found: AuditedLog, walk: Walk) -> None:
    found.records, found.signed = walk.size, walk.signed_size
    found.unsigned = max(0, found.records - found.signed)
    found.root = base64.b64encode(walk.frontier.root).decode()
    if found.signed > found.records and not found.code:
        found.add(TRUNCATED, f"{found.records} records are there, {found.signed} were signed")
