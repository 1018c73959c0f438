"""Thirty kinds of bad events, written raw to a real Kafka: each has its answer, and keeps nothing from those behind.

The registry (`requests`, `training`) and the monitor (`labels`) are asked; the auditor has every record. All rows are
sent first, each with a right record behind it in the same partition; then all that was told of them is read once.
"""

import asyncio
import json
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from tests.e2e.toy import options, quiesce, run_service
from tests.kafka.by_hand import (
    ABSENT,
    OUTSIDER,
    TRAINING,
    Author,
    ByHand,
    behind,
    declaration,
    example,
    labels,
    send,
)

from cairn.broker import partition_of
from cairn.context import TRUST_FILE, Context
from cairn.events import (
    SERVICES,
    TOPICS,
    Event,
    FindingRaised,
    Installation,
    ModelDeclared,
    ModelRegistered,
    RecordParked,
    RequestRefused,
)
from cairn.events.codec import Heard
from cairn.events.signing import Signer, Trust, TrustedKey, UnsignedSource
from cairn.local.keys import ensure_keys
from cairn.local.stack import Stack
from cairn.subscriber import read_log
from chassis.kafka import Log, partitions_of

MEBIBYTE = 1024 * 1024
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What must become of a record."""

    parked: str = ""
    """The code with which the service that it is for parks it; empty: it does not."""
    says: str = ""
    """Part of what it says of it."""
    finding: str = ""
    """The auditor's finding; empty: none, but that labels come unsigned."""
    severity: str = ""
    told: tuple[type[Event], ...] = ()
    """What was told because of it."""
    kept: bool = False
    """Whether the monitor has its labels."""


@dataclass(frozen=True)
class Row:
    """One kind of bad event: its records, of which the last is judged."""

    write: Callable[[Author, str], ByHand | Sequence[ByHand]]
    answer: Answer


def parked(code: str, says: str = "", severity: str = "warning") -> Answer:
    return Answer(parked=code, says=says, finding=code, severity=severity)


def alarm(code: str, says: str = "") -> Answer:
    return parked(code, says, "alarm")


DECLARED, KEPT = Answer(told=(ModelDeclared,)), Answer(kept=True)


def registered(finding: str) -> Answer:
    return Answer(told=(ModelRegistered,), finding=finding, severity="warning")


def extra(text: str) -> Callable[[Author, str], ByHand]:
    """Labels with a further field that holds this JSON."""
    return lambda by, m: by.labels(m, (json.dumps(labels(m))[:-1] + f', "more": {text}}}').encode())


def value(text: str) -> Callable[[Author, str], ByHand]:
    """Labels whose value is this JSON."""
    return lambda by, m: by.labels(m, json.dumps(labels(m, "here")).replace('"here"', text).encode())


def owner(name: Any) -> Callable[[Author, str], ByHand]:
    """A declaration with this owner."""
    return lambda by, m: by.declaration(m, declaration(m, owner=name))


def header(name: bytes, content: bytes | None) -> Callable[[Author, str], ByHand]:
    """A declaration with a further header."""
    return lambda by, m: by.declaration(m).with_headers((name, content))


def at(time: str) -> Callable[[Author, str], ByHand]:
    """A declaration of this time."""
    return lambda by, m: by.declaration(m, time=time)


def named(event_id: str) -> Callable[[Author, str], ByHand]:
    """A declaration with this id, from a source of its own."""
    return lambda by, m: by.declaration(m, id=event_id, source=f"/tests/{m}")


def signed_by(key: str) -> Callable[[Author, str], ByHand]:
    """A declaration that somebody else signed."""
    return lambda by, m: by.declaration(m, signed_by=key, source="/tests/by-hand")


def forged(by: Author, m: str) -> ByHand:
    """A declaration that was changed after it was signed."""
    right = by.declaration(m)
    return replace(right, value=json.dumps(declaration(m, owner="mallory")).encode())


