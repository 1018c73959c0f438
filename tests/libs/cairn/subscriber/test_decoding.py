"""The short way through the decoder never says anything else than the long one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from tests.libs.cairn.subscriber.promotions import ROOT

from cairn.events import CATALOGUE, Heard, Installation, Malformed, Record
from cairn.events.envelope import cause_name
from cairn.schemas.examples import Example, read_examples
from cairn.subscriber import hear
from cairn.subscriber.decoding import OTHER_TYPE, Arrived, Decoder

CAIRN = Installation("cairn")
EXAMPLES = read_examples(Path(ROOT))
DECODER = Decoder.for_types([entry.facts for entry in CATALOGUE.values()], CAIRN, trust=None)


def raw(record: Record) -> ConsumerRecord:
    """The record as the client gives it."""
    return ConsumerRecord(
        CAIRN.topic(record.topic), 0, 7, record.timestamp, 1, record.key, record.value, None, 0, 0, record.headers
    )


def changed(example: Example, **headers: str | None) -> Record:
    """Its record with other headers; None leaves one out."""
    record = example.record(1_790_000_000_000)
    names = {name.replace("_", "-") if name == "content_type" else f"ce_{name}": text for name, text in headers.items()}
    kept = [(name, value) for name, value in record.headers if name not in names]
    return replace(
        record, headers=(*kept, *((name, text.encode()) for name, text in names.items() if text is not None))
    )


def with_value(example: Example, value: bytes | None) -> Record:
    return replace(example.record(), value=value)


PROMOTED = next(one for one in EXAMPLES if one.type == "cairn.model.promoted.v1" and one.name == "ordinary")
PREDICTED = next(one for one in EXAMPLES if one.type == "cairn.predictions.served.v1" and one.name == "ordinary")

STRANGE = {
    "no id": changed(PROMOTED, id=None),
    "an empty id": changed(PROMOTED, id=""),
    "a long id": changed(PROMOTED, id="x" * 129),
    "an id that is not ASCII": changed(PROMOTED, id="née-1"),
    "an id with a line break": changed(PROMOTED, id="a\nb"),
    "a long source": changed(PROMOTED, source="/" + "x" * 256),
    "no source": changed(PROMOTED, source=None),
    "no time": changed(PROMOTED, time=None),
    "a time without a zone": changed(PROMOTED, time="2026-10-05T08:39:48"),
    "no time at all": changed(PROMOTED, time="noon"),
    "no subject": changed(PROMOTED, subject=None),
    "another subject": changed(PROMOTED, subject="model/toy.b"),
    "no type": changed(PROMOTED, type=None),
    "an unknown type": changed(PROMOTED, type="cairn.model.praised.v1"),
    "a type of another topic": changed(PROMOTED, type="cairn.policy.adopted.v1"),
    "an unknown attribute": changed(PROMOTED, shade="blue"),
    "no content type": changed(PROMOTED, content_type=None),
    "another content type": changed(PROMOTED, content_type="application/json; charset=utf-8"),
    "structured mode in name alone": changed(PROMOTED, content_type="application/cloudevents+json"),
    "itself as its cause": changed(
        PROMOTED, causationid=cause_name(PROMOTED.headers["ce_source"], PROMOTED.headers["ce_id"])
    ),
    "a signature": changed(PROMOTED, signature="x", keyid="y"),
    "another key": replace(PROMOTED.record(), key=b"model/toy.b"),
    "no key": replace(PROMOTED.record(), key=None),
    "the subject as its key, of a type with another one": replace(PREDICTED.record(), key=b"model/risk.loans"),
    "another topic": replace(PROMOTED.record(), topic="training"),
    "no value": with_value(PROMOTED, None),
    "an empty value": with_value(PROMOTED, b""),
    "no JSON": with_value(PROMOTED, b"{"),
    "too large a value": with_value(PROMOTED, PROMOTED.value_bytes[:-1] + b',"x":"' + b"x" * 65_536 + b'"}'),
    "a newer field": with_value(PROMOTED, b'{"shade":"blue",' + PROMOTED.value_bytes[1:]),
    "a header twice": replace(PROMOTED.record(), headers=(*PROMOTED.record().headers, ("ce_id", b"other"))),
    "a header without a value": replace(PROMOTED.record(), headers=(*PROMOTED.record().headers, ("ce_basis2", None))),
    "a header of somebody else's": replace(PROMOTED.record(), headers=(*PROMOTED.record().headers, ("x", b"\xff"))),
    "no headers": replace(PROMOTED.record(), headers=()),
}


def said(verdict: Arrived | Malformed | Heard) -> Any:
    match verdict:
        case Arrived():
            return verdict.facts, verdict.source, verdict.id, verdict.signed
        case Heard():
            return verdict.facts, verdict.message.envelope.source, verdict.message.envelope.id, verdict.signed
    return verdict


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.type}/{one.name}")
def test_every_recorded_message_is_decoded_as_everywhere(example: Example) -> None:
    record = example.record(1_790_000_000_000)

    [verdict] = DECODER.decode([raw(record)])

    assert isinstance(verdict, Arrived)
    assert said(verdict) == said(hear(record, CAIRN, None))


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_record_is_judged_as_everywhere(name: str) -> None:
    record = STRANGE[name]

    [verdict] = DECODER.decode([raw(record)])

    assert said(verdict) == said(hear(record, CAIRN, None))


def test_strange_records_differ() -> None:
    verdicts = [hear(record, CAIRN, None) for record in STRANGE.values()]

    assert len({one.code for one in verdicts if isinstance(one, Malformed)}) > 10
    assert any(isinstance(one, Heard) for one in verdicts)


def test_what_nobody_asked_for_is_not_looked_at() -> None:
    decoder = Decoder.for_types([CATALOGUE["cairn.model.declared.v1"].facts], CAIRN, trust=None)

    assert list(decoder.decode([raw(with_value(PROMOTED, b"{"))])) == [OTHER_TYPE]
