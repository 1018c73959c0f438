"""Promotions for tests: as the registry tells them, on a topic of the test's own."""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from cairn.context import Context
from cairn.events import Installation, ModelPromoted
from cairn.events.codec import Outgoing
from cairn.publisher import seal
from cairn.schemas.examples import read_example

ROOT = Path(__file__).parents[4]


@cache
def _example() -> dict[str, Any]:
    return read_example(ROOT / "schemas/examples/cairn.model.promoted.v1/ordinary.json").value


def promotion(installation: Installation, model: str, generation: int, **changes: Any) -> ModelPromoted:
    """A sound receipt of this installation; `changes` are made to its JSON."""
    value = json.loads(json.dumps(_example()).replace('"/cairn/', f'"/{installation.name}/'))
    value["model"]["name"] = value["previous"]["name"] = value["declaration"]["name"] = model
    value |= {"generation": generation, "log_origin": f"{installation.name}/registry/0"} | changes
    return ModelPromoted.model_validate_json(json.dumps(value))


def told(registry: Context, model: str, generation: int, event_id: str, **changes: Any) -> Outgoing:
    """A promotion as it goes to Kafka, signed by the registry."""
    facts = promotion(registry.installation, model, generation, **changes)
    return seal(registry, facts, event_id=event_id).outgoing


async def send(context: Context, records: Iterable[Outgoing]) -> None:
    """Write records in this order."""
    producer = AIOKafkaProducer(bootstrap_servers=context.bootstrap_servers, linger_ms=5)
    await producer.start()
    try:
        for one in records:
            await producer.send(one.topic, one.value, one.key, headers=list(one.headers))
        await producer.flush()
    finally:
        await producer.stop()