def twice(by: Author, m: str) -> list[ByHand]:
    first = by.declaration(m)
    return [first, replace(first)]


def id_used_again(by: Author, m: str) -> list[ByHand]:
    first = by.declaration(m)
    return [first, by.declaration(m, declaration(m, owner="others"), id=first.id)]


def gap(by: Author, m: str) -> list[ByHand]:
    return [by.training(m, 1, "first"), by.training(m, 4, "fourth")]


def fall_back(by: Author, m: str) -> list[ByHand]:
    return [by.training(m, 1, "first"), by.training(m, 2, "second"), by.training(m, 1, "other")]


def replayed(by: Author, m: str) -> list[ByHand]:
    first = by.training(m, 1, "first")
    return [first, by.training(m, 2, "second"), replace(first)]


def unknown_champion(by: Author, m: str) -> ByHand:
    return by.event("cairn.rollback.requested.v1", m, {"model": m})


def rejected_version(by: Author, m: str) -> list[ByHand]:
    """A version that failed its validation is approved all the same."""
    run = by.training(m, 1, "run")
    assert run.value
    version = {"name": m, "version": 1, "digest": json.loads(run.value)["package"]["digest"]}
    failed = example("cairn.validation.failed.v1", m) | {"model": version}
    return [
        run,
        by.event("cairn.validation.failed.v1", m, failed, signed_by="validator", sequence=f"{1:020d}"),
        by.event("cairn.approval.given.v1", m, {"model": version}),
    ]


def named_as_its_own_cause(by: Author, m: str) -> ByHand:
    source, event_id = f"/tests/{m}", by.new_id(m)
    return by.declaration(m, source=source, id=event_id, causationid=f"{source}#{event_id}")


def padded(by: Author, m: str, topic: str, size: int, **options: Any) -> ByHand:
    """A right event with blanks up to so many bytes of value."""
    make = by.labels if topic == "labels" else by.declaration
    text = json.dumps(labels(m) if topic == "labels" else declaration(m)).encode()
    return make(m, text[:-1] + b" " * (size - len(text)) + b"}", **options)


def bomb(by: Author, m: str) -> ByHand:
    return replace(padded(by, m, "labels", 48 * MEBIBYTE), gzip=True)


