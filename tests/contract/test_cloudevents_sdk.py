"""The official CloudEvents SDK reads all that is recorded here, and what it writes is read here."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, from_structured, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.schema_strategies import REFUSED
from tests.contract.test_wire import CAIRN, FEW, SOURCE, UNSIGNED, draw_payload, every_type, facts_from, topic_of

from cairn.events import CATALOGUE, Heard, Installation, Message, Record, check, read, write
from cairn.events.envelope import Envelope, schema_address
from cairn.events.structured import STRUCTURED_TYPE
from cairn.schemas.examples import Example, read_examples

EXAMPLES = read_examples(Path(__file__).parents[2])
JSON = JSONFormat()
ATTRIBUTE_TEXTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn"], exclude_characters=REFUSED), min_size=1, max_size=20
)
EXTENSIONS = st.fixed_dictionaries({}, optional={"correlationid": ATTRIBUTE_TEXTS, "colour": ATTRIBUTE_TEXTS})

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.type}/{one.name}")


def as_text(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


@every_example
def test_the_sdk_reads_an_example(example: Example) -> None:
    headers = {name: text.encode() for name, text in example.headers.items()}
    event = from_binary(KafkaMessage(headers, example.key.encode(), example.value_bytes), JSON)
    assert event.get_data() == example.value
    told = {name[3:]: text for name, text in example.headers.items() if name.startswith("ce_")}
    read_by_sdk = {name: as_text(value) for name, value in event.get_attributes().items()}
    for name in told.keys() - {"time"}:
        assert read_by_sdk[name] == told[name]
    assert event.get_time() == datetime.fromisoformat(told["time"])
    assert read_by_sdk["partitionkey"] == example.key


@every_example
def test_what_the_sdk_sends_on_is_the_same_event(example: Example) -> None:
    headers = {name: text.encode() for name, text in example.headers.items()}
    event = from_binary(KafkaMessage(headers, example.key.encode(), example.value_bytes), JSON)
    for message in (to_binary(event, JSON), to_structured(event, JSON)):
        result = read(record_of(message, example.topic))
        assert isinstance(result, Message), result
        assert (result.envelope.source, result.envelope.id) == (example.headers["ce_source"], example.headers["ce_id"])
        assert result.entry.facts.model_validate_json(result.data) == result.entry.facts.model_validate_json(
            example.value_bytes
        )


def record_of(message: KafkaMessage, topic: str) -> Record:
    key = message.key.encode() if isinstance(message.key, str) else message.key
    return Record(topic, 0, 0, 0, key, tuple(message.headers.items()), message.value)


@every_type
@FEW
@given(data=st.data())
def test_what_the_sdk_writes_counts_here(name: str, data: st.DataObject) -> None:
    payload = draw_payload(name, data)
    facts = facts_from(name, payload)
    if facts is None:
        return
    entry = CATALOGUE[name]
    attributes = {
        "id": data.draw(ATTRIBUTE_TEXTS),
        "source": SOURCE,
        "type": name,
        "specversion": "1.0",
        "subject": entry.subject_of(facts),
        "time": data.draw(st.datetimes(timezones=st.just(UTC))),
        "datacontenttype": "application/json",
        "partitionkey": entry.key_of(facts),
        **data.draw(EXTENSIONS),
    }
    event = CloudEvent(attributes, payload)
    for message in (to_binary(event, JSON), to_structured(event, JSON)):
        result = read(record_of(message, topic_of(name)))
        assert isinstance(result, Message), result
        heard = check(result, CAIRN, UNSIGNED)
        assert isinstance(heard, Heard), heard
        assert heard.facts == facts
        assert result.envelope.id == attributes["id"]


@every_type
@FEW
@given(data=st.data())
def test_the_sdk_reads_what_is_written_here(name: str, data: st.DataObject) -> None:
    facts = facts_from(name, draw_payload(name, data))
    if facts is None:
        return
    envelope = Envelope(
        id=data.draw(ATTRIBUTE_TEXTS),
        source=SOURCE,
        type=name,
        subject=CATALOGUE[name].subject_of(facts),
        time="2026-11-01T00:00:00.000000Z",
        dataschema=schema_address(name),
        correlationid=data.draw(ATTRIBUTE_TEXTS),
    )
    sent = write(facts, envelope, topic_of(name), Installation(), None)
    event = from_binary(KafkaMessage(dict(sent.headers), sent.key, sent.value), JSON)
    assert event.get_id() == envelope.id
    assert event.get_extension("correlationid") == envelope.correlationid
    assert CATALOGUE[name].facts.model_validate(event.get_data(), strict=False) == facts


def test_bytes_that_the_sdk_encodes_are_the_payload() -> None:
    example = next(one for one in EXAMPLES if one.topic == "labels")
    attributes = {name[3:]: text for name, text in example.headers.items() if name.startswith("ce_")}
    attributes |= {"time": datetime(2026, 11, 1, tzinfo=UTC), "partitionkey": example.key}
    message = to_structured(CloudEvent(attributes, example.value_bytes), JSON)
    assert b"data_base64" in message.value
    result = read(record_of(message, "labels"))
    assert isinstance(result, Message), result
    assert result.data == example.value_bytes
    assert from_structured(message, JSON).get_data() == example.value_bytes


@pytest.mark.parametrize(
    "data", ['"data_base64": "%%%"', '"data": {}, "data_base64": "e30="', '"data_base64": 1', '"data": [1]']
)
def test_data_that_is_no_json_object_is_refused(data: str) -> None:
    value = f'{{"specversion": "1.0", "id": "1", "source": "/x", "type": "cairn.labels.observed.v1", {data}}}'
    result = read(Record("labels", 0, 0, 0, b"k", (("content-type", STRUCTURED_TYPE.encode()),), value.encode()))
    assert not isinstance(result, Message)
    assert result.code == "not-a-cloudevent"
