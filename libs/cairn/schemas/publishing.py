"""The part of the page of events for whoever writes a publisher: form, partition, limits, and the signature's bytes."""

import hashlib
import json
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cairn.broker import partition_of
from cairn.events.catalogue import CATALOGUE, TOPICS
from cairn.events.codec import JSON_TYPE, Outgoing, write_bytes
from cairn.events.envelope import Envelope, schema_address
from cairn.events.identity import Installation
from cairn.events.signing import Signer, Trust, TrustedKey, UnsignedSource, signed_bytes
from cairn.events.structured import STRUCTURED_TYPE
from cairn.schemas.markdown import table

_SEED = hashlib.sha256(b"cairn example key").digest()
"""Published on purpose: no trust file may hold this key."""
_KEY = "model/risk.loans"
_PARTITIONED = (("requests", _KEY), ("datasets", "dataset/risk.loans-2026"), ("predictions", f"{_KEY}/serving-1"))
_SIGNED_TYPE = "cairn.training.requested.v1"
_SIGNED_TOPIC = "requests"
_STRUCTURED = {
    "specversion": "1.0",
    "id": "1",
    "source": "/warehouse/loans",
    "type": "cairn.labels.observed.v1",
    "data": {
        "model": "risk.loans",
        "target": "defaulted",
        "items": [{"prediction_id": "p-1", "observed_at": "2026-11-01T00:00:00Z", "value": 1}],
    },
}
_HEX_PER_LINE = 64

_FORM = f"""\
## How to publish

**Binary mode** is what Cairn writes: `content-type: {JSON_TYPE}`, each CloudEvents attribute as a header `ce_<name>`
in UTF-8, and as the value the payload alone. `ce_dataschema` is the `$id` of the payload's schema,
`{schema_address("<type>")}`; the schema lies in `schemas/json/<type>.json`. It may be left out.

**Structured mode** is read too, by services and subscribers alike: the record's header `content-type` begins with
`{STRUCTURED_TYPE}`, and its value is one JSON object with the attributes (each a text) beside `data`,
an object, or `data_base64`. The key must be there as in binary mode. Such an event is not signed, since a signature
binds the payload's bytes and this mode does not keep them: it counts only where the trust file admits its source
unsigned on that topic. This is a whole one, with the key `{_KEY}` on the topic `labels`:
"""
_PARTITION = """\
### Key and partition

The key is the one that the event's section names, in UTF-8, and `ce_subject`, where it is sent, says what the payload
is about: the key, but of `predictions` without the replica. An event without a key or with another one does not count:
a finding, `key-mismatch`.

The partition is `(murmur2(key) & 0x7fffffff) % partitions`, with the murmur2 of Kafka's Java client
(`org.apache.kafka.common.utils.Utils.murmur2`). That client does so by itself where a record has a key and names no
partition; librdkafka and kcat need `partitioner=murmur2_random`. A record elsewhere is read, but its order among others
of its key is lost: a finding, `wrong-partition`.
"""
_LIMITS = """\
### What else is asked

- The payload is a JSON object in UTF-8, no larger than its topic admits; an event in structured mode may be 8 KiB
  larger as a whole. What is larger belongs into an object in the store.
- On `datasets`, `labels` and `requests`: no field twice in an object; no `NaN`, `Infinity`, integer `-0` or number
  larger than a double; in texts no control characters but tab, line feed and carriage return, and none that turn the
  direction of writing round (U+202A to U+202E, U+2066 to U+2069).
- At most 64 headers; none of `content-type` and `ce_…` twice; no control characters in attributes.
- Instants are RFC 3339 with an offset, without leap seconds.
"""
_SIGNING = """\
### The signature

Ed25519 (RFC 8032) over these parts, one after the other, each preceded by its length in bytes, which is an unsigned
integer of 8 bytes, big-endian:

1. `cairn-event-v1`;
2. the topic as Kafka knows it, with the installation's prefix: `cairn.requests`, not `requests`;
3. the key;
4. the text of the header `content-type`, empty where there is none;
5. for every attribute that is sent, known or not, in the order of their names (by code point): its name, without
   `ce_`, then its text. `signature` alone is left out; `keyid` is among them. Other headers are not signed;
6. the value, byte for byte as it is sent.

All texts are in UTF-8. The signature is sent as `ce_signature`, in base64url without padding (86 characters);
`ce_keyid` is the key's name in the trust file, bare: that file says by the name which public key it is (32 bytes,
base64url without padding, 43 characters), for which sources and on which topics it counts. Where `ce_authid` is sent,
`<ce_authtype>/<ce_authid>` must be the key's principal.
"""