ROWS: dict[str, Row] = {
    "01-empty-value": Row(lambda by, m: by.declaration(m, b""), parked("empty")),
    "02-tombstone": Row(lambda by, m: replace(by.declaration(m), value=None), parked("tombstone")),
    "03-not-json": Row(lambda by, m: by.declaration(m, b"<xml/>"), parked("schema")),
    "03-truncated-json": Row(lambda by, m: by.labels(m, json.dumps(labels(m)).encode()[:-9]), parked("schema")),
    "03-truncated-json-structured": Row(lambda by, m: by.structured(m, lambda t: t.encode()[:-9]), parked("json")),
    "04-invalid-utf-8": Row(
        lambda by, m: by.declaration(m, json.dumps(declaration(m)).encode().replace(b"tests", b"\xff\xfe")),
        parked("schema"),
    ),
    "04-invalid-utf-8-in-a-further-field": Row(
        lambda by, m: by.labels(m, json.dumps(labels(m)).encode()[:-1] + b', "more": "\xff"}'), parked("schema")
    ),
    "04-utf-16": Row(lambda by, m: by.declaration(m, json.dumps(declaration(m)).encode("utf-16")), parked("schema")),
    "04-byte-order-mark": Row(
        lambda by, m: by.declaration(m, json.dumps(declaration(m)).encode("utf-8-sig")), parked("schema")
    ),
    "04-invalid-utf-8-structured": Row(
        lambda by, m: by.structured(m, lambda t: t.encode().replace(b'"y"', b'"\xff"')), parked("json")
    ),
    "04-utf-16-structured": Row(lambda by, m: by.structured(m, lambda t: t.encode("utf-16")), parked("json")),
    "04-utf-32-structured": Row(lambda by, m: by.structured(m, lambda t: t.encode("utf-32-le")), parked("json")),
    "04-byte-order-mark-structured": Row(
        lambda by, m: by.structured(m, lambda t: t.encode("utf-8-sig")), parked("json")
    ),
    "05-header-name-not-utf-8": Row(header(b"\xff\xfe-name", b"x"), parked("header")),
    "05-header-value-not-utf-8": Row(header(b"ce_more", b"\xff"), parked("header")),
    "05-header-without-a-value": Row(
        lambda by, m: by.declaration(m).without(b"ce_type").with_headers((b"ce_type", None)), parked("header")
    ),
    "05-header-twice": Row(header(b"ce_id", b"other"), parked("header")),
    "05-a-thousand-headers": Row(
        lambda by, m: by.declaration(m).with_headers(*((f"x-{n}".encode(), b"x") for n in range(1000))),
        parked("header"),
    ),
    "05-a-header-of-others-without-a-value": Row(header(b"x-other", None), DECLARED),
    "06-nested-100000-deep": Row(extra("[" * 100_000 + "]" * 100_000), parked("too-large")),
    "06-nested-30000-deep": Row(extra("[" * 30_000 + "]" * 30_000), parked("schema")),
    "06-nested-30000-deep-structured": Row(
        lambda by, m: by.structured(m, lambda t: t.replace('"y"', "[" * 30_000 + "]" * 30_000).encode()),
        parked("json"),
    ),
    "07-million-digits": Row(value("9" * 1_000_000), parked("too-large")),
    "07-sixty-thousand-digits": Row(value("9" * 60_000), parked("schema")),
    "07-sixty-thousand-digits-in-a-further-field": Row(extra("9" * 60_000), parked("schema")),
    "07-beyond-a-double": Row(value("1e400"), parked("schema")),
    "07-beyond-a-double-in-a-further-field": Row(extra("1e400"), parked("schema")),
    "07-not-a-number": Row(value("NaN"), parked("schema")),
    "07-not-a-number-in-a-further-field": Row(extra("NaN"), parked("schema")),
    "07-infinity": Row(value("Infinity"), parked("schema")),
    "07-infinity-in-a-further-field": Row(extra("-Infinity"), parked("schema")),
    "07-not-a-number-structured": Row(
        lambda by, m: by.structured(m, lambda t: t.replace('"value": 1', '"value": NaN').encode()), parked("schema")
    ),
    "07-negative-zero": Row(value("-0"), parked("schema")),
    "08-duplicate-json-keys": Row(
        lambda by, m: by.declaration(
            m, json.dumps(declaration(m)).replace('"owner"', '"owner": "a", "owner"').encode()
        ),
        parked("schema", "'owner' is there twice"),
    ),
    "08-duplicate-json-keys-structured": Row(
        lambda by, m: by.structured(m, lambda t: t.replace('"id"', '"id": "a", "id"').encode()),
        parked("schema", "'id' is there twice"),
    ),
    "09-unknown-type": Row(
        lambda by, m: by.event("cairn.model.invented.v1", m, {"model": m}, topic="requests"), parked("unknown-type")
    ),
    "10-future-major": Row(
        lambda by, m: by.event("cairn.declaration.submitted.v9", m, declaration(m), topic="requests"),
        parked("unsupported-version", severity="notice"),
    ),
    "11-future-minor-with-further-fields": Row(
        lambda by, m: by.declaration(m, declaration(m, later="x") | {"later": [1]}, later="x"), DECLARED
    ),
    "12-field-missing": Row(lambda by, m: by.labels(m, {"model": m, "target": "y"}), parked("schema", "items")),
    "12-wrong-type": Row(owner(7), parked("schema", "declaration.owner")),
    "12-enum-out-of-range": Row(
        lambda by, m: by.declaration(m, declaration(m, task="clairvoyance")), parked("schema", "declaration.task")
    ),
    "13-nul-escaped": Row(owner("a\0b"), parked("schema", "U+0000")),
    "13-nul-raw": Row(
        lambda by, m: by.declaration(m, json.dumps(declaration(m)).encode().replace(b"tests", b"a\0b")),
        parked("schema"),
    ),
    "13-control-character": Row(owner("a\x1b[2Jb"), parked("schema", "U+001B")),
    "13-text-turned-round": Row(owner("a\u202egnp.b"), parked("schema", "U+202E")),
    "13-text-turned-round-unescaped": Row(
        lambda by, m: by.labels(m, json.dumps(labels(m, "a\u2066b"), ensure_ascii=False).encode()),
        parked("schema", "U+2066"),
    ),
    "13-ten-megabytes-of-text": Row(value('"' + "x" * 10_000_000 + '"'), parked("too-large")),
    "14-year-9999": Row(at("9999-12-31T23:59:59Z"), DECLARED),
    "14-beyond-year-9999": Row(at("9999-12-31T23:59:59-14:00"), parked("time")),
    "14-negative-year": Row(at("-0001-10-05T08:01:00Z"), parked("time")),
    "14-no-offset": Row(at("2026-10-05T08:01:00"), parked("time")),
    "14-no-offset-in-the-facts": Row(
        lambda by, m: by.labels(m, json.dumps(labels(m)).replace("08:00:00Z", "08:00:00").encode()),
        parked("schema", "items.0.observed_at"),
    ),
    "15-id-missing": Row(named(ABSENT), parked("identity")),
    "15-id-empty": Row(named(""), parked("identity")),
    "15-id-overlong": Row(named("x" * 129), parked("identity")),
    "15-id-of-128-characters": Row(named("x" * 128), DECLARED),
    "15-id-is-the-nil-uuid": Row(named("00000000-0000-0000-0000-000000000000"), DECLARED),
    "16-sent-twice": Row(twice, DECLARED),
    "17-id-used-for-other-content": Row(
        id_used_again, Answer("id-reused", finding="id-reused", severity="alarm", told=(ModelDeclared,))
    ),
    "18-sequence-gap": Row(gap, registered("sequence-gap")),
    "19-sequence-falls-back": Row(fall_back, registered("sequence-regress")),
    "20-other-key": Row(lambda by, m: by.declaration(m, key=b"model/another"), parked("key-mismatch")),
    "20-null-key": Row(lambda by, m: by.declaration(m, key=None), parked("key-mismatch")),
    "20-null-key-unsigned": Row(lambda by, m: by.labels(m, key=None), parked("key-mismatch")),
    "21-heard-type-on-the-wrong-topic": Row(
        lambda by, m: by.event("cairn.model.declared.v1", m, example("cairn.model.declared.v1", m), topic="requests"),
        alarm("wrong-topic"),
    ),
    "21-other-type-on-the-wrong-topic": Row(
        lambda by, m: by.event(TRAINING, m, example(TRAINING, m), topic="labels", signed_by="", source=OUTSIDER),
        alarm("wrong-topic"),
    ),
    "22-changed-after-signing": Row(forged, alarm("signature")),
    "22-unsigned": Row(lambda by, m: by.declaration(m).without(b"ce_signature", b"ce_keyid"), alarm("unsigned")),
    "22-unknown-key": Row(signed_by("stranger"), alarm("signature")),
    "22-expired-key": Row(signed_by("expired"), alarm("signature", "does not count at that time")),
    "22-key-of-another-service": Row(
        lambda by, m: by.training(m, 1, "run", signed_by="monitor", source=by.installation.source("trainer")),
        alarm("not-allowed"),
    ),
    "23-service-may-not-tell-this": Row(lambda by, m: by.declaration(m, signed_by="trainer"), alarm("not-allowed")),
    "24-reply-to": Row(header(b"reply_to", b"replies"), DECLARED),
    "25-near-the-broker-s-limit": Row(lambda by, m: padded(by, m, "requests", MEBIBYTE - 2000), parked("too-large")),
    "25-over-the-fetch-limit": Row(lambda by, m: padded(by, m, "labels", int(3.9 * MEBIBYTE)), parked("too-large")),
    "25-over-every-fetch-limit": Row(lambda by, m: padded(by, m, "labels", 9 * MEBIBYTE), parked("too-large")),
    "26-compressed-bomb": Row(bomb, parked("too-large")),
    "27-labels-of-a-model-never-seen": Row(lambda by, m: by.labels(m), KEPT),
    "27-run-of-a-model-never-seen": Row(lambda by, m: by.training(m, 1, "run"), Answer(told=(ModelRegistered,))),
    "28-rollback-without-a-champion": Row(unknown_champion, Answer(told=(RequestRefused,))),
    "28-approval-of-a-rejected-version": Row(rejected_version, Answer(told=(RequestRefused,))),
    "29-its-own-cause": Row(named_as_its_own_cause, alarm("causation")),
    "29-fifty-one-hops": Row(lambda by, m: by.declaration(m, hops="51"), alarm("causation")),
    "29-fifty-hops": Row(lambda by, m: by.declaration(m, hops="50"), DECLARED),
    "30-replayed": Row(replayed, Answer(told=(ModelRegistered,))),
}
"""Each kind of the list by its number, in one or more forms."""

