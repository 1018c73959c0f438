"""A leaf says all that Kafka stored of a record, and nothing else."""

import struct
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import assume, given
from hypothesis import strategies as st

from cairn.audit.leaf import Headers, decode_headers, encode_headers, encode_leaf


@dataclass(frozen=True)
class Stone:
    topic: str = "cairn.registry"
    partition: int = 3
    offset: int = 41
    timestamp: int = 1_700_000_000_123
    timestamp_type: int = 1
    key: bytes | None = b"model/risk.loans"
    headers: Headers = (("ce_id", b"7f3a"), ("ce_type", b"cairn.model.promoted.v1"))
    value: bytes | None = b'{"model":"risk.loans"}'


OCTETS = st.none() | st.binary(max_size=8)
STONES = st.builds(
    Stone,
    topic=st.text("ab.", min_size=1, max_size=3),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, 2**63 - 1),
    timestamp_type=st.sampled_from([-1, 0, 1]),
    key=OCTETS,
    headers=st.lists(st.tuples(st.text("aé\x00\udcff", max_size=3), OCTETS), max_size=3).map(tuple),
    value=OCTETS,
)


def digest_in_words(octets: bytes | None) -> bytes:
    return bytes(32) if octets is None else sha256(octets).digest()


def length_in_words(octets: bytes | None) -> bytes:
    return struct.pack(">i", -1 if octets is None else len(octets))


def leaf_in_words(stone: Stone) -> bytes:
    """The leaf, written a second time from the table in the module's docstring."""
    names = [name.encode(errors="surrogateescape") for name, _ in stone.headers]
    values = [value for _, value in stone.headers]
    headers = [
        struct.pack(">i", len(names)),
        *map(length_in_words, names),
        *names,
        *map(length_in_words, values),
        *(value for value in values if value is not None),
    ]
    fields = [
        b"\x00\x0dcairn-leaf-v1",
        struct.pack(">h", len(stone.topic.encode())),
        stone.topic.encode(),
        struct.pack(">i", stone.partition),
        struct.pack(">q", stone.offset),
        struct.pack(">q", stone.timestamp),
        struct.pack(">b", stone.timestamp_type),
        length_in_words(stone.key),
        digest_in_words(stone.key),
        sha256(b"".join(headers)).digest(),
        length_in_words(stone.value),
        digest_in_words(stone.value),
    ]
    return b"".join(fields)


def test_a_leaf_never_changes_its_bytes() -> None:
    assert (
        sha256(encode_leaf(Stone())).hexdigest() == "cc9de83decee01f1936e26d18101561dd923c610de7d10c4bc2bd8c6b3192d58"
    )


@given(STONES)
def test_a_leaf_has_the_form_that_is_written_down(stone: Stone) -> None:
    assert encode_leaf(stone) == leaf_in_words(stone)


@given(STONES, STONES)
def test_two_records_never_share_a_leaf(one: Stone, other: Stone) -> None:
    assume(one != other)
    assert encode_leaf(one) != encode_leaf(other)


@pytest.mark.parametrize(
    "change",
    [
        {"topic": "cairn.registr"},
        {"partition": 4},
        {"offset": 42},
        {"timestamp": -1},
        {"timestamp_type": 0},
        {"key": b"model/risk.loan"},
        {"key": b""},
        {"key": None},
        {"headers": ()},
        {"headers": (("ce_type", b"cairn.model.promoted.v1"), ("ce_id", b"7f3a"))},
        {"headers": (*Stone.headers, Stone.headers[1])},
        {"headers": (("ce_id", b"7f3"), ("ce_type", b"acairn.model.promoted.v1"))},
        {"headers": (("ce_i", b"d7f3a"), ("ce_type", b"cairn.model.promoted.v1"))},
        {"headers": (("ce_id", b""), Stone.headers[1])},
        {"headers": (("ce_id", None), Stone.headers[1])},
        {"value": b'{"model":"risk.loan"}'},
        {"value": b""},
        {"value": None},
    ],
    ids=str,
)
def test_a_leaf_changes_with(change: dict[str, object]) -> None:
    assert encode_leaf(replace(Stone(), **change)) != encode_leaf(Stone())


def test_null_and_empty_differ_wherever_they_may_stand() -> None:
    assert encode_leaf(Stone(key=None)) != encode_leaf(Stone(key=b""))
    assert encode_leaf(Stone(value=None)) != encode_leaf(Stone(value=b""))
    assert encode_leaf(Stone(headers=(("a", None),))) != encode_leaf(Stone(headers=(("a", b""),)))


def test_headers_in_a_list_are_the_same_headers() -> None:
    assert encode_leaf(Stone(headers=list(Stone.headers))) == encode_leaf(Stone())


def test_the_record_that_aiokafka_gives_has_a_leaf() -> None:
    stone = Stone()
    record: ConsumerRecord[bytes, bytes] = ConsumerRecord(
        topic=stone.topic,
        partition=stone.partition,
        offset=stone.offset,
        timestamp=stone.timestamp,
        timestamp_type=stone.timestamp_type,
        key=stone.key,
        value=stone.value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=stone.headers,
    )
    assert encode_leaf(record) == encode_leaf(stone)


def test_a_leaf_fits_an_entry_of_a_tile() -> None:
    longest_topic_that_kafka_allows = "a" * 249
    assert len(encode_leaf(Stone(topic=longest_topic_that_kafka_allows))) < 65_536


def test_headers_are_found_again_as_they_were_stored_also_where_their_names_are_no_text() -> None:
    headers = (("ce_id", b"1"), ("\udcff\udcfe-bad", None), ("é", b"\xff"))
    stored = encode_headers(headers)
    assert b"\xff\xfe-bad" in stored
    assert decode_headers(stored) == headers
