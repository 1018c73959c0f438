"""What is written is read again as it was meant, signed or not; what does not count is refused with the reason."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from tests.contract.schema_strategies import payloads

from cairn.events import (
    CATALOGUE,
    TOPICS,
    Envelope,
    Event,
    Heard,
    Installation,
    Malformed,
    Message,
    Outgoing,
    Record,
    RecordDiscarded,
    Signer,
    Trust,
    TrustedKey,
    UnsignedSource,
    check,
    read,
    topic_for,
    write,
)
from cairn.events.envelope import format_sequence, schema_address
from cairn.events.values import Reason
from cairn.schemas.json_schema import json_schema

CAIRN = Installation()
SOURCE = "/cairn/registry"
SIGNER = Signer.generate("registry-1")
KEY = TrustedKey(
    keyid=SIGNER.keyid,
    public_key=SIGNER.public_text,
    principal="service/registry",
    sources=(SOURCE,),
    topics=tuple(TOPICS),
)
TRUSTED = Trust(keys=(KEY,))
UNSIGNED = Trust(unsigned=(UnsignedSource(source=SOURCE, topics=tuple(TOPICS)),))
NOW = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)
FEW = settings(
    max_examples=15,
    deadline=None,
    phases=set(Phase) - {Phase.explain, Phase.shrink},  # in a large payload these take minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)

every_type = pytest.mark.parametrize("name", CATALOGUE)


def facts_from(name: str, payload: Any) -> Event | None:
    """The facts, or None where only a rule between fields is broken, which a schema cannot say."""
    try:
        return CATALOGUE[name].facts.model_validate_json(json.dumps(payload))
    except ValidationError as error:
        if "value_error" in {fault["type"] for fault in error.errors()}:
            return None
        raise


@cache
def payloads_of(name: str) -> st.SearchStrategy[Any]:
    return payloads(json_schema(CATALOGUE[name]))


def draw_payload(name: str, data: st.DataObject) -> Any:
    """A payload of this type; what a service tells of itself is the registry's."""
    payload = data.draw(payloads_of(name))
    return payload | ({"service": "registry"} if CATALOGUE[name].topic == "operations" else {})


def envelope_for(name: str, facts: Event, **more: str) -> Envelope:
    told = {"id": "6f1c", "time": "2026-11-01T00:00:00.000000Z", "sequence": format_sequence(7)} | more
    subject = CATALOGUE[name].subject_of(facts)
    return Envelope(source=SOURCE, type=name, subject=subject, dataschema=schema_address(name), **told)


def topic_of(name: str) -> str:
    return topic_for(CATALOGUE[name], "registry").name


def record_of(outgoing: Outgoing) -> Record:
    return Record(CAIRN.bare_topic(outgoing.topic), 0, 0, NOW, outgoing.key, outgoing.headers, outgoing.value)


def heard(record: Record, trust: Trust = TRUSTED, installation: Installation = CAIRN) -> Heard | Malformed:
    message = read(record)
    return check(message, installation, trust) if isinstance(message, Message) else message


@every_type
@FEW
@given(data=st.data())
def test_whatever_the_schema_admits_survives_the_wire(name: str, data: st.DataObject) -> None:
    facts = facts_from(name, draw_payload(name, data))
    if facts is None:
        return
    more = data.draw(st.fixed_dictionaries({"traceparent": TEXTS, "basis": TEXTS, "correlationid": TEXTS}))
    envelope = envelope_for(name, facts, **more)
    signer = data.draw(st.sampled_from([SIGNER, None]))
    outgoing = write(facts, envelope, topic_of(name), CAIRN, signer)
    result = heard(record_of(outgoing), TRUSTED if signer else UNSIGNED)
    assert isinstance(result, Heard), result
    assert result.facts == facts
    assert result.signed == bool(signer)
    assert replace(result.message.envelope, keyid="", signature="") == envelope
    Draft202012Validator(json_schema(CATALOGUE[name])).validate(json.loads(outgoing.value))


LABELS = "cairn.labels.observed.v1"
A_LABEL = {"prediction_id": "p-1", "observed_at": "2026-10-31T00:00:00Z", "value": 1}


def labels_sent(signer: Signer | None = SIGNER, **more: str) -> Record:
    facts = facts_from(LABELS, {"model": "risk.loans", "target": "defaulted", "items": [A_LABEL]})
    assert facts
    return record_of(write(facts, envelope_for(LABELS, facts, **more), "labels", CAIRN, signer))