SERVICE_OF = {"requests": "registry", "training": "registry", "labels": "monitor"}
"""Who is asked, by the topic."""
_LENIENT = ("unsigned-admitted", "wrong-partition")


@dataclass
class Evidence:
    """All that was told of what was sent."""

    sent: dict[str, ByHand]
    """The judged record of each row."""
    behind: dict[str, ByHand]
    """The right record behind it."""
    offsets: dict[ByHand, int]
    requests: str
    """The topic of requests, as Kafka knows it."""
    parked: dict[tuple[str, str, int, int], RecordParked] = field(default_factory=dict)
    """By service and place."""
    findings: list[FindingRaised] = field(default_factory=list)
    told: dict[str, list[type[Event]]] = field(default_factory=lambda: defaultdict(list))
    """What each event led to, by its name."""
    kept: set[str] = field(default_factory=set)
    """Models whose labels the monitor has."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Of the logs in the auditor's store."""
    ends: dict[str, int] = field(default_factory=dict)
    """Of the same in Kafka."""
    verified: subprocess.CompletedProcess[str] | None = None
    """What the auditor says of its own store."""
    rebuilt: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The digests of stores before and after they were rebuilt."""

    def answer(self, record: ByHand, model: str) -> Answer:
        """What became of a record."""
        place = (record.topic, record.partition, self.offsets[record])
        of_service = self.parked.get((SERVICE_OF[record.topic], *place))
        found = [one for one in self.findings if is_about(one, place) and one.code not in _LENIENT]
        return Answer(
            parked=of_service.reason.code if of_service else "",
            says=of_service.reason.text if of_service else "",
            finding=" ".join(one.code for one in found),
            severity=" ".join(one.severity for one in found),
            told=tuple(self.told[record.cause]) if record.id else (),
            kept=model in self.kept,
        )


def is_about(finding: FindingRaised, place: tuple[str, int, int]) -> bool:
    topic, partition, offset = place
    about = finding.record
    return (about.topic, about.partition) == (topic, partition) and about.first_offset <= offset <= about.last_offset


def fits(answer: Answer, wanted: Answer) -> bool:
    return wanted.says in answer.says and replace(answer, says=wanted.says) == wanted


def model_of(record: ByHand) -> str:
    """The model that a right record is about."""
    return (record.key or b"").decode().removeprefix("model/")


def right_behind(by: Author, name: str, record: ByHand) -> ByHand:
    model = behind(record, f"after-{name}")
    match record.topic:
        case "labels":
            return by.labels(model)
        case "training":
            return by.training(model, 1, "run")
    return by.declaration(model)


RIGHT = {"labels": KEPT, "training": Answer(told=(ModelRegistered,)), "requests": DECLARED}


async def make_large_topic(kafka: str, installation: Installation) -> None:
    """Labels as an operator may have them: with a limit far beyond what an event may have."""
    settings = {
        "max.message.bytes": str(16 * MEBIBYTE),
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "-1",
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(installation.topic("labels"), 4, 1, topic_configs=settings)])
    finally:
        await admin.close()


def make_author(home: Path, installation: Installation) -> Author:
    """Everybody's keys, one that has expired and one that nobody trusts; the outsider is admitted unsigned."""
    trust = ensure_keys(home / "keys", home / TRUST_FILE, installation, "ada")
    keys = {name: Signer.load(home / "keys" / f"{name}.key") for name in ("user", *SERVICES)}
    keys |= {name: Signer.generate(name) for name in ("expired", "stranger")}
    expired = TrustedKey(
        keyid="expired",
        public_key=keys["expired"].public_text,
        principal="person/old",
        sources=("*",),
        topics=("requests",),
        not_after_at=datetime(2020, 1, 1, tzinfo=UTC),
    )
    unsigned = UnsignedSource(source=OUTSIDER, topics=("labels",))
    Trust(keys=(*trust.keys, expired), unsigned=(unsigned,)).save(home / TRUST_FILE)
    return Author(installation, keys)


