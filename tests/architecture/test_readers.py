"""Kafka is read in one way: the client's own consumer stops for ever at a record that it cannot unpack."""

import ast
from collections.abc import Iterator

import pytest
from tests.architecture.tree import Module, read, seeded

READER = "libs/cairn/records.py"
"""Has the consumer that gets past every record."""


def find_plain_readers(modules: list[Module]) -> list[str]:
    """Where Kafka is read with a consumer, or a broker that makes one, which some records stop."""
    return [fault for module in modules if module.path != READER for fault in _plain_readers(module)]


def _plain_readers(module: Module) -> Iterator[str]:
    for node in module.nodes:
        match node:
            case ast.Name(id="AIOKafkaConsumer") | ast.Attribute(attr="AIOKafkaConsumer"):
                yield module.fault(node, "names AIOKafkaConsumer: use cairn.records.RecordConsumer")
            case ast.ImportFrom(names=names) if any(alias.name == "AIOKafkaConsumer" for alias in names):
                yield module.fault(node, "names AIOKafkaConsumer: use cairn.records.RecordConsumer")
            case ast.Call(func=ast.Name(id="KafkaBroker") | ast.Attribute(attr="KafkaBroker")):
                yield module.fault(node, "makes a KafkaBroker: use cairn.streaming.RecordBroker")


def test_nobody_reads_kafka_with_a_consumer_that_some_records_stop() -> None:
    assert find_plain_readers(read()) == []


@pytest.mark.parametrize("path", ["libs/cairn/subscriber/log.py", "libs/chassis/kafka.py", "services/registry/app.py"])
@pytest.mark.parametrize(
    "line",
    [
        "from aiokafka import AIOKafkaConsumer",
        "from aiokafka import AIOKafkaConsumer as Consumer",
        "def f(): return aiokafka.AIOKafkaConsumer('a')",
        "def f(): return AIOKafkaConsumer('a')",
        "def f(): return KafkaBroker('a')",
        "def f(): return faststream.kafka.KafkaBroker('a')",
    ],
)
def test_a_reader_that_some_records_stop_is_found(path: str, line: str) -> None:
    module, number = seeded(path, line)
    (fault,) = find_plain_readers([module])
    assert fault.startswith(f"{path}:{number}: ")