def with_header(record: Record, name: str, value: bytes | None) -> Record:
    kept = [header for header in record.headers if header[0] != name]
    return replace(record, headers=[*kept, *([(name, value)] if value is not None else [])])


def refused(result: Heard | Malformed) -> str:
    assert isinstance(result, Malformed), result
    return result.code


def test_one_changed_byte_of_the_value_breaks_the_signature() -> None:
    record = labels_sent()
    assert record.value
    assert refused(heard(replace(record, value=record.value.replace(b'"value":1', b'"value":0')))) == "signature"


@pytest.mark.parametrize("name", ["ce_id", "ce_subject", "ce_time", "ce_sequence", "content-type"])
def test_a_changed_header_breaks_the_signature(name: str) -> None:
    assert refused(heard(with_header(labels_sent(), name, b"2"))) == "signature"


def test_an_added_attribute_breaks_the_signature() -> None:
    assert refused(heard(with_header(labels_sent(), "ce_basis", b"mallory"))) == "signature"


def test_another_key_breaks_the_signature() -> None:
    assert refused(heard(replace(labels_sent(), key=b"model/risk.cards"))) == "signature"


def test_a_signature_does_not_count_in_another_installation() -> None:
    assert refused(heard(labels_sent(), installation=Installation("cairn-staging"))) == "signature"


def test_a_header_that_is_no_attribute_is_not_signed() -> None:
    assert isinstance(heard(with_header(labels_sent(), "baggage", b"x=1")), Heard)


def test_a_key_speaks_only_for_its_sources() -> None:
    trust = Trust(keys=(KEY.model_copy(update={"sources": ("/cairn/trainer",)}),))
    assert refused(heard(labels_sent(), trust)) == "not-allowed"


def test_a_key_speaks_only_on_its_topics() -> None:
    trust = Trust(keys=(KEY.model_copy(update={"topics": ("registry",)}),))
    assert refused(heard(labels_sent(), trust)) == "not-allowed"


def test_a_key_that_is_out_of_date_does_not_count() -> None:
    trust = Trust(keys=(KEY.model_copy(update={"not_after_at": datetime(2026, 10, 1, tzinfo=UTC)}),))
    assert refused(heard(labels_sent(), trust)) == "signature"


def test_a_key_with_an_end_does_not_count_where_the_writer_says_when_it_wrote() -> None:
    trust = Trust(keys=(KEY.model_copy(update={"not_after_at": datetime(9999, 1, 1, tzinfo=UTC)}),))
    backdated = replace(labels_sent(), timestamp_type=0)

    assert isinstance(heard(labels_sent(), trust), Heard)
    assert isinstance(heard(backdated), Heard)
    answer = heard(backdated, trust)
    assert refused(answer) == "signature"
    assert isinstance(answer, Malformed)
    assert "LogAppendTime" in answer.text


def test_a_key_speaks_only_for_its_own_principal() -> None:
    assert isinstance(heard(labels_sent(authtype="service", authid="registry")), Heard)
    assert refused(heard(labels_sent(authtype="person", authid="ada"))) == "not-allowed"


def test_an_unknown_key_does_not_count() -> None:
    assert refused(heard(labels_sent(), Trust())) == "signature"


def test_an_unsigned_event_counts_only_from_an_admitted_source() -> None:
    assert refused(heard(labels_sent(signer=None), TRUSTED)) == "unsigned"
    assert isinstance(heard(labels_sent(signer=None), UNSIGNED), Heard)


def test_a_type_on_a_topic_that_is_not_its_own_does_not_count() -> None:
    assert refused(heard(replace(labels_sent(), topic="datasets"))) == "wrong-topic"


def test_a_newer_major_version_is_told_apart_from_nonsense() -> None:
    newer = with_header(labels_sent(), "ce_type", b"cairn.labels.observed.v2")
    assert refused(heard(newer)) == "unsupported-version"
    assert refused(heard(with_header(labels_sent(), "ce_type", b"cairn.labels.lost.v1"))) == "unknown-type"


