"""Whatever lies in the log, reading it answers with an event or with the reason why it is none: it never raises."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cairn.events import TOPICS, Heard, Installation, Malformed, Message, Record, Trust, UnsignedSource, check, read
from cairn.events.identity import told_id
from cairn.events.signing import Signer, TrustedKey
from cairn.schemas.examples import read_examples

EXAMPLES = read_examples(Path(__file__).parents[2])
SIGNER = Signer.generate("k")
KEY = TrustedKey(
    keyid="k", public_key=SIGNER.public_text, principal="p", sources=("*",), topics=tuple(TOPICS), roles=("delegate",)
)
TRUST = Trust(keys=(KEY,), unsigned=(UnsignedSource(source="*", topics=tuple(TOPICS)),))
MANY = settings(max_examples=300, deadline=None, phases=set(Phase) - {Phase.explain})

ORDINARY = next(one for one in EXAMPLES if (one.type, one.name) == ("cairn.labels.observed.v1", "ordinary"))
EDGES = [
    "\ud800",
    "\0",
    "a\nb",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "x" * 129,
    "x" * 256,
    "",
    "١",
    "k",
]
NUMBERS = [0, -1, 2**53, 2**64, 10**400, float("nan"), float("inf"), -0.0, 1e308, True, None]
HEADER_NAMES = [f"ce_{name}" for name in ("id", "source", "type", "time", "subject", "keyid", "signature", "sequence")]

texts = st.sampled_from(EDGES) | st.text()
header_names = st.sampled_from([*HEADER_NAMES, "content-type", "ce_", "ce_\udcff", "traceparent"]) | st.text()
header_values = st.none() | st.binary() | texts.map(lambda text: text.encode(errors="surrogatepass"))
headers = st.lists(st.tuples(header_names, header_values), max_size=70)
timestamps = st.integers(-(2**63), 2**63 - 1)
nested = st.recursive(
    st.sampled_from(NUMBERS) | texts | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def answer(record: Record) -> Heard | Malformed:
    """What the record is; and if it is an event, all that its readers do with any event works with it."""
    message = read(record)
    if isinstance(message, Malformed):
        return plain(message)
    assert isinstance(message, Message)
    assert message.ref.digest == record.digest
    told_id(NAMESPACE_URL, "/cairn/x", message.cause, "t", message.envelope.subject, 0)
    result = check(message, Installation(), TRUST)
    if isinstance(result, Malformed):
        return plain(result)
    assert type(result.facts).model_validate_json(result.facts.model_dump_json()) == result.facts
    return result


def plain(fault: Malformed) -> Malformed:
    assert len(fault.text.encode()) <= 4096
    return fault


def record(value: bytes | None, headers: Any, timestamp: int = 0, key: bytes | None = None) -> Record:
    return Record("labels", 0, 0, timestamp, key, headers, value)


def ordinary_headers(**changed: bytes | None) -> list[tuple[str, bytes | None]]:
    original: dict[str, bytes | None] = {name: text.encode() for name, text in ORDINARY.headers.items()}
    return list((original | changed).items())


@MANY
@given(st.none() | st.binary(), headers, timestamps, st.none() | st.binary())
def test_arbitrary_bytes_are_answered(value: bytes | None, headers: Any, timestamp: int, key: bytes | None) -> None:
    answer(record(value, headers, timestamp, key))


@MANY
@given(st.sampled_from(EXAMPLES), st.data())
def test_an_event_with_headers_changed_is_answered(example: Any, data: st.DataObject) -> None:
    original = example.record(timestamp=data.draw(timestamps))
    kept = [header for header in original.headers if data.draw(st.integers(0, 9))]
    answer(replace(original, headers=[*kept, *data.draw(st.lists(st.tuples(header_names, header_values), max_size=2))]))


@MANY
@given(st.sampled_from(EXAMPLES), st.data())
def test_an_event_with_one_value_changed_is_answered(example: Any, data: st.DataObject) -> None:
    value = json.loads(example.value_bytes)
    place = data.draw(st.sampled_from(list(places(value))))
    put(value, place, data.draw(nested))
    answer(replace(example.record(), value=json.dumps(value).encode()))


@MANY
@given(st.dictionaries(st.sampled_from([name[3:] for name in HEADER_NAMES]) | texts, nested), st.data())
def test_a_structured_event_with_members_changed_is_answered(changed: dict[str, Any], data: st.DataObject) -> None:
    members = {name[3:]: text for name, text in ORDINARY.headers.items() if name.startswith("ce_")}
    content = {**members, "data": ORDINARY.value, **changed}
    media_type = data.draw(
        st.sampled_from([b"application/cloudevents+json", b"application/cloudevents+json; charset=x"])
    )
    value = json.dumps(content).encode()
    answer(record(value, [("content-type", media_type)], data.draw(timestamps), ORDINARY.key.encode()))


@pytest.mark.parametrize("encoded", ["é", "\ud800", "e30", "!", "e30=\n", ""])
def test_structured_data_that_is_no_base64_is_answered(encoded: str) -> None:
    value = json.dumps({"data_base64": encoded}).encode()
    result = answer(record(value, [("content-type", b"application/cloudevents+json")]))
    assert isinstance(result, Malformed)


def places(node: Any, path: tuple[Any, ...] = ()) -> Any:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield (*path, name)
        yield from places(child, (*path, name))


def put(node: Any, path: tuple[Any, ...], value: Any) -> None:
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = value


@pytest.mark.parametrize("timestamp", [-(2**63), -1, 2**63 - 1])
def test_a_timestamp_beyond_the_calendar_is_answered(timestamp: int) -> None:
    answer(record(ORDINARY.value_bytes, ordinary_headers(), timestamp, ORDINARY.key.encode()))
    signed = ordinary_headers(ce_keyid=b"k", ce_signature=b"A" * 86)
    answer(record(ORDINARY.value_bytes, signed, timestamp, ORDINARY.key.encode()))


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_instant_beyond_the_calendar_in_utc_is_a_fault_of_schema(instant: str) -> None:
    value = ORDINARY.value | {"items": [{"prediction_id": "p", "observed_at": instant, "value": 1}]}
    result = answer(record(json.dumps(value).encode(), ordinary_headers(), 0, ORDINARY.key.encode()))
    assert isinstance(result, Malformed)
    assert result.code == "schema"


def test_a_header_whose_name_is_not_utf_8_is_a_fault() -> None:
    hostile = ordinary_headers(**{"ce_\udcff": b"x", "ce_keyid": b"k", "ce_signature": b"A" * 86})
    assert isinstance(answer(record(ORDINARY.value_bytes, hostile, 0, ORDINARY.key.encode())), Malformed)


@pytest.mark.parametrize("name", ["id", "source", "correlationid", "unheard-of"])
@pytest.mark.parametrize("text", ["\ud800", "\0", "a\nb", "\x7f"])
def test_an_attribute_that_cloudevents_forbids_is_a_fault(name: str, text: str) -> None:
    members = {key[3:]: text for key, text in ORDINARY.headers.items() if key.startswith("ce_")}
    value = json.dumps({**members, name: text, "data": ORDINARY.value}).encode()
    structured = [("content-type", b"application/cloudevents+json")]
    assert isinstance(answer(record(value, structured, 0, ORDINARY.key.encode())), Malformed)


@pytest.mark.parametrize("length", [129, 256])
def test_a_source_that_is_admitted_can_be_named_as_evidence(length: int) -> None:
    long = ordinary_headers(ce_source=b"/" + b"x" * (length - 1))
    assert isinstance(answer(record(ORDINARY.value_bytes, long, 0, ORDINARY.key.encode())), Heard)


@pytest.mark.parametrize("depth", [100, 190, 210, 500, 990, 100_000])
@pytest.mark.parametrize("media_type", [b"application/json", b"application/cloudevents+json"])
def test_json_of_any_depth_is_answered(depth: int, media_type: bytes) -> None:
    deep = (
        b'{"id":"1","source":"/s","type":"cairn.labels.observed.v1","data":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    )
    answer(record(deep, ordinary_headers(**{"content-type": media_type}), 0, ORDINARY.key.encode()))


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999", b"1" * 5000])
def test_a_number_that_is_none_in_json_is_a_fault_even_where_any_json_is_admitted(number: bytes) -> None:
    trial = next(one for one in EXAMPLES if (one.type, one.name) == ("cairn.trial.finished.v1", "ordinary"))
    original = trial.record()
    assert original.value
    hostile = original.value.replace(b'"learning_rate":0.05', b'"learning_rate":' + number)
    assert hostile != original.value
    assert isinstance(answer(replace(original, value=hostile)), Malformed)


@pytest.mark.parametrize(
    "type_name", ["cairn.model.promoted.v2" + "2" * 100_000, "cairn.model.promoted.v\u202e", "." * 9]
)
def test_the_reason_of_a_refusal_is_short(type_name: str) -> None:
    answer(record(b"{}", ordinary_headers(ce_type=type_name.encode())))


def test_more_headers_than_anyone_needs_are_a_fault() -> None:
    assert isinstance(answer(record(b"{}", ordinary_headers() + [("x", b"")] * 64)), Malformed)


@pytest.mark.parametrize("value", [None, b""])
def test_a_record_without_a_value_is_a_fault(value: bytes | None) -> None:
    assert isinstance(answer(record(value, ordinary_headers())), Malformed)
