"""Records written by hand, as anybody who reaches Kafka can: any key, any headers, any bytes, any signature."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiokafka import AIOKafkaProducer
from tests.kafka.raw import send_raw

from cairn.broker import partition_of
from cairn.events import TOPICS, Installation
from cairn.events.catalogue import CATALOGUE
from cairn.events.signing import Signer, signed_bytes
from cairn.schemas.examples import read_examples

OUTSIDER = "/warehouse/by-hand"
"""Admitted unsigned on `labels`."""
_MOST_BYTES = 16 * 1024 * 1024
_EXAMPLES = {(one.type, one.name): one for one in read_examples(Path(__file__).parents[2])}


@dataclass(frozen=True, eq=False)
class ByHand:
    """One record as it is sent."""

    topic: str
    """Without prefix."""
    partition: int
    key: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]
    value: bytes | None
    source: str = ""
    id: str = ""
    gzip: bool = False
    """Whether it travels compressed, in one batch with its neighbours that do."""

    @property
    def cause(self) -> str:
        """How what follows from it names it."""
        return f"{self.source}#{self.id}"

    def with_headers(self, *more: tuple[bytes, bytes | None]) -> "ByHand":
        """The same with further headers, which no signature covers."""
        return replace(self, headers=(*self.headers, *more))

    def without(self, *names: bytes) -> "ByHand":
        """The same without some headers."""
        return replace(self, headers=tuple(header for header in self.headers if header[0] not in names))


@dataclass(frozen=True)
class Author:
    """Makes records; each has an id that its name gives."""

    installation: Installation
    keys: Mapping[str, Signer]
    """By their names: `user`, each service, and others that the trust file knows or does not know."""
    made: dict[str, int] = field(default_factory=dict)

    def event(
        self,
        type_name: str,
        model: str,
        value: Mapping[str, Any] | bytes | None,
        *,
        topic: str = "",
        partition: int | None = None,
        key: bytes | None = b"",
        source: str = "",
        signed_by: str = "user",
        **attributes: str,
    ) -> ByHand:
        """An event in binary mode, right in all that is not said otherwise."""
        topic = topic or CATALOGUE[type_name].topic
        key = f"model/{model}".encode() if key == b"" else key
        source = source or (self.installation.source(signed_by) if signed_by in TOPIC_OF else "/tests/by-hand")
        data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        said = {
            "specversion": "1.0",
            "id": self.new_id(model),
            "source": source,
            "type": type_name,
            "subject": f"model/{model}",
            "time": "2026-10-05T08:01:00.020000Z",
            **attributes,
        }
        said = {name: text for name, text in said.items() if text != ABSENT}
        if signed_by:
            said["keyid"] = self.keys[signed_by].keyid
            data_signed = signed_bytes(
                self.installation.topic(topic), key, "application/json", said.items(), data or b""
            )
            said["signature"] = self.keys[signed_by].sign(data_signed)
        headers = ((b"content-type", b"application/json"), *_headers(said))
        home = partition_of(topic, f"model/{model}".encode())
        return ByHand(topic, home if partition is None else partition, key, headers, data, source, said.get("id", ""))

    def structured(self, model: str, text: Callable[[str], bytes], **members: Any) -> ByHand:
        """Labels in structured mode, unsigned; `text` makes the value's bytes of the JSON."""
        event = {
            "specversion": "1.0",
            "id": self.new_id(model),
            "source": OUTSIDER,
            "type": LABELS,
            "subject": f"model/{model}",
            "time": "2026-10-05T08:01:00Z",
            "data": labels(model),
            **members,
        }
        key = f"model/{model}".encode()
        headers = ((b"content-type", b"application/cloudevents+json"),)
        value = text(json.dumps(event))
        return ByHand("labels", partition_of("labels", key), key, headers, value, OUTSIDER, event["id"])

    def new_id(self, model: str) -> str:
        """The next id of this model's events."""
        self.made[model] = self.made.get(model, 0) + 1
        return str(uuid5(NAMESPACE_URL, f"{self.installation.name}/{model}/{self.made[model]}"))

    def declaration(self, model: str, value: Mapping[str, Any] | bytes | None = None, **options: Any) -> ByHand:
        """A request that the registry answers; signed by the user unless said otherwise."""
        return self.event(DECLARATION, model, declaration(model) if value is None else value, **options)

    def labels(self, model: str, value: Mapping[str, Any] | bytes | None = None, **options: Any) -> ByHand:
        """Labels, which the monitor keeps; unsigned unless said otherwise."""
        common: dict[str, Any] = {"signed_by": "", "source": OUTSIDER, **options}
        return self.event(LABELS, model, labels(model) if value is None else value, **common)

    def training(self, model: str, sequence: int, run: str, **options: Any) -> ByHand:
        """A run's end, which the registry gives a number; signed by the trainer's key."""
        value = example(TRAINING, model) | {"run": {"run_id": f"{model}-{run}"}}
        common: dict[str, Any] = {"signed_by": "trainer", "sequence": f"{sequence:020d}", **options}
        return self.event(TRAINING, model, value, **common)