_WORKED = """\
### A signature worked out

The private key is public, and good for nothing else. By the same key verifies the recorded message
[signed](../schemas/examples/cairn.model.promoted.v1/signed.json), on the topic `cairn.registry`.
"""


_KNOWN = """\
### Who may publish

That is said by the trust file, of which every service has a copy (`CAIRN_TRUST_FILE`; under `cairn up` it is
`trust.json` in its home) and which it reads as it starts. A key may speak for the sources and on the topics that it
names there; an entry under `unsigned` admits sources without a signature, on `datasets` and `labels` alone
(`cairn up --admit SOURCE` writes one). A source that ends in `/*` stands for all below it. What is not said there does
not count: it is parked, `unsigned`, `signature` or `not-allowed`.
"""

_SENDING = """\
### So that nothing is lost

Send with `acks=all` and an idempotent producer, and an event that was not confirmed again with the same `id` and
`source` and the same value, byte for byte: then it counts once. The same `id` and `source` with another value is
parked, `id-reused`. An object that an event refers to must be in the store before the event is sent, at
`sha256/<first two digits>/<all 64 digits>` of its digest below the installation's `CAIRN_OBJECTS`.
"""


def publishing() -> str:
    """The section; its examples are made by the code that Cairn itself publishes with."""
    shown = json.dumps(_STRUCTURED, indent=2)
    return "\n".join(
        [_FORM, f"```json\n{shown}\n```\n", _PARTITION, _partitions(), _LIMITS, _SENDING, _trust(), _SIGNING, _worked()]
    )


def _trust() -> str:
    signer = Signer("example", Ed25519PrivateKey.from_private_bytes(_SEED))
    topics = ("datasets", "labels")
    key = TrustedKey(
        keyid=signer.keyid,
        public_key=signer.public_text,
        principal="system/loans",
        sources=("/ci/loans",),
        topics=topics,
    )
    trust = Trust(keys=(key,), unsigned=(UnsignedSource(source="/warehouse/*", topics=("labels",)),))
    return f"{_KNOWN}\n```json\n{trust.model_dump_json(indent=2, exclude_defaults=True)}\n```\n"


def _partitions() -> str:
    rows = (
        (f"`{key}`", topic, str(TOPICS[topic].partitions), str(partition_of(topic, key.encode())))
        for topic, key in _PARTITIONED
    )
    return table(("key", "topic", "partitions", "partition"), rows)


def _worked() -> str:
    signer = Signer("example", Ed25519PrivateKey.from_private_bytes(_SEED))
    sent = _signed_event(signer)
    headers = {name: value.decode() for name, value in sent.headers}
    attributes = [(name[3:], text) for name, text in headers.items() if name.startswith("ce_")]
    signed = signed_bytes(sent.topic, sent.key, headers["content-type"], attributes, sent.value)
    lines = [signed.hex()[start : start + _HEX_PER_LINE] for start in range(0, 2 * len(signed), _HEX_PER_LINE)]
    facts = (
        ("private key (seed)", f"`{_SEED.hex()}`"),
        ("public key", f"`{signer.public_text}`"),
        ("SHA-256 of the bytes", f"`{hashlib.sha256(signed).hexdigest()}`"),
        ("`ce_signature`", f"`{headers['ce_signature']}`"),
    )
    return "\n".join(
        [
            _WORKED,
            table(("", "is"), facts),
            "The parts:\n",
            table(("bytes", "part"), ((str(len(part)), f"`{part.decode()}`") for part in _parts(signed))),
            "The signed bytes:\n",
            "\n".join(["```text", *lines, "```", ""]),
        ]
    )


def _signed_event(signer: Signer) -> Outgoing:
    value = json.dumps({"model": "risk.loans", "reason": "Geprüft."}, ensure_ascii=False, separators=(",", ":"))
    facts = CATALOGUE[_SIGNED_TYPE].facts.model_validate_json(value)
    envelope = Envelope(
        id="0193a1b2-0000-7000-8000-000000000001",
        source="/ci/loans",
        type=_SIGNED_TYPE,
        subject=CATALOGUE[_SIGNED_TYPE].subject_of(facts),
        time="2026-11-01T00:00:00.000000Z",
        dataschema=schema_address(_SIGNED_TYPE),
    )
    return write_bytes(value.encode(), _KEY, envelope, _SIGNED_TOPIC, Installation(), signer)


def _parts(signed: bytes) -> Iterator[bytes]:
    while signed:
        end = 8 + int.from_bytes(signed[:8])
        yield signed[8:end]
        signed = signed[end:]