async def collect(context: Context, evidence: Evidence) -> None:
    """Read anew all that was told."""
    evidence.parked.clear()
    evidence.findings.clear()
    evidence.told.clear()
    topics = tuple(topic.name for topic in TOPICS.values() if topic.owner in SERVICES and topic.name != "checkpoints")
    seen = set()
    async for _record, heard in read_log(context, topics):
        if not isinstance(heard, Heard) or (heard.message.envelope.source, heard.message.envelope.id) in seen:
            continue
        seen.add((heard.message.envelope.source, heard.message.envelope.id))
        facts = heard.facts
        if isinstance(facts, RecordParked):
            evidence.parked[facts.service, facts.topic, facts.partition, facts.offset] = facts
        elif isinstance(facts, FindingRaised):
            evidence.findings.append(facts)
        else:
            evidence.told[heard.message.envelope.causationid].append(type(facts))
    with closing(sqlite3.connect(f"file:{context.home}/stores/monitor.db?mode=ro", uri=True)) as store:
        evidence.kept = {model for (model,) in store.execute("SELECT DISTINCT model FROM labelled")}


def wrong_rows(evidence: Evidence) -> list[str]:
    """The rows that are not answered as they should be."""
    return [
        name
        for name, row in ROWS.items()
        if not fits(evidence.answer(evidence.sent[name], model_name(name)), row.answer)
        or not fits(
            evidence.answer(evidence.behind[name], model_of(evidence.behind[name])), RIGHT[evidence.sent[name].topic]
        )
    ]