@pytest.mark.parametrize(
    "fault",
    [{"revision": "3"}, {"retracted": "yes"}, {"retracted": 1}, {"revision": True}, {"observed_at": 1_700_000_000}],
    ids=str,
)
def test_what_the_schema_refuses_is_refused(fault: dict[str, Any]) -> None:
    payload = {"model": "risk.loans", "target": "defaulted", "items": [A_LABEL | fault]}
    assert not Draft202012Validator(json_schema(CATALOGUE[LABELS])).is_valid(payload)
    record = replace(labels_sent(signer=None), value=json.dumps(payload).encode())
    assert refused(heard(record, UNSIGNED)) == "schema"


def test_the_smallest_publisher_needs_one_header_a_key_and_five_members() -> None:
    data = {"model": "risk.loans", "target": "defaulted", "items": [A_LABEL]}
    event = {"specversion": "1.0", "id": "1", "source": SOURCE, "type": LABELS, "data": data}
    headers = [("content-type", b"application/cloudevents+json")]
    record = Record("labels", 0, 0, NOW, b"model/risk.loans", headers, json.dumps(event).encode())
    result = heard(record, UNSIGNED)
    assert isinstance(result, Heard), result
    assert result.message.envelope.subject == "model/risk.loans"
    assert result.message.envelope.time == "2026-11-01T00:00:00.000000Z"
    assert result.message.envelope.story == "1"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b'{"model": "a", "model": "b"}', "the field 'model' is there twice"),
        (b'{"items": [{"value": 1, "value": 2}]}', "the field 'value' is there twice"),
        (b'{"target": "a\\u0000b"}', "a text holds the character U+0000, which may not stand in texts"),
    ],
)
def test_what_outsiders_write_can_be_read_in_one_way_only(value: bytes, fault: str) -> None:
    record = replace(labels_sent(None), value=value)
    result = heard(record, UNSIGNED)
    assert isinstance(result, Malformed)
    assert (result.code, result.text) == ("schema", fault)


def test_a_backslash_before_u0000_is_a_backslash() -> None:
    facts = facts_from(LABELS, {"model": "risk", "target": r"\u0000", "items": [A_LABEL]})
    assert facts
    assert isinstance(heard(record_of(write(facts, envelope_for(LABELS, facts), "labels", CAIRN, SIGNER))), Heard)


def test_the_members_of_a_structured_event_are_there_once() -> None:
    value = b'{"specversion": "1.0", "id": "1", "id": "2", "source": "/x", "type": "%s", "data": {}}' % LABELS.encode()
    result = heard(Record("labels", 0, 0, NOW, b"k", (("content-type", b"application/cloudevents+json"),), value))
    assert refused(result) == "schema"


@pytest.mark.parametrize("version", [None, b"", b"0.3", b"2.0"])
def test_another_version_of_cloudevents_is_none(version: bytes | None) -> None:
    assert refused(heard(with_header(labels_sent(), "ce_specversion", version))) == "not-a-cloudevent"


def test_a_service_tells_only_of_itself() -> None:
    facts = RecordDiscarded(
        service="trainer",
        topic="labels",
        partition=0,
        offset=0,
        digest="sha256:" + "0" * 64,
        reason=Reason(code="x", text="y"),
        parking=1,
    )
    envelope = envelope_for("cairn.record.discarded.v1", facts)
    assert refused(heard(record_of(write(facts, envelope, "operations.registry", CAIRN, SIGNER)))) == "wrong-topic"


@pytest.mark.parametrize("end", ["2026-11-01T00:00:00Z", "2026-10-31T00:00:00Z"], ids=["empty", "backwards"])
def test_a_period_holds_an_instant(end: str) -> None:
    period = {"start_at": "2026-11-01T00:00:00Z", "end_at": end}
    items = [{"entity": "e", "period": period, "observed_at": "2026-11-01T00:00:00Z", "value": 1}]
    value = json.dumps({"model": "risk.loans", "target": "defaulted", "items": items}).encode()
    result = heard(replace(labels_sent(None), value=value), UNSIGNED)
    assert isinstance(result, Malformed)
    assert "items.0.period: Value error, the period holds no instant: from 2026-11-01" in result.text


def test_no_text_of_any_event_holds_a_nul() -> None:
    facts = RecordDiscarded(
        service="registry",
        topic="labels",
        partition=0,
        offset=0,
        digest="sha256:" + "0" * 64,
        reason=Reason(code="x", text="a\0b"),
        parking=1,
    )
    envelope = envelope_for("cairn.record.discarded.v1", facts)
    assert refused(heard(record_of(write(facts, envelope, "operations.registry", CAIRN, SIGNER)))) == "schema"