ABSENT = "\0absent"
DECLARATION, LABELS, TRAINING = (
    "cairn.declaration.submitted.v1",
    "cairn.labels.observed.v1",
    "cairn.training.completed.v1",
)
TOPIC_OF = {topic.owner: topic.name for topic in TOPICS.values()}


def declaration(model: str, **changed: Any) -> dict[str, Any]:
    """The facts of a request."""
    document = {"model": model, "owner": "tests", "dataset": "data", "target": "y", **changed}
    return {"model": model, "declaration": document}


def labels(model: str, value: Any = 1) -> dict[str, Any]:
    """The facts of one label."""
    item = {"prediction_id": f"{model}-1", "observed_at": "2026-10-05T08:00:00Z", "value": value}
    return {"model": model, "target": "y", "items": [item]}


def example(type_name: str, model: str, name: str = "least") -> dict[str, Any]:
    """The facts of a recorded message, about another model."""
    value = _EXAMPLES[type_name, name].value
    named = {**value["model"], "name": model} if isinstance(value["model"], dict) else model
    return {**value, "model": named}


def behind(record: ByHand, model: str) -> str:
    """The name of a model whose key lies in the same partition as a record."""
    names = (f"{model}-{number}" for number in range(200))
    return next(name for name in names if partition_of(record.topic, f"model/{name}".encode()) == record.partition)


def _headers(attributes: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    return ((f"ce_{name}".encode(), text.encode()) for name, text in attributes.items())


async def send(servers: str, installation: Installation, records: Iterable[ByHand]) -> dict[ByHand, int]:
    """Write records, in order within a partition; where each came to lie."""
    plain = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0, max_request_size=_MOST_BYTES)
    offsets: dict[ByHand, int] = {}
    await plain.start()
    try:
        for record in records:
            topic = installation.topic(record.topic)
            if record.gzip or not all(name.isascii() for name, _ in record.headers):
                offsets[record] = await _send_odd(servers, topic, record)
            else:
                headers = [(name.decode(), value) for name, value in record.headers]
                sent = await plain.send_and_wait(
                    topic, record.value, key=record.key, partition=record.partition, headers=headers
                )
                offsets[record] = sent.offset
    finally:
        await plain.stop()
    return offsets


async def _send_odd(servers: str, topic: str, record: ByHand) -> int:
    if not record.gzip:
        return await send_raw(servers, topic, record.partition, (record.key, record.value, list(record.headers)))
    producer = AIOKafkaProducer(bootstrap_servers=servers, compression_type="gzip", max_request_size=64 * 1024 * 1024)
    await producer.start()
    try:
        headers = [(name.decode(), value) for name, value in record.headers]
        sent = await producer.send_and_wait(topic, record.value, record.key, record.partition, headers=headers)
        return int(sent.offset)
    finally:
        await producer.stop()