def model_name(row: str) -> str:
    return f"row-{row}"[:63]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def evidence(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Evidence]:
    home = tmp_path_factory.mktemp("bad-events")
    installation = Installation(f"bad-{uuid4().hex[:8]}")
    by = make_author(home, installation)
    await make_large_topic(kafka, installation)
    async with Stack(options(home, kafka, installation.name), lambda _name, _line: None) as stack:
        records, sent, after = [], {}, {}
        for name, row in ROWS.items():
            written = row.write(by, model_name(name))
            several = [written] if isinstance(written, ByHand) else list(written)
            sent[name], after[name] = several[-1], right_behind(by, name, several[-1])
            records += [*several, after[name]]
        found = Evidence(sent, after, await send(kafka, installation, records), installation.topic("requests"))
        deadline = time.monotonic() + _PATIENCE_SECONDS
        await collect(stack.context, found)
        while wrong_rows(found) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            await collect(stack.context, found)
        await quiesce(stack)
        await collect(stack.context, found)
        context = stack.context
    found.sizes, found.ends = auditor_sizes(context), await ends_of(context, ("requests", "training", "labels"))
    store = str(home / "stores" / "governance-auditor.db")
    found.verified = run_service(stack, "governance-auditor", "verify", "--store", store, "--bootstrap", kafka)
    found.rebuilt = {service: rebuild(stack, service) for service in ("registry", "monitor")}
    yield found


