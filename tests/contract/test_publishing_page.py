"""What docs/events.md says to whoever writes a publisher is true: its words are followed here, without Cairn's code."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cairn.events import Heard, Installation, Record, Trust, TrustedKey, UnsignedSource, check, read
from cairn.events.codec import Message

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/events.md").read_text(encoding="utf-8").partition("## How to publish")[2].partition("\n## ")[0]
WORKED = SECTION.partition("### A signature worked out")[2]
FACTS = dict(re.findall(r"^\| ([^|]+) \| `([^`]+)` \|$", WORKED, re.MULTILINE))
PARTS = [(int(size), part) for size, part in re.findall(r"^\| (\d+) \| `(.+)` \|$", WORKED, re.MULTILINE)]
BYTES = bytes.fromhex(WORKED.partition("```text\n")[2].partition("```")[0])
SIGNED_FILE = ROOT / "schemas/examples/cairn.model.promoted.v1/signed.json"


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def as_the_page_says(topic: str, key: str, headers: dict[str, str], value: bytes) -> bytes:
    """The bytes under a signature, built by the page's list."""
    parts = [b"cairn-event-v1", topic.encode(), key.encode(), headers["content-type"].encode()]
    for name in sorted(header.removeprefix("ce_") for header in headers if header.startswith("ce_")):
        if name != "signature":
            parts += [name.encode(), headers[f"ce_{name}"].encode()]
    return b"".join(len(part).to_bytes(8, "big") + part for part in (*parts, value))


def java_murmur2(data: bytes) -> int:
    """As org.apache.kafka.common.utils.Utils.murmur2."""
    mixed, word = 0x9747B28C ^ len(data), 0x5BD1E995
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        piece = int.from_bytes(data[start : start + 4], "little") * word & 0xFFFFFFFF
        piece = (piece ^ piece >> 24) * word & 0xFFFFFFFF
        mixed = (mixed * word & 0xFFFFFFFF) ^ piece
    if data[whole:]:
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * word & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * word & 0xFFFFFFFF
    return mixed ^ mixed >> 15


def test_the_parts_of_the_worked_signature_make_its_bytes() -> None:
    assert len(PARTS) > 10
    assert all(size == len(part.encode()) for size, part in PARTS)
    assert b"".join(size.to_bytes(8, "big") + part.encode() for size, part in PARTS) == BYTES
    assert hashlib.sha256(BYTES).hexdigest() == FACTS["SHA-256 of the bytes"]


def test_the_worked_signature_is_made_by_its_private_key() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(FACTS["private key (seed)"]))
    assert private.public_key().public_bytes_raw() == from_base64url(FACTS["public key"])
    assert private.sign(BYTES) == from_base64url(FACTS["`ce_signature`"])
    assert "=" not in FACTS["`ce_signature`"]


def test_the_recorded_signed_message_verifies_by_the_pages_words_and_key() -> None:
    recorded = json.loads(SIGNED_FILE.read_bytes())
    value = json.dumps(recorded["value"], ensure_ascii=False, separators=(",", ":")).encode()
    signed = as_the_page_says(f"cairn.{recorded['topic']}", recorded["key"], recorded["headers"], value)
    public = Ed25519PublicKey.from_public_bytes(from_base64url(FACTS["public key"]))
    public.verify(from_base64url(recorded["headers"]["ce_signature"]), signed)


def test_an_event_that_is_signed_by_the_pages_words_counts() -> None:
    texts = [part for _, part in PARTS]
    attributes = zip(texts[4:-1:2], texts[5:-1:2], strict=True)
    headers = {"content-type": texts[3], **{f"ce_{name}": text for name, text in attributes}}
    assert as_the_page_says(texts[1], texts[2], headers, texts[-1].encode()) == BYTES
    headers["ce_signature"] = FACTS["`ce_signature`"]
    sent = tuple((name, text.encode()) for name, text in headers.items())
    message = read(Record("requests", 0, 0, 0, texts[2].encode(), sent, texts[-1].encode()))
    assert isinstance(message, Message), message
    key = TrustedKey(
        keyid=headers["ce_keyid"],
        public_key=FACTS["public key"],
        principal="system/ci",
        sources=("/ci/loans",),
        topics=("requests",),
    )
    heard = check(message, Installation(), Trust(keys=(key,)))
    assert isinstance(heard, Heard), heard
    assert heard.signed


def test_the_structured_event_counts_where_its_source_is_admitted_unsigned() -> None:
    value = SECTION.partition("```json\n")[2].partition("```")[0].encode()
    record = Record("labels", 0, 0, 0, b"model/risk.loans", (("content-type", b"application/cloudevents+json"),), value)
    message = read(record)
    assert isinstance(message, Message), message
    admitted = Trust(unsigned=(UnsignedSource(source="/warehouse/loans", topics=("labels",)),))
    assert isinstance(check(message, Installation(), admitted), Heard)
    assert not isinstance(check(message, Installation(), Trust()), Heard)


@pytest.mark.parametrize(
    ("key", "partitions", "partition"),
    re.findall(r"^\| `([^`]+)` \| \w+ \| (\d+) \| (\d+) \|$", SECTION, re.MULTILINE),
)
def test_a_key_goes_where_the_page_says(key: str, partitions: str, partition: str) -> None:
    assert (java_murmur2(key.encode()) & 0x7FFFFFFF) % int(partitions) == int(partition)


def test_the_page_says_where_some_keys_go() -> None:
    assert len(re.findall(r"^\| `([^`]+)` \| \w+ \| (\d+) \| (\d+) \|$", SECTION, re.MULTILINE)) == 3


def test_the_trust_file_that_is_shown_lets_its_key_speak_and_its_source_be_silent() -> None:
    shown = SECTION.partition("### Who may publish")[2].partition("```json\n")[2].partition("```")[0]
    trust = Trust.model_validate_json(shown)
    (key,) = trust.keys
    assert key.public_key == FACTS["public key"]
    assert set(key.topics) == {"datasets", "labels"}
    assert trust.admits_unsigned("/warehouse/loans", "labels")
    assert not trust.admits_unsigned("/warehouse/loans", "datasets")