def auditor_sizes(context: Context) -> dict[str, int]:
    """How many records of each log the auditor has."""
    with closing(sqlite3.connect(f"file:{context.home}/stores/governance-auditor.db?mode=ro", uri=True)) as store:
        return dict(store.execute("SELECT log, size FROM log").fetchall())


async def ends_of(context: Context, topics: tuple[str, ...]) -> dict[str, int]:
    """How many records Kafka has of each log."""
    async with Log.open(context.bootstrap_servers, context.installation) as log:
        ends = await log.ends(partitions_of(topics))
    return {f"{topic}/{partition}": end for (topic, partition), end in ends.items()}


def rebuild(stack: Stack, service: str) -> tuple[str, str]:
    """The digests of a store before and after it is rebuilt from the log."""
    before, rebuilt = run_service(stack, service, "digest"), run_service(stack, service, "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    return before.stdout.split()[-1], rebuilt.stdout.split()[-1]


def test_every_kind_of_the_list_is_sent():
    assert {int(name[:2]) for name in ROWS} == set(range(1, 31))


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_event_is_answered(evidence: Evidence, name: str):
    answer, wanted = evidence.answer(evidence.sent[name], model_name(name)), ROWS[name].answer
    assert wanted.says in answer.says
    assert replace(answer, says=wanted.says) == wanted, answer.says


@pytest.mark.parametrize("name", ROWS)
def test_the_right_event_behind_it_is_handled(evidence: Evidence, name: str):
    record = evidence.behind[name]
    assert evidence.answer(record, model_of(record)) == RIGHT[record.topic]


def test_a_chain_of_fifty_hops_ends_where_the_answer_to_it_is_heard(evidence: Evidence):
    name = "29-fifty-hops"
    key = evidence.sent[name].key
    assert key
    at = ("registry", partition_of("registry", key))
    ended = [one for one in evidence.parked.values() if (one.topic, one.partition) == at]
    assert {(one.service, one.reason.code) for one in ended} >= {("trainer", "causation"), ("monitor", "causation")}
    (offset,) = {one.offset for one in ended}
    found = [(one.code, one.severity) for one in evidence.findings if is_about(one, (*at, offset))]
    assert found == [("causation", "alarm")]


@pytest.mark.parametrize("name", ["16-sent-twice", "30-replayed"])
def test_a_duplicate_has_no_effect_of_its_own(evidence: Evidence, name: str):
    record = evidence.sent[name]
    assert len(evidence.told[record.cause]) == 1


def test_the_auditor_has_every_record(evidence: Evidence):
    sizes = {log: evidence.sizes.get(log, 0) for log in evidence.ends}
    assert sizes == evidence.ends
    # A checkpoint that was signed when the auditor stopped may not have come back to it.
    assert evidence.verified.returncode == (3 if "not compared" in evidence.verified.stderr else 0), evidence.verified


def test_stores_are_rebuilt_from_such_a_log_to_the_same_rows(evidence: Evidence):
    for before, after in evidence.rebuilt.values():
        assert before == after


async def test_no_reply_was_sent_where_a_header_asks_for_it(evidence: Evidence, kafka: str):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        assert "replies" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_kafka_itself_refuses_what_is_over_its_limit(evidence: Evidence, kafka: str):
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=16 * MEBIBYTE)
    await producer.start()
    try:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(evidence.requests, b" " * 2 * MEBIBYTE, partition=0)
    finally:
        await producer.stop()
